package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestLife is what an environment goes through after it came up: backups and drills, stagings that are made, rest, lose machines
// and end, and the rebuild of a cluster that is gone. Its parts build on each other and stop at the first that fails. The long form
// has all parts, and kills each verb ten times at random moments before it may finish; the short one kills one verb once.
func TestLife(t *testing.T) {
	l := &life{machine: newMachine(t)}
	long := os.Getenv("PATAG_SOAK") != ""
	if long {
		l.kills = 10
	}
	if text := os.Getenv("PATAG_KILLS"); text != "" {
		var err error
		if l.kills, err = strconv.Atoi(text); err != nil {
			t.Fatalf("PATAG_KILLS: %v", err)
		}
	}
	l.books.m = l.machine
	for _, part := range []struct {
		name string
		long bool
		fn   func(t *testing.T)
	}{
		{"up", false, l.up},
		{"backup", false, l.backup},
		{"refused", true, l.refusals},
		{"staging", false, l.staging},
		{"rest", true, l.rest},
		{"preempt", false, l.preempt},
		{"second staging", true, l.second},
		{"staging down", false, l.stagingDown},
		{"half a staging down", true, l.half},
		{"reap", true, l.reap},
		{"rebuild from nothing", false, l.rebuildDead},
		{"rebuild a living cluster", true, l.rebuildLiving},
		{"down", false, l.down},
	} {
		if part.long && !long {
			continue
		}
		if !t.Run(part.name, part.fn) {
			t.FailNow()
		}
	}
}

// life is the machine that the parts share, and what they know of each other.
type life struct {
	*machine
	kills int
	books books
	// foundation and production are the API's lists with the foundation alone, and with production.
	foundation, production []string
	manifest               manifest
}

type manifest struct {
	ID          string
	Collections []collection
}

type collection struct {
	Collection string
	Documents  int
	SHA256     string
}

type staging struct {
	Project, Owner, State, AdURL string
	Created, Expires             time.Time
	Dollars                      float64
	Machines                     int
}

func (l *life) up(t *testing.T) {
	l.start(t)
	l.must(t, 10*time.Minute, "up", "foundation", "--yes")
	l.foundation = l.inventory(t)
	l.must(t, 10*time.Minute, "up", "production", "--yes")
	ad(t, l.status(t))
	l.count(t, 3*time.Second)
	l.books.check(t)
	l.production = l.inventory(t)
}

// count has visitors come to production for a while.
func (l *life) count(t *testing.T, d time.Duration) tally {
	t.Helper()
	w := send(l.status(t).AdURL, steadyTraffic)
	time.Sleep(d)
	seen := w.stop()
	seen.flawless(t)
	l.books.add(seen)
	return seen
}

func (l *life) backup(t *testing.T) {
	l.killed(t, 4*time.Second, "backup", "production")
	// A killed run's Job goes on to its end; then the newest is this one's.
	waitFor(t, time.Minute, "no backup is being taken", func() (string, bool) {
		active, err := l.kubectl("get", "jobs", "-o", "jsonpath={.items[*].status.active}")
		return fmt.Sprint(active, err), err == nil && active == ""
	})
	begun := time.Now()
	l.json(t, &l.manifest, "backup", "production", "--json")
	took := time.Since(begun)
	var all []manifest
	l.json(t, &all, "backups", "list", "production", "--json")
	if len(all) == 0 || all[0].ID != l.manifest.ID {
		t.Errorf("the newest of %d backups is not %s", len(all), l.manifest.ID)
	}
	documents := 0
	for _, c := range l.manifest.Collections {
		documents += c.Documents
	}
	l.killed(t, 8*time.Second, "drill", "restore")
	begun = time.Now()
	var drilled manifest
	l.json(t, &drilled, "drill", "restore", "--json")
	if drilled.ID != l.manifest.ID || documents == 0 || !slices.Equal(drilled.Collections, l.manifest.Collections) {
		t.Errorf("the drill found\n%+v\nand the backup has\n%+v", drilled, l.manifest)
	}
	t.Logf("ROW backup, restore drill | %s, %s | %d collections, %d documents, counts and checksums equal",
		tenths(took), tenths(time.Since(begun)), len(drilled.Collections), documents)
}

