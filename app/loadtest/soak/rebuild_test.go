package soak

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"patag/app/loadtest/attack"
	"patag/app/loadtest/visits"
	"patag/app/tag/catalogue/generate"
	"patag/app/tag/counters"
	"patag/app/tag/frequency"
	"patag/app/tag/hardcap"
	"patag/app/tag/inventory"
	"patag/app/tag/pacing"
	"patag/app/tag/server"
	"patag/app/tag/token"
)

// nowhere is a journal for a test that sends no events.
type nowhere struct{}

func (nowhere) Append(context.Context, []byte) error { return nil }

// Replacing the catalogue under load fails no request, and both catalogues answer. How long it takes and what requests feel is logged;
// the full form has 100,000 placements and bounds the time to 2 s of the processor.
func TestRequestsWhileTheCatalogueIsReplaced(t *testing.T) {
	n, rate, span := 3000, 300.0, 4*time.Second
	full := os.Getenv("PATAG_SOAK") != ""
	if full {
		n, rate, span = 100_000, 2000, 15*time.Second
	}
	c, err := generate.Generate(generate.Options{Placements: n, Candidates: 10, Seed: 1, Tags: 2, Start: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	keys, err := token.RandomKeys()
	if err != nil {
		t.Fatal(err)
	}
	srv := server.New(server.Options{
		Keys: keys, Frequency: frequency.New(frequency.Options{Logger: quiet}), Journal: nowhere{}, Live: counters.NewLive(nil, quiet),
		Metrics: server.NewMetrics(prometheus.NewRegistry()), Logger: quiet,
	})
	replace := func(version int64) time.Duration {
		begin := time.Now()
		s, err := inventory.Compile(c, version, begin)
		if err != nil {
			t.Error(err)
			return 0
		}
		took := time.Since(begin)
		srv.Publish(&server.State{Snapshot: s, Tally: counters.NewTally(s),
			Delivery: pacing.New(pacing.Options{Logger: quiet}).View(t.Context(), s, hardcap.New(nil, quiet).View(t.Context(), s))})
		return took
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	replace(1)
	runtime.GC()
	runtime.ReadMemStats(&after)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := srv.HTTP()
	go h.Serve(server.Listener(l))
	defer h.Shutdown()

	measure := func(seed uint64) (*attack.Result, []timed) {
		var all []timed
		r, err := attack.Run(t.Context(), attack.Options{Addr: netip.MustParseAddrPort(l.Addr().String()), Rate: rate, Duration: span,
			Each: func(due, latency time.Duration, _ int) { all = append(all, timed{due, latency}) }},
			visits.New(visits.Options{Host: "ads.example", Placements: placements(n), Seed: seed}))
		if err != nil {
			t.Fatal(err)
		}
		if r.Failed() > 0 {
			t.Errorf("%d of %d requests failed: %v", r.Failed(), len(r.Latencies), r.Statuses)
		}
		return r, all
	}
	calm, _ := measure(1)
	type change struct{ from, to, took time.Duration }
	changes := make(chan []change, 1)
	begin := time.Now()
	go func() {
		var out []change
		for version := int64(2); time.Since(begin) < span-span/5; version++ {
			from := time.Since(begin)
			took := replace(version)
			out = append(out, change{from, time.Since(begin), took})
			time.Sleep(span / 20)
		}
		changes <- out
	}()
	_, all := measure(2)
	var during []uint32
	var took []time.Duration
	for _, ch := range <-changes {
		took = append(took, ch.took)
		for _, r := range all {
			if r.due >= ch.from && r.due <= ch.to {
				during = append(during, uint32(r.latency.Microseconds()))
			}
		}
	}
	if len(during) == 0 {
		t.Fatal("no request came while a catalogue was replaced: the test shows nothing")
	}
	slices.Sort(during)
	q := func(f float64) time.Duration {
		return time.Duration(during[int(f*float64(len(during)))]) * time.Microsecond
	}
	t.Logf("%d placements: compiled in %v, %d bytes per placement; load average %s", n, took, (after.HeapAlloc-before.HeapAlloc)/uint64(n), loadAverage())
	t.Logf("calm: p50 %s, p99 %s, p99.9 %s of %d requests; during: p50 %s, p99 %s, p99.9 %s of %d", calm.Quantile(.5), calm.Quantile(.99), calm.Quantile(.999),
		len(calm.Latencies), q(.5), q(.99), q(.999), len(during))
	if best := slices.Min(took); full && best > 2*time.Second {
		t.Errorf("compiling took %s at best; at most 2 s are wanted", best)
	}
	if state := srv.State(); state.Snapshot.Version < 2 {
		t.Error("the new catalogue is not in use")
	}
}

type timed struct{ due, latency time.Duration }
