package frequency

import (
	"context"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// lookup is one decision's question to Redis. Questions that come at the same time share a round trip: on a busy server that
// is most of what a question costs.
type lookup struct {
	keys   []key
	counts []uint32
	ok     bool
	done   chan struct{} // has room for one
	timer  *time.Timer
}

const (
	lookupsWaiting = 1024
	lookupsAtOnce  = 64
	// lookupWorkers is how many round trips are under way at most: few, because what waits for one travels together in the next.
	lookupWorkers = 2
)

var lookups = sync.Pool{New: func() any {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return &lookup{done: make(chan struct{}, 1), timer: t}
}}

// ask returns the shared counts of l.keys in l.counts, or false when they cannot be had within the budget; then l belongs to
// the worker that may still answer it, and must not be used again.
func (s *Store) ask(ctx context.Context, l *lookup) (answered, mine bool) {
	if s.redis == nil || time.Now().UnixMilli() < s.retryAt.Load() {
		return false, true
	}
	select {
	case s.lookups <- l:
	default: // Redis is behind: what waits there would come too late
		return false, true
	}
	l.timer.Reset(s.budget)
	select {
	case <-l.done:
		l.timer.Stop()
		return l.ok, true
	case <-l.timer.C:
	case <-ctx.Done():
	}
	return false, false
}

// answer asks Redis for what decisions want to know until ctx ends.
func (s *Store) answer(ctx context.Context) {
	batch := make([]*lookup, 0, lookupsAtOnce)
	for {
		select {
		case l := <-s.lookups:
			batch = append(batch[:0], l)
		case <-ctx.Done():
			return
		}
		runtime.Gosched() // requests that are about to ask do so first
		for len(batch) < cap(batch) {
			select {
			case l := <-s.lookups:
				batch = append(batch, l)
				continue
			default:
			}
			break
		}
		s.roundTrip(ctx, batch)
		for i, l := range batch {
			l.done <- struct{}{}
			batch[i] = nil
		}
	}
}

// roundTrip answers a batch. Each lookup is a command of its own: when one shard is away, those of the others are answered.
func (s *Store) roundTrip(ctx context.Context, batch []*lookup) {
	ctx, cancel := context.WithTimeout(ctx, s.budget)
	defer cancel()
	cmds := make([]*redis.SliceCmd, len(batch))
	_, err := s.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, l := range batch {
			texts := make([]string, len(l.keys))
			for j, k := range l.keys {
				texts[j] = k.text()
			}
			cmds[i] = p.MGet(ctx, texts...)
		}
		return nil
	})
	if err != nil {
		s.fail(err)
	} else {
		s.failed.Store(0)
	}
	for i, l := range batch {
		values, err := cmds[i].Result()
		if l.ok = err == nil && len(values) == len(l.keys); !l.ok {
			continue
		}
		l.counts = l.counts[:0]
		for _, v := range values {
			var n uint64
			if t, ok := v.(string); ok {
				n, _ = strconv.ParseUint(t, 10, 32)
			}
			l.counts = append(l.counts, uint32(n))
		}
	}
}
