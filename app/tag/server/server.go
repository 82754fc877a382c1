// Package server is the tag server's HTTP face: ad requests, events, clicks, the loader script and a demo page on one port;
// health, metrics and profiles on another (see admin.go). In go requests and a State that others publish; out come responses and
// events. It holds no configuration of its own and touches neither Mongo nor Redis.
package server

import (
	"context"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"patag/app/tag/counters"
	"patag/app/tag/decision"
	"patag/app/tag/events"
	"patag/app/tag/inventory"
	"patag/app/tag/token"
)

// State is what decisions are made with; it is replaced as a whole.
type State struct {
	Snapshot *inventory.Snapshot
	Tally    *counters.Tally
	Delivery decision.Delivery
}

// Frequency is the frequency caps' store.
type Frequency interface {
	decision.FrequencyCaps
	Count(user uint64, now int64, it *inventory.Item)
}

// Journal keeps events; Append returns when one is safe.
type Journal interface {
	Append(ctx context.Context, payload []byte) error
}

// Live shows counts soon.
type Live interface{ Add(e *events.Event) }

// Options of a server.
type Options struct {
	Keys      *token.Keys
	Frequency Frequency
	Journal   Journal
	Live      Live
	Metrics   *Metrics
	Logger    *slog.Logger
	// PublicURL is what event and click URLs start with, without a slash at the end. When empty they start with the scheme
	// and host of the request.
	PublicURL string
	// CountryHeader is set by the load balancer to the client's country.
	CountryHeader string
	// Demo allows country= and device= in ad requests.
	Demo bool
	// MaxInFlight is how many requests are worked on at a time; more are answered 503 at once. Default 4096.
	MaxInFlight int
}

// Server serves. Publish a State before it can.
type Server struct {
	o        Options
	state    atomic.Pointer[State]
	draining atomic.Bool
	seen     events.Seen
	inFlight chan struct{}
	loader   *asset
	demo     *asset
}

// Lifetimes of tokens. A click may come long after the ad was shown, say on a page left open overnight.
const (
	ImpressionAge = time.Hour
	ClickAge      = 24 * time.Hour
)

// TokenAge is how old a token may be for a kind of event.
func TokenAge(k events.Kind) time.Duration {
	if k == events.Click {
		return ClickAge
	}
	return ImpressionAge
}

// New makes a server.
func New(o Options) *Server {
	if o.MaxInFlight == 0 {
		o.MaxInFlight = 4096
	}
	return &Server{o: o, inFlight: make(chan struct{}, o.MaxInFlight), loader: loaderAsset(), demo: demoAsset()}
}

// Publish puts a state to use and returns the one before, nil at first.
func (s *Server) Publish(st *State) *State { return s.state.Swap(st) }

// State in use; nil before the first.
func (s *Server) State() *State { return s.state.Load() }

// Drain makes health and readiness say no, so that load balancers send no more; requests are still served.
func (s *Server) Drain() { s.draining.Store(true) }

// Ready says whether requests should be sent here.
func (s *Server) Ready() bool { return s.state.Load() != nil && !s.draining.Load() }

// Limits of a request. Go's server adds 4 KiB of slack to the header limit.
const (
	maxURL    = 4 << 10
	maxHeader = 12 << 10
	maxBody   = 4 << 10
)

// HTTP wraps Handler in a server with limits on time and size. The idle timeout is above the 600 s that Google's load balancer
// keeps idle connections, or it would meet closed ones.
func (s *Server) HTTP(addr string) *http.Server {
	return &http.Server{
		Addr: addr, Handler: s.Handler(),
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 15 * time.Second,
		IdleTimeout: 620 * time.Second, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(s.o.Logger.Handler(), slog.LevelDebug),
	}
}

// Handler is the traffic port.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/ad", s.ad)
	mux.HandleFunc("GET /v1/event/{kind}", s.event)
	mux.HandleFunc("POST /v1/event/{kind}", s.event)
	mux.HandleFunc("GET /v1/click", s.click)
	mux.HandleFunc("GET /tag/v1.js", s.loader.serve)
	mux.HandleFunc("GET /demo", s.demo.serve)
	mux.HandleFunc("GET /healthz", s.healthz)
	mux.HandleFunc("OPTIONS /v1/", func(w http.ResponseWriter, r *http.Request) {
		cors(w.Header())
		w.Header().Set("Access-Control-Allow-Methods", "GET, POST")
		w.Header().Set("Access-Control-Max-Age", "86400")
		w.WriteHeader(http.StatusNoContent)
	})
	return s.guard(mux)
}

// guard sheds what is too much or too large before anything is done for it. Health checks are never shed: an overloaded server
// that is taken out makes the others overloaded.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" {
			next.ServeHTTP(w, r)
			return
		}
		if len(r.RequestURI) > maxURL {
			s.o.Metrics.rejected("url_too_long")
			fail(w, http.StatusRequestURITooLong, "the URL is longer than 4096 bytes")
			return
		}
		select {
		case s.inFlight <- struct{}{}:
			defer func() { <-s.inFlight }()
		default:
			s.o.Metrics.rejected("overload")
			w.Header().Set("Retry-After", "1")
			fail(w, http.StatusServiceUnavailable, "too many requests are being served")
			return
		}
		if r.ContentLength != 0 {
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	switch {
	case s.draining.Load():
		w.WriteHeader(http.StatusServiceUnavailable)
		w.Write([]byte("draining\n"))
	case s.state.Load() == nil:
		w.WriteHeader(http.StatusServiceUnavailable)
		w.Write([]byte("no catalogue yet\n"))
	default:
		w.Write([]byte("ok\n"))
	}
}

// cors: any page may ask for ads, without credentials.
func cors(h http.Header) { h["Access-Control-Allow-Origin"] = anyOrigin }

// Header values are shared slices: setting them allocates nothing.
var (
	anyOrigin   = []string{"*"}
	noStore     = []string{"no-store"}
	jsonType    = []string{"application/json; charset=utf-8"}
	htmlType    = []string{"text/html; charset=utf-8"}
	gifType     = []string{"image/gif"}
	sandboxed   = []string{"sandbox allow-scripts allow-popups allow-popups-to-escape-sandbox"}
	noSniff     = []string{"nosniff"}
	noIndex     = []string{"noindex"}
	strictRefer = []string{"strict-origin-when-cross-origin"}
)
