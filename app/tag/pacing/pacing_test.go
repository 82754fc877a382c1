package pacing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"patag/app/tag/decision"
	"patag/app/tag/events"
	"patag/app/tag/inventory"
)

type memory struct {
	sums    map[string]Counts
	servers int
	err     error
}

func (l *memory) Exchange(_ context.Context, add map[string]Counts, ids []string) (map[string]Counts, int, error) {
	if l.err != nil {
		return nil, 0, l.err
	}
	out := map[string]Counts{}
	for id, c := range add {
		s := l.sums[id]
		s.add(c)
		l.sums[id] = s
	}
	for _, id := range ids {
		out[id] = l.sums[id]
	}
	return out, l.servers, nil
}

type noCaps struct{}

func (noCaps) Reserve(*inventory.Item) bool { return true }

// world is ten servers with uneven and changing traffic, and visitors who see an ad some seconds after it was served, or never.
type world struct {
	now     time.Time
	item    *inventory.Item
	ledger  *memory
	servers []*Manager
	views   []*View
	late    map[int64][]int // impressions to come, by Unix second: a server each
	rng     *rand.Rand
	shown   int64
	clicks  int64
	perHour map[int]int64
}

func newWorld(t *testing.T, it *inventory.Item, servers int) *world {
	t.Helper()
	w := &world{now: time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC), item: it, ledger: &memory{sums: map[string]Counts{}, servers: servers},
		late: map[int64][]int{}, rng: rand.New(rand.NewPCG(1, 2)), perHour: map[int]int64{}}
	for range servers {
		m := New(Options{Ledger: w.ledger, Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return w.now }})
		w.servers = append(w.servers, m)
		w.views = append(w.views, m.View(t.Context(), &inventory.Snapshot{Goals: []*inventory.Item{it}}, noCaps{}))
	}
	return w
}

