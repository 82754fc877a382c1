package rtb

import (
	"context"
	"errors"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"patag/app/tag/catalogue"
	"patag/app/tag/decision"
	"patag/app/tag/inventory"
	"patag/app/tag/privacy"
)

// Failures open the breaker, then nobody is asked; after five seconds a few are let through, and when those succeed all are.
func TestBreakerOpensAndCloses(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT TESTED with -short: it takes as long as the breaker stays open")
	}
	var broken atomic.Bool
	var asked atomic.Int64
	broken.Store(true)
	w := newWorld(t, Options{}, document(t, []string{listen(t, func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		if broken.Load() {
			w.WriteHeader(503)
			return
		}
		w.WriteHeader(204)
	})}, nil))
	for range breakerLeast {
		if a := w.one("box"); a.Problem != decision.SourceFailed {
			t.Fatal(a.Problem)
		}
	}
	for range 10 {
		if a := w.one("box"); a.Problem != decision.BreakerOpen {
			t.Fatalf("%s: not open after %d failures", a.Problem, breakerLeast)
		}
	}
	if asked.Load() != breakerLeast || w.count("tag_rtb_breaker_state", "s0") != 2 || w.count("tag_rtb_requests_total", "breaker_open") != 10 {
		t.Errorf("asked %d times, state %v", asked.Load(), w.count("tag_rtb_breaker_state", "s0"))
	}
	// Still broken when it is tried again: open again.
	time.Sleep(breakerOpen + 100*time.Millisecond)
	if a, b := w.one("box"), w.one("box"); a.Problem != decision.SourceFailed || b.Problem != decision.BreakerOpen {
		t.Errorf("tried again: %s, then %s", a.Problem, b.Problem)
	}
	broken.Store(false)
	time.Sleep(breakerOpen + 100*time.Millisecond)
	for i := range breakerProbes + 5 {
		if a := w.one("box"); a.Problem != decision.NoBid {
			t.Errorf("%d after it works: %s", i, a.Problem)
		}
	}
	if w.count("tag_rtb_breaker_state", "s0") != 0 {
		t.Error("not closed")
	}
}

// Visitors who go away say nothing about a source.
func TestCancelledRequestsDoNotOpenTheBreaker(t *testing.T) {
	w := newWorld(t, Options{}, document(t, []string{listen(t, func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body); <-r.Context().Done() })}, nil))
	r := w.request("box")
	for range 2 * breakerLeast {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(2*time.Millisecond, cancel)
		w.Ask(ctx, r, &r.Placement.Steps[0])
	}
	eventually(t, "counted", func() bool { return w.count("tag_rtb_requests_total", "cancelled") == 2*breakerLeast })
	if a := w.one("box"); a.Problem != decision.TimedOut {
		t.Error(a.Problem)
	}
}

func TestQPS(t *testing.T) {
	var asked atomic.Int64
	snap := document(t, []string{listen(t, func(w http.ResponseWriter, _ *http.Request) { asked.Add(1); w.WriteHeader(204) })},
		func(c *catalogue.Catalogue) { c.DemandSources[0].MaxQPS = 50 })
	w := newWorld(t, Options{}, snap)
	begin := time.Now()
	refused := 0
	for time.Since(begin) < 500*time.Millisecond {
		if w.one("box").Problem == decision.OverQPS {
			refused++
		}
	}
	if got := asked.Load(); got < 20 || got > 40 || refused == 0 {
		t.Errorf("asked %d times in half a second at 50 a second, refused %d times", got, refused)
	}
}

