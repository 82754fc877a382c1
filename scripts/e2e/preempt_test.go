package e2e

import (
	"context"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"patag/infra/sandbox/netns"
)

// notice is what Compute Engine gives a machine before it takes it away.
const notice = 30 * time.Second

// preempt takes a node of a tag server away under steady traffic. The node is told by its metadata server, its pods
// leave in time, it goes after the notice, and another comes.
func preempt(t *testing.T, m *machine, b *books) {
	before := m.settled(t, time.Minute)
	m.refused(t, 1, "neither a spot nor a preemptible node", "sandbox", "preempt", before.of("mongo")[0].node)
	m.refused(t, 3, "there is no such node", "sandbox", "preempt", "gke-nobody")
	node := before.of("tag")[0].node
	if told := m.preempted(t, node); told != "FALSE" {
		t.Fatalf("the metadata server says preempted=%q of a node that is left alone", told)
	}
	w := send(m.status(t).AdURL, steadyTraffic)
	time.Sleep(2 * time.Second)
	begun := time.Now()
	gone := make(chan error, 1)
	go func() {
		_, err := m.run(2*time.Minute, "sandbox", "preempt", node)
		gone <- err
	}()
	told := waitFor(t, 5*time.Second, "the node's metadata server says preempted", func() (string, bool) {
		answer := m.preempted(t, node)
		return answer, answer == "TRUE"
	})
	left := waitFor(t, notice, "the node's pods leave during the notice", func() (string, bool) {
		s, err := m.look()
		on := slices.ContainsFunc(s.pods, func(p pod) bool { return p.node == node })
		return "", err == nil && !on && slices.Contains(s.nodes, node) && m.node(node) != 0
	})
	if err := <-gone; err != nil {
		t.Errorf("patag sandbox preempt: %v", err)
	}
	took := time.Since(begun)
	if took < notice || took > notice+10*time.Second {
		t.Errorf("it went after %s, want after %s", took, notice)
	}
	if pid := m.node(node); pid != 0 {
		t.Errorf("process %d of node %s is still there", pid, node)
	}
	m.await(t, 3*time.Minute, func(now state) bool { return !slices.Contains(now.nodes, node) && len(now.nodes) >= len(before.nodes) })
	back := time.Since(begun)
	seen := w.stop()
	seen.flawless(t)
	b.add(seen)
	b.check(t)
	t.Logf("ROW preempt a spot node at %d requests/s | told after %s, empty after %s, gone after %s, replaced after %s | %v",
		2*steadyTraffic, tenths(told), tenths(left), tenths(took), tenths(back), seen)
}

// preempted asks the metadata server of a node, from there.
func (m *machine) preempted(t *testing.T, node string) string {
	t.Helper()
	ns, err := netns.Open(m.settings(t).Name() + "-" + node)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return ns.DialContext(ctx, network, addr)
		},
	}}
	req, err := http.NewRequest(http.MethodGet, "http://169.254.169.254/computeMetadata/v1/instance/preempted", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Metadata-Flavor", "Google")
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(body))
}
