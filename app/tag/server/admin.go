package server

import (
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"patag/app/tag/token"
)

// Admin is the second port: /livez, /readyz, /metrics, /debug/pprof, /debug/explain, /debug/preview. It must not be reachable from
// outside.
func (s *Server) Admin(gather prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", s.healthz)
	mux.Handle("GET /metrics", promhttp.HandlerFor(gather, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /debug/explain", s.explain)
	mux.HandleFunc("GET /debug/preview", s.previewLink)
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

// explain decides as /v1/ad would, with the same parameters and country= and device=, counts nothing and says why.
func (s *Server) explain(w http.ResponseWriter, r *http.Request) {
	st := s.state.Load()
	if st == nil {
		fail(w, http.StatusServiceUnavailable, "no catalogue has been loaded yet")
		return
	}
	var k adWork
	if err := k.req.Parse(r.URL.RawQuery); err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	p := st.Snapshot.Placement(k.req.Placement)
	if p == nil {
		fail(w, http.StatusNotFound, "there is no such placement")
		return
	}
	s.prepare(&k, r, st, p, time.Now())
	override(&k.visitor, &k.req)
	k.dec.Country, k.dec.Region, k.dec.Device = k.visitor.Country, k.visitor.Region, k.visitor.Device
	seen, _ := s.look(r, st, &k)
	writeExplanation(w, &seen)
}

// previewLink signs a link: placement=, and lineItem= or creative=, and expires= (default 24h).
func (s *Server) previewLink(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	lasts := 24 * time.Hour
	if v := q.Get("expires"); v != "" {
		d, err := time.ParseDuration(v)
		if err != nil {
			fail(w, http.StatusBadRequest, "expires: write it as 24h or 30m")
			return
		}
		lasts = d
	}
	p := token.Preview{Placement: q.Get("placement"), LineItem: q.Get("lineItem"), Creative: q.Get("creative"), Until: time.Now().Add(lasts)}
	if err := CheckPreview(&p, lasts); err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	if st := s.state.Load(); st == nil || st.Snapshot.Placement(p.Placement) == nil {
		fail(w, http.StatusNotFound, "there is no such placement")
		return
	}
	// Relative to the traffic port unless a public URL is configured.
	body := appendText([]byte(`{"url":"`), PreviewURL(s.o.PublicURL, s.o.Keys, &p))
	w.Header()["Content-Type"] = jsonType
	w.Write(append(body, "\"}\n"...))
}
