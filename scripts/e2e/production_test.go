package e2e

import (
	"encoding/json"
	"net/http"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// spot makes the tag servers' pool preemptible, so that one of its nodes can be taken away.
var spot = []string{"-c", "patag:highCpuSpot=true"}

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
	step("no sandbox", func(t *testing.T) { m.refused(t, 4, "sandbox start", "up", "production", "--yes") })
	var empty []string
	step("up", func(t *testing.T) {
		measured, begun := m.memory(), time.Now()
		m.start(t)
		empty = m.inventory(t)
		out := m.must(t, 10*time.Minute, append([]string{"up", "production", "--yes"}, spot...)...)
		s := m.status(t)
		if lines := strings.Split(strings.TrimSpace(out), "\n"); lines[len(lines)-1] != s.AdURL {
			t.Errorf("the last line is %q, want the ad's URL %q", lines[len(lines)-1], s.AdURL)
		}
		ad(t, s)
		took := time.Since(begun)
		processes, machine := measured()
		if processes > 5 || processes < 0.5 {
			t.Errorf("everything took %.2f GiB at its peak, want at most 5", processes)
		}
		t.Logf("ROW up from nothing to an ad | %s | peak memory of all processes %.2f GiB (the machine's available memory fell by %.2f GiB)", tenths(took), processes, machine)
	})
	step("up again", func(t *testing.T) {
		begun := time.Now()
		out, err := m.command(t.Context(), append([]string{"up", "production", "--yes", "--json"}, spot...)...).Output()
		took := time.Since(begun)
		var result struct{ Changes map[string]int }
		if err != nil || json.Unmarshal(out, &result) != nil || result.Changes["same"] == 0 || len(result.Changes) != 1 {
			t.Fatalf("%v: changes %v, want all the same: %s", err, result.Changes, out)
		}
		unchanged(t, m)
		t.Logf("ROW up again | %s | %d resources the same, 0 changes", tenths(took), result.Changes["same"])
	})
	step("tools", func(t *testing.T) { tools(t, m) })
	step("bad token", func(t *testing.T) {
		code, body, err := get(m.status(t).APIURL+"/container/v1/projects/patag-sandbox/locations/-/clusters", http.Header{"Authorization": {"Bearer wrong"}})
		if err != nil || code != http.StatusUnauthorized || !strings.Contains(body, "UNAUTHENTICATED") {
			t.Fatalf("%d %v %s", code, err, body)
		}
	})
	b := &books{m: m}
	step("count", func(t *testing.T) {
		w := send(m.status(t).AdURL, steadyTraffic)
		time.Sleep(3 * time.Second)
		seen := w.stop()
		seen.flawless(t)
		b.add(seen)
		b.check(t)
	})
	step("status", func(t *testing.T) { missing(t, m) })
	step("faults", func(t *testing.T) { faults(t, m, b) })
	step("restart", func(t *testing.T) {
		url := m.status(t).AdURL
		m.stop(t)
		begun := time.Now()
		m.start(t)
		servesAgain(t, url, 2*time.Minute)
		serves := time.Since(begun)
		m.must(t, 5*time.Minute, append([]string{"up", "production", "--yes"}, spot...)...)
		b.check(t)
		t.Logf("ROW stop, start, up | serves %s after the start | nothing left by stop, data intact", tenths(serves))
	})
	step("down", func(t *testing.T) {
		begun := time.Now()
		m.must(t, 5*time.Minute, "down", "production", "--confirm", "production")
		production := time.Since(begun)
		m.must(t, 5*time.Minute, "down", "foundation", "--confirm", "foundation")
		if left := m.inventory(t); !slices.Equal(left, empty) {
			t.Errorf("the lists of the API are\n%s\nand were, before anything was made,\n%s", strings.Join(left, "\n"), strings.Join(empty, "\n"))
		}
		t.Logf("ROW down production, down foundation | %s, %s | %d lists of the API as in a new project", tenths(production), tenths(time.Since(begun)-production), len(lists))
	})
}

func unchanged(t *testing.T, m *machine) {
	t.Helper()
	m.must(t, 5*time.Minute, append([]string{"preview", "production", "--expect-no-changes"}, spot...)...)
}

func ad(t *testing.T, s status) {
	t.Helper()
	code, body, err := get(s.AdURL, nil)
	if err != nil || code != http.StatusOK {
		t.Fatalf("GET %s: %d %v %s", s.AdURL, code, err, body)
	}
	if !json.Valid([]byte(body)) {
		t.Fatalf("not JSON: %s", body)
	}
	if pixel := regexp.MustCompile(`"(https?:)?[^"]*/v1/event[^"]*impression[^"]*"`).FindString(body); pixel == "" {
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
		out, err := m.shell(30*time.Second, "kubectl top nodes --no-headers")
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
		"gcloud storage ls": "backup",
	} {
		if out := m.mustShell(t, line); !strings.Contains(out, want) {
			t.Errorf("%s: no %q in\n%s", line, want, out)
		}
	}
}