// refusals: production and the foundation want their names.
func (l *life) refusals(t *testing.T) {
	for _, args := range [][]string{
		{"down", "production", "--yes"}, {"rebuild", "production", "--yes"}, {"restore", "production", "--yes"},
	} {
		l.refused(t, 3, "--confirm production", args...)
	}
	l.refused(t, 3, "is what production builds on", "down", "foundation", "--confirm", "foundation")
	l.refused(t, 3, "is not the name of the stack", "rebuild", "production", "--confirm", "staging-acme")
	l.refused(t, 3, "has no cluster to rebuild", "rebuild", "foundation", "--confirm", "foundation")
	l.refused(t, 3, "choose a backup", "rebuild", "production", "--confirm", "production", "--from-backup", "20200101T000000Z-000000")
	l.refused(t, 1, "there is no staging acme", "staging", "extend", "acme")
	l.refused(t, 3, "is neither production", "staging", "create", "acme", "--from", "no-such-branch")
	l.refused(t, 3, "is none of", "staging", "create", "acme", "--data", "all")
}

func (l *life) staging(t *testing.T) {
	l.killedTimes(t, max(1, l.kills), 25*time.Second, "staging", "create", "acme", "--from", "production", "--data", "masked-copy")
	begun := time.Now()
	out := l.must(t, 5*time.Minute, "staging", "create", "acme", "--from", "production", "--data", "masked-copy")
	took := time.Since(begun)
	within(t, "staging create", took, 90*time.Second)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	url := lines[len(lines)-1]
	if !strings.HasPrefix(lines[len(lines)-2], "export KUBECONFIG=") {
		t.Errorf("the line before the last is %q", lines[len(lines)-2])
	}
	if code, body, err := get(url, nil); err != nil || code != http.StatusOK || !strings.Contains(body, "impression") {
		t.Errorf("GET %s: %d %v %.300s", url, code, err, body)
	}
	// The same catalogue, but for what is personal.
	export, err := l.in("staging-acme", "exec", "deploy/tag", "-c", "tag", "--", "/tag", "catalogue", "export", "-")
	if err != nil {
		t.Fatal(err)
	}
	if a, b := keys(t, l.books.catalogue), keys(t, export); a != b {
		t.Errorf("production's catalogue has %s, its masked copy %s", a, b)
	}
	l.preview(t, "staging-acme")
	t.Logf("ROW staging create, masked copy of production | %s after one that was killed", tenths(took))
}

// keys counts what a catalogue has of each kind.
func keys(t *testing.T, catalogue string) string {
	t.Helper()
	var all map[string]any
	if err := json.Unmarshal([]byte(catalogue), &all); err != nil {
		t.Fatalf("%v: %.300s", err, catalogue)
	}
	var counts []string
	for k, v := range all {
		if list, ok := v.([]any); ok {
			counts = append(counts, fmt.Sprintf("%s %d", k, len(list)))
		}
	}
	slices.Sort(counts)
	return strings.Join(counts, ", ")
}

func (l *life) preview(t *testing.T, stack string) {
	t.Helper()
	l.must(t, 5*time.Minute, "preview", stack, "--expect-no-changes")
}

// rest extends the staging, lets it sleep and wakes it.
func (l *life) rest(t *testing.T) {
	l.finishes(t, 6*time.Second, "staging", "extend", "acme", "--ttl", "48h")
	if s := l.list(t)["acme"]; s.State != "up" || time.Until(s.Expires) < 47*time.Hour || s.Machines < 4 || s.Dollars <= 0 || s.Owner == "" {
		t.Errorf("the list has %+v", s)
	}
	l.preview(t, "staging-acme")
	url := l.list(t)["acme"].AdURL
	w := send(url, 10)
	time.Sleep(3 * time.Second)
	seen := w.stop()
	seen.flawless(t)
	// It began as a copy of production, which had counted too.
	counted := l.books.acknowledged + len(seen.acknowledged)
	l.reports(t, "staging-acme", counted)

	l.killed(t, 20*time.Second, "staging", "sleep", "acme")
	begun := time.Now()
	l.must(t, 5*time.Minute, "staging", "sleep", "acme")
	slept := time.Since(begun)
	if s := l.list(t)["acme"]; s.State != "asleep" || s.Machines != 0 {
		t.Errorf("asleep, the list has %+v", s)
	}
	l.preview(t, "staging-acme")
	l.killed(t, 8*time.Second, "staging", "wake", "acme")
	begun = time.Now()
	l.must(t, 5*time.Minute, "staging", "wake", "acme")
	woke := time.Since(begun)
	l.reports(t, "staging-acme", counted)
	l.preview(t, "staging-acme")
	t.Logf("ROW staging sleep, wake | %s, %s | no machine while asleep, all %d impressions kept, no drift", tenths(slept), tenths(woke), counted)
}

// reports waits until a stack's report has a number of impressions, and no more.
func (l *life) reports(t *testing.T, stack string, want int) {
	t.Helper()
	waitFor(t, 90*time.Second, fmt.Sprintf("%s reports %d impressions", stack, want), func() (string, bool) {
		sum, err := l.impressions(stack)
		if err == nil && sum > want {
			t.Fatalf("%s reports %d impressions, and only %d were acknowledged", stack, sum, want)
		}
		return fmt.Sprintf("%d %v", sum, err), err == nil && sum == want
	})
}

