package server

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
)

// route is a path of the traffic port. Handlers are told whether there is too much to do.
type route struct {
	// methods are those allowed, as in the header Allow; HEAD is GET without a body and, here, without anything being counted.
	methods []string
	serve   func(ctx *fasthttp.RequestCtx, shed bool)
}

// Limits of a request. Consent strings are long: hence those of URLs.
const (
	maxURL    = 8 << 10
	maxHeader = 20 << 10
	maxBody   = 64 << 10
)

const (
	get  = fasthttp.MethodGet
	head = fasthttp.MethodHead
	post = fasthttp.MethodPost
)

// plain is a handler that has nothing cheaper to answer when there is too much to do.
func (s *Server) plain(fn fasthttp.RequestHandler) func(*fasthttp.RequestCtx, bool) {
	return func(ctx *fasthttp.RequestCtx, shed bool) {
		if shed {
			s.refuse(ctx)
			return
		}
		fn(ctx)
	}
}

func (s *Server) routes() map[string]*route {
	static := func(fn fasthttp.RequestHandler) *route {
		return &route{methods: []string{get, head}, serve: s.plain(fn)}
	}
	return map[string]*route{
		"/v1/ad":               {methods: []string{get, head}, serve: s.ad},
		"/v1/ads":              {methods: []string{post}, serve: s.ads},
		"/v1/event":            {methods: []string{post}, serve: s.plain(s.eventBatch)},
		"/v1/click":            {methods: []string{get, head}, serve: s.plain(s.click)},
		"/tag/v1.js":           static(s.loader.short.serve),
		s.loader.immutablePath: static(s.loader.immutable.serve),
		s.loader.framePath:     static(s.loader.frame.serve),
		"/demo":                static(s.demo.serve),
		"/ads.txt":             static(s.adsTxt),
		"/sellers.json":        static(s.sellersJSON),
		"/openapi.json":        static(s.openapi.serve),
	}
}

// Handler is the traffic port. What is not found or not allowed is said in JSON.
func (s *Server) Handler() fasthttp.RequestHandler {
	routes := s.routes()
	event := &route{methods: []string{get, head, post}, serve: s.plain(s.event)}
	return func(ctx *fasthttp.RequestCtx) {
		defer s.recover(ctx)
		path := ctx.Path()
		if string(path) == "/healthz" { // never shed: an overloaded server that is taken out makes the others overloaded
			s.healthz(ctx)
			return
		}
		if len(ctx.RequestURI()) > maxURL {
			s.o.Metrics.rejected("url_too_long")
			fail(ctx, fasthttp.StatusRequestURITooLong, "the URL is longer than 8192 bytes")
			return
		}
		at := routes[string(path)]
		if at == nil && bytes.HasPrefix(path, []byte(pathEvent)) {
			at = event
		}
		if at == nil {
			s.o.Metrics.rejected("not_found")
			fail(ctx, fasthttp.StatusNotFound, "there is nothing here; /openapi.json says what there is")
			return
		}
		if !at.allows(ctx) {
			if !ctx.IsOptions() {
				s.o.Metrics.rejected("method")
			}
			return
		}
		n := s.inFlight.Add(1)
		defer s.inFlight.Add(-1)
		if n > s.hardLimit() {
			s.refuse(ctx)
			return
		}
		at.serve(ctx, n > int64(s.o.MaxInFlight))
	}
}

// recover ends a request that met a fault of ours; the others must not end with it.
func (s *Server) recover(ctx *fasthttp.RequestCtx) {
	if fault := recover(); fault != nil {
		s.o.Metrics.rejected("fault")
		s.o.Logger.Error("a request met a fault of the tag server", "fault", fault, "path", string(ctx.Path()), "stack", string(debug.Stack()))
		ctx.Response.Reset()
		fail(ctx, fasthttp.StatusInternalServerError, "the tag server has a fault")
	}
}

// allows answers what is not allowed, and preflights. Pages of any origin may ask, without credentials.
func (at *route) allows(ctx *fasthttp.RequestCtx) bool {
	method := ctx.Method()
	for _, m := range at.methods {
		if string(method) == m {
			return true
		}
	}
	h := &ctx.Response.Header
	allow := strings.Join(at.methods, ", ") + ", OPTIONS"
	h.Set("Allow", allow)
	if !ctx.IsOptions() {
		fail(ctx, fasthttp.StatusMethodNotAllowed, "the method is not allowed here; use one of "+allow)
		return false
	}
	cors(h)
	h.Set("Access-Control-Allow-Methods", allow)
	h.Set("Access-Control-Allow-Headers", "Content-Type")
	h.Set("Access-Control-Max-Age", "86400")
	ctx.SetStatusCode(fasthttp.StatusNoContent)
	return false
}

// refuse sheds a request for which there is no cheaper answer.
func (s *Server) refuse(ctx *fasthttp.RequestCtx) {
	s.o.Metrics.rejected("overload")
	ctx.Response.Header.Set("Retry-After", "1")
	fail(ctx, fasthttp.StatusServiceUnavailable, "too many requests are being served; try again in a second")
}

// HTTP wraps Handler in a server with limits on time and size. The idle timeout is above the 600 s that Google's load balancer
// keeps idle connections, or it would meet closed ones. A request waits on its own connection: their number bounds what is queued.
func (s *Server) HTTP() *fasthttp.Server {
	return &fasthttp.Server{
		Handler: s.Handler(), ErrorHandler: s.unreadable, Logger: printer{s.o.Logger},
		ReadTimeout: 10 * time.Second, WriteTimeout: 15 * time.Second, IdleTimeout: 620 * time.Second,
		ReadBufferSize: maxHeader, MaxRequestBodySize: maxBody, Concurrency: int(2 * s.hardLimit()),
		CloseOnShutdown: true, NoDefaultServerHeader: true, NoDefaultContentType: true,
		DisablePreParseMultipartForm: true, SecureErrorLogMessage: true,
	}
}

// unreadable answers what is no request, or one beyond the limits.
func (s *Server) unreadable(ctx *fasthttp.RequestCtx, err error) {
	reason, status, message := "malformed", fasthttp.StatusBadRequest, "this is no HTTP request that can be served"
	var small *fasthttp.ErrSmallBuffer
	var timeout net.Error
	switch {
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		reason, status, message = "body_too_large", fasthttp.StatusRequestEntityTooLarge, "the body is longer than 65536 bytes"
	case errors.As(err, &small):
		reason, status, message = "header_too_large", fasthttp.StatusRequestHeaderFieldsTooLarge, "URL and headers are longer than 20480 bytes"
	case errors.As(err, &timeout) && timeout.Timeout():
		reason, status, message = "slow", fasthttp.StatusRequestTimeout, "the request did not arrive within 10 seconds"
	}
	s.o.Metrics.rejected(reason)
	fail(ctx, status, message)
	if c, ok := ctx.Conn().(*conn); ok {
		c.linger.Store(true)
	}
}

// printer is what the HTTP library has to say, mostly of clients.
type printer struct{ log *slog.Logger }

// Printf implements fasthttp.Logger.
func (p printer) Printf(format string, args ...any) {
	p.log.Debug("HTTP", "message", strings.TrimSpace(fmt.Sprintf(format, args...)))
}
