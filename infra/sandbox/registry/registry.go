// Package registry is the sandbox's Artifact Registry as docker and containerd see it: the OCI distribution protocol
// under /v2/, for image names PROJECT/REPOSITORY/IMAGE, with everything on disk by digest. It takes pushes only into
// repositories that exist in the resource store, as Google does. A push that was answered with 201 survives a kill at
// any moment.
//
// It is written here rather than taken from go-containerregistry's pkg/registry, which keeps manifests and unfinished
// uploads in memory and serialises uploads, or from distribution, which brings a storage-driver framework and some
// two hundred packages to compile for the same few verbs.
package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"patag/infra/sandbox/store"
)

// Authenticator names the principal that a bearer token stands for.
type Authenticator interface {
	Authenticate(token string) (principal string, err error)
}

// Options are what a registry needs.
type Options struct {
	// Dir holds the images (layout.Registry()).
	Dir string
	// Store has the repositories: artifactregistry/projects/P/locations/L/repositories/R.
	Store *store.Store
	Auth  Authenticator
	// Authorize, if set, is asked whether a principal may read from or write to a repository; its error is shown.
	Authorize func(principal string, repo Repository, write bool) error
	Logger    *slog.Logger
}

// Registry is an http.Handler for /v2/; safe for concurrent use.
type Registry struct {
	Options
	// tags serialises changes of tags, so that a check of immutability and the write are one step.
	tags sync.Mutex
	// uploads holds a lock per unfinished upload.
	uploads sync.Map
	// collecting is held for writing while content is collected, for reading while a request writes.
	collecting sync.RWMutex
}

// Open opens or makes the folder and removes what interrupted pushes and deleted repositories left.
func Open(o Options) (*Registry, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Registry{Options: o}
	for _, sub := range []string{"blobs/sha256", "uploads", "repositories"} {
		if err := os.MkdirAll(filepath.Join(o.Dir, sub), 0o755); err != nil {
			return nil, fmt.Errorf("open the registry: %w", err)
		}
	}
	if _, err := r.Collect(); err != nil {
		return nil, fmt.Errorf("open the registry: %w", err)
	}
	return r, nil
}

// request is one parsed call.
type request struct {
	repo  Repository
	image string
	// what is blobs, uploads, manifests, tags or referrers; ref is what follows it.
	what, ref string
	principal string
}

// ServeHTTP serves pushes and pulls of callers with a token.
func (r *Registry) ServeHTTP(w http.ResponseWriter, req *http.Request) { r.serve(w, req, false) }

// Nodes serves pulls without a token to addresses for which allowed is true, as Google serves a cluster's nodes with
// their service account, and answers everybody else as ServeHTTP does.
func (r *Registry) Nodes(allowed func(netip.Addr) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		peer, err := netip.ParseAddrPort(req.RemoteAddr)
		r.serve(w, req, err == nil && allowed(peer.Addr().Unmap()))
	})
}

func (r *Registry) serve(w http.ResponseWriter, req *http.Request, anonymousRead bool) {
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	if err := r.handle(w, req, anonymousRead); err != nil {
		var re *Error
		if !errors.As(err, &re) {
			r.Logger.Error("registry request failed", "method", req.Method, "path", req.URL.Path, "err", err)
			re = &Error{http.StatusInternalServerError, "UNKNOWN", err.Error()}
		}
		if re.Status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", challenge(req))
		}
		writeError(w, re)
	}
}

func (r *Registry) handle(w http.ResponseWriter, req *http.Request, anonymousRead bool) error {
	path := req.URL.Path
	if path == "/v2/token" {
		return r.token(w, req)
	}
	read := req.Method == http.MethodGet || req.Method == http.MethodHead
	principal, err := r.authenticate(req)
	if err != nil && !(read && anonymousRead && req.Header.Get("Authorization") == "") {
		return err
	}
	if path == "/v2/" || path == "/v2" {
		w.Header().Set("Content-Type", "application/json")
		w.Write([]byte("{}"))
		return nil
	}
	q, err := r.parse(req)
	if err != nil {
		return err
	}
	q.principal = principal
	if r.Authorize != nil && principal != "" {
		if err := r.Authorize(principal, q.repo, !read); err != nil {
			return &Error{http.StatusForbidden, "DENIED", err.Error()}
		}
	}
	if !read {
		r.collecting.RLock()
		defer r.collecting.RUnlock()
	}
	switch q.what {
	case "blobs":
		return r.blob(w, req, q)
	case "uploads":
		return r.upload(w, req, q)
	case "manifests":
		return r.manifest(w, req, q)
	case "tags":
		return r.listTags(w, req, q)
	default:
		return r.referrers(w, req, q)
	}
}

var (
	component = regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$`)
	tagName   = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)
)

// parse takes /v2/NAME/VERB/REF apart and finds the repository.
func (r *Registry) parse(req *http.Request) (request, error) {
	q, name, err := split(req.URL.Path)
	if err != nil {
		return q, err
	}
	host := req.URL.Query().Get("ns") // containerd tells a mirror which registry it stands for
	if host == "" {
		host = req.Host
	}
	q.repo, q.image, err = r.find(host, name)
	return q, err
}

func split(path string) (request, []string, error) {
	unknown := &Error{http.StatusNotFound, "UNSUPPORTED", "there is no such call in the OCI distribution protocol: " + path}
	rest, ok := strings.CutPrefix(path, "/v2/")
	if !ok {
		return request{}, nil, unknown
	}
	parts := strings.Split(rest, "/")
	n := len(parts)
	var q request
	switch {
	case n >= 4 && parts[n-3] == "blobs" && parts[n-2] == "uploads":
		q, parts = request{what: "uploads", ref: parts[n-1]}, parts[:n-3]
	case n >= 3 && parts[n-2] == "blobs" && parts[n-1] == "uploads":
		q, parts = request{what: "uploads"}, parts[:n-2]
	case n >= 3 && parts[n-2] == "tags" && parts[n-1] == "list",
		n >= 3 && (parts[n-2] == "blobs" || parts[n-2] == "manifests" || parts[n-2] == "referrers"):
		q, parts = request{what: parts[n-2], ref: parts[n-1]}, parts[:n-2]
	default:
		return q, nil, unknown
	}
	for _, p := range parts {
		if !component.MatchString(p) {
			return q, nil, &Error{http.StatusBadRequest, "NAME_INVALID", fmt.Sprintf("%q is not a valid image name: parts are lower-case letters and digits, joined by . _ or -", strings.Join(parts, "/"))}
		}
	}
	return q, parts, nil
}

// Error is an error of the distribution protocol.
type Error struct {
	Status        int
	Code, Message string
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

func writeError(w http.ResponseWriter, e *Error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(e.Status)
	json.NewEncoder(w).Encode(map[string]any{"errors": []map[string]string{{"code": e.Code, "message": e.Message}}})
}

func methodNotAllowed(w http.ResponseWriter, allowed string) error {
	w.Header().Set("Allow", allowed)
	return &Error{http.StatusMethodNotAllowed, "UNSUPPORTED", "the method is not one of " + allowed}
}
