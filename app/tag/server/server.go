// Package server is the tag server's HTTP face: ad requests, events, clicks, the loader script and a demo page on one port;
// health, metrics and profiles on another (see admin.go). In go requests and a State that others publish; out come responses and
// events. It holds no configuration of its own and touches neither Mongo nor Redis.
package server

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"patag/app/tag/counters"
	"patag/app/tag/decision"
	"patag/app/tag/events"
	"patag/app/tag/inventory"
	"patag/app/tag/privacy"
	"patag/app/tag/token"
	"patag/app/tag/visitor"
)

// State is what decisions are made with; it is replaced as a whole.
type State struct {
	Snapshot *inventory.Snapshot
	Tally    *counters.Tally
	Delivery decision.Delivery

	houses []house
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
	// Visitors reads who asks.
	Visitors *visitor.Reader
	// Privacy decides what a visitor's signals permit; by default one that acts for publishers without an own vendor id.
	Privacy *privacy.Decider
	// Auctions asks demand sources; nil for none. Bill tells a source that an impression was counted.
	Auctions decision.Auctions
	Bill     func(src *inventory.Source, billingURL string)
	// Deadline bounds all auctions of one request together. Default 300 ms.
	Deadline time.Duration
	// Demo allows country= and device= in ad requests.
	Demo bool
	// MaxInFlight is how many requests are worked on at a time. Above it ads are house ads, up to a quarter more, and all else is
	// answered 503 at once. Default 4096.
	MaxInFlight int
}

// Server serves. Publish a State before it can.
type Server struct {
	o        Options
	state    atomic.Pointer[State]
	draining atomic.Bool
	seen     events.Seen
	inFlight atomic.Int64
	loader   *loader
	demo     *asset
	openapi  *asset
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
	if o.Deadline == 0 {
		o.Deadline = 300 * time.Millisecond
	}
	if o.Visitors == nil {
		o.Visitors = &visitor.Reader{}
	}
	if o.Privacy == nil {
		o.Privacy = privacy.NewDecider(0)
	}
	return &Server{o: o, loader: newLoader(), demo: demoAsset(), openapi: openapiAsset()}
}

// Publish puts a state to use and returns the one before, nil at first.
func (s *Server) Publish(st *State) *State {
	st.houses = houses(st.Snapshot)
	return s.state.Swap(st)
}

// State in use; nil before the first.
func (s *Server) State() *State { return s.state.Load() }

// Drain makes health and readiness say no, so that load balancers send no more; requests are still served.
func (s *Server) Drain() { s.draining.Store(true) }

// Ready says whether requests should be sent here.
func (s *Server) Ready() bool { return s.state.Load() != nil && !s.draining.Load() }

func (s *Server) healthz(ctx *fasthttp.RequestCtx) {
	h := &ctx.Response.Header
	h.SetContentType(textType)
	set(h, cacheControl, noStore)
	switch {
	case s.draining.Load():
		ctx.SetStatusCode(fasthttp.StatusServiceUnavailable)
		ctx.SetBodyString("draining\n")
	case s.state.Load() == nil:
		ctx.SetStatusCode(fasthttp.StatusServiceUnavailable)
		ctx.SetBodyString("no catalogue yet\n")
	default:
		ctx.SetBodyString("ok\n")
	}
}

// cors: any page may ask for ads, without credentials.
func cors(h *fasthttp.ResponseHeader) { set(h, allowOrigin, anyOrigin) }

// set writes a header whose name is in canonical form already.
func set(h *fasthttp.ResponseHeader, name, value []byte) { h.SetCanonical(name, value) }

// Headers of every answer, ready to be copied.
var (
	allowOrigin     = []byte("Access-Control-Allow-Origin")
	cacheControl    = []byte("Cache-Control")
	securityPolicy  = []byte("Content-Security-Policy")
	contentTypeOpts = []byte("X-Content-Type-Options")
	referrerPolicy  = []byte("Referrer-Policy")
	robotsTag       = []byte("X-Robots-Tag")

	anyOrigin   = []byte("*")
	noStore     = []byte("no-store")
	sandboxed   = []byte("sandbox allow-scripts allow-popups allow-popups-to-escape-sandbox")
	noSniff     = []byte("nosniff")
	noIndex     = []byte("noindex")
	strictRefer = []byte("strict-origin-when-cross-origin")
)

// Media types.
const (
	jsonType = "application/json; charset=utf-8"
	htmlType = "text/html; charset=utf-8"
	textType = "text/plain; charset=utf-8"
	gifType  = "image/gif"
)
