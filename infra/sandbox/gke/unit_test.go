package gke

import (
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"patag/infra/sandbox/cluster"
	"patag/infra/sandbox/gke/process"
	"patag/infra/sandbox/machine"
)

func testSpec() cluster.Cluster {
	return cluster.Cluster{
		ID: "a-01234567", Project: "p", Location: "europe-west1-b", Name: "a", Zones: []string{"europe-west1-b"},
		NodeCIDR: netip.MustParsePrefix("10.0.0.0/29"), PodCIDR: netip.MustParsePrefix("10.4.0.0/22"),
		ServiceCIDR: netip.MustParsePrefix("10.8.0.0/20"), MasterCIDR: netip.MustParsePrefix("172.16.0.0/28"),
		Endpoint: netip.MustParseAddr("127.9.1.1"),
	}
}

func TestAllocate(t *testing.T) {
	c := testSpec()
	var taken []nodeRecord
	for i, want := range []string{"10.0.0.2 10.4.0.0/24", "10.0.0.3 10.4.1.0/24", "10.0.0.4 10.4.2.0/24", "10.0.0.5 10.4.3.0/24"} {
		a, pods, err := allocate(c, taken)
		if err != nil {
			t.Fatal(err)
		}
		if got := a.String() + " " + pods.String(); got != want {
			t.Errorf("node %d: %s, want %s", i, got, want)
		}
		taken = append(taken, nodeRecord{Address: a, PodCIDR: pods})
	}
	if _, _, err := allocate(c, taken); err == nil || !strings.Contains(err.Error(), "10.0.0.0/29") {
		t.Errorf("a fifth node in a /29: %v", err)
	}
	c.NodeCIDR = netip.MustParsePrefix("10.0.0.0/24")
	if _, _, err := allocate(c, taken); err == nil || !strings.Contains(err.Error(), "secondary range") {
		t.Errorf("a fifth pod range in a /22: %v", err)
	}
	a, pods, err := allocate(c, taken[1:])
	if err != nil || a.String() != "10.0.0.2" || pods.String() != "10.4.0.0/24" {
		t.Errorf("a freed place is not taken again: %s %s %v", a, pods, err)
	}
}

func TestValidateRefuses(t *testing.T) {
	if err := validate(testSpec()); err != nil {
		t.Fatal(err)
	}
	for want, edit := range map[string]func(*cluster.Cluster){
		"overlap":        func(c *cluster.Cluster) { c.PodCIDR = netip.MustParsePrefix("10.0.0.0/16") },
		"too small":      func(c *cluster.Cluster) { c.PodCIDR = netip.MustParsePrefix("10.4.0.0/25") },
		"not an IPv4":    func(c *cluster.Cluster) { c.ServiceCIDR = netip.Prefix{} },
		"not a loopback": func(c *cluster.Cluster) { c.Endpoint = netip.MustParseAddr("10.0.0.1") },
		"lacks":          func(c *cluster.Cluster) { c.Zones = nil },
	} {
		c := testSpec()
		edit(&c)
		if err := validate(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, got %v", want, err)
		}
	}
}

func TestReservationsLeaveAllocatable(t *testing.T) {
	for _, m := range machine.All() {
		r := reservedOf(m, 100)
		if got := int64(m.VCPU)*1000 - r.MilliCPU; got != m.AllocatableMilliCPU() {
			t.Errorf("%s: %d m CPU allocatable, want %d", m.Name, got, m.AllocatableMilliCPU())
		}
		if got := m.MemoryMiB - r.MemoryMiB - r.EvictionMiB; got != m.AllocatableMiB() {
			t.Errorf("%s: %d MiB allocatable, want %d", m.Name, got, m.AllocatableMiB())
		}
	}
	// GKE's table: 100 GB leave 49 GB.
	if got := 100*gib - reservedDisk(100*gib); got != 49*gib {
		t.Errorf("100 GiB of disk leave %d bytes", got)
	}
}

func TestNodeNames(t *testing.T) {
	c := testSpec()
	c.Name = "production-with-a-very-long-name"
	name := nodeName(c, "high-cpu-pool-with-a-long-name", "europe-west1-b")
	if !regexp.MustCompile(`^gke-production-with-a-ve-high-cpu-pool-with-a-[0-9a-f]{8}-[0-9a-z]{4}$`).MatchString(name) || len(name) > 63 {
		t.Errorf("node name %q", name)
	}
	if l := linkName(netip.MustParseAddr("10.255.0.12")); l != "node0aff000c" || len(l) > 15 {
		t.Errorf("link name %q", l)
	}
}

