package e2e

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// finishes kills a command as often as the form of the test says, each time at a random moment of its usual time, and runs it to
// its end.
func (l *life) finishes(t *testing.T, usual time.Duration, args ...string) string {
	t.Helper()
	l.killed(t, usual, args...)
	return l.must(t, 5*time.Minute, args...)
}

// killed only kills it. The kill is of patag alone: what it started has to notice by itself.
func (l *life) killed(t *testing.T, usual time.Duration, args ...string) {
	t.Helper()
	l.killedTimes(t, l.kills, usual, args...)
}

func (l *life) killedTimes(t *testing.T, times int, usual time.Duration, args ...string) {
	t.Helper()
	for range times {
		after := 200*time.Millisecond + rand.N(usual)
		cmd := l.command(context.Background(), args...)
		var out strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- cmd.Wait() }()
		select {
		case <-time.After(after):
		case err := <-done:
			t.Logf("patag %s ended before it was killed: %v", strings.Join(args, " "), err)
			continue
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-done:
		case <-time.After(time.Minute):
			t.Fatalf("patag %s, killed after %s, still has somebody holding its output a minute later", strings.Join(args, " "), tenths(after))
		}
		said := strings.TrimSpace(out.String())
		t.Logf("kill -9 of patag %s after %s: %s", strings.Join(args, " "), tenths(after), said[strings.LastIndexByte(said, '\n')+1:])
	}
}

// json runs a command and reads its answer.
func (l *life) json(t *testing.T, into any, args ...string) {
	t.Helper()
	begun := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := l.command(ctx, args...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, into)
	}
	if err != nil {
		t.Fatalf("patag %s: %v\n%s%s", strings.Join(args, " "), err, out, &errs)
	}
	t.Logf("patag %s: %s", strings.Join(args, " "), tenths(time.Since(begun)))
}

// list are the stagings by project.
func (l *life) list(t *testing.T) map[string]staging {
	t.Helper()
	var all []staging
	out, err := l.command(t.Context(), "staging", "list", "--json").Output()
	if err == nil {
		err = json.Unmarshal(out, &all)
	}
	if err != nil {
		t.Fatalf("patag staging list --json: %v %s", err, out)
	}
	found := map[string]staging{}
	for _, s := range all {
		found[s.Project] = s
	}
	return found
}

// in runs kubectl in a stack's namespace, which a staging calls as itself.
func (l *life) in(stack string, args ...string) (string, error) {
	namespace := stack
	if stack == "production" {
		namespace = "patag"
	}
	raw, err := l.run(30*time.Second, "env", stack, "--json")
	var vars map[string]string
	if err != nil || json.Unmarshal([]byte(raw), &vars) != nil {
		return raw, fmt.Errorf("patag env %s --json: %w", stack, err)
	}
	other := machine{root: l.root, tools: l.tools, layout: l.layout, env: l.env, stack: slices.Clone(l.env)}
	for k, v := range vars {
		other.stack = append(other.stack, k+"="+v)
	}
	return other.kubectl(append([]string{"-n", namespace}, args...)...)
}

// impressions of a stack's report.
func (l *life) impressions(stack string) (int, error) {
	out, err := l.in(stack, "exec", "deploy/tag", "-c", "tag", "--", "/tag", "report", "--csv=-")
	if err != nil {
		return 0, err
	}
	rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	if err != nil || len(rows) == 0 {
		return 0, fmt.Errorf("not a report: %s %w", out, err)
	}
	column, sum := slices.Index(rows[0], "impressions"), 0
	for _, row := range rows[1:] {
		n, err := strconv.Atoi(row[column])
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// auction asks for ads that are auctioned, until the staging's own bidder has won one: its pod runs, and tag servers may reach it.
// Without gdpr=0 no source may be asked: where a visitor of unknown country lives, consent may be needed.
func (l *life) auction(t *testing.T, stack, adURL string) {
	t.Helper()
	base, _, _ := strings.Cut(adURL, "placement=")
	for n := 1; ; n++ {
		code, body, err := get(base+"placement=demo-auction&gdpr=0", http.Header{"User-Agent": {browser}})
		if err == nil && code == http.StatusOK && strings.Contains(body, `"source":"auction"`) {
			t.Logf("the bidder of %s has won auction %d", stack, n)
			return
		}
		if n == 30 {
			t.Fatalf("the bidder of %s has won none of %d auctions; the last answer: %d %v %.500s", stack, n, code, err, body)
		}
	}
}

// destroy kills every process of a stack's cluster and deletes its state folder, again and again until neither is there: the
// daemon starts what dies.
func (l *life) destroy(t *testing.T, stack string) {
	t.Helper()
	folders, _ := filepath.Glob(filepath.Join(l.layout.Root, "clusters", stack+"-*"))
	if len(folders) != 1 {
		t.Fatalf("%s has %d clusters: %v", stack, len(folders), folders)
	}
	killed := 0
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		found := 0
		for _, p := range processes() {
			if p.pid > 1 && strings.Contains(strings.Join(p.args, " "), folders[0]+"/") {
				_ = syscall.Kill(p.pid, syscall.SIGKILL)
				found++
			}
		}
		killed += found
		_ = os.RemoveAll(folders[0])
		if _, err := os.Stat(folders[0]); os.IsNotExist(err) && found == 0 && killed > 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%s lives on: %d processes found again", folders[0], found)
		}
	}
	t.Logf("killed %d processes of %s and deleted it", killed, filepath.Base(folders[0]))
}

