package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestDeploy rolls images out under 200 requests a second: a good one, whose deployment is killed and goes on, and such as are bad. What
// is bad must be taken back, no client may see a failed request, and the program must find nothing to change afterwards. PATAG_SOAK=1
// tries every kind of bad image, and kills ten deployments and rollbacks.
func TestDeploy(t *testing.T) {
	soak := os.Getenv("PATAG_SOAK") == "1"
	m := newMachine(t)
	m.start(t)
	m.must(t, 10*time.Minute, "up", "production", "--yes")
	kinds := []string{"good", "failing"}
	if soak {
		kinds = append(kinds, "better", "crash", "unready", "slow", "late", "fickle")
	}
	d := &deploys{machine: m, s: m.status(t), refs: variants(t, m, kinds...), first: m.tagImage(t)}
	for _, part := range []struct {
		name string
		long bool
		fn   func(t *testing.T)
	}{
		{"drift", false, d.drift},
		{"good", false, d.good},
		{"promoted", true, d.promoted},
		{"rollback", false, d.rollback},
		{"failing", false, d.bad("failing", "500")},
		{"slow", true, d.bad("slow", "slow")},
		{"crash", true, d.bad("crash", "exit code 3")},
		{"unready", true, d.bad("unready", "not ready after", "--ready-timeout", "20s")},
		{"unpullable", true, d.bad("unpullable", "Image")},
		{"late", true, d.bad("late", "stuck", "--window", "4s", "--rollout-timeout", "30s")},
		{"fickle", true, d.fickle},
		{"abort", true, d.abort},
		{"kills", true, d.kills},
		{"unchanged", false, d.unchanged},
	} {
		if part.long && !soak {
			continue
		}
		if !t.Run(part.name, part.fn) {
			t.FailNow()
		}
	}
}

// deploys is production on a machine, and images to deploy to it.
type deploys struct {
	*machine
	s     status
	refs  map[string]string
	first string // the image that production was brought up with
}

// good deploys an image that is well. Its deployment is killed once its canary is there, keeps others away, and goes on.
func (d *deploys) good(t *testing.T) {
	visitors := sendAds(d.s.AdURL, 200)
	deploy := []string{"deploy", "production", "--image", d.refs["good"], "--window", "5s", "--json"}
	first := d.command(t.Context(), deploy...)
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, time.Minute, "a canary", d.canary)
	d.refused(t, 5, fmt.Sprintf("(process %d) since ", first.Process.Pid), deploy...)
	d.refused(t, 5, "is being deployed to by", "up", "production", "--yes")
	time.Sleep(time.Duration(rand.Int64N(int64(5 * time.Second))))
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait() // killed, as it should
	d.refused(t, 1, "a deployment to production", "up", "production", "--yes")
	d.refused(t, 1, "a deployment to production", "rebuild", "production", "--yes-production")
	d.refused(t, 3, "another image", "deploy", "production", "--image", d.refs["unpullable"])
	begun := time.Now()
	got := d.report(t, 0, deploy...)
	seen := visitors.stop()
	seen.flawless(t)
	if got.Result != "deployed" || d.tagImage(t) != d.refs["good"] {
		t.Errorf("%+v, and %s runs", got, d.tagImage(t))
	}
	t.Logf("ROW deploy a good image, killed once and gone on with | %s after the kill | %v, %v", tenths(time.Since(begun)), got.Steps, seen)
}

// promoted deploys the very images of another deployment, by digest, and nothing of the working tree.
func (d *deploys) promoted(t *testing.T) {
	file := filepath.Join(t.TempDir(), "deployed.json")
	out, err := d.command(t.Context(), "deploy", "production", "--image", d.refs["better"], "--window", "5s", "--json").Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.WriteFile(file, out, 0o600); err != nil {
		t.Fatal(err)
	}
	d.must(t, 3*time.Minute, "rollback", "production")
	got, seen := d.under(t, 0, "deploy", "production", "--promote", file, "--window", "5s")
	if got.Result != "deployed" || d.tagImage(t) != d.refs["better"] {
		t.Errorf("%+v, and %s runs", got, d.tagImage(t))
	}
	t.Logf("ROW promote an image | %.0f s | %v, %v", got.Seconds, got.Steps, seen)
}

