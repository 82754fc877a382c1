package counters

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"patag/app/tag/events"
	"patag/app/tag/faulttest/parts"
)

// Counts wait while Redis is away, up to a bound, and arrive when it is back.
func TestLiveCountsWaitForRedis(t *testing.T) {
	server := parts.Redis(t)
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr, MaxRetries: -1})
	defer rdb.Close()
	l := NewLive(rdb, slog.New(slog.DiscardHandler))
	at := time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)
	e := events.Event{Kind: events.Passback, At: at.UnixMilli(), Count: 2, Placement: "p", Source: "s"}
	l.Add(&e)
	server.Kill()
	l.flush(t.Context())
	if l.Failures.Load() != 1 {
		t.Fatalf("%d failures with Redis away", l.Failures.Load())
	}
	e.Invalid = true
	l.Add(&e)
	server.Start()
	l.flush(t.Context())
	for _, key := range []string{PlacementKey("20261102", "p"), SourceKey("20261102", "s")} {
		got, err := l.Read(t.Context(), key)
		if err != nil || got["passback"] != 2 || got["invalid_passback"] != 2 {
			t.Errorf("%s: %v, %v", key, got, err)
		}
	}
}

func TestLiveIsBounded(t *testing.T) {
	l := NewLive(redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"}), slog.New(slog.DiscardHandler))
	for i := range maxWaiting + 10 {
		l.Add(&events.Event{Kind: events.Request, Count: 3, Placement: fmt.Sprint(i)})
	}
	if len(l.counts) != maxWaiting || l.Dropped.Load() != 30 {
		t.Errorf("%d wait, %d were dropped; want %d and 30", len(l.counts), l.Dropped.Load(), maxWaiting)
	}
}
