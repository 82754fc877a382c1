// Package inside is Google as a cluster's nodes and pods see it: *.googleapis.com, *.pkg.dev and gcr.io at the gateway
// of the nodes' network, with certificates of the sandbox's authority; the registry for containerd; and on every node
// the metadata server, which hands out tokens as GKE's does (Workload Identity). It passes API calls on to the Google
// API's handler and decides only who a token stands for; what a principal may do is the API's matter.
package inside

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"k8s.io/client-go/kubernetes"

	"patag/infra/sandbox/cluster"
	"patag/infra/sandbox/pki"
	"patag/infra/sandbox/store"
)

// Tokens makes what the metadata server hands out (package tokens).
type Tokens interface {
	Access(principal string, scopes []string, valid time.Duration) (token string, expires time.Time)
	Identity(email, audience string, full bool) (string, error)
}

// Registry is the OCI registry.
type Registry interface {
	http.Handler
	// Nodes allows pulls without a token from some addresses.
	Nodes(allowed func(netip.Addr) bool) http.Handler
}

// Options are what the controller needs.
type Options struct {
	// API serves /<service>/<path as on that service's host>.
	API      http.Handler
	Registry Registry
	CA       *pki.CA
	Tokens   Tokens
	// Store has the service accounts (iam/projects/P/serviceAccounts/EMAIL), their policies (policy/ and that key) and
	// the nodes' virtual machines (compute/projects/P/zones/Z/instances/NAME).
	Store *store.Store
	// ProjectNumber is the number of a project, in digits.
	ProjectNumber func(project string) string
	Logger        *slog.Logger
}

// Controller is a cluster.Controller.
type Controller struct {
	Options
	certificates certificates

	mu        sync.Mutex
	preempted map[string]bool
	changed   chan struct{} // closed and replaced when preempted changes
}

// New checks the options.
func New(o Options) (*Controller, error) {
	if o.API == nil || o.Registry == nil || o.CA == nil || o.Tokens == nil || o.Store == nil || o.ProjectNumber == nil {
		return nil, errors.New("inside: API, Registry, CA, Tokens, Store and ProjectNumber are needed")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Controller{Options: o, certificates: certificates{ca: o.CA}, preempted: map[string]bool{}, changed: make(chan struct{})}, nil
}

// Name implements cluster.Controller.
func (c *Controller) Name() string { return "Google from inside" }

// SetPreempted sets what a node's metadata server answers for instance/preempted, and wakes who waits for it. The
// node's name may be used again after SetPreempted(node, false).
func (c *Controller) SetPreempted(node string, preempted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.preempted[node] == preempted {
		return
	}
	if preempted {
		c.preempted[node] = true
	} else {
		delete(c.preempted, node)
	}
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *Controller) isPreempted(node string) (bool, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.preempted[node], c.changed
}

// Ports at the gateway.
const (
	httpsPort = 443
	httpPort  = 80
	// RegistryPort serves containerd without TLS: its certs.d entry for *-docker.pkg.dev names it.
	RegistryPort = 5000
)

// Run implements cluster.Controller.
func (c *Controller) Run(ctx context.Context, running cluster.Running) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	logger := c.Logger.With("cluster", running.Spec.Name)
	client, err := kubernetes.NewForConfig(running.Config)
	if err != nil {
		return err
	}
	failed := make(chan error, 3)
	var servers sync.WaitGroup
	defer servers.Wait()
	serve := func(port int, handler http.Handler, secure bool) error {
		address := netip.AddrPortFrom(running.Gateway, uint16(port)).String()
		l, err := running.ControlPlane.Listen(ctx, "tcp", address)
		if err != nil {
			return fmt.Errorf("listen on %s inside the cluster: %w", address, err)
		}
		servers.Go(func() { failed <- c.serve(ctx, l, handler, secure) })
		return nil
	}
	nodes := c.Registry.Nodes(running.Spec.NodeCIDR.Contains)
	gateway := &gateway{api: c.API, registry: c.Registry}
	if err := errors.Join(serve(httpsPort, gateway, true), serve(httpPort, plainOnly{gateway}, false), serve(RegistryPort, nodes, false)); err != nil {
		cancel()
		return err
	}
	w, err := newWatch(ctx, client)
	if err != nil {
		cancel()
		return err
	}
	servers.Go(func() { c.serveNodes(ctx, running, w, logger) })
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-failed:
		cancel()
		return err
	}
}

// serve ends when ctx does, cutting what is under way after a moment.
func (c *Controller) serve(ctx context.Context, l net.Listener, handler http.Handler, secure bool) error {
	s := &http.Server{Handler: handler, ReadHeaderTimeout: 30 * time.Second, IdleTimeout: 5 * time.Minute, ErrorLog: log.New(discard{}, "", 0)}
	stop := context.AfterFunc(ctx, func() {
		end, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if s.Shutdown(end) != nil {
			s.Close()
		}
	})
	defer stop()
	var err error
	if secure {
		s.TLSConfig = c.certificates.config()
		err = s.ServeTLS(l, "", "")
	} else {
		err = s.Serve(l)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("serve %s inside the cluster: %w", l.Addr(), err)
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