// second makes another staging and puts a masked backup of production into it.
func (l *life) second(t *testing.T) {
	measured := l.memory()
	begun := time.Now()
	l.must(t, 5*time.Minute, "staging", "create", "beta", "--ttl", "15m")
	took := time.Since(begun)
	l.auction(t, "staging-beta", l.list(t)["beta"].AdURL)
	l.refused(t, 3, "its store began with demo", "staging", "create", "beta", "--data", "empty")
	l.killed(t, 15*time.Second, "restore", "staging-beta", "--from", "production", "--mask", "--yes")
	begun = time.Now()
	var r struct{ Backup, Database, Before string }
	l.json(t, &r, "restore", "staging-beta", "--from", "production", "--mask", "--yes", "--json")
	if r.Backup != "production/"+l.manifest.ID+"+masked" || r.Database == r.Before && l.kills == 0 {
		t.Errorf("restored: %+v", r)
	}
	restored := time.Since(begun)
	l.reports(t, "staging-beta", l.books.acknowledged)
	l.preview(t, "staging-beta")
	all := l.list(t)
	if len(all) != 2 || all["beta"].State != "up" {
		t.Errorf("the list has %+v", all)
	}
	time.Sleep(20 * time.Second) // all three as they are when nobody works on them
	idle := l.proportional()
	peak, machine := measured()
	if peak > 8 || idle < 1 {
		t.Errorf("production and two stagings take %.2f GiB, at the peak %.2f GiB, want at most 8", idle, peak)
	}
	t.Logf("ROW memory of all processes, production and two stagings | %.2f GiB, at the peak %.2f GiB while one was made and filled (the machine's available memory fell by %.2f GiB)", idle, peak, machine)
	t.Logf("ROW second staging, production's backup into it | %s, %s | the backup's %d impressions are in its report", tenths(took), tenths(restored), l.books.acknowledged)
}

// stagingDown takes a staging down whose cluster is dead.
func (l *life) stagingDown(t *testing.T) {
	l.destroy(t, "staging-acme")
	l.killed(t, 5*time.Second, "staging", "down", "acme", "--yes")
	begun := time.Now()
	l.must(t, 3*time.Minute, "staging", "down", "acme", "--yes")
	took := time.Since(begun)
	within(t, "staging down", took, 15*time.Second)
	for _, name := range l.inventory(t) {
		if strings.Contains(name, "acme") {
			t.Errorf("left: %s", name)
		}
	}
	if s, there := l.list(t)["acme"]; there {
		t.Errorf("the list has %+v", s)
	}
	t.Logf("ROW staging down, its cluster killed and its state folder deleted before | %s | nothing of it in %d lists of the API", tenths(took), len(lists))
}

// half takes a staging down whose creation was cut off while Google was making its cluster.
func (l *life) half(t *testing.T) {
	before := l.inventory(t)
	for range max(1, l.kills) {
		cmd := l.command(t.Context(), "staging", "create", "half")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		waitFor(t, time.Minute, "Google makes a cluster", func() (string, bool) {
			return "", slices.ContainsFunc(l.inventory(t), func(n string) bool { return strings.Contains(n, "/clusters: staging-half") })
		})
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was killed
		begun := time.Now()
		l.must(t, 3*time.Minute, "staging", "down", "half", "--yes")
		if left := l.inventory(t); !slices.Equal(left, before) {
			t.Fatalf("the lists of the API are not as before:\n%s", difference(left, before))
		}
		t.Logf("ROW staging down, killed while its cluster was being made | %s | all lists of the API as before", tenths(time.Since(begun)))
	}
}

// reap: the second staging's time ends, by an edit of its config; production and the foundation stay.
func (l *life) reap(t *testing.T) {
	if out := l.must(t, time.Minute, "staging", "reap"); strings.Contains(out, "beta") || len(l.list(t)) != 1 {
		t.Fatalf("taken down before its time: %s", out)
	}
	past := time.Now().Add(-time.Minute).UTC().Format(time.RFC3339)
	l.mustShell(t, fmt.Sprintf(`eval "$(%s env staging-beta)" && pulumi config set patag:expiresAt %s`, l.bin("patag"), past))
	l.must(t, 3*time.Minute, "up", "staging-beta", "--yes")
	if s := l.list(t)["beta"]; s.State != "expired" {
		t.Errorf("the list has %+v", s)
	}
	if out := l.must(t, time.Minute, "staging", "reap", "--dry-run"); !strings.Contains(out, "beta") || len(l.list(t)) != 1 {
		t.Errorf("reap --dry-run: %s", out)
	}
	hourly := l.reapFromWithin(t)
	l.killed(t, 5*time.Second, "staging", "reap")
	begun := time.Now()
	l.must(t, 3*time.Minute, "staging", "reap")
	took := time.Since(begun)
	if all := l.list(t); len(all) != 0 {
		t.Errorf("the list has %+v", all)
	}
	if left := l.inventory(t); !slices.Equal(left, l.production) {
		t.Errorf("the lists of the API are not as with production alone:\n%s", difference(left, l.production))
	}
	ad(t, l.status(t))
	t.Logf("ROW staging reap | production's CronJob deletes the cluster in %s, the rest goes in %s | all lists of the API as with production alone", tenths(hourly), tenths(took))
}

