package server

import (
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"patag/app/tag/decision"
	"patag/app/tag/inventory"
	"patag/app/tag/request"
)

// Admin is the second port: /livez, /readyz, /metrics, /debug/pprof, /debug/explain. It must not be reachable from outside.
func (s *Server) Admin(gather prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", s.healthz)
	mux.Handle("GET /metrics", promhttp.HandlerFor(gather, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /debug/explain", s.explain)
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

// noReserve explains without using a hard cap up.
type noReserve struct{}

func (noReserve) Open(*inventory.Item, uint64) decision.Reason { return decision.Eligible }
func (noReserve) Reserve(*inventory.Item) bool { return true }

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
	v := s.visit(r, &request.Ad{UserID: k.req.UserID, Consent: k.req.Consent})
	if c := inventory.ParseCountry(k.req.Country); c != 0 {
		v.country = c
	}
	if d := inventory.ParseDevice(k.req.Device); d != 0 {
		v.device = d
	}
	var trace decision.Trace
	e := decision.Engine{Frequency: s.o.Frequency, Delivery: noReserve{}}
	e.Decide(r.Context(), &decision.Request{
		Placement: p, Now: time.Now().Unix(), Country: v.country, Device: v.device,
		KeyValues: s.keyValues(&k, st), User: v.user, Seed: rand.Uint64(),
	}, &trace)
	w.Header()["Content-Type"] = jsonType
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.Encode(struct {
		Version int64 `json:"catalogueVersion"`
		*decision.Trace
	}{st.Snapshot.Version, &trace})
}