// preempt takes the node of one of the staging's tag servers away under load.
func (l *life) preempt(t *testing.T) {
	place := func() map[string]bool {
		out, err := l.in("staging-acme", "get", "pods", "-l", "app.kubernetes.io/name=tag", "-o", `jsonpath={range .items[*]}{.spec.nodeName}{"\n"}{end}`)
		if err != nil {
			return nil
		}
		nodes := map[string]bool{}
		for _, n := range strings.Fields(out) {
			nodes[n] = true
		}
		return nodes
	}
	ready := func() (string, bool) {
		out, err := l.in("staging-acme", "get", "deploy", "tag", "-o", "jsonpath={.status.readyReplicas}")
		n, _ := strconv.Atoi(strings.TrimSpace(out))
		return fmt.Sprint(out, err), err == nil && n >= 2 && len(place()) >= 2
	}
	waitFor(t, time.Minute, "two tag servers on two nodes", ready)
	victim := ""
	for n := range place() {
		victim = n
	}
	url := l.list(t)["acme"].AdURL
	w := send(url, 2*steadyTraffic)
	time.Sleep(2 * time.Second)
	l.must(t, 2*time.Minute, "sandbox", "preempt", victim)
	waitFor(t, 2*time.Minute, "two tag servers on two nodes again", func() (string, bool) {
		out, ok := ready()
		return out, ok && !place()[victim]
	})
	time.Sleep(2 * time.Second)
	seen := w.stop()
	seen.flawless(t)
	t.Logf("ROW preempt a spot node of a staging at %d requests/s | %v", 4*steadyTraffic, seen)
}

// within fails when something took too long, and nobody else can have kept the machine busy.
func within(t *testing.T, what string, took, limit time.Duration) {
	t.Helper()
	if took <= limit {
		return
	}
	raw, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		t.Fatal(err)
	}
	if load, err := strconv.ParseFloat(strings.Fields(string(raw))[0], 64); err == nil && load > 6*float64(runtime.NumCPU()) {
		t.Logf("NOT JUDGED: %s took %s, more than %s, on a machine with a load of %.0f on %d processors", what, tenths(took), limit, load, runtime.NumCPU())
		return
	}
	t.Errorf("%s took %s, want at most %s", what, tenths(took), limit)
}

// reapFromWithin runs production's CronJob now. It deletes the second staging's cluster, and nothing else.
func (l *life) reapFromWithin(t *testing.T) time.Duration {
	t.Helper()
	begun := time.Now()
	if _, err := l.in("production", "create", "job", "--from=cronjob/reaper", "reaper-now"); err != nil {
		t.Fatal(err)
	}
	var said string
	waitFor(t, 2*time.Minute, "the reaper's Job ends well", func() (string, bool) {
		status, err := l.in("production", "get", "job", "reaper-now", "-o", "jsonpath={.status.succeeded}/{.status.failed}")
		said, _ = l.in("production", "logs", "job/reaper-now")
		return fmt.Sprint(status, err, said), err == nil && strings.HasPrefix(status, "1/")
	})
	took := time.Since(begun)
	answer := ""
	for line := range strings.Lines(said) {
		if strings.HasPrefix(line, `{"looked"`) { // among its log, which comes over another pipe
			answer = line
		}
	}
	var report struct {
		Looked  int
		Deleted []struct{ Stack string }
	}
	if err := json.Unmarshal([]byte(answer), &report); err != nil || report.Looked != 2 || len(report.Deleted) != 1 || report.Deleted[0].Stack != "staging-beta" {
		t.Fatalf("the reaper says %v: %s", err, said)
	}
	if s := l.list(t)["beta"]; s.State != "cluster gone" || s.Machines != 0 {
		t.Errorf("after the reaper, the list has %+v", s)
	}
	return took
}
