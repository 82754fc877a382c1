package e2e

import (
	"encoding/json"
	"errors"
	"os/exec"
	"strings"
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

// update is what `patag history --json` tells of one.
type update struct {
	Number           int
	Result, What, By string
	Images           map[string]string
}

func (d *deploys) history(t *testing.T) []update {
	t.Helper()
	out := d.must(t, time.Minute, "history", "production", "-n", "0", "--json")
	var all []update
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		t.Fatalf("history: %v: %s", err, out)
	}
	return all
}

// under runs a verb under traffic, of which nothing may fail.
func (d *deploys) under(t *testing.T, code int, args ...string) (deployment, tally) {
	t.Helper()
	visitors := sendAds(d.s.AdURL, 200)
	got := d.report(t, code, append(args, "--json")...)
	seen := visitors.stop()
	seen.flawless(t)
	return got, seen
}

// report runs a verb and reads what it tells at its end.
func (d *deploys) report(t *testing.T, code int, args ...string) deployment {
	t.Helper()
	cmd := d.command(t.Context(), args...)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	got := 0
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	var r deployment
	if err := json.Unmarshal(out, &r); err != nil || got != code {
		t.Fatalf("patag %s: exit code %d, want %d: %v\n%s%s", strings.Join(args, " "), got, code, err, out, said.String())
	}
	t.Log(said.String())
	return r
}

// killed starts a verb and kills it after a while; false when it had ended well before that.
func (d *deploys) killed(t *testing.T, after time.Duration, args ...string) bool {
	t.Helper()
	cmd := d.command(t.Context(), args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
	err := cmd.Wait()
	timer.Stop()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() >= 0 {
		t.Fatalf("patag %s ended with code %d before it was killed", strings.Join(args, " "), exit.ExitCode())
	}
	return err != nil
}

// canary is there or not.
func (d *deploys) canary() (string, bool) {
	out, err := d.kubectl("get", "deployment", "tag-canary", "-o", "name")
	if err != nil {
		out += err.Error()
	}
	return out, err == nil
}

// settled waits until no canary is left and every server is ready.
func (d *deploys) settled(t *testing.T) {
	t.Helper()
	waitFor(t, time.Minute, "no canary", func() (string, bool) { out, there := d.canary(); return out, !there })
	waitFor(t, time.Minute, "all is well", func() (string, bool) {
		now, err := d.look()
		if err != nil {
			return err.Error(), false
		}
		return strings.Join(now.wrong, ", "), len(now.wrong) == 0
	})
}

// drift: quiet on what nobody touched; what somebody changed by hand is named, and by whom; an up puts it right.
func (d *deploys) drift(t *testing.T) {
	begun := time.Now()
	if out := d.must(t, time.Minute, "drift", "production"); strings.Contains(out, "changed in the") {
		t.Errorf("drift of an untouched stack:\n%s", out)
	}
	quiet := time.Since(begun)
	for _, by := range [][]string{
		{"scale", "deployment/twemproxy", "--replicas=1"},
		{"label", "service/tag", "app.kubernetes.io/part-of=somebody", "--overwrite"},
		{"delete", "networkpolicy", "deny"},
	} {
		if out, err := d.kubectl(by...); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	out, err := d.run(time.Minute, "drift", "production")
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != 2 {
		t.Fatalf("drift: %v, want code 2\n%s", err, out)
	}
	for _, want := range []string{"spec.replicas (changed in the cloud)", `metadata.labels`, "is missing (changed in the cloud)", "3 resources differ"} {
		if !strings.Contains(out, want) {
			t.Errorf("drift does not say %q:\n%s", want, out)
		}
	}
	if strings.Contains(out, "changed in the program") {
		t.Errorf("the program has not changed:\n%s", out)
	}
	d.must(t, 3*time.Minute, "up", "production", "--yes", "--refresh")
	d.must(t, time.Minute, "drift", "production")
	t.Logf("ROW drift of an untouched stack | %s | a scaled Deployment, a label and a deleted policy named as changed in the cloud", tenths(quiet))
}

// sendAds starts visitors who ask for an ad each and nothing else.
func sendAds(url string, perSecond int) *traffic {
	w := newTraffic(url)
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
