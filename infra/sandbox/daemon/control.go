package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"patag/infra/sandbox/client"
	"patag/infra/sandbox/cluster"
)

// control answers the daemon's own calls, /sandbox/v1/….
type control struct {
	auth    authenticator
	admin   string
	stop    context.CancelFunc
	started time.Time
	phase   atomic.Pointer[string]
	ready   atomic.Bool
	// clusters and preempt are set once the engine exists.
	clusters func(context.Context) []client.Cluster
	preempt  func(ctx context.Context, node string) error
	policies bool
}

type authenticator interface {
	Authenticate(token string) (principal string, err error)
}

// say sets what the daemon is doing, in words for a person.
func (c *control) say(phase string) { c.phase.Store(&phase) }

func (c *control) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /sandbox/v1/status", c.status)
	mux.HandleFunc("POST /sandbox/v1/stop", func(w http.ResponseWriter, r *http.Request) {
		c.say("stopping")
		writeJSON(w, http.StatusOK, struct{}{})
		// After the answer: stopping ends the server that gives it.
		go func() { time.Sleep(50 * time.Millisecond); c.stop() }()
	})
	mux.HandleFunc("POST /sandbox/v1/nodes/{node}", c.nodeVerb)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		principal, err := bearer(c.auth, r)
		if err != nil || principal != c.admin {
			refuse(w, http.StatusUnauthorized, "UNAUTHENTICATED", "the daemon's own calls need the administrator's token; it is in the state folder's file \"token\"")
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func (c *control) status(w http.ResponseWriter, r *http.Request) {
	s := client.Status{Ready: c.ready.Load(), Phase: *c.phase.Load(), NetworkPolicies: c.policies, Version: Version, PID: os.Getpid(), Since: c.started}
	if s.Ready {
		s.Clusters = c.clusters(r.Context())
	}
	writeJSON(w, http.StatusOK, s)
}

func (c *control) nodeVerb(w http.ResponseWriter, r *http.Request) {
	node, verb, found := cutLast(r.PathValue("node"), ':')
	if !found || verb != "preempt" {
		refuse(w, http.StatusNotFound, "NOT_FOUND", "the only call on a node is POST /sandbox/v1/nodes/NODE:preempt")
		return
	}
	if !c.ready.Load() {
		refuse(w, http.StatusServiceUnavailable, "UNAVAILABLE", "the sandbox is still starting; try again when `patag sandbox status` says ready")
		return
	}
	if err := c.preempt(r.Context(), node); errors.Is(err, cluster.ErrNoNode) {
		refuse(w, http.StatusNotFound, "NOT_FOUND", err.Error())
		return
	} else if err != nil {
		refuse(w, http.StatusBadRequest, "FAILED_PRECONDITION", err.Error())
		return
	}
	writeJSON(w, http.StatusOK, struct{}{})
}

func cutLast(s string, sep byte) (before, after string, found bool) {
	for i := len(s) - 1; i >= 0; i-- {
		if s[i] == sep {
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

func bearer(auth authenticator, r *http.Request) (string, error) {
	const prefix = "Bearer "
	h := r.Header.Get("Authorization")
	if len(h) < len(prefix) || h[:len(prefix)] != prefix {
		return "", errors.New("no bearer token")
	}
	return auth.Authenticate(h[len(prefix):])
}

func refuse(w http.ResponseWriter, code int, status, message string) {
	writeJSON(w, code, map[string]any{"error": map[string]any{"code": code, "status": status, "message": message}})
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) // the client is gone if this fails; nobody to tell
}
