// Package loadbalancer is Google's load balancer and GKE's ingress controller in one: for each running cluster it
// watches the Ingresses of class gce, serves them on the loopback addresses that stand for static ones, with real ports,
// and records in Compute Engine's resources what GKE's controller makes there. What is recorded goes when the Ingress
// goes and stays behind when the cluster is deleted, as at Google.
//
// Package proxy below it is the data path, package armor the security policies. This package knows Kubernetes and the
// resource store, and nothing of how clusters are run.
package loadbalancer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"google.golang.org/api/logging/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"

	"patag/infra/sandbox/cluster"
	"patag/infra/sandbox/layout"
	"patag/infra/sandbox/loadbalancer/proxy"
	"patag/infra/sandbox/pki"
	"patag/infra/sandbox/store"
)

// AccessLog takes log entries of a project; it must not block for long (package logs).
type AccessLog interface {
	Append(project string, e *logging.LogEntry) error
}

// Options are what the controller needs.
type Options struct {
	Store    *store.Store
	Settings layout.Settings
	// CA signs the certificates that stand for managed ones.
	CA *pki.CA
	// Materialise writes a Compute Engine resource at its path ("projects/P/global/urlMaps/M"), filling in what every
	// resource has (kind, id, selfLink, creationTimestamp).
	Materialise func(tx store.Tx, path string, document map[string]any) error
	// Log and Metrics may be nil.
	Log     AccessLog
	Metrics Metrics
	Logger  *slog.Logger

	// Listen and Dialer are for tests: by default the host's loopback addresses, and the cluster's own network.
	Listen func(ctx context.Context, address string) (net.Listener, error)
	Dialer func(c cluster.Running) proxy.Dialer
}

// Controller is a cluster.Controller.
type Controller struct{ Options }

// New checks the options.
func New(o Options) (*Controller, error) {
	if o.Store == nil || o.CA == nil || o.Materialise == nil {
		return nil, errors.New("load balancer: Store, CA and Materialise are needed")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Listen == nil {
		o.Listen = func(ctx context.Context, address string) (net.Listener, error) {
			return (&net.ListenConfig{}).Listen(ctx, "tcp", address)
		}
	}
	if o.Dialer == nil {
		o.Dialer = func(c cluster.Running) proxy.Dialer { return c.ControlPlane.DialContext }
	}
	return &Controller{o}, nil
}

// Name implements cluster.Controller.
func (c *Controller) Name() string { return "load balancer" }

// run is the work for one cluster.
type run struct {
	ctl     *Controller
	cluster cluster.Running
	project string
	logger  *slog.Logger
	view    *view
	events  record.EventRecorder
	sink    *telemetry
	dial    proxy.Dialer
	wake    chan struct{}

	balancers map[string]*balancer      // by namespace/name
	backends  map[string]*proxy.Backend // by namespace/service/port
	inferred  map[string]proxy.HealthCheck
	issued    map[string]issued
	policies  map[string]compiledPolicy
	// seen is what the last round read in the store, to notice when it changes.
	seen map[string]uint64
	// told keeps events from being repeated at every round.
	told   map[string]time.Time
	failed bool
}

const (
	// settle lets a burst of changes come together; short, because an endpoint that leaves must get no more requests.
	settle = 10 * time.Millisecond
	// poll is how soon a change in the store (a security policy, a freed address) is noticed.
	poll = time.Second
	// retry is the wait after a round that failed.
	retry = 3 * time.Second
	// renew is how often a round is made without cause, for what is bound to time (certificates).
	renew = time.Hour
	// farewell is how long requests may go on when a cluster stops or an Ingress goes.
	farewell = 2 * time.Second
)

// Run implements cluster.Controller.
func (c *Controller) Run(ctx context.Context, running cluster.Running) error {
	r := &run{ctl: c, cluster: running, project: running.Spec.Project, logger: c.Logger.With("cluster", running.Spec.Name),
		dial: c.Dialer(running), wake: make(chan struct{}, 1), balancers: map[string]*balancer{}, backends: map[string]*proxy.Backend{},
		inferred: map[string]proxy.HealthCheck{}, issued: map[string]issued{}, policies: map[string]compiledPolicy{}, told: map[string]time.Time{}}
	var err error
	if r.view, err = openView(ctx, running.Config, r.poke); err != nil {
		return fmt.Errorf("watch the cluster: %w", err)
	}
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: r.view.client.CoreV1().Events("")})
	defer broadcaster.Shutdown()
	r.events = broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "loadbalancer-controller"})
	r.sink = newTelemetry(r.project, c.Log, c.Metrics, r.logger)
	defer r.sink.close()
	defer r.close()
	r.loop(ctx)
	return ctx.Err()
}

// poke asks for a round.
func (r *run) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *run) loop(ctx context.Context) {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	var last time.Time
	r.poke()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		case <-tick.C:
			due := r.failed && time.Since(last) >= retry || time.Since(last) >= renew
			if !due && !r.storeChanged() {
				continue
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(settle):
		}
		// What came in while settling is part of this round.
		select {
		case <-r.wake:
		default:
		}
		r.sync(ctx)
		last = time.Now()
	}
}

// close ends listeners first, so that no request finds its backend gone.
func (r *run) close() {
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	r.closeBalancers(ctx, func(string) bool { return true })
	for _, b := range r.backends {
		b.Close()
	}
}
