package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestProduction is the life of the production stack on one machine. Its parts build on each other and stop at the
// first that fails.
func TestProduction(t *testing.T) {
	m := newMachine(t)
	step := func(name string, fn func(t *testing.T)) {
		t.Helper()
		if !t.Run(name, fn) {
			t.FailNow()
		}
	}
	step("no sandbox", func(t *testing.T) {
		if code, out := m.exitCode(t, "up", "production", "--yes"); code == 0 || !strings.Contains(out, "sandbox start") {
			t.Fatalf("without a sandbox: exit code %d, want an error that names `patag sandbox start`:\n%s", code, out)
		}
	})
	step("start", func(t *testing.T) { m.start(t) })
	step("up", func(t *testing.T) {
		out := m.must(t, 10*time.Minute, "up", "production", "--yes")
		lines := strings.Split(strings.TrimSpace(out), "\n")
		if url := m.status(t).AdURL; lines[len(lines)-1] != url {
			t.Errorf("the last line is %q, want the ad's URL %q", lines[len(lines)-1], url)
		}
	})
	step("no drift", func(t *testing.T) { m.must(t, 2*time.Minute, "preview", "production", "--expect-no-changes") })
	step("ad", func(t *testing.T) { ad(t, m) })
	step("tools", func(t *testing.T) { tools(t, m) })
	step("bad token", func(t *testing.T) {
		code, body, err := get(m.status(t).APIURL+"/container/v1/projects/patag-sandbox/locations/-/clusters", http.Header{"Authorization": {"Bearer wrong"}})
		if err != nil || code != http.StatusUnauthorized || !strings.Contains(body, "UNAUTHENTICATED") {
			t.Fatalf("%d %v %s", code, err, body)
		}
	})
	step("faults", func(t *testing.T) { faults(t, m) })
	step("restart", func(t *testing.T) {
		url := m.status(t).AdURL
		m.must(t, 2*time.Minute, "sandbox", "stop")
		if left := m.leftovers(t); len(left) > 0 {
			t.Fatalf("left behind by stop:\n%s", strings.Join(left, "\n"))
		}
		m.start(t)
		t.Logf("serves %s after the start", servesAgain(t, url, 2*time.Minute).Round(100*time.Millisecond))
		m.must(t, 5*time.Minute, "preview", "production", "--expect-no-changes")
	})
	step("down", func(t *testing.T) {
		m.must(t, 5*time.Minute, "down", "production", "--confirm", "production")
		m.must(t, 5*time.Minute, "down", "foundation", "--confirm", "foundation")
	})
}

func ad(t *testing.T, m *machine) {
	s := m.status(t)
	code, body, err := get(s.AdURL, nil)
	if err != nil || code != http.StatusOK {
		t.Fatalf("GET %s: %d %v %s", s.AdURL, code, err, body)
	}
	if !json.Valid([]byte(body)) {
		t.Fatalf("not JSON: %s", body)
	}
	pixel := regexp.MustCompile(`"(https?:)?[^"]*/v1/event[^"]*impression[^"]*"`).FindString(body)
	if pixel == "" {
		t.Fatalf("no impression URL in the answer: %s", body)
	}
	if code, body, err := get(s.DemoURL, nil); err != nil || code != http.StatusOK || !strings.Contains(body, "/tag/v1.js") {
		t.Fatalf("GET %s: %d %v %.300s", s.DemoURL, code, err, body)
	}
}

func tools(t *testing.T, m *machine) {
	if out := m.mustShell(t, "kubectl get nodes --no-headers"); strings.Count(out, " Ready ") < 4 {
		t.Errorf("kubectl get nodes:\n%s", out)
	}
	if out := m.mustShell(t, "pulumi stack output adURL"); out != m.status(t).AdURL {
		t.Errorf("pulumi stack output adURL: %q", out)
	}
	waitFor(t, 90*time.Second, "kubectl top nodes", func() (string, bool) {
		out, err := m.shell(t, 30*time.Second, "kubectl top nodes --no-headers")
		return out, err == nil && strings.Contains(out, "%")
	})
	if _, err := exec.LookPath("gcloud"); err != nil {
		t.Log("gcloud is not on this machine: its reads are NOT tested here")
		return
	}
	for line, want := range map[string]string{
		"gcloud container clusters list --format='value(name,status)'": "RUNNING",
		"gcloud compute networks list --format='value(name)'":          "production",
		"gcloud storage buckets list --format='value(name)'":           "backup",
	} {
		if out := m.mustShell(t, line); !strings.Contains(out, want) {
			t.Errorf("%s: no %q in\n%s", line, want, out)
		}
	}
}

