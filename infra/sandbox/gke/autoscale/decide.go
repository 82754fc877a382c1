package autoscale

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
)

func newCount(n int64) *resource.Quantity { return resource.NewQuantity(n, resource.DecimalSI) }

// state is what the controller sees of one cluster.
type state struct {
	c           *Controller
	client      kubernetes.Interface
	pods        corelisters.PodLister
	nodes       corelisters.NodeLister
	namespaces  corelisters.NamespaceLister
	claims      corelisters.PersistentVolumeClaimLister
	volumes     corelisters.PersistentVolumeLister
	superfluous map[string]time.Time
}

// look makes a picture of the cluster: nodes that can take pods, and those that pools are about to get.
func (s *state) look(pools []Pool) (*world, error) {
	nodes, err := s.nodes.List(labels.Everything())
	if err != nil {
		return nil, err
	}
	pods, err := s.pods.List(labels.Everything())
	if err != nil {
		return nil, err
	}
	namespaces, err := s.namespaces.List(labels.Everything())
	if err != nil {
		return nil, err
	}
	w := &world{namespaces: map[string]labels.Set{}, zones: s.boundZones}
	for _, n := range namespaces {
		w.namespaces[n.Name] = n.Labels
	}
	byName, have := map[string]*simNode{}, map[string]int{}
	for _, n := range nodes {
		pool, zone, ok := s.c.target.Member(n.Name)
		if !ok || !ready(n) {
			continue // gone, going, or counted below as coming
		}
		have[pool+"/"+zone]++
		sim := newSimNode(started(n), pool, zone)
		byName[n.Name] = sim
		w.nodes = append(w.nodes, sim)
	}
	for i := range pools {
		p := &pools[i]
		for _, zone := range p.Zones {
			for k := range p.Sizes[zone] - have[p.Name+"/"+zone] {
				w.nodes = append(w.nodes, p.template(zone, "coming-"+strconv.Itoa(k)))
			}
		}
	}
	for _, p := range pods {
		if n := byName[p.Spec.NodeName]; n != nil && !ended(p) {
			n.place(p)
		}
	}
	return w, nil
}

// started is the node without the taints that a node has until it was noticed to be Ready: they go in a moment, and
// nothing should be added because of them.
func started(n *corev1.Node) *corev1.Node {
	n = n.DeepCopy()
	n.Spec.Taints = slices.DeleteFunc(n.Spec.Taints, func(t corev1.Taint) bool {
		return t.Key == corev1.TaintNodeNotReady || t.Key == corev1.TaintNodeUnreachable
	})
	return n
}

func (p *Pool) template(zone, suffix string) *simNode {
	n := p.Template(zone)
	n.Name = p.Name + "-" + zone + "-" + suffix
	n.Labels["kubernetes.io/hostname"] = n.Name
	return newSimNode(n, p.Name, zone)
}

