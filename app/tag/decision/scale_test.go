package decision

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"patag/app/tag/catalogue"
	"patag/app/tag/catalogue/generate"
	"patag/app/tag/inventory"
)

// network is a catalogue of n placements with ten candidates each, with sources or without.
func network(b *testing.B, n, sources int) *catalogue.Catalogue {
	b.Helper()
	c, err := generate.Generate(generate.Options{Placements: n, Candidates: 10, Seed: 1, Sources: sources, Tags: sources, Start: time.Unix(1778846400, 0)})
	if err != nil {
		b.Fatal(err)
	}
	return c
}

func BenchmarkCompile(b *testing.B) {
	for _, n := range []int{100, 10000, 100000} {
		c := network(b, n, 4)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var before, after runtime.MemStats
			var s *inventory.Snapshot
			var cpu time.Duration
			for b.Loop() {
				s = nil
				runtime.GC()
				runtime.ReadMemStats(&before)
				begin := used()
				var err error
				if s, err = inventory.Compile(c, 1, time.Now()); err != nil {
					b.Fatal(err)
				}
				cpu += used() - begin
			}
			b.ReportMetric(float64(cpu.Milliseconds())/float64(b.N), "cpu-ms/op") // of all threads, whatever else runs on the machine
			runtime.GC()
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(int64(after.HeapAlloc)-int64(before.HeapAlloc))/float64(n), "B/placement")
			runtime.KeepAlive(s)
		})
	}
}

// used is the processor time that this process has used.
func used() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkScale decides for placements of a small and of large catalogues in turn and takes the best of many rounds, so that what
// else runs on the machine does not decide: once for as many placements as the small one has, once for all, most of which are then in
// no cache of the processor.
func BenchmarkScale(b *testing.B) {
	const small = 1000
	sizes := []int{small, 10000, 100000}
	var loads []func() time.Duration
	var names []string
	for _, n := range sizes {
		s, err := inventory.Compile(network(b, n, 0), 1, time.Now())
		if err != nil {
			b.Fatal(err)
		}
		for _, hot := range slices.Compact([]int{small, n}) {
			loads = append(loads, load(b.Context(), s, hot))
			names = append(names, fmt.Sprintf("ns-%d-of-%d", hot, n))
		}
	}
	best := make([]time.Duration, len(loads))
	for b.Loop() {
		for i, run := range loads {
			if took := run(); best[i] == 0 || took < best[i] {
				best[i] = took
			}
		}
	}
	for i := range loads {
		b.ReportMetric(float64(best[i])/decisions, names[i])
	}
}

const decisions = 20000

// load decides for random ones of a snapshot's first placements.
func load(ctx context.Context, s *inventory.Snapshot, hot int) func() time.Duration {
	e := Engine{Frequency: seen{}, Delivery: delivered{}}
	r := Request{Now: 1778846400, Country: inventory.ParseCountry("DE"), Device: inventory.Desktop, Page: "s.example/peace"}
	rng := rand.New(rand.NewPCG(1, 2))
	order := make([]*inventory.Placement, decisions)
	for i := range order {
		order[i] = s.Placements[rng.IntN(hot)]
	}
	return func() time.Duration {
		begin := time.Now()
		for i, p := range order {
			r.Placement, r.Seed = p, uint64(i)
			e.Decide(ctx, &r, nil)
		}
		return time.Since(begin)
	}
}

// constantBids is one bid per source, for measuring what a decision adds.
type constantBids struct{}

func (constantBids) Ask(_ context.Context, _ *Request, step *inventory.Step) []Answer {
	out := make([]Answer, len(step.Sources))
	for i, src := range step.Sources {
		out[i] = Answer{Source: src, BaseMicros: 2_000_000, Domains: shoesOnly, Markup: "<p>shoes</p>"}
	}
	return out
}

func (constantBids) Settle(*Request, *inventory.Step, []Answer, []Reason) {}

var shoesOnly = []string{"shoes.example"}

// Direct decisions allocate nothing; an auction among two sources, without what the sources cost, stays within ten.
func TestAllocations(t *testing.T) {
	s := compiled(t, "catalogue-market.json")
	for placement, most := range map[string]float64{"before-direct": 10, "auction": 10, "tags": 2, "experiment": 0} {
		e := Engine{Frequency: seen{}, Delivery: delivered{}, Auctions: constantBids{}}
		c := testCase{Request: testRequest{Placement: placement, User: "ben"}}
		r := c.request(t, s, 1)
		got := testing.AllocsPerRun(1000, func() { e.Decide(t.Context(), &r, nil) })
		t.Logf("%s: %v allocations", placement, got)
		if got > most {
			t.Errorf("%s: %v allocations, want at most %v", placement, got, most)
		}
	}
}
