package ship

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"patag/app/tag/events"
	"patag/app/tag/events/journal"
)

// reports is a sink that takes each batch id once, and can fail before or after it took one.
type reports struct {
	ids          map[string]bool
	rows         []Row
	before, lost error
}

func (r *reports) Take(_ context.Context, b *Batch) error {
	if r.before != nil {
		return r.before
	}
	if !r.ids[b.ID] {
		if r.ids == nil {
			r.ids = map[string]bool{}
		}
		r.ids[b.ID] = true
		r.rows = append(r.rows, b.Rows...)
	}
	return r.lost
}

func (r *reports) count(kind events.Kind) (n int64) {
	for _, row := range r.rows {
		if row.Kind == kind.String() {
			n += row.Count
		}
	}
	return n
}

// claims is what Redis does.
type claims struct {
	mu    sync.Mutex
	owner map[Key]string
	err   error
}

func (c *claims) Claim(_ context.Context, owner string, keys []Key) ([]bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return nil, c.err
	}
	out := make([]bool, len(keys))
	for i, k := range keys {
		if c.owner[k] == "" {
			c.owner[k] = owner
		}
		out[i] = c.owner[k] == owner
	}
	return out, nil
}

const nowMilli = 1_790_000_000_000

func clock() time.Time { return time.UnixMilli(nowMilli) }

