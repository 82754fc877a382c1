package proxy

import (
	"net/http"
	"net/http/httputil"
	"net/url"
)

// plainProxy is what the benchmark compares with: the standard library's, with a pool of connections that suffices.
func plainProxy(address string) http.Handler {
	p := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: address})
		r.SetXForwarded()
	}}
	p.Transport = &http.Transport{MaxIdleConnsPerHost: 1024, DisableCompression: true}
	return p
}
