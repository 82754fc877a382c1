// Package pacing holds line items to what was booked: a goal spread evenly over the flights or delivered as fast as possible, a
// budget, and a limit on clicks. In go snapshots and counted events; out comes, for each item, the share of requests that it may
// compete for now, or why none. Deciding reads two atomics; every two seconds the shares are computed anew from what all servers
// together delivered (a Ledger, in Redis), so that what was missed is caught up with and nothing is spent early.
//
// A share is: what is still to be delivered, divided by the seconds left in flights and day parts, divided by what an unrestricted
// second would deliver. The last is measured: requests that met the item, times what came of one that was let through. Towards a
// limit the rate falls so that the last seconds do not run over it; ads that are out already may still add a little, and are
// counted. Without the ledger a server takes it that all others deliver as it does itself, and more servers than there may be.
package pacing

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"patag/app/tag/decision"
	"patag/app/tag/events"
	"patag/app/tag/inventory"
)

// Counts of one line item, over its life or since the last exchange.
type Counts struct {
	Impressions, Clicks, Micros int64 // Micros: sum of CPMs, of the snapshot's currency; a thousandth is revenue
	// Met is requests that could have had the item, Passed those of them that pacing let through.
	Met, Passed int64
}

func (c *Counts) add(d Counts) {
	c.Impressions += d.Impressions
	c.Clicks += d.Clicks
	c.Micros += d.Micros
	c.Met += d.Met
	c.Passed += d.Passed
}

// Ledger adds up what all servers deliver.
type Ledger interface {
	// Exchange adds to the counts of items and returns the sums for all ids, and how many servers there are. When it fails, what was
	// added may or may not have been; it is sent again then: counting twice errs on the safe side.
	Exchange(ctx context.Context, add map[string]Counts, ids []string) (sums map[string]Counts, servers int, err error)
}

// Options of a manager.
type Options struct {
	Ledger Ledger // nil: this process alone delivers
	// Reported is what the reports say was delivered of line items since a time; it outweighs a smaller sum of the ledger, which a
	// crash or a lost Redis may have made. nil for none.
	Reported func(ctx context.Context, since time.Time) (map[string]Counts, error)
	Logger   *slog.Logger
	Now      func() time.Time // default time.Now
}

// Every is the time between two computations.
const Every = 2 * time.Second

const reportedEvery = 15 * time.Minute

// Manager paces. See New.
type Manager struct {
	o Options

	mu     sync.Mutex // guards states' plans and sums; never taken by a decision
	states map[string]*state
	live   atomic.Pointer[map[string]*state] // of the snapshot in use; read by Add
	down   bool
	polled time.Time

	Failures atomic.Int64
}

// state of one item. Decisions touch the atomics only.
type state struct {
	share   atomic.Uint64 // of 1<<32
	stop    atomic.Uint32 // a decision.Reason; None lets the share decide
	met     atomic.Int64
	passed  atomic.Int64
	shown   atomic.Int64
	clicked atomic.Int64
	base    atomic.Int64 // CPM in micros of the snapshot's currency

	plan    *plan
	sent    Counts // own counts that the ledger does not have yet
	sum     Counts // last known of all servers
	meter   meter
	servers int
}

// New makes a manager.
func New(o Options) *Manager {
	if o.Now == nil {
		o.Now = time.Now
	}
	m := &Manager{o: o, states: map[string]*state{}}
	m.live.Store(&map[string]*state{})
	return m
}

// View is a snapshot's items, by GoalIndex.
type View struct {
	states   []*state
	reserver Reserver
}

// Reserver keeps hard caps: see package hardcap.
type Reserver interface {
	Reserve(item *inventory.Item) bool
}

// View makes the decision.Delivery of a snapshot; what is known of items already is kept.
func (m *Manager) View(ctx context.Context, s *inventory.Snapshot, r Reserver) *View {
	v := &View{states: make([]*state, len(s.Goals)), reserver: r}
	live := make(map[string]*state, len(s.Goals))
	now := m.o.Now()
	m.mu.Lock()
	fresh := false
	for i, it := range s.Goals {
		st := m.states[it.ID]
		if st == nil {
			st = &state{servers: 1}
			m.states[it.ID] = st
			fresh = true
		}
		st.plan = newPlan(it, now)
		st.base.Store(it.BaseMicros)
		v.states[i], live[it.ID] = st, st
	}
	m.live.Store(&live)
	m.mu.Unlock()
	if fresh {
		// What was delivered before this process started must be known before it delivers.
		m.report(ctx, true)
	}
	m.Step(ctx)
	return v
}

