// Package hardcap keeps line items from ever being served more often than their hard cap, over all servers. A server leases
// impressions in blocks from a counter in Redis and serves only from what it holds: deciding costs one atomic decrement, and no
// crash or outage can lead to one ad too many, unless Redis forgets what it acknowledged. The price is on the safe side: what a crashed server held is not served, and
// without Redis a capped item stops when the leases are used up.
//
// What counts is an ad served, not its rendering: it cannot be known at decision time which ads will render.
package hardcap

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"patag/app/tag/inventory"
)

// Manager leases. Its zero value is not usable: see New.
type Manager struct {
	redis redis.Cmdable // nil: this process alone serves, counting from its start
	log   *slog.Logger
	kick  chan struct{}

	mu     sync.Mutex // guards leases; never taken by a decision
	leases map[string]*lease
	down   bool
}

// lease is what this process holds of one item's cap.
type lease struct {
	id        string
	max       int64
	left      atomic.Int64
	low       atomic.Int64 // refill when fewer are left
	exhausted atomic.Bool
	local     int64 // handed out, when there is no Redis
}

const (
	every    = 200 * time.Millisecond // how often leases are looked at even without being asked
	minLease = 1
	maxLease = 2000
	// A cap is handed out in about this many blocks, so that a crash loses about half a percent of it and its end is shared fairly.
	blocks = 200
)

// New makes a manager. Run keeps its leases filled.
func New(rdb redis.Cmdable, log *slog.Logger) *Manager {
	return &Manager{redis: rdb, log: log, kick: make(chan struct{}, 1), leases: map[string]*lease{}}
}

// View is the leases of one snapshot's items. With package pacing it is the decision.Delivery.
type View struct {
	leases []*lease
	kick   chan struct{}
}

// View leases for a snapshot's capped items; what is held already is kept. It waits for the first leases as long as ctx allows.
func (m *Manager) View(ctx context.Context, s *inventory.Snapshot) *View {
	v := &View{kick: m.kick, leases: make([]*lease, len(s.Capped))}
	m.mu.Lock()
	for i, it := range s.Capped {
		l := m.leases[it.ID]
		if l == nil {
			l = &lease{id: it.ID}
			m.leases[it.ID] = l
		}
		if l.max != it.MaxImpressions {
			l.max = it.MaxImpressions
			l.low.Store(block(l.max) / 2)
			l.exhausted.Store(false)
		}
		v.leases[i] = l
	}
	m.mu.Unlock()
	m.refill(ctx)
	return v
}

// Reserve takes one impression of the item's cap, or says that none can be had. It does not block.
func (v *View) Reserve(it *inventory.Item) bool {
	l := v.leases[it.CapIndex]
	// Compare and swap, not a decrement that is taken back: a refill or a return in between would see a number that is not true.
	for {
		left := l.left.Load()
		if left <= l.low.Load() && !l.exhausted.Load() {
			select {
			case v.kick <- struct{}{}:
			default:
			}
		}
		if left <= 0 {
			return false
		}
		if l.left.CompareAndSwap(left, left-1) {
			return true
		}
	}
}

func block(limit int64) int64 { return min(maxLease, max(minLease, limit/blocks)) }

// Run refills until ctx ends, then gives back what is left.
func (m *Manager) Run(ctx context.Context) {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			m.giveBack(end)
			return
		case <-t.C:
		case <-m.kick:
		}
		m.refill(ctx)
	}
}

func (m *Manager) refill(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range m.leases {
		// A raised cap shows here too: exhausted was cleared when the snapshot brought it.
		if l.exhausted.Load() || l.left.Load() > l.low.Load() {
			continue
		}
		n, err := m.take(ctx, l, block(l.max))
		if err != nil {
			if !m.down {
				m.log.Warn("hard caps: no lease from Redis; capped line items stop when their leases are used up", "lineItem", l.id, "err", err)
			}
			m.down = true
			return
		}
		m.down = false
		if n == 0 {
			l.exhausted.Store(true)
		}
		l.left.Add(n)
	}
}

// take asks for n impressions and says how many were granted. When the answer is lost, so are the impressions: never too many.
func (m *Manager) take(ctx context.Context, l *lease, n int64) (int64, error) {
	if m.redis == nil {
		granted := max(0, min(n, l.max-l.local))
		l.local += granted
		return granted, nil
	}
	total, err := m.redis.IncrBy(ctx, key(l.id), n).Result()
	if err != nil {
		return 0, err
	}
	over := min(n, max(0, total-l.max))
	if over > 0 {
		if err := m.redis.DecrBy(ctx, key(l.id), over).Err(); err != nil {
			m.log.Warn("hard caps: could not give back an overrun; a raised cap will be short of it", "lineItem", l.id, "impressions", over, "err", err)
		}
	}
	return n - over, nil
}

func (m *Manager) giveBack(ctx context.Context) {
	if m.redis == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range m.leases {
		n := l.left.Swap(0)
		if n <= 0 {
			continue
		}
		if err := m.redis.DecrBy(ctx, key(l.id), n).Err(); err != nil {
			m.log.Warn("hard caps: a lease could not be given back; these impressions will not be served", "lineItem", l.id, "impressions", n, "err", err)
		}
	}
}

func key(item string) string { return "cap:" + item }
