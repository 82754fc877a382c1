package gke

import (
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"patag/infra/sandbox/cluster"
	"patag/infra/sandbox/gke/autoscale"
	"patag/infra/sandbox/gke/disks"
	"patag/infra/sandbox/gke/policy"
	"patag/infra/sandbox/machine"
)

// controllers are those of a cluster: the engine's own and those it was given.
func (r *run) controllers() []cluster.Controller {
	all := []cluster.Controller{autoscale.New(r, r.e.o.IdleAfter, r.logger), policy.New(r.policies.Load, r.logger)}
	if r.e.o.Store != nil {
		all = append(all, disks.New(r.e.o.Store, r.e.o.Layout.Disks(), r.e.o.Logger))
	}
	return append(all, r.e.o.Controllers...)
}

// AutoscaledPools, Member, Grow and Shrink make a run an autoscale.Target.
func (r *run) AutoscaledPools() []autoscale.Pool {
	r.mu.Lock()
	defer r.mu.Unlock()
	var pools []autoscale.Pool
	for _, name := range slices.Sorted(maps.Keys(r.pools)) {
		p := r.pools[name]
		t, err := machine.Lookup(p.MachineType)
		if p.Deleting || p.Autoscaling == nil || err != nil {
			continue
		}
		pools = append(pools, autoscale.Pool{
			Name: name, Sizes: maps.Clone(p.Sizes), Zones: p.Zones, Limits: *p.Autoscaling,
			Template: func(zone string) *corev1.Node { return r.templateNode(p.NodePool, zone, t) },
		})
	}
	return pools
}

// templateNode is a node as the pool would get.
func (r *run) templateNode(p cluster.NodePool, zone string, t machine.Type) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Labels: nodeLabels(r.spec, p, zone, t)}}
	n.Labels["kubernetes.io/os"], n.Labels["kubernetes.io/arch"] = "linux", "amd64"
	n.Status.Allocatable = allocatableOf(t, p.DiskGB)
	for _, taint := range p.Taints {
		n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: taint.Key, Value: taint.Value, Effect: corev1.TaintEffect(taint.Effect)})
	}
	return n
}

// Member is described in package autoscale.
func (r *run) Member(node string) (pool, zone string, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, ok := r.nodes[node]
	if !ok {
		return "", "", false
	}
	rec := n.record()
	return rec.Pool, rec.Zone, !rec.Removing
}

// Grow is described in package autoscale.
func (r *run) Grow(pool, zone string, by int) error { return r.resize(pool, zone, by) }

// resize changes the wanted size of a zone, on disk first.
func (r *run) resize(pool, zone string, by int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.resizeLocked(pool, zone, by)
}

func (r *run) resizeLocked(pool, zone string, by int) error {
	p, ok := r.pools[pool]
	if !ok || p.Deleting {
		return fmt.Errorf("there is no node pool %q", pool)
	}
	changed := *p
	changed.Sizes = maps.Clone(p.Sizes)
	changed.Sizes[zone] = max(0, changed.Sizes[zone]+by)
	if err := save(r.folder.pool(pool), &changed); err != nil {
		return err
	}
	r.pools[pool] = &changed
	r.wake()
	return nil
}

// Shrink is described in package autoscale. The lock is held throughout, so that no node is made in the place of the one
// that goes.
func (r *run) Shrink(node string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, ok := r.nodes[node]
	if !ok {
		return fmt.Errorf("there is no node %q", node)
	}
	rec := n.record()
	if err := n.dismiss(true); err != nil {
		return err
	}
	return r.resizeLocked(rec.Pool, rec.Zone, -1)
}
