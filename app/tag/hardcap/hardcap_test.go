package hardcap

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"

	"patag/app/tag/inventory"
)

func view(t *testing.T, m *Manager, max int64) (*View, *inventory.Item) {
	t.Helper()
	it := &inventory.Item{ID: "capped", MaxImpressions: max, CapIndex: 0}
	return m.View(t.Context(), &inventory.Snapshot{Capped: []*inventory.Item{it}}), it
}

// Many goroutines reserve while leases are refilled and snapshots replaced: never one too many, and in the end all.
func TestNeverOverAndInTheEndAll(t *testing.T) {
	const limit = 5000
	m := New(nil, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	go m.Run(ctx)
	defer cancel()
	var served atomic.Int64
	v, it := view(t, m, limit)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100000 {
				if v.Reserve(it) {
					served.Add(1)
				}
			}
		})
	}
	for range 50 {
		view(t, m, limit)
	}
	wg.Wait()
	for range limit {
		m.refill(t.Context())
		if v.Reserve(it) {
			served.Add(1)
		}
	}
	if served.Load() != limit {
		t.Errorf("a cap of %d was served %d times", limit, served.Load())
	}
}

func TestARaisedCapServesTheDifference(t *testing.T) {
	m := New(nil, slog.New(slog.DiscardHandler))
	for _, step := range []struct{ max, want int64 }{{3, 3}, {5, 2}} {
		v, it := view(t, m, step.max)
		got := int64(0)
		for range 20 {
			m.refill(t.Context())
			if v.Reserve(it) {
				got++
			}
		}
		if got != step.want {
			t.Errorf("with a cap of %d, %d were served, want %d", step.max, got, step.want)
		}
	}
}
