package autoscale

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
)

func testNode(name, zone string, milliCPU int64, edit ...func(*corev1.Node)) *simNode {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name), Labels: map[string]string{
		"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": zone,
	}}}
	n.Status.Allocatable = corev1.ResourceList{
		corev1.ResourceCPU: *resource.NewMilliQuantity(milliCPU, resource.DecimalSI), corev1.ResourceMemory: resource.MustParse("2Gi"),
		corev1.ResourcePods: resource.MustParse("110"),
	}
	for _, e := range edit {
		e(n)
	}
	return newSimNode(n, "pool", zone)
}

func testPod(name string, cpu string, edit ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", UID: types.UID(name), Labels: map[string]string{"app": "x"},
		OwnerReferences: []metav1.OwnerReference{{Kind: "ReplicaSet", Controller: new(bool)}}}}
	*p.OwnerReferences[0].Controller = true
	p.Spec.Containers = []corev1.Container{{Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu)}}}}
	for _, e := range edit {
		e(p)
	}
	return p
}

func testWorld(nodes ...*simNode) *world {
	return &world{nodes: nodes, namespaces: map[string]labels.Set{}, zones: func(*corev1.Pod) ([]string, bool) { return nil, false }}
}

var selectX = &metav1.LabelSelector{MatchLabels: map[string]string{"app": "x"}}

func apart(p *corev1.Pod) {
	p.Spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{
		RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{{TopologyKey: "kubernetes.io/hostname", LabelSelector: selectX}},
	}}
}

func spread(p *corev1.Pod) {
	p.Spec.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{
		MaxSkew: 1, TopologyKey: "topology.kubernetes.io/zone", WhenUnsatisfiable: corev1.DoNotSchedule, LabelSelector: selectX,
	}}
}

func TestFits(t *testing.T) {
	tainted := func(n *corev1.Node) {
		n.Spec.Taints = []corev1.Taint{{Key: "dedicated", Value: "ads", Effect: corev1.TaintEffectNoSchedule}}
	}
	tolerant := func(p *corev1.Pod) {
		p.Spec.Tolerations = []corev1.Toleration{{Key: "dedicated", Operator: corev1.TolerationOpExists}}
	}
	inZone := func(zone string) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{"topology.kubernetes.io/zone": zone} }
	}
	cases := []struct {
		name string
		on   *simNode
		with []*corev1.Pod
		pod  *corev1.Pod
		want bool
	}{
		{"room", testNode("a", "b", 940), nil, testPod("p", "900m"), true},
		{"too large", testNode("a", "b", 940), nil, testPod("p", "1"), false},
		{"room is taken", testNode("a", "b", 940), []*corev1.Pod{testPod("o", "500m")}, testPod("p", "500m"), false},
		{"taint", testNode("a", "b", 940, tainted), nil, testPod("p", "1m"), false},
		{"tolerated taint", testNode("a", "b", 940, tainted), nil, testPod("p", "1m", tolerant), true},
		{"selector", testNode("a", "b", 940), nil, testPod("p", "1m", inZone("c")), false},
		{"matching selector", testNode("a", "b", 940), nil, testPod("p", "1m", inZone("b")), true},
		{"own anti-affinity", testNode("a", "b", 940), []*corev1.Pod{testPod("o", "1m")}, testPod("p", "1m", apart), false},
		{"other's anti-affinity", testNode("a", "b", 940), []*corev1.Pod{testPod("o", "1m", apart)}, testPod("p", "1m"), false},
		{"anti-affinity alone", testNode("a", "b", 940), nil, testPod("p", "1m", apart), true},
		{"cordoned", testNode("a", "b", 940, func(n *corev1.Node) { n.Spec.Unschedulable = true }), nil, testPod("p", "1m"), false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for _, o := range c.with {
				c.on.place(o)
			}
			if got := testWorld(c.on).fits(c.pod, c.on); got != c.want {
				t.Errorf("fits: %v, want %v", got, c.want)
			}
		})
	}
}

func TestSpreadOverZones(t *testing.T) {
	b, c := testNode("b1", "b", 940), testNode("c1", "c", 940)
	w := testWorld(b, c)
	b.place(testPod("o", "1m"))
	if p := testPod("p", "1m", spread); w.fits(p, b) || !w.fits(p, c) {
		t.Errorf("fits in b: %v, in c: %v; want only c", w.fits(p, b), w.fits(p, c))
	}
}

