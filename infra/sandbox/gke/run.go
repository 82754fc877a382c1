package gke

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"patag/infra/sandbox/cluster"
	"patag/infra/sandbox/gke/addons"
	"patag/infra/sandbox/gke/controlplane"
	"patag/infra/sandbox/gke/network"
	"patag/infra/sandbox/gke/process"
	"patag/infra/sandbox/netns"
)

// startTimeout is how long a control plane may take to come up, on a busy machine.
const startTimeout = 3 * time.Minute

// run is one cluster while the engine runs.
type run struct {
	e      *Engine
	spec   cluster.Cluster
	folder folder
	logger *slog.Logger
	life   context.Context
	end    context.CancelFunc
	// tasks are the goroutines that end with life.
	tasks sync.WaitGroup

	// started is closed when the cluster serves, or failed to; then startErr and what follows it is final.
	started      chan struct{}
	startErr     error
	ns           *netns.NS
	controlPlane *controlplane.ControlPlane
	forwarder    *forwarder
	config       *rest.Config
	client       kubernetes.Interface
	nodeObjects  corelisters.NodeLister

	// policies is whether NetworkPolicies take effect: the one thing of spec that may change.
	policies atomic.Bool

	// kick wakes the loop that brings nodes to what is wanted.
	kick chan struct{}
	mu   sync.Mutex
	// pools, nodes and troubles are what is wanted, what there is, and why it is not yet the same, by pool.
	pools    map[string]*poolRecord
	nodes    map[string]*nodeRun
	troubles map[string]error
	// hasty spaces the replacements of nodes that die as soon as they are made, by pool.
	hasty  map[string]*process.Backoff
	routed string
}

func newRun(e *Engine, spec cluster.Cluster) (*run, error) {
	f := folder(e.o.Layout.Cluster(spec.ID))
	pools, err := f.loadPools()
	if err != nil {
		return nil, err
	}
	records, err := f.loadNodes()
	if err != nil {
		return nil, err
	}
	life, end := context.WithCancel(e.life)
	r := &run{
		e: e, spec: spec, folder: f, logger: e.o.Logger.With("cluster", spec.Name), life: life, end: end,
		started: make(chan struct{}), kick: make(chan struct{}, 1),
		pools: pools, nodes: map[string]*nodeRun{}, troubles: map[string]error{}, hasty: map[string]*process.Backoff{},
	}
	r.policies.Store(spec.NetworkPolicy)
	for _, rec := range records {
		r.nodes[rec.Name] = newNodeRun(r, rec)
	}
	return r, nil
}

func (r *run) isStarted() bool {
	select {
	case <-r.started:
		return r.startErr == nil
	default:
		return false
	}
}

func (r *run) awaitStarted(ctx context.Context) error {
	select {
	case <-r.started:
		return r.startErr
	case <-ctx.Done():
		return ctx.Err()
	}
}

// start brings the cluster up. Nodes of an earlier run start beside the control plane and join when it answers.
func (r *run) start() {
	defer close(r.started)
	begun := time.Now()
	r.logger.Info("starting the control plane")
	if err := r.startControlPlane(); err != nil {
		r.startErr = err
		return
	}
	r.mu.Lock()
	for _, n := range r.nodes {
		r.tasks.Go(n.run)
	}
	r.mu.Unlock()
	if r.startErr = r.finishStart(); r.startErr != nil {
		return
	}
	r.logger.Info("the control plane serves", "seconds", time.Since(begun).Round(100*time.Millisecond).Seconds(), "endpoint", r.spec.Endpoint)
}

func (r *run) namespace() string {
	id := r.spec.ID
	return fmt.Sprintf("%s-%s-cp", r.e.o.Settings.Name(), id[max(0, len(id)-8):])
}

func (r *run) startControlPlane() (err error) {
	if r.ns, err = netns.Create(r.namespace()); err != nil {
		return err
	}
	lan := netip.PrefixFrom(gateway(r.spec), r.spec.NodeCIDR.Bits())
	if err := network.SetUpControlPlane(r.ns, lan, master(r.spec)); err != nil {
		return err
	}
	r.controlPlane, err = controlplane.Start(controlplane.Options{
		Folder: r.folder.controlPlane(), Tools: r.e.o.Tools, NS: r.ns,
		Master: master(r.spec), Endpoint: r.spec.Endpoint, Gateway: gateway(r.spec),
		Services: r.spec.ServiceCIDR, Pods: r.spec.PodCIDR,
		Issuer: fmt.Sprintf("https://container.googleapis.com/v1/projects/%s/locations/%s/clusters/%s",
			r.spec.Project, r.spec.Location, r.spec.Name),
		Version: version(r.spec), User: userOf(r.spec.ID),
		AdminToken: r.e.o.AdminToken, Logger: r.logger,
	})
	if err != nil {
		return err
	}
	r.forwarder, err = forward(r.life, netip.AddrPortFrom(r.spec.Endpoint, 443), netip.AddrPortFrom(master(r.spec), 443), r.ns, r.logger)
	return err
}

