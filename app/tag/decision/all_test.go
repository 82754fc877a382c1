package decision

import (
	"context"
	"sync"
	"testing"
	"time"

	"patag/app/tag/inventory"
)

// together answers nobody before as many auctions as expected are asked at once.
type together struct {
	bidders
	mu      sync.Mutex
	waiting int
	all     chan struct{}
}

func (m *together) Ask(ctx context.Context, r *Request, step *inventory.Step) []Answer {
	m.mu.Lock()
	if m.waiting--; m.waiting == 0 {
		close(m.all)
	}
	m.mu.Unlock()
	select {
	case <-m.all:
	case <-time.After(10 * time.Second):
		var late []Answer
		for _, src := range step.Sources {
			late = append(late, Answer{Source: src, Problem: TimedOut})
		}
		return late
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.bidders.Ask(ctx, r, step)
}

// A page's placements: auctions are asked at the same time, also the one after a direct step that does not fill; the one after a direct step that
// fills is not asked; a group that one ad takes is taken for the next.
func TestDecideAll(t *testing.T) {
	s := compiled(t, "catalogue-market.json")
	cola := testBid{Price: 5, Domains: []string{"cola.example"}}
	page := func(country string, ids ...string) []Request {
		var out []Request
		for i, id := range ids {
			c := testCase{Request: testRequest{Placement: id, Country: country}}
			out = append(out, c.request(t, s, uint64(i)))
		}
		return out
	}
	market := func(n int) *together {
		return &together{bidders: bidders{bids: map[string]testBid{"fast": cola}, settled: map[string]Reason{}}, waiting: n, all: make(chan struct{})}
	}

	m := market(3)
	e := Engine{Frequency: seen{}, Delivery: delivered{}, Auctions: m}
	traces := make([]Trace, 4)
	ds := e.DecideAll(t.Context(), page("DE", "auction", "after-direct", "tags", "price"), traces)
	if ds[0].Bid == nil || ds[0].Bid.Source.ID != "fast" {
		t.Errorf("the first placement is filled by %+v", traces[0])
	}
	for i, want := range []string{"filled", "exclusion_group", "", "exclusion_group"} {
		if got := outcome(&traces[i], "fast"); got != want {
			t.Errorf("placement %d: the bid is %q, want %q", i, got, want)
		}
	}
	if ds[3].Item == nil || ds[3].Item.ID != "direct-1" {
		t.Errorf("the last placement is filled by %+v", traces[3])
	}

	// In Italy a direct item of the same group comes first on after-direct: the second time it is excluded, and the auction that nobody
	// foresaw is asked.
	m = market(1)
	e.Auctions = m
	traces = make([]Trace, 2)
	ds = e.DecideAll(t.Context(), page("IT", "after-direct", "after-direct"), traces)
	if ds[0].Item == nil || ds[0].Item.ID != "drinks" || outcome(&traces[0], "fast") != "not_asked" {
		t.Errorf("first: %+v", traces[0])
	}
	if outcome(&traces[1], "drinks") != "exclusion_group" || outcome(&traces[1], "fast") != "exclusion_group" || len(m.asked) != 1 {
		t.Errorf("second: %+v, asked %v", traces[1], m.asked)
	}
}

// capsChange answers that a user is below his caps the first time, and over them from then on.
type capsChange struct{ asked int }

func (c *capsChange) Over(_ context.Context, _ uint64, _ int64, _ []*inventory.Item, over []bool) {
	c.asked++
	for i := range over {
		over[i] = c.asked == 1
	}
}

// When a frequency cap's answer changes between foreseeing an auction and deciding, the auction's bids are told that they lost.
func TestForeseenInVain(t *testing.T) {
	s := compiled(t, "catalogue-market.json")
	c := testCase{Request: testRequest{Placement: "often", User: "u"}}
	r := c.request(t, s, 1)
	m := &bidders{bids: map[string]testBid{"fast": {Price: 2, Domains: []string{"shoes.example"}}}, settled: map[string]Reason{}}
	e := Engine{Frequency: &capsChange{}, Delivery: delivered{}, Auctions: m}
	d := e.DecideAll(t.Context(), []Request{r}, nil)[0]
	if d.Item == nil || d.Item.ID != "capped-by-user" {
		t.Fatalf("filled by %+v", d)
	}
	if len(m.asked) != 1 || m.settled["fast"] != Eligible {
		t.Errorf("asked %v, settled %v", m.asked, m.settled)
	}
}
