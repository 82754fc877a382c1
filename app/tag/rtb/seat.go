package rtb

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
	"golang.org/x/time/rate"

	"patag/app/tag/inventory"
)

// Circuit breaker of a source: opens when at least half of at least breakerLeast answers in the last ten seconds failed or came
// late, stays open for five seconds, then lets breakerProbes through, which must all succeed.
const (
	breakerWindow = 10 * time.Second
	breakerBucket = time.Second
	breakerLeast  = 20
	breakerOpen   = 5 * time.Second
	breakerProbes = 3
)

// seat is what is kept about a source from one request to the next, and from one snapshot to the next.
type seat struct {
	*seatMetrics
	breaker  *gobreaker.TwoStepCircuitBreaker[struct{}]
	limiter  *rate.Limiter
	inFlight atomic.Int64

	mu    sync.Mutex
	state atomic.Pointer[seatState]

	outbox outbox
}

// seatState follows from the source as it is in a snapshot.
type seatState struct {
	source *inventory.Source
	url    *url.URL
	header http.Header
}

func (s *seat) current() *seatState { return s.state.Load() }

// seat of a source; made when it is asked for the first time.
func (a *Auctions) seat(src *inventory.Source) *seat {
	v, ok := a.seats.Load(src.ID)
	if !ok {
		fresh := &seat{seatMetrics: a.metrics.of(src.ID), limiter: rate.NewLimiter(rate.Inf, 1)}
		fresh.breaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
			Name: src.ID, Interval: breakerWindow, BucketPeriod: breakerBucket, Timeout: breakerOpen, MaxRequests: breakerProbes,
			ReadyToTrip: func(c gobreaker.Counts) bool {
				return c.TotalSuccesses+c.TotalFailures >= breakerLeast && c.TotalFailures >= c.TotalSuccesses
			},
			IsExcluded: func(err error) bool { return errors.Is(err, context.Canceled) },
			OnStateChange: func(name string, from, to gobreaker.State) {
				fresh.open.Set(float64(to))
				a.o.Logger.Warn("circuit breaker of a demand source", "source", name, "from", from.String(), "to", to.String())
			},
		})
		v, _ = a.seats.LoadOrStore(src.ID, fresh)
	}
	s := v.(*seat)
	if st := s.state.Load(); st == nil || st.source != src {
		s.adopt(src)
	}
	return s
}

// adopt takes a source over from a snapshot that is new, or still in use beside a new one.
func (s *seat) adopt(src *inventory.Source) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.state.Load(); st != nil && st.source == src {
		return
	}
	u, err := url.Parse(src.Endpoint)
	if err != nil {
		u = &url.URL{} // validated with the catalogue; asking fails
	}
	limit, burst := rate.Inf, 1
	if src.MaxQPS > 0 {
		limit, burst = rate.Limit(src.MaxQPS), max(1, src.MaxQPS/10)
	}
	if s.limiter.Limit() != limit {
		s.limiter.SetLimit(limit)
		s.limiter.SetBurst(burst)
	}
	s.state.Store(&seatState{source: src, url: u, header: http.Header{
		"Content-Type": {"application/json"}, "Accept": {"application/json"}, "X-Openrtb-Version": {"2.6"}, "User-Agent": {"patag"},
		// Asking twice does no harm: a request that met a connection which the bidder was closing is sent again. An empty
		// value is not sent.
		"X-Idempotency-Key": nil,
	}})
}