// rollback goes back by itself, and to an update that is named.
func (d *deploys) rollback(t *testing.T) {
	if d.refs["better"] != "" { // what runs is better, before it was good
		number := 0
		for _, e := range d.history(t) {
			if e.Result == "succeeded" && e.Images["tag"] == d.first {
				number = e.Number
				break
			}
		}
		got, seen := d.under(t, 0, "rollback", "production", "--to", strconv.Itoa(number))
		if got.Result != "deployed" || d.tagImage(t) != d.first {
			t.Fatalf("%+v, and %s runs, want %s of update %d", got, d.tagImage(t), d.first, number)
		}
		t.Logf("ROW rollback --to | %.0f s | %v", got.Seconds, seen)
		d.under(t, 0, "rollback", "production") // to better, the last other one
		if d.tagImage(t) != d.refs["better"] {
			t.Fatalf("%s runs, want %s", d.tagImage(t), d.refs["better"])
		}
	}
	got, seen := d.under(t, 0, "rollback", "production")
	if now := d.tagImage(t); got.Result != "deployed" || now != d.first {
		t.Errorf("%+v, and %s runs, want %s", got, now, d.first)
	}
	t.Logf("ROW rollback | %.0f s | %v", got.Seconds, seen)
}

func (d *deploys) bad(kind, reason string, args ...string) func(t *testing.T) {
	return func(t *testing.T) {
		before := d.tagImage(t)
		got, seen := d.under(t, 1, append([]string{"deploy", "production", "--image", d.refs[kind]}, args...)...)
		if got.Result != "rolled back" || !strings.Contains(got.Reason, reason) || d.tagImage(t) != before {
			t.Errorf("%+v, want it rolled back because of %q; %s runs", got, reason, d.tagImage(t))
		}
		d.settled(t)
		t.Logf("ROW deploy an image that is %s | %.0f s | %v, %v", kind, got.Seconds, got.Steps, seen)
	}
}

// fickle deploys an image that only fails people: no question shows it, so some of those see a failure whom the canary serves.
func (d *deploys) fickle(t *testing.T) {
	before := d.tagImage(t)
	visitors := sendAds(d.s.AdURL, 200)
	got := d.report(t, 1, "deploy", "production", "--image", d.refs["fickle"], "--json")
	seen := visitors.stop()
	if got.Result != "rolled back" || d.tagImage(t) != before {
		t.Errorf("%+v, want it rolled back; %s runs", got, d.tagImage(t))
	}
	if seen.failed == 0 || seen.failed > seen.requests/2 {
		t.Errorf("%v: more than one server's share, or no fault at all", seen)
	}
	d.settled(t)
	t.Logf("ROW deploy an image that only fails people | %.0f s | %v, %v", got.Seconds, got.Steps, seen)
}

// abort takes a killed deployment back.
func (d *deploys) abort(t *testing.T) {
	before := d.tagImage(t)
	d.killed(t, 8*time.Second, "deploy", "production", "--image", d.refs["good"])
	got, seen := d.under(t, 0, "deploy", "production", "--abort")
	if got.Result != "rolled back" || d.tagImage(t) != before {
		t.Errorf("%+v, and %s runs, want %s", got, d.tagImage(t), before)
	}
	d.settled(t)
	d.refused(t, 3, "no deployment of production is under way", "deploy", "production", "--abort")
	t.Logf("ROW deploy --abort | %.0f s | %v", got.Seconds, seen)
}

// kills ends deployments and rollbacks at random moments; the same command again finishes each.
func (d *deploys) kills(t *testing.T) {
	for n := range 10 {
		verb, want, most := []string{"deploy", "production", "--image", d.refs["good"], "--window", "5s"}, d.refs["good"], 28*time.Second
		if n%2 == 1 {
			verb, want, most = []string{"rollback", "production"}, d.first, 11*time.Second
		}
		visitors := sendAds(d.s.AdURL, 200)
		after := time.Duration(rand.Int64N(int64(most)))
		begun, killed := time.Now(), d.killed(t, after, verb...)
		at := time.Since(begun)
		begun = time.Now()
		if killed {
			d.report(t, 0, append(verb, "--json")...)
		}
		seen := visitors.stop()
		seen.flawless(t)
		if now := d.tagImage(t); now != want {
			t.Fatalf("%v, killed (%v) after %s: %s runs, want %s", verb[:1], killed, at, now, want)
		}
		d.settled(t)
		d.must(t, time.Minute, "drift", "production")
		t.Logf("ROW kill -9 of %s after %s (%v), and again | %s | %v", verb[0], tenths(at), killed, tenths(time.Since(begun)), seen)
	}
}

// unchanged: nothing is left to do or to see of all that.
func (d *deploys) unchanged(t *testing.T) {
	got, seen := d.under(t, 0, "deploy", "production", "--image", d.first)
	if got.Result != "unchanged" {
		t.Errorf("%+v, want nothing to be changed", got)
	}
	d.must(t, time.Minute, "preview", "production", "--expect-no-changes")
	d.must(t, time.Minute, "drift", "production")
	if all := d.history(t); len(all) < 5 || all[len(all)-1].By == "" {
		t.Errorf("history: %+v", all)
	}
	t.Logf("ROW deploy what runs already | %.0f s | %v", got.Seconds, seen)
}
