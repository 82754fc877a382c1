package frequency

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"patag/app/tag/faulttest/parts"
	"patag/app/tag/inventory"
	"patag/app/tag/redisproxy"
)

var item = &inventory.Item{ID: "i", Frequency: []inventory.FrequencyCap{{Impressions: 3, Seconds: 60}, {Impressions: 5, Seconds: 3600}}}

func over(t *testing.T, s *Store, user uint64, now int64) bool {
	t.Helper()
	out := make([]bool, 1)
	s.Over(t.Context(), user, now, []*inventory.Item{item}, out)
	return out[0]
}

// All windows must hold, windows end, and users do not share them.
func TestWindowsHoldToTheImpression(t *testing.T) {
	s := New(Options{Logger: slog.New(slog.DiscardHandler)})
	const now = 7200 * 1000
	shown := 0
	for minute := range int64(60) {
		for range 10 {
			if at := now + minute*60; !over(t, s, 1, at) {
				s.Count(1, at, item)
				shown++
			}
		}
		if want := min(3*(int(minute)+1), 5); shown != want {
			t.Fatalf("after minute %d %d were shown, want %d", minute, shown, want)
		}
	}
	if over(t, s, 1, now+3600) || over(t, s, 2, now) {
		t.Error("a new hour, or another user, is capped")
	}
}

// Servers share counts through the real twemproxy; without Redis each goes on from what it saw itself, and nothing waits for Redis
// longer than the budget.
func TestServersShareCountsAndFallBack(t *testing.T) {
	redis := parts.Redis(t)
	proxy := parts.Twemproxy(t, redis)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	stores := make([]*Store, 2)
	for i := range stores {
		rdb := redisproxy.New(redisproxy.Options{Addr: proxy.Addr})
		t.Cleanup(func() { rdb.Close() })
		// The budget is generous: the machine that tests is busy, and this is not about speed.
		stores[i] = New(Options{Redis: rdb, Budget: 500 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
		go stores[i].Run(ctx)
	}
	a, b := stores[0], stores[1]
	const now = 7200 * 1000
	for range 3 {
		if over(t, a, 1, now) {
			t.Fatal("capped too early")
		}
		a.Count(1, now, item)
	}
	for until := time.Now().Add(5 * time.Second); !over(t, b, 1, now); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("the other server never learns of three impressions")
		}
	}
	redis.Kill()
	if !over(t, a, 1, now) {
		t.Error("without Redis a server forgets what it counted itself")
	}
	for range 10 { // failures in a row: Redis is left alone
		over(t, b, 1, now)
	}
	begin, before := time.Now(), b.Stats.LocalLookups.Load()
	for range 100 {
		over(t, b, 1, now)
	}
	if d := time.Since(begin); d > 2*time.Second || b.Stats.LocalLookups.Load() != before+100 {
		t.Errorf("100 decisions without Redis took %s, %d were answered locally", d, b.Stats.LocalLookups.Load()-before)
	}
}

func TestLocalCountsAreBounded(t *testing.T) {
	var l local
	for i := range l.shards {
		l.shards[i].now = map[key]uint32{}
	}
	for u := range uint64(3 * 64 * 2 * shardSize) {
		l.add(key{item: "i", user: u, seconds: 60})
	}
	n := 0
	for i := range l.shards {
		n += len(l.shards[i].now) + len(l.shards[i].old)
	}
	if n > 64*2*shardSize {
		t.Errorf("%d keys are kept; at most %d may be", n, 64*2*shardSize)
	}
}