// A source that hangs, at a high rate: the number of its requests that are out stays bounded, others go on, and nothing is left behind.
func TestAHangingSourceIsBounded(t *testing.T) {
	before := runtime.NumGoroutine()
	var out, most atomic.Int64
	hang := listen(t, func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		for n := out.Add(1); n > most.Load(); {
			most.Store(n)
		}
		<-r.Context().Done()
		out.Add(-1)
	})
	good := bidding(t, oneBid(""))
	w := newWorld(t, Options{MaxInFlight: 8}, document(t, []string{hang, good}, nil))
	step := &w.snap.Placement("box").Steps[0]
	var wg sync.WaitGroup
	var slow, bids, high atomic.Int64
	end := time.Now().Add(2 * time.Second)
	for range 16 { // 800 a second at most
		wg.Go(func() {
			r := w.request("box")
			for time.Now().Before(end) {
				time.Sleep(20 * time.Millisecond)
				begin := time.Now()
				if a := w.Ask(t.Context(), r, step); a[1].Problem == decision.None {
					bids.Add(1)
				}
				if time.Since(begin) > step.Deadline+200*time.Millisecond {
					slow.Add(1)
				}
				if n := int64(runtime.NumGoroutine()); n > high.Load() {
					high.Store(n)
				}
			}
		})
	}
	wg.Wait()
	if most.Load() > 8 || slow.Load() > 0 || bids.Load() < 200 {
		t.Errorf("%d out at a time, %d auctions late, %d bids of the other source", most.Load(), slow.Load(), bids.Load())
	}
	if high.Load() > int64(before)+600 {
		t.Errorf("%d goroutines", high.Load())
	}
	if n := w.count("tag_rtb_requests_total", "in_flight_full") + w.count("tag_rtb_requests_total", "breaker_open"); n == 0 {
		t.Error("nothing was held back")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := w.Close(ctx); err != nil {
		t.Error(err)
	}
	eventually(t, "no goroutine of this package is left", func() bool {
		buf := make([]byte, 1<<20)
		stacks := string(buf[:runtime.Stack(buf, true)])
		return !strings.Contains(stacks, "rtb.(*call)") && !strings.Contains(stacks, "rtb.(*notices)") && !strings.Contains(stacks, "(*persistConn)")
	})
	if a := w.Ask(t.Context(), w.request("box"), step); a[1].Problem != decision.SourceFailed {
		t.Errorf("after Close: %s", a[1].Problem)
	}
}

// Without a legal ground for the vendor, its server never sees the visitor.
func TestNotPermittedIsNotAsked(t *testing.T) {
	w := newWorld(t, Options{}, document(t, []string{listen(t, func(http.ResponseWriter, *http.Request) { t.Error("asked") })},
		func(c *catalogue.Catalogue) { c.DemandPartners[0].VendorID = 12 }))
	for name, signals := range map[string]privacy.Signals{
		"no string": {GDPR: "1"}, "unknown country": {}, "broken string": {GDPR: "1", TCString: "C-broken"},
	} {
		p := privacy.Decide(signals, 0)
		r := w.request("box")
		r.Privacy = &p
		if a := w.Ask(t.Context(), r, &r.Placement.Steps[0]); len(a) != 1 || a[0].Problem != decision.NotPermitted {
			t.Errorf("%s: %+v", name, a)
		}
	}
	if w.count("tag_rtb_requests_total", "not_permitted") != 3 {
		t.Error("not counted")
	}
}

// Sources that a step bars are not asked, and have no answer.
func TestBarredSourcesAreLeftOut(t *testing.T) {
	w := newWorld(t, Options{}, document(t, []string{listen(t, func(http.ResponseWriter, *http.Request) { t.Error("asked") }), bidding(t, oneBid(""))},
		func(c *catalogue.Catalogue) { c.DemandSources[0].Paused = true }))
	if a := w.one("box"); a.Source.ID != "s1" || a.Problem != decision.None {
		t.Errorf("%+v", a)
	}
}

// A source that is changed by a new snapshot is asked at its new place, with its old breaker.
func TestANewSnapshotTakesOver(t *testing.T) {
	w := newWorld(t, Options{}, document(t, []string{listen(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })}, nil))
	w.one("box")
	w.snap = document(t, []string{bidding(t, oneBid(""))}, nil)
	if a := w.one("box"); a.Problem != decision.None {
		t.Error(a.Problem)
	}
	if n := w.seat(w.snap.Source("s0")).breaker.Counts().TotalFailures; n != 1 {
		t.Errorf("%d failures are remembered", n)
	}
}

// Close ends notices that hang when its context does, and says so.
func TestCloseGivesUpNoticesThatHang(t *testing.T) {
	arrived := make(chan struct{}, 8)
	src := listen(t, func(_ http.ResponseWriter, r *http.Request) { arrived <- struct{}{}; <-r.Context().Done() })
	w := newWorld(t, Options{}, document(t, []string{src}, nil))
	w.Bill(w.snap.Source("s0"), src+"/bill")
	<-arrived
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if err := w.Close(ctx); err == nil || time.Since(begin) > time.Second {
		t.Errorf("%v after %s", err, time.Since(begin))
	}
	w.Bill(w.snap.Source("s0"), src+"/bill")
	if w.count("tag_rtb_notices_total", "dropped") != 1 {
		t.Error("a notice after Close is not counted as dropped")
	}
}

// Settling and billing while it closes neither hangs nor panics.
func TestCloseBesideNotices(t *testing.T) {
	src := listen(t, func(http.ResponseWriter, *http.Request) {})
	for range 20 {
		a, err := New(Options{})
		if err != nil {
			t.Fatal(err)
		}
		source := &inventory.Source{ID: "x", Endpoint: src}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 50 {
					a.Bill(source, src+"/b")
				}
			})
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		if err := a.Close(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		wg.Wait()
		cancel()
	}
}
