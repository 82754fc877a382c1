package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"patag/infra/sandbox/loadbalancer/armor"
)

// Dialer opens a TCP connection to a pod.
type Dialer func(ctx context.Context, network, address string) (net.Conn, error)

// BackendSpec is what a backend service is configured with.
type BackendSpec struct {
	// Name is Compute Engine's ("k8s1-…"), for logs.
	Name string
	// Protocol to the endpoints: HTTP, HTTPS (certificates are not checked, as at Google) or HTTP2 (over TLS).
	Protocol string
	// Timeout is the longest a response may take in all. 0 means Google's 30 s.
	Timeout time.Duration
	// Drain is how long requests may go on at an endpoint that was removed; 0 means as long as they like.
	Drain  time.Duration
	Health HealthCheck
	Policy *armor.Policy
	// LogRate is the share of requests that is logged, 0 to 1.
	LogRate float64
	// RequestHeaders are added to each request; values may hold Google's variables, {client_ip_address}.
	RequestHeaders []Header
	// ResponseHeaders are added to each response.
	ResponseHeaders []Header
	Endpoints       []Endpoint
}

// Header is one custom header.
type Header struct{ Name, Value string }

// Endpoint is one pod's port.
type Endpoint struct {
	// Address is IP:port.
	Address string
	// Zone is where its node is, Instance the node's name, Pod the pod's: for the API.
	Zone, Instance, Pod string
}

// Backend is a backend service: endpoints, their health, connections to them. Its configuration may change while
// requests pass.
type Backend struct {
	dial   Dialer
	logger *slog.Logger
	onFlip func() // called when the health of an endpoint changes
	spec   atomic.Pointer[BackendSpec]
	usable atomic.Pointer[[]*endpoint]
	known  atomic.Int32 // number of endpoints, healthy or not
	next   atomic.Uint32
	proxy  *httputil.ReverseProxy

	mu        sync.Mutex
	endpoints map[string]*endpoint
	ctx       context.Context
	stop      context.CancelFunc
}

type endpoint struct {
	Endpoint
	transport *http.Transport
	inflight  atomic.Int64
	healthy   bool // guarded by Backend.mu
	stop      context.CancelFunc

	mu    sync.Mutex
	conns map[*trackedConn]struct{}
}

// NewBackend starts without endpoints. onFlip, which may be nil, is told when an endpoint became healthy or not.
func NewBackend(dial Dialer, logger *slog.Logger, onFlip func()) *Backend {
	b := &Backend{dial: dial, logger: logger, onFlip: onFlip, endpoints: map[string]*endpoint{}}
	b.ctx, b.stop = context.WithCancel(context.Background())
	b.spec.Store(&BackendSpec{})
	b.usable.Store(&[]*endpoint{})
	b.proxy = newReverseProxy(b)
	return b
}

// Update applies a configuration. Endpoints that stay keep their connections and health; those that go get no new
// requests and finish those they have; new ones get requests once they are healthy.
func (b *Backend) Update(spec BackendSpec) {
	spec.Health = spec.Health.withDefaults()
	if spec.Timeout <= 0 {
		spec.Timeout = 30 * time.Second
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ctx.Err() != nil {
		return
	}
	old := b.spec.Swap(&spec)
	restart := old.Health != spec.Health || old.Protocol != spec.Protocol
	wanted := map[string]bool{}
	for _, e := range spec.Endpoints {
		wanted[e.Address] = true
		ep, known := b.endpoints[e.Address]
		if known && (old.Protocol != spec.Protocol || ep.Endpoint != e) { // another pod may have got the address
			b.retire(ep, old.Drain)
			known = false
		}
		if known {
			if !restart {
				continue
			}
			ep.stop()
		} else {
			ep = b.newEndpoint(e, spec.Protocol)
			b.endpoints[e.Address] = ep
		}
		ctx, stop := context.WithCancel(b.ctx)
		ep.stop = stop
		go b.probe(ctx, ep, &spec)
	}
	for address, ep := range b.endpoints {
		if !wanted[address] {
			delete(b.endpoints, address)
			b.retire(ep, spec.Drain)
		}
	}
	b.publish()
}

// publish makes the list of healthy endpoints that requests see; b.mu is held.
func (b *Backend) publish() {
	list := make([]*endpoint, 0, len(b.endpoints))
	for _, ep := range b.endpoints {
		if ep.healthy {
			list = append(list, ep)
		}
	}
	slices.SortFunc(list, func(x, y *endpoint) int {
		if x.Address < y.Address {
			return -1
		}
		return 1
	})
	b.usable.Store(&list)
	b.known.Store(int32(len(b.endpoints)))
}

// retire lets an endpoint's requests end, and cuts those that outlast the draining time.
func (b *Backend) retire(ep *endpoint, drain time.Duration) {
	ep.stop()
	ep.transport.CloseIdleConnections()
	go func() {
		// Idle connections that come free while it drains must go as well.
		poll := time.NewTicker(time.Second)
		defer poll.Stop()
		var end <-chan time.Time
		if drain > 0 {
			t := time.NewTimer(drain)
			defer t.Stop()
			end = t.C
		}
		for ep.inflight.Load() > 0 {
			select {
			case <-poll.C:
			case <-end:
				ep.closeConns()
				return
			case <-b.ctx.Done():
				ep.closeConns()
				return
			}
		}
		ep.transport.CloseIdleConnections()
	}()
}

// Close ends health checks and every connection.
func (b *Backend) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stop()
	for _, ep := range b.endpoints {
		ep.closeConns()
		ep.transport.CloseIdleConnections()
	}
	clear(b.endpoints)
	b.publish()
}

