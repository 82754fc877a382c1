package server

import (
	"io"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/valyala/fasthttp"

	"patag/app/tag/token"
)

// Admin is the second port: /livez, /readyz, /metrics, /debug/pprof, /debug/explain, /debug/preview. It must not be reachable from
// outside.
func (s *Server) Admin(gather prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("ok\n")) })
	mux.Handle("GET /readyz", Adapt(s.healthz))
	mux.Handle("GET /metrics", promhttp.HandlerFor(gather, promhttp.HandlerOpts{}))
	mux.Handle("GET /debug/explain", Adapt(s.explain))
	mux.Handle("GET /debug/preview", Adapt(s.previewLink))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

// explain decides as /v1/ad would, with the same parameters and country= and device=, counts nothing and says why.
func (s *Server) explain(ctx *fasthttp.RequestCtx) {
	st := s.state.Load()
	if st == nil {
		fail(ctx, fasthttp.StatusServiceUnavailable, "no catalogue has been loaded yet")
		return
	}
	var k adWork
	if err := k.req.Parse(string(ctx.URI().QueryString())); err != nil {
		fail(ctx, fasthttp.StatusBadRequest, err.Error())
		return
	}
	p := st.Snapshot.Placement(k.req.Placement)
	if p == nil {
		fail(ctx, fasthttp.StatusNotFound, "there is no such placement")
		return
	}
	s.prepare(&k, ctx, st, p, time.Now())
	override(&k.visitor, &k.req)
	k.dec.Country, k.dec.Region, k.dec.Device = k.visitor.Country, k.visitor.Region, k.visitor.Device
	seen, _ := s.look(st, &k)
	writeExplanation(ctx, &seen)
}

// previewLink signs a link: placement=, and lineItem= or creative=, and expires= (default 24h).
func (s *Server) previewLink(ctx *fasthttp.RequestCtx) {
	query := ctx.QueryArgs()
	q := func(name string) string { return string(query.Peek(name)) }
	lasts := 24 * time.Hour
	if v := q("expires"); v != "" {
		d, err := time.ParseDuration(v)
		if err != nil {
			fail(ctx, fasthttp.StatusBadRequest, "expires: write it as 24h or 30m")
			return
		}
		lasts = d
	}
	p := token.Preview{Placement: q("placement"), LineItem: q("lineItem"), Creative: q("creative"), Until: time.Now().Add(lasts)}
	if err := CheckPreview(&p, lasts); err != nil {
		fail(ctx, fasthttp.StatusBadRequest, err.Error())
		return
	}
	if st := s.state.Load(); st == nil || st.Snapshot.Placement(p.Placement) == nil {
		fail(ctx, fasthttp.StatusNotFound, "there is no such placement")
		return
	}
	// Relative to the traffic port unless a public URL is configured.
	body := appendText([]byte(`{"url":"`), PreviewURL(s.o.PublicURL, s.o.Keys, &p))
	ctx.Response.Header.SetContentType(jsonType)
	ctx.SetBody(append(body, "\"}\n"...))
}

// Adapt serves a handler of the traffic port by net/http: on the second port, which is net/http's for the sake of metrics and profiles.
func Adapt(h fasthttp.RequestHandler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var req fasthttp.Request
		req.Header.SetMethod(r.Method)
		req.SetRequestURI(r.RequestURI)
		req.Header.SetHost(r.Host)
		for k, vs := range r.Header {
			for _, v := range vs {
				req.Header.Add(k, v)
			}
		}
		if r.Body != nil {
			body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			req.SetBody(body)
		}
		var ctx fasthttp.RequestCtx
		from, _ := netip.ParseAddrPort(r.RemoteAddr) // else the zero address
		ctx.Init(&req, net.TCPAddrFromAddrPort(from), nil)
		h(&ctx)
		for k, v := range ctx.Response.Header.All() {
			if string(k) != "Date" { // net/http's own
				w.Header().Add(string(k), string(v))
			}
		}
		w.WriteHeader(ctx.Response.StatusCode())
		if r.Method != http.MethodHead {
			w.Write(ctx.Response.Body())
		}
	})
}