func shipper(t *testing.T, sink Sink, c Claims) *Shipper {
	t.Helper()
	j, err := journal.Open(t.TempDir(), journal.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return &Shipper{Journal: j, Sink: sink, Claims: c, Server: "s", Logger: slog.New(slog.DiscardHandler), Now: clock}
}

func put(t *testing.T, s *Shipper, kind events.Kind, token uint64) {
	t.Helper()
	e := events.Event{Kind: kind, At: nowMilli, Token: token, Count: 1, CPMMicros: 2000, Currency: "EUR", Placement: "p", Item: "i"}
	if err := s.Journal.Append(t.Context(), e.Append(nil)); err != nil {
		t.Fatal(err)
	}
}

func TestTwoServersCountAnEventOnce(t *testing.T) {
	r, c := &reports{}, &claims{owner: map[Key]string{}}
	a, b := shipper(t, r, c), shipper(t, r, c)
	for token := range uint64(10) {
		put(t, a, events.Impression, token)
		put(t, a, events.Impression, token)
		put(t, b, events.Impression, token)
	}
	put(t, b, events.Click, 3)
	for _, s := range []*Shipper{a, b} {
		if err := s.Ship(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s.Journal.Size() != 0 {
			t.Errorf("%d bytes stay in the journal", s.Journal.Size())
		}
	}
	if r.count(events.Impression) != 10 || r.count(events.Click) != 1 {
		t.Errorf("%d impressions, %d clicks; want 10 and 1", r.count(events.Impression), r.count(events.Click))
	}
	if a.Stats.Duplicates.Load() != 10 || b.Stats.Duplicates.Load() != 10 {
		t.Errorf("duplicates %d and %d, want 10 each", a.Stats.Duplicates.Load(), b.Stats.Duplicates.Load())
	}
}

// The store took the batch, and its answer was lost: the repeated batch must count as the first did.
func TestRepeatedBatchCountsOnce(t *testing.T) {
	r, c := &reports{lost: errors.New("connection reset")}, &claims{owner: map[Key]string{}}
	s := shipper(t, r, c)
	put(t, s, events.Impression, 1)
	if err := s.Ship(t.Context()); err == nil {
		t.Fatal("a lost answer is not success")
	}
	r.lost = nil
	put(t, s, events.Impression, 2)
	if err := s.Ship(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r.count(events.Impression) != 2 {
		t.Errorf("%d impressions, want 2", r.count(events.Impression))
	}
}

// The claims were made and the store was away: the batch made later finds its own claims.
func TestOwnClaimsHold(t *testing.T) {
	r, c := &reports{before: errors.New("away")}, &claims{owner: map[Key]string{}}
	s := shipper(t, r, c)
	put(t, s, events.Impression, 1)
	for range 3 {
		if s.Ship(t.Context()) == nil {
			t.Fatal("shipped to a store that is away")
		}
	}
	r.before = nil
	if err := s.Ship(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r.count(events.Impression) != 1 {
		t.Errorf("%d impressions, want 1", r.count(events.Impression))
	}
}

func TestWithoutRedisEventsWaitThenCountAnyway(t *testing.T) {
	r, c := &reports{}, &claims{owner: map[Key]string{}, err: errors.New("away")}
	s := shipper(t, r, c)
	s.Patience = time.Hour
	put(t, s, events.Impression, 1)
	if s.Ship(t.Context()) == nil || len(r.rows) != 0 {
		t.Fatal("counted without asking Redis")
	}
	segs, err := s.Journal.Sealed()
	if err != nil || len(segs) != 1 {
		t.Fatalf("%v, %v", segs, err)
	}
	s.Now = time.Now
	if s.Ship(t.Context()) == nil {
		t.Fatal("counted before it has waited")
	}
	old := time.Now().Add(-2 * time.Hour)
	if err := os.Chtimes(segs[0].Path, old, old); err != nil {
		t.Fatal(err)
	}
	if err := s.Ship(t.Context()); err != nil || r.count(events.Impression) != 1 || s.Stats.Unclaimed.Load() != 1 {
		t.Errorf("after waiting: %v, %d impressions, %d unclaimed", err, r.count(events.Impression), s.Stats.Unclaimed.Load())
	}
}

// A clock that jumped ahead by years, or had not been set, loses nothing and makes no hours that nobody asks for.
func TestClockJumpsKeepHoursSane(t *testing.T) {
	r := &reports{}
	s := shipper(t, r, nil)
	const h = 3600 * 1000
	for i, at := range []int64{nowMilli, nowMilli - 3*h, nowMilli + h/2, nowMilli + 24*h, nowMilli + 10*365*24*h, 1000, -5 * h} {
		e := events.Event{Kind: events.Impression, At: at, Token: uint64(i + 1), Count: 1, Placement: "p"}
		if err := s.Journal.Append(t.Context(), e.Append(nil)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Ship(t.Context()); err != nil {
		t.Fatal(err)
	}
	now := int64(nowMilli / 1000 / 3600 * 3600)
	got := map[int64]int64{}
	for _, row := range r.rows {
		got[(row.Hour-now)/3600] += row.Count
	}
	if got[0]+got[1] != 6 || got[-3] != 1 || len(got) > 3 || s.Stats.Misdated.Load() != 4 {
		t.Errorf("events by hours from now: %v, misdated %d", got, s.Stats.Misdated.Load())
	}
}

// Attempts and passbacks of one token count once for each source of a chain, on whatever server they arrive.
func TestChainsCountOnceForEachSource(t *testing.T) {
	r, c := &reports{}, &claims{owner: map[Key]string{}}
	a, b := shipper(t, r, c), shipper(t, r, c)
	for _, s := range []*Shipper{a, b} {
		for _, source := range []string{"first", "second", "first"} {
			for _, kind := range []events.Kind{events.Attempt, events.Passback} {
				e := events.Event{Kind: kind, At: nowMilli, Token: 7, Count: 1, Placement: "p", Source: source, Arm: "x/a"}
				if err := s.Journal.Append(t.Context(), e.Append(nil)); err != nil {
					t.Fatal(err)
				}
			}
		}
		e := events.Event{Kind: events.Attempt, At: nowMilli, Count: 50, Placement: "p", Source: "exchange"} // a server's own sum
		if err := s.Journal.Append(t.Context(), e.Append(nil)); err != nil {
			t.Fatal(err)
		}
		if err := s.Ship(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if r.count(events.Attempt) != 102 || r.count(events.Passback) != 2 {
		t.Errorf("%d attempts, %d passbacks; want 102 and 2", r.count(events.Attempt), r.count(events.Passback))
	}
	for _, row := range r.rows {
		if row.Source == "first" && row.Arm != "x/a" {
			t.Errorf("the arm is lost: %+v", row)
		}
	}
}
