package server

import (
	"net/http"
	"strings"
	"time"
)

// route is a path of the traffic port. Handlers are told whether there is too much to do.
type route struct {
	// methods are those allowed, as in the header Allow; HEAD is GET without a body and, here, without anything being counted.
	methods []string
	body    int64 // limit in bytes
	serve   func(w http.ResponseWriter, r *http.Request, shed bool)
}

// Limits of a request. Go's server adds 4 KiB of slack to the header limit. Consent strings are long: hence those of URLs.
const (
	maxURL    = 8 << 10
	maxHeader = 16 << 10
	maxBody   = 4 << 10
	maxBatch  = 64 << 10
)

const (
	get  = http.MethodGet
	head = http.MethodHead
	post = http.MethodPost
)

func (s *Server) routes() map[string]*route {
	plain := func(fn http.HandlerFunc) func(http.ResponseWriter, *http.Request, bool) {
		return func(w http.ResponseWriter, r *http.Request, shed bool) {
			if shed {
				s.refuse(w)
				return
			}
			fn(w, r)
		}
	}
	static := func(fn http.HandlerFunc) *route { return &route{methods: []string{get, head}, serve: plain(fn)} }
	return map[string]*route{
		"/v1/ad":               {methods: []string{get, head}, serve: s.ad},
		"/v1/ads":              {methods: []string{post}, body: maxBatch, serve: s.ads},
		"/v1/event":            {methods: []string{post}, body: maxBatch, serve: plain(s.eventBatch)},
		"/v1/click":            {methods: []string{get, head}, serve: plain(s.click)},
		"/tag/v1.js":           static(s.loader.short.serve),
		s.loader.immutablePath: static(s.loader.immutable.serve),
		s.loader.framePath:     static(s.loader.frame.serve),
		"/demo":                static(s.demo.serve),
		"/ads.txt":             static(s.adsTxt),
		"/sellers.json":        static(s.sellersJSON),
		"/openapi.json":        static(s.openapi.serve),
	}
}

// Handler is the traffic port. A map and a prefix instead of a mux: the way to an ad is one look-up without allocations, and what is
// not found or not allowed is said in JSON.
func (s *Server) Handler() http.Handler {
	routes := s.routes()
	event := &route{methods: []string{get, head, post}, body: maxBody, serve: func(w http.ResponseWriter, r *http.Request, shed bool) {
		if shed {
			s.refuse(w)
			return
		}
		s.event(w, r)
	}}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := r.URL.Path
		if path == "/healthz" { // never shed: an overloaded server that is taken out makes the others overloaded
			s.healthz(w, r)
			return
		}
		if len(r.RequestURI) > maxURL {
			s.o.Metrics.rejected("url_too_long")
			fail(w, http.StatusRequestURITooLong, "the URL is longer than 8192 bytes")
			return
		}
		at := routes[path]
		if at == nil && strings.HasPrefix(path, pathEvent) {
			at = event
		}
		if at == nil {
			s.o.Metrics.rejected("not_found")
			fail(w, http.StatusNotFound, "there is nothing here; /openapi.json says what there is")
			return
		}
		if !at.allows(w, r) {
			if r.Method != http.MethodOptions {
				s.o.Metrics.rejected("method")
			}
			return
		}
		if r.ContentLength != 0 {
			r.Body = http.MaxBytesReader(w, r.Body, max(at.body, 1))
		}
		n := s.inFlight.Add(1)
		defer s.inFlight.Add(-1)
		if n > s.hardLimit() { // before a body is read: a slow one would hold its place for seconds
			s.refuse(w)
			return
		}
		at.serve(w, r, n > int64(s.o.MaxInFlight))
	})
}

// allows answers what is not allowed, and preflights. Pages of any origin may ask, without credentials.
func (at *route) allows(w http.ResponseWriter, r *http.Request) bool {
	for _, m := range at.methods {
		if r.Method == m {
			return true
		}
	}
	h := w.Header()
	allow := strings.Join(at.methods, ", ") + ", OPTIONS"
	h.Set("Allow", allow)
	if r.Method != http.MethodOptions {
		fail(w, http.StatusMethodNotAllowed, "the method is not allowed here; use one of "+allow)
		return false
	}
	cors(h)
	h.Set("Access-Control-Allow-Methods", allow)
	h.Set("Access-Control-Allow-Headers", "Content-Type")
	h.Set("Access-Control-Max-Age", "86400")
	w.WriteHeader(http.StatusNoContent)
	return false
}

// refuse sheds a request for which there is no cheaper answer.
func (s *Server) refuse(w http.ResponseWriter) {
	s.o.Metrics.rejected("overload")
	w.Header().Set("Retry-After", "1")
	fail(w, http.StatusServiceUnavailable, "too many requests are being served; try again in a second")
}

// HTTP wraps Handler in a server with limits on time and size. The idle timeout is above the 600 s that Google's load balancer
// keeps idle connections, or it would meet closed ones.
func (s *Server) HTTP(addr string) *http.Server {
	return &http.Server{
		Addr: addr, Handler: s.Handler(),
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 15 * time.Second,
		IdleTimeout: 620 * time.Second, MaxHeaderBytes: maxHeader, ErrorLog: s.errorLog(),
	}
}
