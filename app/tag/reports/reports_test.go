package reports

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"patag/app/tag/events/ship"
	"patag/app/tag/faulttest/parts"
)

var quiet = slog.New(slog.DiscardHandler)

func store(t *testing.T) *Store {
	t.Helper()
	s := connect(t, parts.FerretDB(t))
	if err := s.Indexes(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func connect(t *testing.T, f *parts.Part) *Store {
	t.Helper()
	c, err := mongo.Connect(t.Context(), options.Client().ApplyURI("mongodb://"+f.Addr).SetRetryWrites(false))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Disconnect(context.Background()) })
	return New(c.Database("reports"))
}

// start is the start of a day in UTC.
var start = time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)

func take(t *testing.T, s *Store, id string, at time.Time, rows ...ship.Row) {
	t.Helper()
	for i := range rows {
		if rows[i].Hour == 0 {
			rows[i].Hour = at.Truncate(time.Hour).Unix()
		}
	}
	for range 2 { // an answer that was lost: the same batch comes again, and must change nothing
		if err := s.Take(t.Context(), &ship.Batch{ID: id, Server: "s", At: at, Rows: rows}); err != nil {
			t.Fatal(err)
		}
	}
}

func impressions(placement string, n int64) ship.Row {
	return ship.Row{Kind: "impression", Placement: placement, LineItem: "i", Currency: "EUR", Count: n, CPMMicros: n * 2000}
}

// counts of impressions by placement, over a time.
func counts(t *testing.T, s *Store, from, to time.Time, d Detail) map[string]int64 {
	t.Helper()
	rows, err := s.Rows(t.Context(), from, to, d)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]int64{}
	for _, r := range rows {
		if r.CPMMicros != r.Count*2000 {
			t.Errorf("%d impressions at 2000 each add up to %d", r.Count, r.CPMMicros)
		}
		out[r.Placement] += r.Count
	}
	return out
}

