// Package policy makes NetworkPolicies take effect: for each node it works out what the pods on it may receive and send, and
// loads that as one nftables table into the node's network namespace. What a node itself sends to its pods (health
// probes) is not restricted, as in every implementation.
//
// Google reaches pods, and pods reach Google, from addresses outside the network. In the sandbox both are the gateway's
// address, so a block of addresses that has Google's ranges in it also means the gateway.
package policy

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os/exec"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"patag/infra/sandbox/cluster"
	"patag/infra/sandbox/netns"
)

// Controller is a cluster.Controller.
type Controller struct {
	enabled func() bool
	logger  *slog.Logger
}

// New makes the controller. While enabled answers false, everything is allowed.
func New(enabled func() bool, logger *slog.Logger) *Controller {
	return &Controller{enabled: enabled, logger: logger}
}

// Name is described in package cluster.
func (c *Controller) Name() string { return "network policies" }

// settle is how long changes are gathered before they are loaded; again is how often nodes are looked at in any case, as
// a restarted node has an empty namespace.
const settle, again = 50 * time.Millisecond, 2 * time.Second

// Run keeps the tables of all nodes as the policies want them, until ctx ends.
func (c *Controller) Run(ctx context.Context, r cluster.Running) error {
	client, err := kubernetes.NewForConfig(r.Config)
	if err != nil {
		return err
	}
	f := informers.NewSharedInformerFactory(client, 0)
	changed := make(chan struct{}, 1)
	wake := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	handler := cache.ResourceEventHandlerFuncs{AddFunc: func(any) { wake() }, UpdateFunc: func(any, any) { wake() }, DeleteFunc: func(any) { wake() }}
	for _, i := range []cache.SharedIndexInformer{
		f.Core().V1().Pods().Informer(), f.Core().V1().Namespaces().Informer(), f.Networking().V1().NetworkPolicies().Informer(), f.Core().V1().Nodes().Informer(),
	} {
		if _, err := i.AddEventHandler(handler); err != nil {
			return err
		}
	}
	f.Start(ctx.Done())
	defer f.Shutdown()
	for kind, ok := range f.WaitForCacheSync(ctx.Done()) {
		if !ok {
			return fmt.Errorf("list %v: no answer", kind)
		}
	}
	loaded := map[*netns.NS]string{}
	tick := time.NewTicker(again)
	defer tick.Stop()
	for {
		if err := c.load(ctx, f, r, loaded); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		case <-changed:
			time.Sleep(settle)
		}
	}
}

// load loads the tables that differ from what was loaded last.
func (c *Controller) load(ctx context.Context, f informers.SharedInformerFactory, r cluster.Running, loaded map[*netns.NS]string) error {
	s := snapshot{gateway: r.Gateway}
	var err error
	if s.pods, err = f.Core().V1().Pods().Lister().List(labels.Everything()); err != nil {
		return err
	}
	if s.namespaces, err = f.Core().V1().Namespaces().Lister().List(labels.Everything()); err != nil {
		return err
	}
	if c.enabled() {
		if s.policies, err = f.Networking().V1().NetworkPolicies().Lister().List(labels.Everything()); err != nil {
			return err
		}
	}
	nodes, err := f.Core().V1().Nodes().Lister().List(labels.Everything())
	if err != nil {
		return err
	}
	rules := compile(s)
	current := map[*netns.NS]bool{}
	for _, n := range nodes {
		ns, ok := r.NodeNS(n.Name)
		if !ok {
			continue
		}
		current[ns] = true
		table := render(rules[n.Name])
		if before, ok := loaded[ns]; ok && before == table {
			continue
		}
		if err := run(ctx, ns, table); err != nil {
			// The node may be going; if not, the next round tries again.
			c.logger.Warn("network policies were not loaded into a node", "node", n.Name, "error", err)
			continue
		}
		loaded[ns] = table
	}
	for ns := range loaded {
		if !current[ns] {
			delete(loaded, ns)
		}
	}
	return nil
}

// run gives a table to nft, which replaces the old one in one step.
func run(ctx context.Context, ns *netns.NS, table string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "nft", "-f", "-")
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(table), &out, &out
	if err := ns.Start(cmd); err != nil {
		return err
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("nft: %w: %s", err, strings.TrimSpace(out.String()))
	}
	return nil
}

// googleIngress are where GKE's load balancers and health checks come from, googleEgress where Google's APIs are.
var (
	googleIngress = []netip.Prefix{netip.MustParsePrefix("35.191.0.0/16"), netip.MustParsePrefix("130.211.0.0/22")}
	googleEgress  = []netip.Prefix{netip.MustParsePrefix("199.36.153.8/30"), netip.MustParsePrefix("142.250.0.0/15")}
)
