package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// deployment is what `patag deploy --json` tells.
type deployment struct {
	Result, Reason string
	From, To       map[string]string
	Seconds        float64
	Steps          map[string]float64
}

// TestDeploy rolls images out under 200 requests a second: a good one, and such as are bad in several ways. What is bad must be taken
// back, no client may see a failed request, and the program must find nothing to change afterwards. PATAG_SOAK=1 tries every kind.
func TestDeploy(t *testing.T) {
	if os.Getenv("PATAG_SOAK") == "" {
		t.Skip("NOT TESTED here: deployments with seven kinds of image under traffic take a quarter of an hour; make soak")
	}
	m := newMachine(t)
	m.start(t)
	m.must(t, 10*time.Minute, "up", "production", "--yes")
	refs := variants(t, m, "good", "crash", "unready", "failing", "slow", "late", "fickle")
	s := m.status(t)
	first := m.tagImage(t)

	good := func(t *testing.T) {
		d, tally := m.deploy(t, s, 0, "deploy", "production", "--image", refs["good"], "--window", "8s")
		if d.Result != "deployed" || m.tagImage(t) != refs["good"] {
			t.Errorf("%+v, and %s runs", d, m.tagImage(t))
		}
		t.Logf("ROW deploy a good image | %.0f s | %v, %v", d.Seconds, d.Steps, tally)
	}
	bad := func(kind, reason string, args ...string) func(t *testing.T) {
		return func(t *testing.T) {
			before := m.tagImage(t)
			d, tally := m.deploy(t, s, 1, append([]string{"deploy", "production", "--image", refs[kind]}, args...)...)
			if d.Result != "rolled back" || !strings.Contains(d.Reason, reason) || m.tagImage(t) != before {
				t.Errorf("%+v, want it rolled back because of %q; %s runs", d, reason, m.tagImage(t))
			}
			t.Logf("ROW deploy an image that is %s | %.0f s | %v, %v", kind, d.Seconds, d.Steps, tally)
		}
	}
	soak := os.Getenv("PATAG_SOAK") == "1"
	for _, part := range []struct {
		name string
		long bool
		fn   func(t *testing.T)
	}{
		{"good", false, good},
		{"rollback", false, func(t *testing.T) {
			d, tally := m.deploy(t, s, 0, "rollback", "production")
			if d.Result != "deployed" || m.tagImage(t) != first {
				t.Errorf("%+v, and %s runs, want %s", d, m.tagImage(t), first)
			}
			t.Logf("ROW rollback | %.0f s | %v", d.Seconds, tally)
		}},
		{"failing", false, bad("failing", "500")},
		{"slow", false, bad("slow", "slow")},
		{"crash", true, bad("crash", "exit code 3")},
		{"unready", true, bad("unready", "not ready after", "--ready-timeout", "20s")},
		{"unpullable", true, bad("unpullable", "Image")},
		{"late", true, bad("late", "stuck", "--window", "4s", "--rollout-timeout", "30s")},
		{"fickle", true, func(t *testing.T) { m.fickle(t, s, refs["fickle"]) }},
		{"killed", false, func(t *testing.T) { m.killDeploy(t, refs["good"], refs["unpullable"], first) }},
		{"unchanged", false, func(t *testing.T) {
			m.must(t, time.Minute, "preview", "production", "--expect-no-changes")
			out := m.must(t, time.Minute, "history", "production", "--json")
			var entries []struct{ Result, What, By string }
			if err := json.Unmarshal([]byte(out), &entries); err != nil || len(entries) < 5 || entries[len(entries)-1].By == "" {
				t.Errorf("history: %v: %s", err, out)
			}
		}},
	} {
		if part.long && !soak {
			continue
		}
		if !t.Run(part.name, part.fn) {
			t.FailNow()
		}
	}
}

// deploy runs a verb under traffic, of which nothing may fail.
func (m *machine) deploy(t *testing.T, s status, code int, args ...string) (deployment, tally) {
	t.Helper()
	visitors := sendAds(s.AdURL, 200)
	out, err := m.command(t.Context(), append(args, "--json")...).Output()
	seen := visitors.stop()
	got := 0
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		got = exit.ExitCode()
		t.Logf("%s", exit.Stderr)
	} else if err != nil {
		t.Fatal(err)
	}
	var d deployment
	if err := json.Unmarshal(out, &d); err != nil || got != code {
		t.Fatalf("patag %s: exit code %d, want %d: %v %s", strings.Join(args, " "), got, code, err, out)
	}
	seen.flawless(t)
	return d, seen
}

// fickle deploys an image that only fails people: no question shows it, so some of those see a failure whom the canary serves.
func (m *machine) fickle(t *testing.T, s status, image string) {
	before := m.tagImage(t)
	visitors := sendAds(s.AdURL, 200)
	out, err := m.run(5*time.Minute, "deploy", "production", "--image", image, "--json")
	seen := visitors.stop()
	if err == nil || !strings.Contains(out, "rolled back") || m.tagImage(t) != before {
		t.Errorf("%v, want it rolled back: %s", err, out)
	}
	if seen.failed == 0 || seen.failed > seen.requests/2 {
		t.Errorf("%v: more than one server's share, or no fault at all", seen)
	}
	t.Logf("ROW deploy an image that only fails people | %v", seen)
}

// killDeploy kills a deployment when its canary is there, and ends it with --abort.
func (m *machine) killDeploy(t *testing.T, image, other, before string) {
	cmd := m.command(t.Context(), "deploy", "production", "--image", image)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	canary := func() (string, bool) {
		out, err := m.kubectl("get", "deployment", "tag-canary", "-o", "name")
		return fmt.Sprint(out, err), err == nil
	}
	waitFor(t, 2*time.Minute, "a canary", canary)
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed, as it should
	m.refused(t, 3, "another image", "deploy", "production", "--image", other)
	m.must(t, 2*time.Minute, "deploy", "production", "--abort")
	waitFor(t, time.Minute, "no canary", func() (string, bool) { out, there := canary(); return out, !there })
	if now := m.tagImage(t); now != before {
		t.Errorf("%s runs, want %s", now, before)
	}
}

// sendAds starts visitors who ask for an ad each and nothing else.
func sendAds(url string, perSecond int) *traffic {
	w := &traffic{
		url: url, end: make(chan struct{}), lastGood: time.Now(),
		kept:  &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 100}},
		fresh: &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}},
	}
	w.wait.Go(func() {
		tick := time.NewTicker(time.Second / time.Duration(perSecond))
		defer tick.Stop()
		for n := 0; ; n++ {
			client := w.kept
			if n%8 == 0 {
				client = w.fresh
			}
			select {
			case <-w.end:
				return
			case <-tick.C:
				w.wait.Go(func() { _, _ = w.ask(client, w.url) }) // noted by ask
			}
		}
	})
	return w
}
