// Package frequency counts how often a user saw a line item, in Redis so that all servers know, and in this process as well, so
// that caps hold without Redis as far as this process saw the user. A decision asks once, within a budget of milliseconds;
// counting an impression never waits. After failures in a row Redis is left alone for a while, so that an outage costs the
// budget a few times and not per request.
package frequency

import (
	"context"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"patag/app/tag/inventory"
)

// Options of a Store.
type Options struct {
	Redis  redis.Cmdable // nil: only this process counts
	Budget time.Duration // per decision; default 5 ms
	Logger *slog.Logger
}

// Stats are counts since start.
type Stats struct {
	Lookups, LocalLookups, Dropped atomic.Int64
}

// Store answers and counts. It implements decision.FrequencyCaps.
type Store struct {
	Stats Stats

	redis   redis.Cmdable
	budget  time.Duration
	log     *slog.Logger
	local   local
	queue   chan key
	lookups chan *lookup
	failed  atomic.Int32
	retryAt atomic.Int64 // Unix ms until which Redis is left alone
}

type key struct {
	item    string
	user    uint64
	seconds int64
	window  int64 // number of the window since the epoch
}

// text is the key in Redis: f:<item>:<window length>:<window>:<user>.
func (k key) text() string {
	b := make([]byte, 0, 96)
	b = append(b, "f:"...)
	b = append(b, k.item...)
	b = strconv.AppendInt(append(b, ':'), k.seconds, 36)
	b = strconv.AppendInt(append(b, ':'), k.window, 36)
	b = strconv.AppendUint(append(b, ':'), k.user, 36)
	return string(b)
}

const (
	queueSize     = 8192
	failuresToTry = 3
	leaveAlone    = time.Second
)

// New makes a store. Run must run for it to ask and tell Redis; before, this process's own counts serve.
func New(o Options) *Store {
	if o.Budget == 0 {
		o.Budget = 5 * time.Millisecond
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	s := &Store{redis: o.Redis, budget: o.Budget, log: o.Logger, queue: make(chan key, queueSize), lookups: make(chan *lookup, lookupsWaiting)}
	for i := range s.local.shards {
		s.local.shards[i].now = map[key]uint32{}
	}
	return s
}

// Over implements decision.FrequencyCaps.
func (s *Store) Over(ctx context.Context, user uint64, now int64, items []*inventory.Item, over []bool) {
	s.Stats.Lookups.Add(1)
	l := lookups.Get().(*lookup)
	l.keys = l.keys[:0]
	for _, it := range items {
		for _, f := range it.Frequency {
			l.keys = append(l.keys, key{it.ID, user, f.Seconds, now / f.Seconds})
		}
	}
	ok, mine := s.ask(ctx, l)
	if !ok {
		s.Stats.LocalLookups.Add(1)
	}
	n := 0
	for i, it := range items {
		for _, f := range it.Frequency {
			// The local count is ahead of Redis by what is queued; Redis is ahead by what other servers counted.
			count := s.local.get(key{it.ID, user, f.Seconds, now / f.Seconds})
			if ok {
				count = max(count, l.counts[n])
			}
			if count >= f.Impressions {
				over[i] = true
			}
			n++
		}
	}
	if mine {
		lookups.Put(l)
	}
}

func (s *Store) fail(err error) {
	if time.Now().UnixMilli() < s.retryAt.Load() {
		return // known, and said: counting goes on trying meanwhile
	}
	if s.failed.Add(1) >= failuresToTry {
		s.failed.Store(0)
		s.retryAt.Store(time.Now().Add(leaveAlone).UnixMilli())
		s.log.Warn("frequency caps: Redis does not answer in time; this process's own counts serve", "err", err, "retry_in", leaveAlone)
	}
}

// Count notes one impression of an item by a user. It does not block.
func (s *Store) Count(user uint64, now int64, it *inventory.Item) {
	if user == 0 {
		return
	}
	for _, f := range it.Frequency {
		k := key{it.ID, user, f.Seconds, now / f.Seconds}
		s.local.add(k)
		if s.redis == nil {
			continue
		}
		select {
		case s.queue <- k:
		default:
			s.Stats.Dropped.Add(1)
		}
	}
}

// Run asks Redis for decisions and carries counts to it until ctx ends, then what is left for at most a second.
func (s *Store) Run(ctx context.Context) {
	if s.redis == nil {
		<-ctx.Done()
		return
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	for range lookupWorkers {
		wg.Go(func() { s.answer(ctx) })
	}
	s.carry(ctx)
}

func (s *Store) carry(ctx context.Context) {
	batch := make([]key, 0, 256)
	for {
		batch = batch[:0]
		select {
		case k := <-s.queue:
			batch = append(batch, k)
		case <-ctx.Done():
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			for batch = s.more(batch); len(batch) > 0 && end.Err() == nil; batch = s.more(batch[:0]) {
				s.send(end, batch)
			}
			return
		}
		s.send(ctx, s.more(batch))
	}
}

func (s *Store) more(batch []key) []key {
	for len(batch) < cap(batch) {
		select {
		case k := <-s.queue:
			batch = append(batch, k)
		default:
			return batch
		}
	}
	return batch
}

func (s *Store) send(ctx context.Context, batch []key) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, err := s.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, k := range batch {
			t := k.text()
			p.Incr(ctx, t)
			p.Expire(ctx, t, time.Duration(k.seconds)*time.Second)
		}
		return nil
	})
	if err != nil {
		s.Stats.Dropped.Add(int64(len(batch)))
		s.fail(err)
	}
}

// local is a bounded count per key: when a shard is full, its older half is forgotten. Locks are per shard and held for one
// map access, and only requests that meet a frequency cap come here.
type local struct{ shards [64]shard }

type shard struct {
	mu       sync.Mutex
	now, old map[key]uint32
}

const shardSize = 4096 // keys per generation: 64 shards × 2 × 4096 keys are about 50 MB at worst

func (l *local) shard(k key) *shard {
	return &l.shards[(k.user^uint64(k.window))%uint64(len(l.shards))]
}

func (l *local) get(k key) uint32 {
	s := l.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if n, ok := s.now[k]; ok {
		return n
	}
	return s.old[k]
}

func (l *local) add(k key) {
	s := l.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	n, ok := s.now[k]
	if !ok {
		n = s.old[k]
		if len(s.now) >= shardSize {
			s.old, s.now = s.now, make(map[key]uint32)
		}
	}
	s.now[k] = n + 1
}
