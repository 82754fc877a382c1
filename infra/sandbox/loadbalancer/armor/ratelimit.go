package armor

import (
	"fmt"
	"sync"
	"time"
)

type threshold struct {
	Count       int64 `json:"count"`
	IntervalSec int64 `json:"intervalSec"`
}

type rateLimitJSON struct {
	Threshold        threshold `json:"rateLimitThreshold"`
	ConformAction    string    `json:"conformAction"`
	ExceedAction     string    `json:"exceedAction"`
	EnforceOnKey     string    `json:"enforceOnKey"`
	EnforceOnKeyName string    `json:"enforceOnKeyName"`
	// Configs combine several keys; not simulated.
	Configs        []any      `json:"enforceOnKeyConfigs"`
	BanThreshold   *threshold `json:"banThreshold"`
	BanDurationSec int64      `json:"banDurationSec"`
}

// maxKeys bounds the memory of one rule's counters; Google's counts are approximate too.
const maxKeys = 100_000

type limiter struct {
	limit    threshold
	exceed   int
	key      func(*Request) string
	ban      time.Duration
	banAfter *threshold

	mu       sync.Mutex
	counters map[string]*counter
}

// counter counts in fixed windows.
type counter struct {
	begin, banBegin time.Time
	n, over         int64
	banned          time.Time
}

func newLimiter(action string, o *rateLimitJSON) (*limiter, error) {
	if o == nil || o.Threshold.Count <= 0 || o.Threshold.IntervalSec <= 0 {
		return nil, fmt.Errorf("the action %s has no rateLimitThreshold", action)
	}
	if len(o.Configs) > 0 {
		return nil, fmt.Errorf("enforceOnKeyConfigs is not simulated")
	}
	exceed, err := denyStatus(o.ExceedAction)
	if err != nil {
		return nil, fmt.Errorf("exceedAction: %w", err)
	}
	l := &limiter{limit: o.Threshold, exceed: exceed, counters: map[string]*counter{}}
	switch o.EnforceOnKey {
	case "", "ALL":
		l.key = func(*Request) string { return "" }
	case "IP":
		l.key = func(q *Request) string { return q.IP.String() }
	case "HTTP_PATH":
		l.key = func(q *Request) string { return q.Path }
	case "HTTP_HEADER":
		name := canonical(o.EnforceOnKeyName)
		l.key = func(q *Request) string { return q.Header(name) }
	case "XFF_IP":
		l.key = func(q *Request) string {
			if first := firstOf(q.Header("X-Forwarded-For")); first != "" {
				return first
			}
			return q.IP.String()
		}
	default:
		return nil, fmt.Errorf("enforceOnKey %s is not simulated", o.EnforceOnKey)
	}
	if action == "rate_based_ban" {
		l.ban, l.banAfter = time.Duration(o.BanDurationSec)*time.Second, o.BanThreshold
	}
	return l, nil
}

// take counts a request; it returns 0, or the status with which it is refused.
func (l *limiter) take(q *Request, now time.Time) int {
	key := l.key(q)
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.counters[key]
	if c == nil {
		if len(l.counters) >= maxKeys {
			l.forget(now)
		}
		c = &counter{begin: now, banBegin: now}
		l.counters[key] = c
	}
	if now.Before(c.banned) {
		return l.exceed
	}
	if now.Sub(c.begin) >= time.Duration(l.limit.IntervalSec)*time.Second {
		c.begin, c.n = now, 0
	}
	c.n++
	if c.n <= l.limit.Count {
		return 0
	}
	if l.ban > 0 {
		switch {
		case l.banAfter == nil:
			c.banned = now.Add(l.ban)
		default:
			if now.Sub(c.banBegin) >= time.Duration(l.banAfter.IntervalSec)*time.Second {
				c.banBegin, c.over = now, 0
			}
			if c.over++; c.over > l.banAfter.Count {
				c.banned = now.Add(l.ban)
			}
		}
	}
	return l.exceed
}

// forget drops counters whose window is over, or all if that frees nothing.
func (l *limiter) forget(now time.Time) {
	for key, c := range l.counters {
		if now.Sub(c.begin) >= time.Duration(l.limit.IntervalSec)*time.Second && !now.Before(c.banned) {
			delete(l.counters, key)
		}
	}
	if len(l.counters) >= maxKeys {
		clear(l.counters)
	}
}