func TestSizesOf(t *testing.T) {
	p := cluster.NodePool{Name: "x", Zones: []string{"b", "c"}, Size: 2, Autoscaling: &cluster.Autoscaling{Min: 1, Max: 4}}
	before := &poolRecord{NodePool: p, Sizes: map[string]int{"b": 3, "c": 1}}
	if s := sizesOf(p, before); s["b"] != 3 || s["c"] != 1 {
		t.Errorf("an order that changes no size undid the autoscaler: %v", s)
	}
	q := p
	q.Size = 1
	if s := sizesOf(q, before); s["b"] != 1 || s["c"] != 1 {
		t.Errorf("a new size was not taken: %v", s)
	}
	q = p
	q.Autoscaling = &cluster.Autoscaling{Min: 2, Max: 2}
	if s := sizesOf(q, before); s["b"] != 2 || s["c"] != 2 {
		t.Errorf("new limits were not kept: %v", s)
	}
	q.Autoscaling = &cluster.Autoscaling{TotalMin: 6, TotalMax: 8}
	if s := sizesOf(q, before); s["b"]+s["c"] != 6 {
		t.Errorf("the least total was not kept: %v", s)
	}
	q.Autoscaling = nil
	if s := sizesOf(q, before); s["b"] != 2 || s["c"] != 2 {
		t.Errorf("without autoscaling: %v", s)
	}
}

func TestObjectPatch(t *testing.T) {
	o := &corev1.Node{ObjectMeta: metav1.ObjectMeta{ResourceVersion: "7", Labels: map[string]string{"keep": "1", "old": "1", "a": "1"}}}
	o.Spec.PodCIDR = "10.4.0.0/24"
	o.Spec.Taints = []corev1.Taint{{Key: "theirs", Effect: "NoSchedule"}, {Key: "old", Effect: "NoSchedule"}}
	patch := objectPatch(o, map[string]string{"old": "1"}, map[string]string{"a": "2"}, []cluster.Taint{{Key: "old", Effect: "NoSchedule"}},
		[]cluster.Taint{{Key: "new", Value: "v", Effect: "NoExecute"}}, "10.4.0.0/24")
	meta := patch["metadata"].(map[string]any)
	labels := meta["labels"].(map[string]any)
	if len(labels) != 2 || labels["a"] != "2" || labels["old"] != nil {
		t.Errorf("labels: %v", labels)
	}
	taints := patch["spec"].(map[string]any)["taints"].([]corev1.Taint)
	if len(taints) != 2 || taints[0].Key != "theirs" || taints[1].Key != "new" || meta["resourceVersion"] != "7" {
		t.Errorf("taints: %v, %v", taints, meta)
	}
	o.Labels, o.Spec.Taints = map[string]string{"a": "2"}, taints
	if again := objectPatch(o, nil, map[string]string{"a": "2"}, nil, []cluster.Taint{{Key: "new", Value: "v", Effect: "NoExecute"}}, "10.4.0.0/24"); len(again) != 0 {
		t.Errorf("a node that is as wanted is patched: %v", again)
	}
}

// TestPause: what replaces a node that dies at once waits longer each time; after a life of some length it comes at once.
func TestPause(t *testing.T) {
	r := &run{hasty: map[string]*process.Backoff{}}
	death := func(lived time.Duration) time.Duration {
		n := newNodeRun(r, nodeRecord{Pool: "p"})
		n.up.Store(time.Now().Add(-lived).UnixNano())
		begun := time.Now()
		n.pause(t.Context())
		return time.Since(begun)
	}
	for i, c := range []struct{ lived, least, below time.Duration }{
		{time.Hour, 0, 150 * time.Millisecond},
		{time.Second, 200 * time.Millisecond, 5 * time.Second},
		{time.Second, 400 * time.Millisecond, 5 * time.Second},
		{time.Hour, 0, 150 * time.Millisecond},
	} {
		if took := death(c.lived); took < c.least || took >= c.below {
			t.Errorf("death %d, after %s: replaced after %s, want %s to %s", i, c.lived, took, c.least, c.below)
		}
	}
	n := newNodeRun(r, nodeRecord{Pool: "p"})
	r.hasty["p"] = &process.Backoff{}
	for range 6 {
		r.hasty["p"].Next()
	}
	n.up.Store(time.Now().UnixNano())
	close(n.remove)
	if begun := time.Now(); func() bool { n.pause(t.Context()); return time.Since(begun) > 2*time.Second }() {
		t.Error("a node that is to go is waited for")
	}
}