func difference(now, before []string) string {
	var out []string
	for _, n := range now {
		if !slices.Contains(before, n) {
			out = append(out, "+ "+n)
		}
	}
	for _, n := range before {
		if !slices.Contains(now, n) {
			out = append(out, "- "+n)
		}
	}
	return strings.Join(out, "\n")
}

// rebuildDead rebuilds production from a backup when nothing of its cluster is left.
func (l *life) rebuildDead(t *testing.T) {
	backedUp := l.books.acknowledged
	lost := len(l.count(t, 3*time.Second).acknowledged)
	time.Sleep(3 * time.Second)
	url := l.status(t).AdURL
	died := time.Now()
	l.destroy(t, "production")
	if code, _, err := get(url, nil); err == nil && code == http.StatusOK {
		t.Fatal("the ad is served though every process of the cluster is dead")
	}
	l.killed(t, 20*time.Second, "rebuild", "production", "--yes-production")
	if plans, _ := filepath.Glob(filepath.Join(l.layout.Pulumi(), "stacks", "production", "rebuild.json")); len(plans) == 1 {
		l.refused(t, 1, "is not finished", "up", "production", "--yes")
	}
	begun := time.Now()
	var r rebuilt
	l.json(t, &r, "rebuild", "production", "--yes-production", "--json")
	took := time.Since(begun)
	l.stack = nil
	if r.Backup != "production/"+l.manifest.ID || !r.DownBefore {
		t.Errorf("rebuilt: %+v", r)
	}
	within(t, "rebuild", took, 180*time.Second)
	if now := l.status(t).AdURL; now != url {
		t.Errorf("the address was %s and is %s", url, now)
	}
	// What was counted after the backup is gone with the disks; what is in the backup is there, and counts on.
	l.books.acknowledged = backedUp
	l.books.check(t)
	l.count(t, 2*time.Second)
	l.books.check(t)
	l.preview(t, "production")
	if left := l.inventory(t); len(left) != len(l.production) {
		t.Errorf("the lists of the API are\n%s", difference(left, l.production))
	}
	t.Logf("ROW rebuild production, cluster destroyed | %s to the first ad (%s since the cluster died) | catalogue equal, %d backed-up impressions there, %d of the %s after the backup lost",
		tenths(took), tenths(time.Since(died)), backedUp, lost, "6 s")
}

type rebuilt struct {
	Backup                         string
	Seconds, SecondsWithoutService float64
	DownBefore                     bool
}

// rebuildLiving rebuilds production while its cluster is well: it takes a last backup itself.
func (l *life) rebuildLiving(t *testing.T) {
	l.killed(t, 4*time.Second, "rebuild", "production", "--yes-production")
	var r rebuilt
	l.json(t, &r, "rebuild", "production", "--yes-production", "--json")
	l.stack = nil
	if !strings.HasPrefix(r.Backup, "production/") || r.Backup == "production/"+l.manifest.ID {
		t.Errorf("rebuilt from %s, which is no last backup", r.Backup)
	}
	l.books.check(t)
	l.preview(t, "production")
	t.Logf("ROW rebuild production, cluster well | %.0f s, %.1f s without service | nothing lost of what was counted before", r.Seconds, r.SecondsWithoutService)
}

func (l *life) down(t *testing.T) {
	l.killed(t, 6*time.Second, "down", "production", "--confirm", "production")
	l.must(t, 5*time.Minute, "down", "production", "--confirm", "production")
	if left := l.inventory(t); !slices.Equal(left, l.foundation) {
		t.Errorf("the lists of the API are not as with the foundation alone:\n%s", difference(left, l.foundation))
	}
	l.refused(t, 3, "backups, the newest of", "down", "foundation", "--confirm", "foundation")
	if stacks, _ := filepath.Glob(filepath.Join(l.layout.Root, "clusters", "*")); len(stacks) > 0 {
		t.Errorf("folders of clusters are left: %v", stacks)
	}
}
