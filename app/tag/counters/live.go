package counters

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"patag/app/tag/events"
)

// Live adds counts up for a second and carries them to Redis: a hash per day and placement (n:<yyyymmdd>:p:<placement>), per
// day and line item (n:<yyyymmdd>:i:<line item>) and per day and demand source (n:<yyyymmdd>:s:<source>), with a field per kind;
// invalid traffic has fields of its own. While Redis is away a bounded number of counts waits; what is beyond it is dropped and told.
type Live struct {
	redis redis.Cmdable
	log   *slog.Logger

	mu     sync.Mutex
	counts map[liveKey]int64
	down   bool

	// Failures of flushes, and counts that had no room to wait, since start.
	Failures, Dropped atomic.Int64
}

type liveKey struct{ hash, field string }

const (
	flushEvery = time.Second
	keepFor    = 8 * 24 * time.Hour
	// About 20 MB of hashes and fields.
	maxWaiting = 100_000
)

// NewLive makes a Live. With rdb nil it forgets everything.
func NewLive(rdb redis.Cmdable, log *slog.Logger) *Live {
	return &Live{redis: rdb, log: log, counts: map[liveKey]int64{}}
}

// Add counts e.
func (l *Live) Add(e *events.Event) {
	if l.redis == nil {
		return
	}
	day := time.UnixMilli(e.At).UTC().Format("20060102")
	field := e.Kind.String()
	if e.Invalid {
		field = "invalid_" + field
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.add(liveKey{PlacementKey(day, e.Placement), field}, e.Count)
	if e.Item != "" {
		l.add(liveKey{ItemKey(day, e.Item), field}, e.Count)
	}
	if e.Source != "" {
		l.add(liveKey{SourceKey(day, e.Source), field}, e.Count)
	}
}

// add is called with mu held.
func (l *Live) add(k liveKey, n int64) {
	if _, ok := l.counts[k]; !ok && len(l.counts) >= maxWaiting {
		l.Dropped.Add(n)
		return
	}
	l.counts[k] += n
}

// PlacementKey and ItemKey name the hashes; day is yyyymmdd in UTC.
func PlacementKey(day, id string) string { return "n:" + day + ":p:" + id }

// ItemKey is PlacementKey for line items.
func ItemKey(day, id string) string { return "n:" + day + ":i:" + id }

// SourceKey is PlacementKey for demand sources.
func SourceKey(day, id string) string { return "n:" + day + ":s:" + id }

// Run flushes until ctx ends, then once more.
func (l *Live) Run(ctx context.Context) {
	if l.redis == nil {
		<-ctx.Done()
		return
	}
	t := time.NewTicker(flushEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			l.flush(ctx)
		case <-ctx.Done():
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			l.flush(end)
			return
		}
	}
}

func (l *Live) flush(ctx context.Context) {
	l.mu.Lock()
	counts := l.counts
	l.counts = make(map[liveKey]int64, len(counts))
	l.mu.Unlock()
	if len(counts) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	cmds := make(map[liveKey]*redis.IntCmd, len(counts))
	_, err := l.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		for k, n := range counts {
			cmds[k] = p.HIncrBy(ctx, k.hash, k.field, n)
			p.Expire(ctx, k.hash, keepFor)
		}
		return nil
	})
	if err == nil {
		l.down = false
		return
	}
	l.Failures.Add(1)
	if !l.down {
		l.log.Warn("live counters: Redis does not take them; they are kept and sent again", "err", err)
	}
	l.down = true
	// Only what is known not to have been added goes back. A lost answer may count twice here; reports do not use these counters.
	l.mu.Lock()
	defer l.mu.Unlock()
	for k, n := range counts {
		if cmds[k].Err() != nil {
			l.add(k, n)
		}
	}
}

// Read reads a day's counts of a placement or line item by its key.
func (l *Live) Read(ctx context.Context, key string) (map[string]int64, error) {
	fields, err := l.redis.HGetAll(ctx, key).Result()
	if err != nil {
		return nil, fmt.Errorf("read live counters %s: %w", key, err)
	}
	out := make(map[string]int64, len(fields))
	for f, v := range fields {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("live counter %s %s: %w", key, f, err)
		}
		out[f] = n
	}
	return out, nil
}
