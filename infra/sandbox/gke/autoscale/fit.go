package autoscale

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	podresource "k8s.io/component-helpers/resource"
	corev1helpers "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
)

// simNode is a node in thought: a real one with its pods, or one that a pool would get.
type simNode struct {
	node *corev1.Node
	pods []*corev1.Pod
	free corev1.ResourceList
	pool string
	zone string
}

func newSimNode(n *corev1.Node, pool, zone string) *simNode {
	return &simNode{node: n, free: n.Status.Allocatable.DeepCopy(), pool: pool, zone: zone}
}

// requests is what a pod needs of a node, counted as the scheduler does.
func requests(p *corev1.Pod) corev1.ResourceList {
	r := podresource.PodRequests(p, podresource.PodResourcesOptions{})
	r[corev1.ResourcePods] = *newCount(1)
	return r
}

func (n *simNode) place(p *corev1.Pod) {
	n.pods = append(n.pods, p)
	for name, q := range requests(p) {
		free := n.free[name]
		free.Sub(q)
		n.free[name] = free
	}
}

func (n *simNode) remove(p *corev1.Pod) {
	for i, have := range n.pods {
		if have.UID != p.UID {
			continue
		}
		n.pods = append(n.pods[:i:i], n.pods[i+1:]...)
		for name, q := range requests(p) {
			free := n.free[name]
			free.Add(q)
			n.free[name] = free
		}
		return
	}
}

// world is all nodes in thought.
type world struct {
	nodes []*simNode
	// namespaces holds the labels of namespaces, for terms that select by them.
	namespaces map[string]labels.Set
	// zones tells, by namespace/name of a claim, to which zones its volume is bound; nil if to none.
	zones func(p *corev1.Pod) (zones []string, bound bool)
}

// fits tells whether the scheduler would put the pod on the node.
func (w *world) fits(p *corev1.Pod, n *simNode) bool {
	if !tolerated(p, n.node) {
		return false
	}
	for name, q := range requests(p) {
		free, ok := n.free[name]
		if !q.IsZero() && (!ok || q.Cmp(free) > 0) {
			return false
		}
	}
	if ok, err := nodeaffinity.GetRequiredNodeAffinity(p).Match(n.node); err != nil || !ok {
		return false
	}
	if zones, bound := w.zones(p); bound && !contains(zones, n.zone) {
		return false
	}
	return w.affinityAllows(p, n) && w.spreadAllows(p, n)
}

// tolerated tells whether nothing that the node says of itself keeps the pod off. A cordoned node is as one that the
// controller manager has already put the taint on.
func tolerated(p *corev1.Pod, n *corev1.Node) bool {
	_, untolerated := corev1helpers.FindMatchingUntoleratedTaint(n.Spec.Taints, p.Spec.Tolerations, func(t *corev1.Taint) bool {
		return t.Effect == corev1.TaintEffectNoSchedule || t.Effect == corev1.TaintEffectNoExecute
	})
	return !n.Spec.Unschedulable && !untolerated
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// affinityAllows checks the required terms between pods: the pod's own, and those of others against it.
func (w *world) affinityAllows(p *corev1.Pod, n *simNode) bool {
	for _, t := range antiTerms(p) {
		if w.anyIn(t.TopologyKey, n, func(o *corev1.Pod) bool { return w.selects(t, p, o) }) {
			return false
		}
	}
	for _, other := range w.nodes {
		for _, o := range other.pods {
			for _, t := range antiTerms(o) {
				if sameDomain(t.TopologyKey, other, n) && w.selects(t, o, p) {
					return false
				}
			}
		}
	}
	if p.Spec.Affinity == nil || p.Spec.Affinity.PodAffinity == nil {
		return true
	}
	for _, t := range p.Spec.Affinity.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution {
		matches := func(o *corev1.Pod) bool { return w.selects(t, p, o) }
		if w.anyIn(t.TopologyKey, n, matches) {
			continue
		}
		// The first of a group that wants to be together may be anywhere.
		if w.anywhere(matches) || !w.selects(t, p, p) {
			return false
		}
	}
	return true
}

func antiTerms(p *corev1.Pod) []corev1.PodAffinityTerm {
	if p.Spec.Affinity == nil || p.Spec.Affinity.PodAntiAffinity == nil {
		return nil
	}
	return p.Spec.Affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution
}

func sameDomain(key string, a, b *simNode) bool {
	x, ok := a.node.Labels[key]
	y, also := b.node.Labels[key]
	return ok && also && x == y
}

func (w *world) anyIn(key string, n *simNode, ok func(*corev1.Pod) bool) bool {
	for _, other := range w.nodes {
		if other != n && !sameDomain(key, other, n) {
			continue
		}
		for _, o := range other.pods {
			if ok(o) {
				return true
			}
		}
	}
	return false
}

func (w *world) anywhere(ok func(*corev1.Pod) bool) bool {
	for _, n := range w.nodes {
		for _, o := range n.pods {
			if ok(o) {
				return true
			}
		}
	}
	return false
}

// selects tells whether a term of one pod means another.
func (w *world) selects(t corev1.PodAffinityTerm, owner, other *corev1.Pod) bool {
	inNamespace := len(t.Namespaces) == 0 && t.NamespaceSelector == nil && owner.Namespace == other.Namespace
	inNamespace = inNamespace || contains(t.Namespaces, other.Namespace)
	if t.NamespaceSelector != nil {
		s, err := metav1.LabelSelectorAsSelector(t.NamespaceSelector)
		inNamespace = inNamespace || err == nil && s.Matches(w.namespaces[other.Namespace])
	}
	s, err := metav1.LabelSelectorAsSelector(t.LabelSelector)
	return inNamespace && err == nil && s.Matches(labels.Set(other.Labels))
}

// spreadAllows checks the topology spread constraints that forbid scheduling.
func (w *world) spreadAllows(p *corev1.Pod, n *simNode) bool {
	for _, c := range p.Spec.TopologySpreadConstraints {
		if c.WhenUnsatisfiable != corev1.DoNotSchedule {
			continue
		}
		here, ok := n.node.Labels[c.TopologyKey]
		if !ok {
			return false
		}
		s, err := metav1.LabelSelectorAsSelector(c.LabelSelector)
		if err != nil {
			return false
		}
		for _, key := range c.MatchLabelKeys {
			if value, ok := p.Labels[key]; ok {
				same, err := labels.NewRequirement(key, selection.In, []string{value})
				if err != nil {
					return false
				}
				s = s.Add(*same)
			}
		}
		honor := c.NodeTaintsPolicy != nil && *c.NodeTaintsPolicy == corev1.NodeInclusionPolicyHonor
		counts := map[string]int32{here: 0}
		for _, other := range w.nodes {
			domain, ok := other.node.Labels[c.TopologyKey]
			if match, err := nodeaffinity.GetRequiredNodeAffinity(p).Match(other.node); !ok || err != nil || !match || honor && !tolerated(p, other.node) {
				continue
			}
			counts[domain] += 0
			for _, o := range other.pods {
				if o.Namespace == p.Namespace && o.DeletionTimestamp == nil && s.Matches(labels.Set(o.Labels)) {
					counts[domain]++
				}
			}
		}
		least := counts[here]
		for _, n := range counts {
			least = min(least, n)
		}
		if c.MinDomains != nil && int32(len(counts)) < *c.MinDomains {
			least = 0
		}
		self := int32(0)
		if s.Matches(labels.Set(p.Labels)) {
			self = 1
		}
		if counts[here]+self-least > c.MaxSkew {
			return false
		}
	}
	return true
}
