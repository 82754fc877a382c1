package command

import (
	"context"
	"net/http"
	"sync"
	"time"

	"patag/app/tag/counters"
	"patag/app/tag/events"
	"patag/app/tag/events/ship"
	"patag/app/tag/reports/summary"
	"patag/app/tag/server"
)

const (
	// patience is how long events wait for Redis before they are counted without it.
	patience = 10 * time.Minute
	// afterlife of a replaced tally: longer than any request that may still count into it.
	afterlife  = 20 * time.Second
	flushEvery = time.Second
)

// claimTime is how long it is remembered which batch an event counts in.
func claimTime(k events.Kind) time.Duration { return server.TokenAge(k) + patience + time.Hour }

// tallies are those of the snapshot in use and of the ones before it that may still be counted into.
type tallies struct {
	mu  sync.Mutex
	all []livingTally
}

type livingTally struct {
	*counters.Tally
	until time.Time // zero: in use
}

func (t *tallies) add(n *counters.Tally) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.all {
		if t.all[i].until.IsZero() {
			t.all[i].until = time.Now().Add(afterlife)
		}
	}
	t.all = append(t.all, livingTally{Tally: n})
}

func (t *tallies) list() []*counters.Tally {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]*counters.Tally, len(t.all))
	keep := t.all[:0:0]
	for i, l := range t.all {
		out[i] = l.Tally // also the one that is dropped now: drained a last time
		if l.until.IsZero() || time.Now().Before(l.until) {
			keep = append(keep, l)
		}
	}
	t.all = keep
	return out
}

func (a *app) flushTallies(ctx context.Context) {
	t := time.NewTicker(flushEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			a.drainTallies(ctx)
		}
	}
}

// drainTallies writes what was counted since the last time into the journal, with one sync. What cannot be written waits in memory,
// added up, so that it takes no more room the longer it waits.
func (a *app) drainTallies(ctx context.Context) {
	a.drain.Lock()
	defer a.drain.Unlock()
	if a.waiting == nil {
		a.waiting = map[events.Event]int64{}
	}
	for _, t := range a.tallies.list() {
		t.Drain(func(e *events.Event) bool {
			key := *e
			key.Count = 0
			a.waiting[key] += e.Count
			return true
		})
	}
	const together = 4096 // records: far below a segment
	evs := make([]events.Event, 0, min(together, len(a.waiting)))
	now := time.Now().UnixMilli()
	for key, n := range a.waiting {
		e := key
		e.Count, e.At = n, now
		if evs = append(evs, e); len(evs) == together {
			if !a.write(ctx, evs) {
				return
			}
			evs = evs[:0]
		}
	}
	a.write(ctx, evs)
}

// write takes events from those that wait once they are in the journal.
func (a *app) write(ctx context.Context, evs []events.Event) bool {
	records := make([][]byte, len(evs))
	for i := range evs {
		records[i] = evs[i].Append(nil)
	}
	// Not cut short by ctx: an append that was given up may have been written, and would be counted again.
	if err := a.journal.AppendAll(context.WithoutCancel(ctx), records); err != nil {
		a.journalFailed(err)
		return false
	}
	for i := range evs {
		a.live.Add(&evs[i])
		key := evs[i]
		key.Count, key.At = 0, 0
		delete(a.waiting, key)
	}
	return true
}

// admin is the second port; a server that runs alone also shows its counts there, because there is no store to ask.
func (a *app) admin() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", a.server.Admin(a.reg))
	if t, ok := a.shipper.Sink.(*ship.Totals); ok {
		mux.HandleFunc("GET /debug/report", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			summary.Make(t.Rows(), []summary.Dimension{summary.Placement, summary.LineItem, summary.Source}, nil).Table(w)
		})
	}
	return mux
}