// run lets time pass; traffic says how many requests a second a server gets.
func (w *world) run(t *testing.T, d time.Duration, traffic func(server int, now time.Time) float64) {
	for end := w.now.Add(d); w.now.Before(end); w.now = w.now.Add(time.Second) {
		for s, v := range w.views {
			n := traffic(s, w.now)
			for range int(n) + b2i(w.rng.Float64() < n-math.Floor(n)) {
				if !w.item.InFlight(w.now.Unix()) || v.Open(w.item, w.rng.Uint64()) != decision.Eligible {
					continue
				}
				// Of those let through, some lose to others and some never render.
				if w.rng.Float64() < 0.7 {
					at := w.now.Unix() + w.rng.Int64N(5)
					w.late[at] = append(w.late[at], s)
				}
			}
		}
		for _, s := range w.late[w.now.Unix()] {
			w.servers[s].Add(&events.Event{Kind: events.Impression, Item: w.item.ID, Count: 1})
			w.shown++
			w.perHour[w.now.Hour()]++
			if w.rng.Float64() < 0.01 {
				w.servers[s].Add(&events.Event{Kind: events.Click, Item: w.item.ID, Count: 1})
				w.clicks++
			}
		}
		delete(w.late, w.now.Unix())
		for s, m := range w.servers {
			if (w.now.Unix()+int64(s))%2 == 0 {
				m.Step(t.Context())
			}
		}
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// uneven traffic: servers differ ten times, the day has a peak, and a spike of five times comes in the fourth hour.
func uneven(s int, now time.Time) float64 {
	n := 0.3 * float64(s+1) * (1.2 + math.Sin(2*math.Pi*float64(now.Hour())/12))
	if now.Hour() == 3 && now.Minute() < 10 {
		n *= 5
	}
	return n
}

func flight(hours ...int64) []inventory.Flight {
	day := time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC).Unix()
	var out []inventory.Flight
	for i := 0; i < len(hours); i += 2 {
		out = append(out, inventory.Flight{Start: day + hours[i]*3600, End: day + hours[i+1]*3600})
	}
	return out
}

func TestTenServersDeliverAGoalEvenly(t *testing.T) {
	const goal = 20_000
	w := newWorld(t, &inventory.Item{ID: "i", Flights: flight(0, 6), Goal: &inventory.Goal{Impressions: goal, Even: true}}, 10)
	w.run(t, 6*time.Hour+10*time.Second, uneven)
	if off := math.Abs(float64(w.shown-goal)) / goal; off > 0.02 {
		t.Errorf("%d of %d were delivered, %.1f %% off", w.shown, goal, 100*off)
	}
	for h := range 6 {
		if n := w.perHour[h]; math.Abs(float64(n)-goal/6) > 0.12*goal/6 {
			t.Errorf("hour %d delivered %d, an even share is %d", h, n, goal/6)
		}
	}
	t.Logf("%d of %d, by hour %v", w.shown, goal, w.perHour)
}

// Nothing comes for two hours: what was missed is caught up with, spread over what is left. A gap between flights counts as no time.
func TestCatchesUpAndKnowsGaps(t *testing.T) {
	const goal = 8_000
	w := newWorld(t, &inventory.Item{ID: "i", Flights: flight(0, 3, 5, 8), Goal: &inventory.Goal{Impressions: goal, Even: true}}, 10)
	w.run(t, 8*time.Hour+10*time.Second, func(s int, now time.Time) float64 {
		if now.Hour() == 1 {
			return 0
		}
		return uneven(s, now)
	})
	if off := math.Abs(float64(w.shown-goal)) / goal; off > 0.02 {
		t.Errorf("%d of %d were delivered", w.shown, goal)
	}
	if h0, h7 := w.perHour[0], w.perHour[7]; h0 > goal/6*112/100 || h7 < goal*17/100 {
		t.Errorf("first hour %d (a sixth is %d), last %d (a fifth of what was left is more)", h0, goal/6, h7)
	}
	t.Logf("by hour %v", w.perHour)
}

func TestLimitsAreNotRunOver(t *testing.T) {
	for _, c := range []struct {
		name string
		item inventory.Item
		want func(w *world) (got, limit int64)
		stop decision.Reason
	}{
		{"budget", inventory.Item{BudgetMicros: 50_000_000, BaseMicros: 10_000_000}, func(w *world) (int64, int64) { return w.shown * 10_000, 50_000_000 }, decision.BudgetUsedUp},
		{"clicks", inventory.Item{MaxClicks: 60, BaseMicros: 1}, func(w *world) (int64, int64) { return w.clicks, 60 }, decision.ClicksUsedUp},
		{"asap goal", inventory.Item{Goal: &inventory.Goal{Impressions: 4000}}, func(w *world) (int64, int64) { return w.shown, 4000 }, decision.Paced},
	} {
		t.Run(c.name, func(t *testing.T) {
			it := c.item
			it.ID, it.Flights = "i", flight(0, 6)
			w := newWorld(t, &it, 10)
			w.run(t, 3*time.Hour, uneven)
			got, limit := c.want(w)
			if got < limit*99/100 || got > limit*101/100+1 {
				t.Errorf("%d delivered of %d", got, limit)
			}
			if r := w.views[0].Open(&it, 1); got >= limit && r != c.stop {
				t.Errorf("then %s, want %s", r, c.stop)
			}
			t.Logf("%d of %d", got, limit)
		})
	}
}

// Without Redis each server takes it that the others deliver as it does: together they stop at the limit, not each of them.
func TestWithoutTheLedgerServersStayUnderTheLimit(t *testing.T) {
	it := &inventory.Item{ID: "i", Flights: flight(0, 6), BudgetMicros: 50_000_000, BaseMicros: 10_000_000}
	w := newWorld(t, it, 10)
	steady := func(int, time.Time) float64 { return 1 }
	w.run(t, 2*time.Minute, steady)
	w.ledger.err = errors.New("away")
	w.run(t, 2*time.Hour, steady)
	if spent := w.shown * 10_000; spent > 51_000_000 || spent < 35_000_000 {
		t.Errorf("%d micros of 50000000 were spent without Redis", spent)
	}
	w.ledger.err = nil
	w.run(t, time.Hour, steady)
	if spent := w.shown * 10_000; spent > 51_000_000 || spent < 49_000_000 {
		t.Errorf("%d micros of 50000000 were spent in the end", spent)
	}
}

// A server that starts with an empty ledger learns from the reports what was delivered.
func TestReportsOutweighALostLedger(t *testing.T) {
	it := &inventory.Item{ID: "i", MaxClicks: 10, GoalIndex: 0}
	m := New(Options{Ledger: &memory{sums: map[string]Counts{}}, Logger: slog.New(slog.DiscardHandler),
		Reported: func(context.Context, time.Time) (map[string]Counts, error) {
			return map[string]Counts{"i": {Clicks: 10}}, nil
		}})
	v := m.View(t.Context(), &inventory.Snapshot{Goals: []*inventory.Item{it}}, noCaps{})
	if r := v.Open(it, 1); r != decision.ClicksUsedUp {
		t.Errorf("an item whose clicks are used up says %s", r)
	}
}

func TestOpenIsTheSameForARequestAndAllocatesNothing(t *testing.T) {
	it := &inventory.Item{ID: "i", Goal: &inventory.Goal{Impressions: 100, Even: true}, Flights: flight(0, 6)}
	w := newWorld(t, it, 1)
	passed := 0
	for seed := range uint64(10_000) {
		a, b := w.views[0].Open(it, seed*7919), w.views[0].Open(it, seed*7919)
		if a != b {
			t.Fatalf("seed %d: %s, then %s", seed, a, b)
		}
		if a == decision.Eligible {
			passed++
		}
	}
	if passed < 400 || passed > 600 {
		t.Errorf("%d of 10000 passed a share of 5 %%", passed)
	}
	if n := testing.AllocsPerRun(100, func() { w.views[0].Open(it, 5) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestLeftKnowsFlightsAndGaps(t *testing.T) {
	p := newPlan(&inventory.Item{Flights: flight(1, 2, 2, 3, 5, 6)}, time.Unix(flight(0, 1)[0].Start, 0))
	for at, want := range map[int64]int64{0: 3, 1: 3, 2: 2, 3: 1, 4: 1, 5: 1, 6: 0} {
		if got := p.left(flight(at, at)[0].Start); got != want*3600 {
			t.Errorf("at hour %d %d seconds are left, want %d", at, got, want*3600)
		}
	}
	if got := fmt.Sprint(len(p.spans)); got != "2" {
		t.Errorf("%s spans, want 2: flights that touch are one", got)
	}
}
