// Package autoscale grows and shrinks node pools as GKE's cluster autoscaler does: a pod that fits nowhere adds nodes to a
// pool in which it would fit, up to the pool's maximum; a node that is superfluous for a while goes, down to the minimum. It
// decides by requests, never by use. It changes wanted sizes; making nodes is its target's work.
package autoscale

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"

	"patag/infra/sandbox/cluster"
)

// Pool is one autoscaled pool.
type Pool struct {
	Name string
	// Template is a node as the pool would get in a zone: labels, taints, allocatable.
	Template func(zone string) *corev1.Node
	// Sizes is the wanted number of nodes by zone.
	Sizes  map[string]int
	Zones  []string
	Limits cluster.Autoscaling
}

// Target is what is scaled.
type Target interface {
	// AutoscaledPools lists the pools with limits; Member tells the pool and zone of a node, whether autoscaled or not.
	AutoscaledPools() []Pool
	Member(node string) (pool, zone string, ok bool)
	Grow(pool, zone string, by int) error
	// Shrink takes a node out of its pool, and one off the size of its zone.
	Shrink(node string) error
}

// interval is how often the cluster is looked at.
const interval = time.Second

// useBelow is the share of a node's allocatable that pods request below which it may be superfluous.
const useBelow = 0.5

// Controller is a cluster.Controller.
type Controller struct {
	target Target
	idle   time.Duration
	logger *slog.Logger
}

// New makes the controller. idle is how long a node must be superfluous before it goes.
func New(target Target, idle time.Duration, logger *slog.Logger) *Controller {
	return &Controller{target: target, idle: idle, logger: logger}
}

// Name is described in package cluster.
func (c *Controller) Name() string { return "autoscaler" }

// Run scales until ctx ends.
func (c *Controller) Run(ctx context.Context, r cluster.Running) error {
	client, err := kubernetes.NewForConfig(r.Config)
	if err != nil {
		return err
	}
	f := informers.NewSharedInformerFactory(client, 0)
	s := &state{
		c: c, client: client,
		pods: f.Core().V1().Pods().Lister(), nodes: f.Core().V1().Nodes().Lister(), namespaces: f.Core().V1().Namespaces().Lister(),
		claims: f.Core().V1().PersistentVolumeClaims().Lister(), volumes: f.Core().V1().PersistentVolumes().Lister(),
		superfluous: map[string]time.Time{},
	}
	f.Start(ctx.Done())
	defer f.Shutdown()
	for kind, ok := range f.WaitForCacheSync(ctx.Done()) {
		if !ok {
			return fmt.Errorf("list %v: no answer", kind)
		}
	}
	for t := time.NewTicker(interval); ; {
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-t.C:
		}
		pools := c.target.AutoscaledPools()
		if len(pools) == 0 {
			continue
		}
		w, err := s.look(pools)
		if err != nil {
			return err
		}
		if grown := s.grow(ctx, w, pools); !grown {
			s.shrink(w, pools)
		}
	}
}

// total is the size of a pool in all zones.
func (p *Pool) total() int {
	n := 0
	for _, s := range p.Sizes {
		n += s
	}
	return n
}

// mayGrow and mayShrink keep a pool within its limits.
func (p *Pool) mayGrow(zone string) bool {
	if p.Limits.TotalMax > 0 {
		return p.total() < p.Limits.TotalMax
	}
	return p.Sizes[zone] < p.Limits.Max
}

func (p *Pool) mayShrink(zone string) bool {
	if p.Limits.TotalMax > 0 {
		return p.total() > p.Limits.TotalMin
	}
	return p.Sizes[zone] > p.Limits.Min
}

// zonesBySize lists the zones, the smallest first, so that they grow evenly.
func (p *Pool) zonesBySize() []string {
	zones := append([]string(nil), p.Zones...)
	for i := range zones {
		for j := i; j > 0 && p.Sizes[zones[j]] < p.Sizes[zones[j-1]]; j-- {
			zones[j], zones[j-1] = zones[j-1], zones[j]
		}
	}
	return zones
}

// event tells the pod's owner what is done for it, under the name that GKE's users know.
func (s *state) event(ctx context.Context, p *corev1.Pod, reason, message string) {
	now := metav1.Now()
	_, err := s.client.CoreV1().Events(p.Namespace).Create(ctx, &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{GenerateName: p.Name + ".", Namespace: p.Namespace},
		InvolvedObject: corev1.ObjectReference{Kind: "Pod", APIVersion: "v1", Namespace: p.Namespace, Name: p.Name, UID: p.UID},
		Reason:         reason, Message: message, Type: corev1.EventTypeNormal, Count: 1,
		FirstTimestamp: now, LastTimestamp: now, Source: corev1.EventSource{Component: "cluster-autoscaler"},
	}, metav1.CreateOptions{})
	if err != nil {
		s.c.logger.Debug("an event was not recorded", "error", err)
	}
}
