package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"patag/app/tag/catalogue"
	"patag/app/tag/counters"
	"patag/app/tag/inventory"
	"patag/app/tag/rtb"
)

// exchange is a fixture whose source dsp is a real HTTP server, asked by the real client.
func exchange(t *testing.T, dsp http.HandlerFunc) (*fixture, *httptest.Server) {
	t.Helper()
	f, _ := waterfall(t)
	srv := httptest.NewServer(dsp)
	t.Cleanup(srv.Close)
	a, err := rtb.New(rtb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(t.Context()) })
	f.o.Auctions, f.o.Bill = a, a.Bill
	text, err := os.ReadFile("testdata/waterfall.json")
	if err != nil {
		t.Fatal(err)
	}
	c, err := catalogue.Parse(strings.NewReader(strings.Replace(string(text), "http://127.0.0.1:1/bid", srv.URL+"/bid", 1)))
	if err != nil {
		t.Fatal(err)
	}
	snap, err := inventory.Compile(c, 8, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	f.Publish(&State{Snapshot: snap, Tally: counters.NewTally(snap), Delivery: f.State().Delivery})
	return f, srv
}

func TestARealBidIsShownAndBilledOnce(t *testing.T) {
	var asked, billed atomic.Int64
	told := make(chan struct{}, 4)
	var base string
	f, srv := exchange(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/bill" {
			billed.Add(1)
			told <- struct{}{}
			return
		}
		if r.URL.Path != "/bid" {
			return
		}
		asked.Add(1)
		var in struct {
			ID   string
			Imp  []struct{ ID string }
			User *struct{ ID string }
			Site struct{ Page string }
		}
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil || len(in.Imp) != 1 || in.User != nil && in.User.ID != "" {
			t.Errorf("bid request: %v %+v", err, in)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"id":%q,"cur":"EUR","seatbid":[{"seat":"s1","bid":[{"id":"b1","impid":%q,"price":4.25,"adm":"<b>bought</b>","adomain":["shop.example"],"crid":"cr-1","w":300,"h":250,"burl":"%s/bill?p=${AUCTION_PRICE}"}]}]}`,
			in.ID, in.Imp[0].ID, base)
	})
	base = srv.URL
	a := f.answer(t, "placement=mix&gdpr=0&optout=1&uid=someone&page=https://news.example/a")
	e := a.last()
	if e.Source != "auction" || e.DemandSource != "dsp" || e.Price.CPMMicros != 4_250_000 || !strings.Contains(e.Markup, "<b>bought</b>") {
		t.Fatalf("%+v", e)
	}
	for range 3 {
		if w := f.do("POST", e.URLs.Impression); w.Code != http.StatusNoContent {
			t.Fatalf("impression: %d %s", w.Code, w.Body)
		}
	}
	select {
	case <-told:
	case <-time.After(5 * time.Second):
		t.Fatal("the bidder is not told what it pays for")
	}
	time.Sleep(100 * time.Millisecond)
	if asked.Load() != 1 || billed.Load() != 1 {
		t.Errorf("asked %d times, billed %d times", asked.Load(), billed.Load())
	}
}

// A source that hangs costs its step's deadline and not more, for one placement and for several: then the next step fills.
func TestAHangingSourceCostsItsDeadline(t *testing.T) {
	release := make(chan struct{})
	f, _ := exchange(t, func(http.ResponseWriter, *http.Request) { <-release })
	defer close(release)
	begin := time.Now()
	if e := f.ad(t, "placement=mix&gdpr=0"); e.Source != "house" {
		t.Errorf("filled by %s", e.Source)
	}
	if took := time.Since(begin); took < 150*time.Millisecond || took > 450*time.Millisecond {
		t.Errorf("one placement took %s; the step's deadline is 200ms", took)
	}
	begin = time.Now()
	w := f.post("/v1/ads", `{"consent":{"gdpr":false},"placements":[{"id":"mix"},{"id":"story"},{"id":"mix"},{"id":"mix"}]}`)
	if took := time.Since(begin); took > 450*time.Millisecond {
		t.Errorf("four placements took %s: they are to wait at the same time", took)
	}
	if n := strings.Count(w.Body.String(), `"source":"house"`); n != 3 {
		t.Errorf("%d house ads: %s", n, w.Body)
	}
	// The deadline of the whole request is kept where it is the shorter one.
	f.o.Deadline = 50 * time.Millisecond
	begin = time.Now()
	f.ad(t, "placement=mix&gdpr=0")
	if took := time.Since(begin); took > 150*time.Millisecond {
		t.Errorf("with a total deadline of 50ms it took %s", took)
	}
}

// While slow sources hold all places, further ads are house ads at once, and beyond that refusals at once: nothing queues.
func TestSlowSourcesDoNotMakeAQueue(t *testing.T) {
	release := make(chan struct{})
	f, _ := exchange(t, func(http.ResponseWriter, *http.Request) { <-release })
	f.o.MaxInFlight, f.o.Deadline = 8, 5*time.Second // and 2 more with house ads
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { f.handler.ServeHTTP(httptest.NewRecorder(), adRequest("slow")) })
	}
	for end := time.Now().Add(5 * time.Second); f.inFlight.Load() < 8; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d in flight, want 8", f.inFlight.Load())
		}
	}
	begin := time.Now()
	w := httptest.NewRecorder()
	f.handler.ServeHTTP(w, adRequest("slow"))
	took := time.Since(begin)
	close(release)
	wg.Wait()
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"source":"house"`) || took > 500*time.Millisecond {
		t.Errorf("beside 8 slow ones: %d after %s: %.100s", w.Code, took, w.Body)
	}
}

func adRequest(placement string) *http.Request {
	r := httptest.NewRequest("GET", "/v1/ad?gdpr=0&placement="+placement, nil)
	r.Header.Set("User-Agent", chrome)
	return r
}