// Servers that must not all stand on one node wait for a second one; old versions and nodes that go do not count.
func TestApartOnNodes(t *testing.T) {
	two, honor := int32(2), corev1.NodeInclusionPolicyHonor
	of := func(version string) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Labels["pod-template-hash"] = version
			p.Spec.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{
				MaxSkew: 1, TopologyKey: "kubernetes.io/hostname", WhenUnsatisfiable: corev1.DoNotSchedule, LabelSelector: selectX,
				MatchLabelKeys: []string{"pod-template-hash"}, MinDomains: &two, NodeTaintsPolicy: &honor,
			}}
		}
	}
	going := func(n *corev1.Node) { n.Spec.Unschedulable = true }
	for _, c := range []struct {
		name  string
		nodes []*simNode
		// on counts the pods of version 2 that are on the first nodes, old those of version 1.
		on, old []int
		want    []bool
	}{
		{"the first on the only node", []*simNode{testNode("a", "z", 940)}, nil, nil, []bool{true}},
		{"the second waits for another", []*simNode{testNode("a", "z", 940)}, []int{1}, nil, []bool{false}},
		{"an old version does not count", []*simNode{testNode("a", "z", 940)}, nil, []int{1}, []bool{true}},
		{"the second on the second", []*simNode{testNode("a", "z", 940), testNode("b", "z", 940)}, []int{1, 0}, nil, []bool{false, true}},
		{"the third on either", []*simNode{testNode("a", "z", 940), testNode("b", "z", 940)}, []int{1, 1}, nil, []bool{true, true}},
		{"a node that goes is no second one", []*simNode{testNode("a", "z", 940), testNode("b", "z", 940, going)}, []int{1, 0}, nil, []bool{false, false}},
		{"a node that goes is not empty", []*simNode{testNode("a", "z", 940), testNode("b", "z", 940), testNode("c", "z", 940, going)}, []int{1, 1, 0}, nil, []bool{true, true, false}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for version, counts := range map[string][]int{"2": c.on, "1": c.old} {
				for i, n := range counts {
					for k := range n {
						c.nodes[i].place(testPod(fmt.Sprint(version, i, k), "1m", of(version)))
					}
				}
			}
			w, p := testWorld(c.nodes...), testPod("p", "1m", of("2"))
			for i, n := range c.nodes {
				if got := w.fits(p, n); got != c.want[i] {
					t.Errorf("fits on %s: %v, want %v", n.node.Name, got, c.want[i])
				}
			}
		})
	}
}

func TestVolumeBindsToZone(t *testing.T) {
	n := testNode("a", "b", 940)
	w := testWorld(n)
	w.zones = func(*corev1.Pod) ([]string, bool) { return []string{"c"}, true }
	if w.fits(testPod("p", "1m"), n) {
		t.Error("a pod with a disk in zone c fits on a node in zone b")
	}
}

func TestSuperfluous(t *testing.T) {
	for _, c := range []struct {
		name            string
		here, elsewhere string
		edit            func(*corev1.Pod)
		want            bool
	}{
		{"movable", "100m", "100m", func(*corev1.Pod) {}, true},
		{"no room elsewhere", "100m", "900m", func(*corev1.Pod) {}, false},
		{"well used", "500m", "100m", func(*corev1.Pod) {}, false},
		{"nobody's pod", "100m", "100m", func(p *corev1.Pod) { p.OwnerReferences = nil }, false},
		{"says no", "100m", "100m", func(p *corev1.Pod) {
			p.Annotations = map[string]string{"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := testNode("a", "b", 940), testNode("b", "b", 940)
			a.place(testPod("p", c.here, c.edit))
			b.place(testPod("o", c.elsewhere))
			before := fmt.Sprint(a.free, b.free, len(a.pods), len(b.pods))
			if got := superfluous(testWorld(a, b), a); got != c.want {
				t.Errorf("superfluous: %v, want %v", got, c.want)
			}
			if after := fmt.Sprint(a.free, b.free, len(a.pods), len(b.pods)); len(a.pods) != 1 || len(b.pods) != 1 {
				t.Errorf("the picture was changed: %s, before %s", after, before)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	p := Pool{Sizes: map[string]int{"b": 2, "c": 1}, Zones: []string{"b", "c"}}
	p.Limits.Min, p.Limits.Max = 1, 2
	if p.mayGrow("b") || !p.mayGrow("c") || !p.mayShrink("b") || p.mayShrink("c") {
		t.Error("limits per zone are not kept")
	}
	p.Limits.TotalMin, p.Limits.TotalMax = 3, 4
	if !p.mayGrow("b") || p.mayShrink("c") {
		t.Error("limits of the total are not kept")
	}
	if z := p.zonesBySize(); z[0] != "c" {
		t.Errorf("zones by size: %v", z)
	}
}
