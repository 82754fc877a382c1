package server

import (
	"net"
	"net/http"
	"strconv"
)

// adsTxt answers /ads.txt: of the site or host that site= names, else of the host that was asked for. Publishers redirect the file on
// their own domain here, which the specification allows once.
func (s *Server) adsTxt(w http.ResponseWriter, r *http.Request) {
	st := s.state.Load()
	if st == nil {
		fail(w, http.StatusServiceUnavailable, "no catalogue has been loaded yet; try again in a few seconds")
		return
	}
	name := r.URL.Query().Get("site")
	if name == "" {
		name = r.Host
		if host, _, err := net.SplitHostPort(name); err == nil {
			name = host
		}
	}
	text := st.Snapshot.Supply.AdsTxt(name)
	if text == nil {
		fail(w, http.StatusNotFound, "no site of this host is known; name one with site=ID or site=DOMAIN")
		return
	}
	supplyFile(w, textType, text)
}

func (s *Server) sellersJSON(w http.ResponseWriter, _ *http.Request) {
	st := s.state.Load()
	if st == nil {
		fail(w, http.StatusServiceUnavailable, "no catalogue has been loaded yet; try again in a few seconds")
		return
	}
	supplyFile(w, jsonType, st.Snapshot.Supply.SellersJSON)
}

func supplyFile(w http.ResponseWriter, typ []string, b []byte) {
	h := w.Header()
	cors(h)
	h["Content-Type"], h["X-Content-Type-Options"] = typ, noSniff
	h.Set("Cache-Control", "public, max-age=3600")
	h.Set("Content-Length", strconv.Itoa(len(b)))
	w.Write(b)
}
