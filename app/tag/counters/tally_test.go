package counters

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"patag/app/tag/catalogue"
	"patag/app/tag/decision"
	"patag/app/tag/events"
	"patag/app/tag/inventory"
	"patag/app/tag/privacy"
)

// market answers auctions: source fast bids, all others do not.
type market struct{}

func (market) Ask(_ context.Context, _ *decision.Request, step *inventory.Step) []decision.Answer {
	var out []decision.Answer
	for _, src := range step.Sources {
		a := decision.Answer{Source: src, Problem: decision.NoBid}
		if src.ID == "fast" {
			a = decision.Answer{Source: src, BaseMicros: 2_000_000, Domains: []string{"shoes.example"}}
		}
		out = append(out, a)
	}
	return out
}

func (market) Settle(*decision.Request, *inventory.Step, []decision.Answer, []decision.Reason) {}

type unlimited struct{}

func (unlimited) Open(*inventory.Item, uint64) decision.Reason { return decision.Eligible }
func (unlimited) Reserve(*inventory.Item) bool                 { return true }

func marketSnapshot(t *testing.T) *inventory.Snapshot {
	t.Helper()
	f, err := os.Open("../decision/testdata/catalogue-market.json")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c, err := catalogue.Parse(f)
	if err != nil {
		t.Fatal(err)
	}
	s, err := inventory.Compile(c, 1, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func line(e *events.Event) string {
	return fmt.Sprint(e.Placement, " ", e.Kind, " ", e.Item, e.Source, " ", e.Reason, " ", e.Arm, " invalid=", e.Invalid, " house=", e.House)
}

// Decisions from many goroutines, drained meanwhile by one that refuses every third event, are counted exactly once each.
func TestEveryDecisionCountsOnce(t *testing.T) {
	s := marketSnapshot(t)
	tally := NewTally(s)
	e := decision.Engine{Delivery: unlimited{}, Auctions: market{}}
	const each = 500
	want := map[string]int64{
		"auction request    invalid=false house=false":                    2 * each,
		"auction fill fast   invalid=false house=false":                   2 * each,
		"auction attempt fast filled  invalid=false house=false":          2 * each,
		"auction attempt big no_bid  invalid=false house=false":           2 * each,
		"two-auctions request    invalid=true house=false":                2 * each,
		"two-auctions no_fill  below_floor  invalid=true house=false":     2 * each,
		"two-auctions attempt fast below_floor  invalid=true house=false": 2 * each,
		"two-auctions attempt big no_bid  invalid=true house=false":       2 * each,
		"off request   running/all invalid=false house=false":             2 * each,
		"off fill house  running/all invalid=false house=true":            2 * each,
		"tag-only request    invalid=false house=false":                   2 * each,
		"tag-only no_fill  offered  invalid=false house=false":            2 * each,
		"price-caps request    invalid=false house=false":                 2 * each,
		"price-caps fill capped   invalid=false house=false":              2 * each,
		"price-caps attempt fast outranked  invalid=false house=false":    2 * each,
		"consent request    invalid=false house=false":                    2 * each,
		"consent fill house   invalid=false house=true":                   2 * each,
	}
	got := map[string]int64{}
	n := 0
	drain := func() {
		tally.Drain(func(e *events.Event) bool {
			if n++; n%3 == 0 {
				return false
			}
			got[line(e)] += e.Count
			return true
		})
	}
	var wg sync.WaitGroup
	for g := range 2 {
		wg.Go(func() {
			for i := range each {
				for _, p := range []string{"auction", "two-auctions", "off", "tag-only", "price-caps", "consent"} {
					r := decision.Request{Placement: s.Placement(p), Now: 1, Seed: uint64(i + g*each), Privacy: &privacy.Permissions{GDPR: p == "consent"}}
					d := e.Decide(t.Context(), &r, nil)
					tally.Add(&d, p == "two-auctions")
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
			runtime.Gosched()
		}
		drain()
	}
	for range 100 { // what was refused comes again
		drain()
	}
	for k, w := range want {
		if got[k] != w {
			t.Errorf("%s: %d, want %d", k, got[k], w)
		}
	}
	for k, g := range got {
		if want[k] == 0 {
			t.Errorf("%s: %d, want none", k, g)
		}
	}
}

// What a tally costs for a placement that nobody asks for, and for one that is asked for and does not fill.
func BenchmarkMemory(b *testing.B) {
	const n = 100000
	size := catalogue.Size{Width: 300, Height: 250}
	c := &catalogue.Catalogue{
		Settings:   catalogue.Settings{Currency: "EUR"},
		Publishers: []catalogue.Publisher{{ID: "p", Name: "P"}}, Sites: []catalogue.Site{{ID: "s", Name: "S", Publisher: "p"}},
	}
	for i := range n {
		c.Placements = append(c.Placements, catalogue.Placement{ID: fmt.Sprint("p", i), Name: "P", Site: "s", Format: catalogue.Display, Sizes: []catalogue.Size{size}, Waterfall: []catalogue.Step{{Kind: catalogue.Direct}}})
	}
	s, err := inventory.Compile(c, 1, time.Now())
	if err != nil {
		b.Fatal(err)
	}
	heap := func() float64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc)
	}
	for b.Loop() {
		empty := heap()
		t := NewTally(s)
		idle := heap()
		for _, p := range s.Placements {
			t.Add(&decision.Decision{Waterfall: &p.Waterfall, NoFill: decision.NothingBooked}, false)
		}
		b.ReportMetric((idle-empty)/n, "B/idle-placement")
		b.ReportMetric((heap()-idle)/n, "B/no-fill-placement")
		runtime.KeepAlive(t)
	}
}
