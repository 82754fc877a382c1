package inside

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// gateway answers for every host name of Google's that the cluster's DNS sends here.
type gateway struct {
	api, registry http.Handler
}

func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
		refuseGRPC(w, r)
		return
	}
	host := hostOf(r)
	if isRegistry(host) {
		g.registry.ServeHTTP(w, r)
		return
	}
	prefix, ok := servicePrefix(host, r.URL.Path)
	if !ok {
		w.Header().Set("Content-Type", "application/json; charset=UTF-8")
		w.WriteHeader(http.StatusNotFound)
		json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"code": 404, "status": "NOT_FOUND",
			"message": fmt.Sprintf("The sandbox does not know the host %q.", host)}})
		return
	}
	passed := new(http.Request)
	*passed = *r
	passed.URL = new(url.URL)
	*passed.URL = *r.URL
	passed.URL.Path = prefix + r.URL.Path
	if r.URL.RawPath != "" {
		passed.URL.RawPath = prefix + r.URL.RawPath
	}
	passed.RequestURI = passed.URL.RequestURI()
	g.api.ServeHTTP(w, passed)
}

// plainOnly is port 80: images may be pulled there, the APIs want TLS, as at Google.
type plainOnly struct{ *gateway }

func (p plainOnly) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !isRegistry(hostOf(r)) {
		w.Header().Set("Content-Type", "application/json; charset=UTF-8")
		w.WriteHeader(http.StatusForbidden)
		w.Write([]byte(`{"error":{"code":403,"message":"SSL is required to perform this operation.","status":"PERMISSION_DENIED"}}` + "\n"))
		return
	}
	p.gateway.ServeHTTP(w, r)
}

func hostOf(r *http.Request) string {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return strings.TrimSuffix(strings.ToLower(host), ".")
}

func isRegistry(host string) bool {
	return strings.HasSuffix(host, ".pkg.dev") || host == "gcr.io" || strings.HasSuffix(host, ".gcr.io")
}

// servicePrefix is what goes before the path: the first label of the host is the first element of the API's path.
func servicePrefix(host, path string) (string, bool) {
	name, ok := strings.CutSuffix(host, ".googleapis.com")
	if !ok || name == "" {
		return "", false
	}
	if bucket, ok := strings.CutSuffix(name, ".storage"); ok {
		return "/storage/" + bucket, bucket != "" && !strings.ContainsAny(bucket, "/%")
	}
	// Regional (SERVICE.REGION.rep) and mutual TLS (SERVICE.mtls) names of the same service.
	if rest, ok := strings.CutSuffix(name, ".rep"); ok {
		service, region, ok := strings.Cut(rest, ".")
		return "/" + service, ok && isLabel(service) && isLabel(region)
	}
	name = strings.TrimSuffix(name, ".mtls")
	if name == "www" {
		// The oldest APIs live on one host, told apart by the path.
		parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
		if len(parts) > 1 && (parts[0] == "upload" || parts[0] == "download" || parts[0] == "batch" || parts[0] == "resumable") {
			parts = parts[1:]
		}
		name = parts[0]
	}
	return "/" + name, isLabel(name)
}

func isLabel(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-') {
			return false
		}
	}
	return s != ""
}

// refuseGRPC says in gRPC's own way that only HTTP/JSON is spoken here, so that a client shows a message and not a
// broken frame.
func refuseGRPC(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "application/grpc")
	h.Set("Grpc-Status", "12") // UNIMPLEMENTED
	h.Set("Grpc-Message", url.PathEscape(fmt.Sprintf("The sandbox does not serve gRPC (%s%s); use the client's HTTP/JSON transport.", hostOf(r), r.URL.Path)))
	w.WriteHeader(http.StatusOK)
}