func (r *run) finishStart() error {
	ctx, cancel := context.WithTimeout(r.life, startTimeout)
	defer cancel()
	if err := r.controlPlane.AwaitReady(ctx); err != nil {
		return err
	}
	keys := r.controlPlane.Keys()
	r.config = &rest.Config{
		Host:            "https://" + r.spec.Endpoint.String(),
		TLSClientConfig: rest.TLSClientConfig{CAData: keys.CA.CertPEM(), CertFile: keys.AdminCert(), KeyFile: keys.AdminKey()},
		QPS:             200, Burst: 400,
		UserAgent: "patag-sandbox",
	}
	var err error
	if r.client, err = kubernetes.NewForConfig(r.config); err != nil {
		return err
	}
	err = addons.Install(ctx, r.config, addons.Values{
		Gateway: gateway(r.spec), DNS: controlplane.ServiceIP(r.spec.ServiceCIDR, 10),
		MetricsPort: controlplane.MetricsPort, CA: keys.CA.CertPEM(),
	})
	if err != nil {
		return err
	}
	if err := r.watchNodes(ctx); err != nil {
		return err
	}
	r.tasks.Go(r.loop)
	for _, c := range r.controllers() {
		r.tasks.Go(func() { r.keepRunning(c) })
	}
	r.tasks.Go(r.trimLogs)
	return nil
}

// watchNodes keeps a copy of the Node objects, and wakes the loop when one changes.
func (r *run) watchNodes(ctx context.Context) error {
	factory := informers.NewSharedInformerFactory(r.client, 0)
	informer := factory.Core().V1().Nodes()
	_, err := informer.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { r.wake() },
		UpdateFunc: func(any, any) { r.wake() },
		DeleteFunc: func(any) { r.wake() },
	})
	if err != nil {
		return err
	}
	r.nodeObjects = informer.Lister()
	factory.Start(r.life.Done())
	r.tasks.Go(func() { <-r.life.Done(); factory.Shutdown() })
	if !cache.WaitForCacheSync(ctx.Done(), informer.Informer().HasSynced) {
		return errors.New("list the nodes: no answer in time")
	}
	return nil
}

func (r *run) wake() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

// keepRunning runs a controller until the cluster stops.
func (r *run) keepRunning(c cluster.Controller) {
	backoff := process.Backoff{}
	for r.life.Err() == nil {
		backoff.Started()
		err := c.Run(r.life, r.running())
		if r.life.Err() != nil {
			return
		}
		r.logger.Warn("a controller ended and is started again", "controller", c.Name(), "error", err)
		backoff.Wait(r.life)
	}
}

func (r *run) trimLogs() {
	for t := time.NewTicker(time.Minute); ; {
		select {
		case <-r.life.Done():
			t.Stop()
			return
		case <-t.C:
			for _, log := range r.controlPlane.Logs() {
				if err := process.TrimLog(log); err != nil {
					r.logger.Warn("a log was not cut", "error", err)
				}
			}
		}
	}
}

// running is what controllers get.
func (r *run) running() cluster.Running {
	spec := r.spec
	spec.NetworkPolicy = r.policies.Load()
	return cluster.Running{
		Spec: spec, Config: rest.CopyConfig(r.config), ControlPlane: r.ns, Gateway: gateway(r.spec),
		NodeNS: func(name string) (*netns.NS, bool) {
			r.mu.Lock()
			n, ok := r.nodes[name]
			r.mu.Unlock()
			if !ok {
				return nil, false
			}
			ns := n.ns.Load()
			return ns, ns != nil
		},
	}
}

// stop ends everything of the cluster and removes its namespaces; its folder stays. It may be called in any state.
func (r *run) stop() {
	r.end()
	<-r.started
	r.tasks.Wait()
	if r.forwarder != nil {
		r.forwarder.close()
	}
	if r.controlPlane != nil {
		r.controlPlane.Stop()
	}
	if r.ns != nil {
		r.ns.Close()
		if err := netns.Delete(r.ns.Name()); err != nil {
			r.logger.Error("a namespace was not removed", "error", err)
		}
	}
}

// forgetNodes tells the inventory that the nodes of a deleted cluster are gone.
func (r *run) forgetNodes() {
	r.mu.Lock()
	nodes := slices.Collect(maps.Values(r.nodes))
	r.mu.Unlock()
	for _, n := range nodes {
		n.tellInventory(false)
	}
}

// updateRoutes makes services reachable from the control plane through the nodes that are Ready.
func (r *run) updateRoutes(ready map[string]bool) {
	var hops []netip.Addr
	r.mu.Lock()
	for name, n := range r.nodes {
		if ready[name] && n.ns.Load() != nil {
			hops = append(hops, n.record().Address)
		}
	}
	r.mu.Unlock()
	sort.Slice(hops, func(i, j int) bool { return hops[i].Less(hops[j]) })
	if key := fmt.Sprint(hops); key != r.routed {
		if err := network.RouteServices(r.ns, r.spec.ServiceCIDR, hops); err != nil {
			r.logger.Warn("the routes to services were not set; it is tried again", "error", err)
			return
		}
		r.routed = key
	}
}

func isReady(n *corev1.Node) bool {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func removeFolder(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove %s: %w", dir, err)
	}
	return nil
}
