package gke

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"patag/infra/sandbox/cluster"
	"patag/infra/sandbox/layout"
)

// engineMain is a process with an engine and nothing else, to be killed. args are the folders of state and tools and the
// archive of the workload.
func engineMain(args []string) int {
	e, err := New(Options{
		Layout: layout.Layout{Root: args[0]}, Settings: layout.Settings{Instance: testInstance, API: "127.0.0.1:1"},
		Tools: args[1], Images: args[2:], AdminToken: "test-token", Logger: slog.New(slog.DiscardHandler),
	})
	if err == nil {
		err = e.Start(context.Background())
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("started")
	select {}
}

// killEngine runs the cluster in a process of its own and kills that.
func (f *fixture) killEngine(c cluster.Cluster) {
	before := f.must(c, "get", "nodes", "-o", "name")
	if err := f.engine.Stop(); err != nil {
		f.t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe", append([]string{"engine", f.o.Layout.Root, f.o.Tools}, f.o.Images...)...)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		f.t.Fatal(err)
	}
	line := make([]byte, 1024)
	if n, _ := out.Read(line); string(line[:n]) != "started\n" {
		f.t.Fatalf("the process with the engine: %s", line[:n])
	}
	if after := f.must(c, "get", "nodes", "-o", "name"); after != before {
		f.t.Errorf("nodes in the other process: %s, before %s", after, before)
	}
	if err := cmd.Process.Kill(); err != nil {
		f.t.Fatal(err)
	}
	_ = cmd.Wait()
	f.eventually("everything has died with the killed engine", 5*time.Second, func() (string, bool) {
		left := f.processes()
		return strings.Join(left, "\n"), len(left) == 0
	})
	begun := time.Now()
	f.start()
	f.eventually("the data is there after the kill", time.Minute, func() (string, bool) {
		got, err := f.get(c, "data-0", "/read?file=/data/x")
		return fmt.Sprint(got, err), got == "kept"
	})
	f.t.Logf("all back %s after the start", time.Since(begun).Round(10*time.Millisecond))
}

// processes are those that have the state folder in their command line, but this one's relatives.
func (f *fixture) processes() []string {
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		f.t.Error(err)
	}
	var found []string
	for _, file := range commands {
		raw, err := os.ReadFile(file)
		if err == nil && bytes.Contains(raw, []byte(f.o.Layout.Root)) {
			found = append(found, file+" "+string(bytes.ReplaceAll(raw, []byte{0}, []byte(" "))))
		}
	}
	return found
}

const denyAll = `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny}
spec: {podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress]}
`

// policies proves with real traffic what the unit tests prove of rules.
func (f *fixture) policies(c cluster.Cluster) {
	reach := func(what string, want bool) {
		f.t.Helper()
		f.eventually(what, 30*time.Second, func() (string, bool) {
			got, err := f.get(c, "data-0", "/dial?to=web:80")
			return fmt.Sprint(got, err), (err == nil) == want
		})
	}
	reach("without a policy, a pod reaches another", true)
	f.apply(c, denyAll)
	reach("with one, it does not", false)
	if out := f.must(c, "get", "deployment", "web", "-o", "jsonpath={.status.readyReplicas}"); out != "2" {
		f.t.Errorf("the nodes' probes are blocked: %s pods are ready", out)
	}
	f.apply(c, denyAll+"  \n---\n"+strings.NewReplacer("name: deny", "name: allow", "policyTypes: [Ingress]", "ingress: [{from: [{podSelector: {matchLabels: {app: data}}}], ports: [{port: 8080}]}]").Replace(denyAll))
	reach("a second one allows it", true)
	f.must(c, "delete", "networkpolicy", "allow")
	reach("it goes again", false)
	c.NetworkPolicy = false
	if _, err := f.engine.CreateCluster(limit(f.t, time.Minute), c); err != nil {
		f.t.Fatal(err)
	}
	reach("a cluster without enforcement ignores it", true)
	f.must(c, "delete", "networkpolicy", "deny")
}

func TestStartLimits(t *testing.T) {
	f := newFixture(t)
	c := f.spec(2)
	c.ServiceCIDR = c.PodCIDR
	if _, err := f.engine.CreateCluster(t.Context(), c); err == nil || !strings.Contains(err.Error(), "overlap") {
		t.Errorf("overlapping ranges: %v", err)
	}
	// The endpoint's port is taken: the creation fails, and leaves nothing.
	c = f.spec(2)
	taken := exec.Command("/proc/self/exe", "hold", c.Endpoint.String()+":443")
	out, err := taken.StdoutPipe()
	if err == nil {
		err = taken.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { taken.Process.Kill(); taken.Wait() }()
	out.Read(make([]byte, 16))
	if _, err := f.engine.CreateCluster(limit(t, time.Minute), c); err == nil || !strings.Contains(err.Error(), "taken by another program") {
		t.Errorf("a taken port: %v", err)
	}
	if _, err := os.Stat(f.o.Layout.Cluster(c.ID)); !os.IsNotExist(err) {
		t.Errorf("a cluster that was not created has a folder: %v", err)
	}
	if _, err := f.engine.CreateCluster(t.Context(), cluster.Cluster{}); err == nil {
		t.Error("an empty cluster was created")
	}
}