func documents(t *testing.T, s *Store, name string, filter bson.D) int64 {
	t.Helper()
	n, err := s.db.Collection(name).CountDocuments(t.Context(), filter)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Three days of batches, compacted as time goes by: reports say the same at every moment, by the hour and by the day, and in the
// end a few parts hold what many batches did.
func TestReportsStayTheSameWhileTheyAreAddedUp(t *testing.T) {
	s := store(t)
	now := start
	c := &Compactor{Store: s, Logger: quiet, Now: func() time.Time { return now }}
	want := map[string]int64{}
	day2 := map[string]int64{}
	n := 0
	for now.Before(start.Add(72 * time.Hour)) {
		for range 3 {
			p := fmt.Sprintf("p%d", n%4)
			rows := []ship.Row{impressions(p, int64(1+n%7))}
			want[p] += rows[0].Count
			if n%10 == 0 { // of the hour before: it waited in a journal
				rows[0].Hour = now.Add(-time.Hour).Truncate(time.Hour).Unix()
			}
			at := now
			if rows[0].Hour != 0 {
				at = time.Unix(rows[0].Hour, 0)
			}
			if !at.Before(start.Add(24*time.Hour)) && at.Before(start.Add(48*time.Hour)) {
				day2[p] += rows[0].Count
			}
			take(t, s, fmt.Sprintf("b%05d", n), now, rows...)
			n++
		}
		now = now.Add(143 * time.Minute)
		if err := c.Compact(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n%9 == 0 {
			for d, name := range map[Detail]string{ByHour: "hours", ByDay: "days"} {
				if got := counts(t, s, start.Add(-24*time.Hour), start.Add(96*time.Hour), d); !maps.Equal(got, want) {
					t.Fatalf("by %s after %d batches: %v, want %v", name, n, got, want)
				}
			}
		}
	}
	for range 3 {
		now = now.Add(48 * time.Hour)
		if err := c.Compact(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for d, name := range map[Detail]string{ByHour: "hours", ByDay: "days"} {
		if got := counts(t, s, start.Add(24*time.Hour), start.Add(48*time.Hour), d); !maps.Equal(got, day2) {
			t.Errorf("second day by %s: %v, want %v", name, got, day2)
		}
	}
	if got := documents(t, s, batches, bson.D{notMerged}) + documents(t, s, minutes, bson.D{notMerged}) + documents(t, s, hours, bson.D{notMerged}); got != 0 {
		t.Errorf("%d documents are not added up to days", got)
	}
	var total, delivered int64
	for _, n := range want {
		total += n
	}
	rows, err := s.Delivered(t.Context(), start.Add(-24*time.Hour))
	for _, r := range rows {
		delivered += r.Count
	}
	if err != nil || len(rows) != 1 || delivered != total {
		t.Errorf("delivered %v, %v; want %d impressions of one item", rows, err, total)
	}
	if got := documents(t, s, days, bson.D{}); got == 0 || got > 8 {
		t.Errorf("%d parts for three days", got)
	}
}

// A compactor that dies between writing a part and marking its inputs leaves nothing to count twice, for readers nor the next one.
func TestDeathBeforeMarkingCountsOnce(t *testing.T) {
	s := store(t)
	take(t, s, "a", start, impressions("p", 3))
	take(t, s, "b", start, impressions("p", 4))
	now := start.Add(10 * time.Minute)
	c := &Compactor{Store: s, Logger: quiet, Now: func() time.Time { return now }}
	if _, err := c.round(t.Context(), &levels[0]); err != nil {
		t.Fatal(err)
	}
	// As if it had died: the marks are gone.
	if _, err := s.db.Collection(batches).UpdateMany(t.Context(), bson.D{}, bson.D{{Key: "$set", Value: bson.D{{Key: "merged", Value: false}}}}); err != nil {
		t.Fatal(err)
	}
	take(t, s, "c", start, impressions("p", 5))
	want := map[string]int64{"p": 12}
	if got := counts(t, s, start, start.Add(time.Hour), ByHour); !maps.Equal(got, want) {
		t.Fatalf("%v after the death, want %v", got, want)
	}
	if err := c.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := counts(t, s, start, start.Add(time.Hour), ByHour); !maps.Equal(got, want) || documents(t, s, batches, bson.D{notMerged}) != 0 {
		t.Errorf("%v after the next compactor, want %v", got, want)
	}
}

// Several compactors, killed by cancelled contexts at random moments, batches coming and reports being read at the same time.
func TestManyCompactorsCountOnce(t *testing.T) {
	f := parts.FerretDB(t)
	s := connect(t, f)
	var mu sync.Mutex
	now := start.Add(time.Minute)
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	const total = 150
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var wg sync.WaitGroup
	conflicts := make([]*Compactor, 3)
	for i := range conflicts {
		// A client of its own: a cut-off call closes its connection, and FerretDB then drops the cursors that were opened on it.
		c := &Compactor{Store: connect(t, f), Logger: quiet, Now: clock}
		conflicts[i] = c
		wg.Go(func() {
			for ctx.Err() == nil {
				short, cancel := context.WithTimeout(ctx, time.Duration(1+rand.N(60))*time.Millisecond)
				c.Compact(short) // may be cut off anywhere
				cancel()
			}
		})
	}
	for n := range total {
		take(t, s, fmt.Sprint("b", n), clock(), impressions("p", 1))
		mu.Lock()
		now = now.Add(7 * time.Minute)
		mu.Unlock()
		if n%10 == 0 {
			rows, err := s.Rows(t.Context(), start, start.Add(96*time.Hour), Detail(n/10%2))
			if errors.Is(err, ErrMoving) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			var got int64
			for _, r := range rows {
				got += r.Count
			}
			if got != int64(n+1) {
				t.Fatalf("%d impressions in the middle, want %d", got, n+1)
			}
		}
	}
	stop()
	wg.Wait()
	c := &Compactor{Store: s, Logger: quiet, Now: clock}
	if err := c.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, d := range []Detail{ByHour, ByDay} {
		if got := counts(t, s, start, start.Add(96*time.Hour), d)["p"]; got != total {
			t.Errorf("detail %d: %d impressions, want %d", d, got, total)
		}
	}
	t.Logf("%d parts, %d conflicts", conflicts[0].Stats.Parts.Load()+conflicts[1].Stats.Parts.Load()+conflicts[2].Stats.Parts.Load(),
		conflicts[0].Stats.Conflicts.Load()+conflicts[1].Stats.Conflicts.Load()+conflicts[2].Stats.Conflicts.Load())
}

// What has been added up for long enough is removed; days stay, hours that are gone are refused rather than reported as nothing.
func TestOldDocumentsGoAndDaysStay(t *testing.T) {
	s := store(t)
	now := start
	c := &Compactor{Store: s, Logger: quiet, Now: func() time.Time { return now }, KeepBatches: 48 * time.Hour, KeepHours: 72 * time.Hour}
	for d := range 8 {
		take(t, s, fmt.Sprint("b", d), start.Add(time.Duration(d)*24*time.Hour), impressions("p", 10))
		for range 8 {
			now = now.Add(3 * time.Hour)
			if err := c.Compact(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if b, h := documents(t, s, batches, bson.D{}), documents(t, s, hours, bson.D{}); b > 3 || h > 5 {
		t.Errorf("%d batches and %d hours are kept", b, h)
	}
	if got := counts(t, s, start, start.Add(8*24*time.Hour), ByDay)["p"]; got != 80 {
		t.Errorf("%d impressions by day, want 80", got)
	}
	if _, err := s.Rows(t.Context(), start, start.Add(8*24*time.Hour), ByHour); !errors.Is(err, ErrTooOld) {
		t.Errorf("hours that are gone: %v, want ErrTooOld", err)
	}
	if got := counts(t, s, start.Add(7*24*time.Hour), start.Add(8*24*time.Hour), ByHour)["p"]; got != 10 {
		t.Errorf("%d impressions in the last day's hours, want 10", got)
	}
}