func ready(n *corev1.Node) bool {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func ended(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

// boundZones finds the zones of the volumes that a pod's claims are bound to.
func (s *state) boundZones(p *corev1.Pod) (zones []string, bound bool) {
	for _, v := range p.Spec.Volumes {
		if v.PersistentVolumeClaim == nil {
			continue
		}
		claim, err := s.claims.PersistentVolumeClaims(p.Namespace).Get(v.PersistentVolumeClaim.ClaimName)
		if err != nil || claim.Spec.VolumeName == "" {
			continue
		}
		pv, err := s.volumes.Get(claim.Spec.VolumeName)
		if err != nil || pv.Spec.NodeAffinity == nil || pv.Spec.NodeAffinity.Required == nil {
			continue
		}
		for _, t := range pv.Spec.NodeAffinity.Required.NodeSelectorTerms {
			for _, e := range t.MatchExpressions {
				if e.Key == "topology.gke.io/zone" || e.Key == corev1.LabelTopologyZone {
					zones, bound = append(zones, e.Values...), true
				}
			}
		}
	}
	return zones, bound
}

// unschedulable are the pods that the scheduler found no node for.
func (s *state) unschedulable() []*corev1.Pod {
	pods, err := s.pods.List(labels.Everything())
	if err != nil {
		return nil
	}
	var found []*corev1.Pod
	for _, p := range pods {
		if p.Spec.NodeName != "" || p.DeletionTimestamp != nil || p.Status.NominatedNodeName != "" || ended(p) {
			continue
		}
		for _, c := range p.Status.Conditions {
			if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable {
				found = append(found, p)
			}
		}
	}
	return found
}

// grow adds nodes for pods that fit nowhere; it tells whether any pod waits.
func (s *state) grow(ctx context.Context, w *world, pools []Pool) bool {
	pending := s.unschedulable()
	for i, p := range pending {
		if placeAnywhere(w, p) {
			continue // the scheduler will, or a node is coming for it
		}
		s.growFor(ctx, w, pools, p, i)
	}
	return len(pending) > 0
}

func placeAnywhere(w *world, p *corev1.Pod) bool {
	for _, n := range w.nodes {
		if w.fits(p, n) {
			n.place(p)
			return true
		}
	}
	return false
}

func (s *state) growFor(ctx context.Context, w *world, pools []Pool, p *corev1.Pod, number int) {
	for i := range pools {
		pool := &pools[i]
		for _, zone := range pool.zonesBySize() {
			if !pool.mayGrow(zone) {
				continue
			}
			n := pool.template(zone, "new-"+strconv.Itoa(number))
			w.nodes = append(w.nodes, n)
			if !w.fits(p, n) {
				w.nodes = w.nodes[:len(w.nodes)-1]
				continue
			}
			if err := s.c.target.Grow(pool.Name, zone, 1); err != nil {
				s.c.logger.Error("a pool did not grow", "pool", pool.Name, "zone", zone, "error", err)
				w.nodes = w.nodes[:len(w.nodes)-1]
				continue
			}
			before := pool.total()
			pool.Sizes[zone]++
			n.place(p)
			s.c.logger.Info("a pool grows", "pool", pool.Name, "zone", zone, "nodes", pool.total(), "for", p.Namespace+"/"+p.Name)
			s.event(ctx, p, "TriggeredScaleUp", fmt.Sprintf("pod triggered scale-up: [{%s %s %d->%d}]", pool.Name, zone, before, pool.total()))
			return
		}
	}
}

// shrink lets one node go that has been superfluous for long enough.
func (s *state) shrink(w *world, pools []Pool) {
	byName := map[string]*Pool{}
	for i := range pools {
		byName[pools[i].Name] = &pools[i]
	}
	seen := map[string]bool{}
	for _, n := range w.nodes {
		pool := byName[n.pool]
		if pool == nil || !pool.mayShrink(n.zone) || n.node.Spec.Unschedulable || n.node.UID == "" || !superfluous(w, n) {
			continue
		}
		name := n.node.Name
		seen[name] = true
		since, known := s.superfluous[name]
		if !known {
			s.superfluous[name] = time.Now()
			continue
		}
		if time.Since(since) < s.c.idle {
			continue
		}
		s.c.logger.Info("a pool shrinks", "pool", pool.Name, "zone", n.zone, "node", name, "superfluousSince", since)
		if err := s.c.target.Shrink(name); err != nil {
			s.c.logger.Error("a pool did not shrink", "pool", pool.Name, "node", name, "error", err)
		}
		delete(s.superfluous, name)
		return // one at a time: the picture has changed
	}
	for name := range s.superfluous {
		if !seen[name] {
			delete(s.superfluous, name)
		}
	}
}

// superfluous tells whether all pods of a lightly used node would fit on the others. The world is left as it was.
func superfluous(w *world, n *simNode) bool {
	var move []*corev1.Pod
	used := corev1.ResourceList{}
	for _, p := range n.pods {
		owner := metav1.GetControllerOf(p)
		if owner != nil && owner.Kind == "DaemonSet" || p.DeletionTimestamp != nil {
			continue
		}
		if owner == nil || p.Annotations["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false" {
			return false // nobody would make it anew, or it says no
		}
		for name, q := range requests(p) {
			sum := used[name]
			sum.Add(q)
			used[name] = sum
		}
		move = append(move, p)
	}
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		allocatable, sum := n.node.Status.Allocatable[name], used[name]
		if allocatable.IsZero() || sum.AsApproximateFloat64()/allocatable.AsApproximateFloat64() >= useBelow {
			return false
		}
	}
	for _, p := range move {
		n.remove(p)
	}
	ok, placed := true, map[*corev1.Pod]*simNode{}
	for _, p := range move {
		for _, other := range w.nodes {
			if other != n && other.node.UID != "" && w.fits(p, other) {
				other.place(p)
				placed[p] = other
				break
			}
		}
		if placed[p] == nil {
			ok = false
			break
		}
	}
	for p, other := range placed {
		other.remove(p)
	}
	for _, p := range move {
		n.place(p)
	}
	return ok
}
