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

// drainTallies writes what was counted since the last time into the journal. Records are sent together, so that they share syncs.
func (a *app) drainTallies(ctx context.Context) {
	now := time.Now().UnixMilli()
	for _, t := range a.tallies.list() {
		t.Drain(func(e *events.Event) bool {
			e.At = now
			if err := a.journal.Append(ctx, e.Append(nil)); err != nil {
				a.journalFailed(err)
				return false
			}
			a.live.Add(e)
			return true
		})
	}
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