// Health lists the endpoints, true for the healthy ones.
func (b *Backend) Health() map[string]bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make(map[string]bool, len(b.endpoints))
	for address, ep := range b.endpoints {
		out[address] = ep.healthy
	}
	return out
}

func (b *Backend) newEndpoint(e Endpoint, protocol string) *endpoint {
	ep := &endpoint{Endpoint: e, conns: map[*trackedConn]struct{}{}}
	dialer := func(ctx context.Context, network, _ string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		c, err := b.dial(ctx, network, e.Address)
		if err != nil {
			return nil, &dialError{err}
		}
		return ep.track(c), nil
	}
	ep.transport = &http.Transport{
		DialContext: dialer,
		// A thousand requests a second at 100 ms are a hundred connections; idle ones cost little and make no TIME_WAIT.
		MaxIdleConnsPerHost: 1024,
		// Google keeps connections to backends for ten minutes and tells applications to keep them longer.
		IdleConnTimeout:       600 * time.Second,
		TLSHandshakeTimeout:   dialTimeout,
		ExpectContinueTimeout: time.Second,
		DisableCompression:    true,
		ReadBufferSize:        8 << 10,
		WriteBufferSize:       8 << 10,
	}
	switch protocol {
	case "HTTPS":
		ep.transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
	case "HTTP2":
		ep.transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
		ep.transport.ForceAttemptHTTP2 = true
	}
	return ep
}

// dialTimeout is how long Google's front ends wait for a backend to take a connection.
const dialTimeout = 5 * time.Second

type dialError struct{ err error }

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

// trackedConn lets a drained endpoint's connections be cut.
type trackedConn struct {
	net.Conn
	ep *endpoint
}

func (ep *endpoint) track(c net.Conn) net.Conn {
	t := &trackedConn{c, ep}
	ep.mu.Lock()
	ep.conns[t] = struct{}{}
	ep.mu.Unlock()
	return t
}

func (t *trackedConn) Close() error {
	t.ep.mu.Lock()
	delete(t.ep.conns, t)
	t.ep.mu.Unlock()
	return t.Conn.Close()
}

func (ep *endpoint) closeConns() {
	ep.mu.Lock()
	conns := make([]*trackedConn, 0, len(ep.conns))
	for c := range ep.conns {
		conns = append(conns, c)
	}
	ep.mu.Unlock()
	for _, c := range conns {
		c.Close()
	}
}

var (
	errNoEndpoints = errors.New("the backend service has no endpoints")
	errNoHealthy   = errors.New("no endpoint of the backend service is healthy")
)

// pick chooses the endpoint with the fewest requests in flight, in turn among equals, none of those tried before.
func (b *Backend) pick(tried []*endpoint) (*endpoint, error) {
	list := *b.usable.Load()
	if len(list) == 0 {
		if b.known.Load() == 0 {
			return nil, errNoEndpoints
		}
		return nil, errNoHealthy
	}
	start := int(b.next.Add(1) % uint32(len(list)))
	var best *endpoint
	var least int64
	for i := range list {
		at := start + i
		if at >= len(list) {
			at -= len(list)
		}
		ep := list[at]
		if len(tried) > 0 && slices.Contains(tried, ep) {
			continue
		}
		if n := ep.inflight.Load(); best == nil || n < least {
			best, least = ep, n
			if n == 0 {
				break
			}
		}
	}
	if best == nil { // all were tried: the last error stands
		return nil, errNoHealthy
	}
	return best, nil
}