// Open implements decision.Delivery.
func (v *View) Open(it *inventory.Item, seed uint64) decision.Reason {
	st := v.states[it.GoalIndex]
	if r := decision.Reason(st.stop.Load()); r != decision.None {
		return r
	}
	st.met.Add(1)
	if mix(seed, uint64(it.GoalIndex))>>32 >= st.share.Load() {
		return decision.Paced
	}
	st.passed.Add(1)
	return decision.Eligible
}

// Reserve implements decision.Delivery.
func (v *View) Reserve(it *inventory.Item) bool { return v.reserver.Reserve(it) }

// mix is the finalizer of splitmix64: the bits of a request's seed, anew for each item.
func mix(seed, n uint64) uint64 {
	z := seed + (n+1)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// Add notes a counted event.
func (m *Manager) Add(e *events.Event) {
	if e.Invalid || e.Item == "" || e.Kind != events.Impression && e.Kind != events.Click {
		return
	}
	st := (*m.live.Load())[e.Item]
	if st == nil {
		return
	}
	if e.Kind == events.Click {
		st.clicked.Add(e.Count)
		return
	}
	st.shown.Add(e.Count)
}

// Run computes shares until ctx ends, then sends what is left.
func (m *Manager) Run(ctx context.Context) {
	t := time.NewTicker(Every)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			m.report(ctx, false)
			m.Step(ctx)
		case <-ctx.Done():
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			m.Step(end)
			return
		}
	}
}

// report raises sums to what the reports say, now and then.
func (m *Manager) report(ctx context.Context, now bool) {
	if m.o.Reported == nil || !now && m.o.Now().Sub(m.polled) < reportedEvery || len(*m.live.Load()) == 0 {
		return
	}
	m.polled = m.o.Now()
	limit := 30 * time.Second
	if now { // a catalogue waits to be published
		limit = 3 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	delivered, err := m.o.Reported(ctx, m.oldest())
	if err != nil {
		m.Failures.Add(1)
		m.polled = m.o.Now().Add(time.Minute - reportedEvery)
		m.o.Logger.Warn("pacing: the reports cannot be read; what the live counters know holds", "err", err)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, c := range delivered {
		if st := m.states[id]; st != nil {
			// Reports have prices as booked; pacing counts in one currency.
			c.Micros = max(c.Micros, c.Impressions*st.base.Load())
			st.meter.floor = c
		}
	}
}

// oldest is when the first flight of all items began.
func (m *Manager) oldest() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := m.o.Now()
	for _, st := range *m.live.Load() {
		if s := st.plan.start; !s.IsZero() && s.Before(out) {
			out = s
		} else if s.IsZero() {
			out = m.o.Now().AddDate(-1, 0, 0)
		}
	}
	return out.UTC().Truncate(24 * time.Hour)
}

// Step exchanges counts and computes shares once. Run does it every two seconds.
func (m *Manager) Step(ctx context.Context) {
	m.mu.Lock()
	defer m.mu.Unlock()
	live := *m.live.Load()
	if len(live) == 0 {
		return
	}
	add := map[string]Counts{}
	ids := make([]string, 0, len(live))
	for id, st := range live {
		shown := st.shown.Swap(0)
		st.sent.add(Counts{shown, st.clicked.Swap(0), shown * st.base.Load(), st.met.Swap(0), st.passed.Swap(0)})
		ids = append(ids, id)
		if st.sent != (Counts{}) {
			add[id] = st.sent
		}
	}
	m.exchange(ctx, live, add, ids)
	now := m.o.Now()
	for _, st := range live {
		st.compute(now)
	}
}

func (m *Manager) exchange(ctx context.Context, live map[string]*state, add map[string]Counts, ids []string) {
	if m.o.Ledger == nil {
		for _, st := range live {
			st.sum.add(st.sent)
			st.sent = Counts{}
		}
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	sums, servers, err := m.o.Ledger.Exchange(ctx, add, ids)
	if err != nil {
		m.Failures.Add(1)
		if !m.down {
			m.o.Logger.Warn("pacing: Redis does not answer; this server takes it that the others deliver as it does", "err", err)
		}
		m.down = true
		return
	}
	m.down = false
	for id, st := range live {
		st.sum, st.sent, st.servers = sums[id], Counts{}, max(1, servers)
	}
}