func waitFor(t *testing.T, limit time.Duration, what string, fn func() (string, bool)) time.Duration {
	t.Helper()
	start := time.Now()
	for {
		out, ok := fn()
		if ok {
			return time.Since(start)
		}
		if time.Since(start) > limit {
			t.Fatalf("%s: not after %s:\n%s", what, limit, out)
		}
		time.Sleep(500 * time.Millisecond)
	}
}

// faults breaks one thing at a time and waits for the service to answer again without anyone's help.
func faults(t *testing.T, m *machine) {
	url := m.status(t).AdURL
	again := func(t *testing.T) {
		t.Helper()
		t.Logf("serves after %s", servesAgain(t, url, 2*time.Minute).Round(100*time.Millisecond))
	}
	for _, part := range []string{"tag", "redis", "twemproxy", "mongo"} {
		t.Run("kill "+part, func(t *testing.T) {
			uid := m.mustShell(t, "kubectl get pods -n patag -l app.kubernetes.io/name="+part+" -o jsonpath='{.items[0].metadata.uid}'")
			killed := 0
			for _, pid := range processes(t, "cgroup", uid) {
				if line := cmdline(pid); line != "" && !strings.Contains(line, "pause") {
					kill(t, pid)
					killed++
				}
			}
			if killed == 0 {
				t.Fatalf("no process of the pod %s (uid %s) found", part, uid)
			}
			again(t)
			m.mustShell(t, "kubectl wait -n patag --for=condition=Ready pod -l app.kubernetes.io/name="+part+" --timeout=90s")
		})
	}
	t.Run("kill the control plane", func(t *testing.T) {
		killed := 0
		for _, name := range []string{"kube-apiserver", "etcd", "kube-controller-manager", "kube-scheduler"} {
			for _, pid := range processes(t, "cmdline", m.state) {
				if strings.HasPrefix(cmdline(pid), name+" ") {
					kill(t, pid)
					killed++
				}
			}
		}
		if killed < 4 {
			t.Fatalf("%d processes of the control plane found, want 4", killed)
		}
		again(t)
		took := waitFor(t, time.Minute, "kubectl get nodes", func() (string, bool) {
			out, err := m.shell(t, 20*time.Second, "kubectl get nodes --no-headers")
			return out, err == nil && strings.Contains(out, " Ready ")
		})
		t.Logf("the API server answers after %s", took.Round(100*time.Millisecond))
	})
	t.Run("kill a node", func(t *testing.T) {
		name := m.mustShell(t, "kubectl get pods -n patag -l app.kubernetes.io/name=tag -o jsonpath='{.items[0].spec.nodeName}'")
		killed := false
		for _, pid := range processes(t, "cmdline", "/nodes/"+name+"/config.json") {
			if strings.Contains(cmdline(pid), " node "+m.state) {
				kill(t, pid)
				killed = true
			}
		}
		if !killed {
			t.Fatalf("no process of node %s found", name)
		}
		again(t)
		took := waitFor(t, 3*time.Minute, "both tag servers Ready", func() (string, bool) {
			out, err := m.shell(t, 20*time.Second, "kubectl get deployment tag -n patag -o jsonpath='{.status.readyReplicas}'")
			return out, err == nil && out == "2"
		})
		t.Logf("full strength after %s", took.Round(100*time.Millisecond))
	})
	t.Run("kill the daemon", func(t *testing.T) {
		kill(t, m.daemon(t))
		time.Sleep(time.Second)
		start := time.Now()
		m.start(t)
		servesAgain(t, url, 2*time.Minute)
		t.Logf("serves %s after `patag sandbox start`", time.Since(start).Round(100*time.Millisecond))
	})
}

// processes lists those whose file in /proc contains a text.
func processes(t *testing.T, file, text string) []int {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/" + file)
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, f := range all {
		raw, err := os.ReadFile(f)
		if err != nil || !strings.Contains(strings.ReplaceAll(string(raw), "\x00", " "), text) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f))); err == nil && pid != os.Getpid() {
			pids = append(pids, pid)
		}
	}
	return pids
}

func cmdline(pid int) string {
	raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)) // it may have ended
	return strings.TrimSpace(strings.ReplaceAll(string(raw), "\x00", " "))
}

func kill(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && err != syscall.ESRCH {
		t.Fatalf("kill %d: %v", pid, err)
	}
}
