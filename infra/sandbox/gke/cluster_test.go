package gke

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"patag/infra/sandbox/cluster"
	"patag/infra/sandbox/netns"
	"patag/infra/sandbox/store"
)

const webManifest = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 2
      containers:
      - name: web
        image: test.local/hello:1
        imagePullPolicy: Never
        resources: {requests: {cpu: 50m, memory: 32Mi}}
        readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {maxUnavailable: 1, selector: {matchLabels: {app: web}}}
`

// The claim is written as a pod under Pod Security "restricted" would: not as root, through its fsGroup.
const dataManifest = `
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: data}
spec:
  serviceName: data
  selector: {matchLabels: {app: data}}
  template:
    metadata: {labels: {app: data}}
    spec:
      terminationGracePeriodSeconds: 2
      securityContext: {runAsNonRoot: true, runAsUser: 1000, fsGroup: 1000, seccompProfile: {type: RuntimeDefault}}
      containers:
      - name: data
        image: test.local/hello:1
        imagePullPolicy: Never
        resources: {requests: {cpu: 50m, memory: 32Mi}}
        readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
        volumeMounts: [{name: data, mountPath: /data}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
`

// get asks a pod, by name, as the load balancer would: from the control plane's namespace.
func (f *fixture) get(c cluster.Cluster, pod, path string) (string, error) {
	ip, err := f.kubectl(c, "get", "pod", pod, "-o", "jsonpath={.status.podIP}")
	if err != nil {
		return "", err
	}
	return f.getAddress(c, ip+":8080", path)
}

func (f *fixture) getAddress(c cluster.Cluster, address, path string) (string, error) {
	r, err := f.engine.find(c.ID)
	if err != nil {
		return "", err
	}
	client := http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{DialContext: r.ns.DialContext, DisableKeepAlives: true}}
	res, err := client.Get("http://" + address + path)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", res.Status, body)
	}
	return strings.TrimSpace(string(body)), err
}

func (f *fixture) awaitReady(c cluster.Cluster, what, name, replicas string, limit time.Duration) {
	f.t.Helper()
	f.eventually(what+" "+name+" is ready", limit, func() (string, bool) {
		out, _ := f.kubectl(c, "get", what, name, "-o", "jsonpath={.status.readyReplicas}")
		return out, out == replicas
	})
}

// pid finds a process of this test's engine by what is in its command line. Other sandboxes may run beside it.
func (f *fixture) pid(argument string) int {
	f.t.Helper()
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range all {
		raw, err := os.ReadFile(file)
		if err == nil && strings.Contains(string(raw), argument) && strings.Contains(string(raw), f.o.Layout.Root) {
			pid, _ := strconv.Atoi(strings.Split(file, "/")[2])
			return pid
		}
	}
	f.t.Fatalf("no process with %q", argument)
	return 0
}

func (f *fixture) kill(argument string) {
	f.t.Helper()
	if err := syscall.Kill(f.pid(argument), syscall.SIGKILL); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) serviceAddress(c cluster.Cluster) string {
	return f.must(c, "get", "service", "web", "-o", "jsonpath={.spec.clusterIP}") + ":80"
}

func TestCluster(t *testing.T) {
	f := newFixture(t)
	c := f.spec(1)
	c.NetworkPolicy = true
	begun := time.Now()
	if _, err := f.engine.CreateCluster(limit(t, 3*time.Minute), c); err != nil {
		t.Fatal(err)
	}
	t.Logf("control plane after %s", time.Since(begun))
	pool := cluster.NodePool{
		Cluster: c.ID, Name: "standard", MachineType: "n1-standard-1", Zones: c.Zones, Size: 2, AutoRepair: true, Spot: true,
		Labels: map[string]string{"team": "ads"},
	}
	if err := f.engine.SetNodePool(limit(t, 3*time.Minute), pool); err != nil {
		t.Fatal(err)
	}
	t.Logf("2 nodes Ready after %s", time.Since(begun))
	f.apply(c, webManifest)
	f.apply(c, dataManifest)
	f.awaitReady(c, "deployment", "web", "2", time.Minute)
	f.awaitReady(c, "statefulset", "data", "1", time.Minute)

	t.Run("Nodes", func(t *testing.T) { f.sub(t).nodes(c) })
	t.Run("Names", func(t *testing.T) { f.sub(t).names(c) })
	t.Run("Disks", func(t *testing.T) { f.sub(t).disks(c) })
	t.Run("Metrics", func(t *testing.T) { f.sub(t).metrics(c) })
	t.Run("Labels", func(t *testing.T) { f.sub(t).labels(c, pool) })
	t.Run("Policies", func(t *testing.T) { f.sub(t).policies(c) })
	t.Run("KillControlPlane", func(t *testing.T) { f.sub(t).killControlPlane(c) })
	t.Run("KillNode", func(t *testing.T) { f.sub(t).killNode(c) })
	t.Run("Autoscale", func(t *testing.T) { f.sub(t).autoscale(c, pool) })
	t.Run("Preempt", func(t *testing.T) { f.sub(t).preempt(c) })
	t.Run("Restart", func(t *testing.T) { f.sub(t).restart(c) })
	t.Run("KillEngine", func(t *testing.T) { f.sub(t).killEngine(c) })
	t.Run("Replace", func(t *testing.T) { f.sub(t).replace(c, pool) })
	t.Run("Delete", func(t *testing.T) { f.sub(t).deletion(c) })
}

func (f *fixture) sub(t *testing.T) *fixture {
	s := *f
	s.t = t
	// A subtest that restarts the engine must leave the new one to the fixture's clean-up.
	t.Cleanup(func() { f.engine = s.engine })
	return &s
}

func (f *fixture) nodes(c cluster.Cluster) {
	out := f.must(c, "get", "nodes", "-o", `jsonpath={range .items[*]}{.status.capacity.cpu} {.status.capacity.memory} {.status.allocatable.cpu} {.status.allocatable.memory} {.spec.podCIDR} {.metadata.labels.cloud\.google\.com/gke-nodepool} {.metadata.labels.cloud\.google\.com/gke-spot} {.metadata.labels.team}{"\n"}{end}`)
	for _, line := range strings.Split(out, "\n") {
		if !strings.HasPrefix(line, "1 3840Mi 940m 2780Mi 10.20.") || !strings.HasSuffix(line, "/24 standard true ads") {
			f.t.Errorf("node: %s", line)
		}
	}
}

func (f *fixture) names(c cluster.Cluster) {
	for _, q := range []struct{ path, want string }{
		{"/resolve?name=storage.googleapis.com", "[10.10.0.1]"},
		{"/resolve?name=europe-west1-docker.pkg.dev", "[10.10.0.1]"},
		{"/resolve?name=metadata.google.internal", "[169.254.169.254]"},
		{"/resolve?name=kubernetes.default.svc.cluster.local", "[10.30.0.1]"},
		{"/dial?to=kubernetes.default:443", "connected"},
		{"/dial?to=web:80", "connected"},
		{"/write?file=/data/x&text=kept", "written"},
	} {
		if got, err := f.get(c, "data-0", q.path); err != nil || got != q.want {
			f.t.Errorf("%s: %q %v, want %q", q.path, got, err, q.want)
		}
	}
	ca, err := os.ReadFile(f.o.Layout.CA() + "/ca.crt")
	if err != nil {
		f.t.Fatal(err)
	}
	if got, err := f.get(c, "data-0", "/read?file=/etc/ssl/certs/ca-certificates.crt"); err != nil || got != strings.TrimSpace(string(ca)) {
		f.t.Errorf("the bundle of certificates in a container: %q %v", got, err)
	}
	if _, err := f.get(c, "data-0", "/resolve?name=example.com"); err == nil || !strings.Contains(err.Error(), "no such host") {
		f.t.Errorf("a name outside: %v", err)
	}
}

func (f *fixture) diskRecords() map[string]map[string]any {
	found := map[string]map[string]any{}
	err := f.o.Store.View(func(tx store.Tx) error {
		return tx.List("compute/projects/patag-sandbox/zones/europe-west1-b/disks/pvc-", func(k string, _ []byte) error {
			var d map[string]any
			_, err := tx.Get(k, &d)
			found[k[strings.LastIndex(k, "/")+1:]] = d
			return err
		})
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return found
}

func (f *fixture) disks(c cluster.Cluster) {
	records := f.diskRecords()
	if len(records) != 1 {
		f.t.Fatalf("disks: %v", records)
	}
	for name, d := range records {
		if d["sizeGb"] != "1" || !strings.Contains(d["description"].(string), `"kubernetes.io/created-for/pvc/name":"data-data-0"`) {
			f.t.Errorf("disk: %v", d)
		}
		if _, err := os.Stat(filepath.Join(f.o.Layout.Disks(), name, "x")); err != nil {
			f.t.Error(err)
		}
	}
	f.must(c, "patch", "pvc", "data-data-0", "-p", `{"spec":{"resources":{"requests":{"storage":"2Gi"}}}}`)
	f.eventually("the claim is expanded", 30*time.Second, func() (string, bool) {
		out, _ := f.kubectl(c, "get", "pvc", "data-data-0", "-o", "jsonpath={.status.capacity.storage}")
		return out, out == "2Gi"
	})
	f.apply(c, strings.Replace(strings.ReplaceAll(strings.ReplaceAll(dataManifest, "{app: data}", "{app: scratch}"), "name: data", "name: scratch"), "mountPath: /data", "mountPath: /scratch", 1))
	f.awaitReady(c, "statefulset", "scratch", "1", time.Minute)
	f.must(c, "delete", "statefulset", "scratch", "--wait")
	f.must(c, "delete", "pvc", "scratch-scratch-0")
	f.eventually("the disk of a deleted claim is gone", 30*time.Second, func() (string, bool) {
		entries, _ := os.ReadDir(f.o.Layout.Disks())
		return fmt.Sprint(f.diskRecords()), len(f.diskRecords()) == 1 && len(entries) == 1
	})
}

func (f *fixture) metrics(c cluster.Cluster) {
	f.eventually("kubectl top answers", time.Minute, func() (string, bool) {
		out, err := f.kubectl(c, "top", "nodes", "--no-headers")
		return out, err == nil && strings.Count(out, "%") == 4 && !strings.Contains(out, "unknown")
	})
	f.must(c, "autoscale", "deployment", "web", "--cpu-percent=50", "--min=2", "--max=3")
	f.eventually("the HPA knows the use", time.Minute, func() (string, bool) {
		out, err := f.kubectl(c, "get", "hpa", "web", "-o", "jsonpath={.status.currentMetrics[0].resource.current.averageUtilization}")
		return out, err == nil && out != ""
	})
	f.must(c, "delete", "hpa", "web")
	f.must(c, "scale", "deployment", "web", "--replicas=2")
}

func (f *fixture) labels(c cluster.Cluster, p cluster.NodePool) {
	uids := f.must(c, "get", "nodes", "-o", "jsonpath={.items[*].metadata.uid}")
	p.Labels = map[string]string{"tier": "gold"}
	p.Taints = []cluster.Taint{{Key: "soft", Value: "yes", Effect: "PreferNoSchedule"}}
	if err := f.engine.SetNodePool(limit(f.t, time.Minute), p); err != nil {
		f.t.Fatal(err)
	}
	f.eventually("labels and taints changed in place", 20*time.Second, func() (string, bool) {
		out := f.must(c, "get", "nodes", "-o", `jsonpath={range .items[*]}{.metadata.labels.team}/{.metadata.labels.tier}/{.spec.taints[*].key} {end}`)
		return out, out == "/gold/soft /gold/soft"
	})
	if now := f.must(c, "get", "nodes", "-o", "jsonpath={.items[*].metadata.uid}"); now != uids {
		f.t.Errorf("nodes were made anew for a label: %s, before %s", now, uids)
	}
}

func (f *fixture) killControlPlane(c cluster.Cluster) {
	dir, pod := f.o.Layout.Cluster(c.ID), f.podAddress(c)
	for _, part := range []string{"--etcd-servers=", "-data-dir=" + dir, "kube-controller-manager\x00--kubeconfig=" + dir, "coredns\x00-conf\x00" + dir} {
		f.kill(part)
	}
	if _, err := f.getAddress(c, pod, "/"); err != nil {
		f.t.Errorf("a pod does not answer without its control plane: %v", err)
	}
	f.eventually("the API server is back", 30*time.Second, func() (string, bool) {
		out, err := f.kubectl(c, "get", "--raw", "/readyz")
		return out, err == nil
	})
	f.must(c, "rollout", "restart", "deployment", "web")
	f.must(c, "rollout", "status", "deployment", "web", "--timeout=60s")
}

func (f *fixture) podAddress(c cluster.Cluster) string {
	f.t.Helper()
	return f.must(c, "get", "pod", "data-0", "-o", "jsonpath={.status.podIP}") + ":8080"
}

func (f *fixture) killNode(c cluster.Cluster) {
	node := f.must(c, "get", "pod", "data-0", "-o", "jsonpath={.spec.nodeName}")
	begun := time.Now()
	f.kill(filepath.Join(f.o.Layout.Cluster(c.ID), "nodes", node, "config.json"))
	f.eventually("the StatefulSet's pod runs elsewhere, with its data", time.Minute, func() (string, bool) {
		got, err := f.get(c, "data-0", "/read?file=/data/x")
		return fmt.Sprint(got, err), got == "kept"
	})
	f.eventually("the dead node is replaced", time.Minute, func() (string, bool) {
		out := f.must(c, "get", "nodes", "--no-headers")
		return out, strings.Count(out, " Ready") == 2 && !strings.Contains(out, node)
	})
	f.awaitReady(c, "deployment", "web", "2", time.Minute)
	f.t.Logf("all back %s after the kill", time.Since(begun).Round(100*time.Millisecond))
}

func (f *fixture) autoscale(c cluster.Cluster, p cluster.NodePool) {
	p.Autoscaling = &cluster.Autoscaling{Min: 2, Max: 3}
	if err := f.engine.SetNodePool(limit(f.t, time.Minute), p); err != nil {
		f.t.Fatal(err)
	}
	f.must(c, "create", "deployment", "big", "--image=test.local/hello:1", "--replicas=0")
	f.must(c, "patch", "deployment", "big", "-p", `{"spec":{"template":{"spec":{"terminationGracePeriodSeconds":1,"containers":[{"name":"hello","imagePullPolicy":"Never","resources":{"requests":{"cpu":"600m"}}}]}}}}`)
	f.must(c, "scale", "deployment", "big", "--replicas=3")
	f.awaitReady(c, "deployment", "big", "3", time.Minute)
	if n, ok := f.engine.NodePoolSize(c.ID, p.Name); !ok || n != 3 {
		f.t.Errorf("size %d %v, want 3", n, ok)
	}
	f.must(c, "delete", "deployment", "big")
	f.eventually("the superfluous node goes", time.Minute, func() (string, bool) {
		out := f.must(c, "get", "nodes", "--no-headers")
		return out, strings.Count(out, "\n") == 1
	})
}

func (f *fixture) preempt(c cluster.Cluster) {
	node := f.must(c, "get", "pod", "data-0", "-o", "jsonpath={.spec.nodeName}")
	begun := time.Now()
	if err := f.engine.Preempt(limit(f.t, time.Minute), node); err != nil {
		f.t.Fatal(err)
	}
	if took := time.Since(begun); took < preemptionNotice || took > preemptionNotice+10*time.Second {
		f.t.Errorf("the node was taken after %s", took)
	}
	f.eventually("the preempted node is replaced", time.Minute, func() (string, bool) {
		out := f.must(c, "get", "nodes", "--no-headers")
		return out, strings.Count(out, " Ready") == 2 && !strings.Contains(out, node)
	})
	f.awaitReady(c, "statefulset", "data", "1", time.Minute)
	if err := f.engine.Preempt(limit(f.t, time.Second), "nobody"); !errors.Is(err, cluster.ErrNoNode) {
		f.t.Errorf("preempt a node that does not exist: %v", err)
	}
}

// restart ends the engine without notice to anything it runs, as a kill of the process would, and starts another.
func (f *fixture) restart(c cluster.Cluster) {
	before := f.must(c, "get", "nodes", "-o", "jsonpath={range .items[*]}{.metadata.name} {.metadata.uid} {.status.addresses[0].address} {.spec.podCIDR}\n{end}")
	begun := time.Now()
	if err := f.engine.Stop(); err != nil {
		f.t.Fatal(err)
	}
	f.t.Logf("stopped after %s", time.Since(begun).Round(10*time.Millisecond))
	f.nothingLeft()
	begun = time.Now()
	f.start()
	f.t.Logf("started, nodes Ready, after %s", time.Since(begun).Round(10*time.Millisecond))
	if after := f.must(c, "get", "nodes", "-o", "jsonpath={range .items[*]}{.metadata.name} {.metadata.uid} {.status.addresses[0].address} {.spec.podCIDR}\n{end}"); after != before {
		f.t.Errorf("nodes after the restart:\n%s\nbefore:\n%s", after, before)
	}
	f.eventually("the service answers", time.Minute, func() (string, bool) {
		got, err := f.getAddress(c, f.serviceAddress(c), "/")
		return fmt.Sprint(got, err), err == nil
	})
	f.eventually("the data is there", time.Minute, func() (string, bool) {
		got, err := f.get(c, "data-0", "/read?file=/data/x")
		return fmt.Sprint(got, err), got == "kept"
	})
	f.t.Logf("all back %s after the start", time.Since(begun).Round(10*time.Millisecond))
}

// replace changes the machine type: every node is made anew, one by one, and the service has a pod at any moment.
func (f *fixture) replace(c cluster.Cluster, p cluster.NodePool) {
	p.MachineType = "n1-highcpu-2"
	done := make(chan error, 1)
	go func() { done <- f.engine.SetNodePool(limit(f.t, 2*time.Minute), p) }()
	for most := 0; ; time.Sleep(200 * time.Millisecond) {
		select {
		case err := <-done:
			if err != nil {
				f.t.Fatal(err)
			}
			out := f.must(c, "get", "nodes", "-o", `jsonpath={range .items[*]}{.status.capacity.cpu}/{.status.allocatable.cpu}/{.status.allocatable.memory} {end}`)
			if want := "2/1930m/1283Mi 2/1930m/1283Mi"; out != want {
				f.t.Errorf("nodes of the new type: %s, want %s", out, want)
			}
			if most > 3 {
				f.t.Errorf("there were %d nodes at once, want at most one more than 2", most)
			}
			return
		default:
		}
		most = max(most, strings.Count(f.must(c, "get", "nodes", "-o", "name"), "node/"))
		out := f.must(c, "get", "deployment", "web", "-o", "jsonpath={.status.readyReplicas}")
		if out != "1" && out != "2" {
			f.t.Errorf("%q pods of the Deployment are ready", out)
		}
	}
}

func (f *fixture) deletion(c cluster.Cluster) {
	if err := f.engine.DeleteNodePool(limit(f.t, time.Minute), c.ID, "standard"); err != nil {
		f.t.Fatal(err)
	}
	if out := f.must(c, "get", "nodes", "--no-headers"); strings.Contains(out, "gke-") {
		f.t.Errorf("nodes of a deleted pool: %s", out)
	}
	if err := f.engine.DeleteCluster(context.Background(), c.ID); err != nil {
		f.t.Fatal(err)
	}
	if _, err := os.Stat(f.o.Layout.Cluster(c.ID)); !os.IsNotExist(err) {
		f.t.Errorf("the folder of a deleted cluster: %v", err)
	}
	if len(f.diskRecords()) != 1 {
		f.t.Errorf("disks after the cluster: %v, want the one of the claim that was not deleted", f.diskRecords())
	}
	if err := f.engine.DeleteCluster(context.Background(), c.ID); err != nil {
		f.t.Errorf("a second deletion: %v", err)
	}
	if groups, err := filepath.Glob("/sys/fs/cgroup/*/" + f.o.Settings.Name() + "/" + c.ID); err != nil || len(groups) > 0 {
		f.t.Errorf("control groups of a deleted cluster: %v %v", groups, err)
	}
	if names, err := netns.Names(f.o.Settings.Name() + "-"); err != nil || len(names) > 0 {
		f.t.Errorf("namespaces of a deleted cluster: %v %v", names, err)
	}
}
