package cli

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"patag/scripts/patag/exit"
)

// engineFixture runs the real CLI with the provider of files.
func engineFixture(t *testing.T) *fixture {
	f := newFixture(t)
	f.withTools()
	f.running()
	return f
}

func (f *fixture) names() string {
	found, err := os.ReadDir(f.files)
	must(f.t, err)
	var names []string
	for _, e := range found {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

func TestLife(t *testing.T) {
	f := engineFixture(t)
	t.Setenv("FILES", "a b c")
	t.Setenv("TEXT", "one")
	a := f.patag("up", "foundation")
	a.expect(t, exit.OK, "3 created")
	if lines := strings.Split(strings.TrimSpace(a.out), "\n"); lines[len(lines)-1] != "http://127.77.2.1/v1/ad?placement=demo-top" {
		t.Errorf("the last line is not the ad's URL alone: %q", a.out)
	}
	if got := f.names(); got != "a b c" {
		t.Fatalf("files: %q", got)
	}

	start := time.Now()
	f.patag("up", "foundation").expect(t, exit.OK, "no changes")
	t.Logf("a second up took %s", time.Since(start))
	f.patag("preview", "foundation", "--expect-no-changes").expect(t, exit.OK, "no changes")

	t.Setenv("TEXT", "two")
	f.patag("preview", "foundation", "--expect-no-changes").expect(t, exit.Changes, "3 to be updated", "would change (3 resources)")
	f.patag("up", "foundation", "--json").expect(t, exit.OK, `"update":3`, `"adURL":"http://127.77.2.1/v1/ad?placement=demo-top"`)

	a = f.patag("status", "foundation", "--json")
	a.expect(t, exit.OK)
	var st struct {
		AdURL     string
		Resources int
		Warnings  []string
	}
	must(t, json.Unmarshal([]byte(a.out), &st))
	if st.Resources != 3 || st.AdURL == "" || len(st.Warnings) != 1 || !strings.Contains(st.Warnings[0], "does not enforce NetworkPolicies") {
		t.Errorf("status: %+v", st)
	}

	t.Setenv("FILES", "a kept")
	f.patag("up", "foundation").expect(t, exit.OK, "1 created", "2 deleted")
	f.patag("down", "foundation", "--yes").expect(t, exit.Usage, "protected", "--confirm foundation")
	f.patag("down", "foundation", "--confirm", "foundation").expect(t, exit.OK, "taking the protection off kept")
	if got := f.names(); got != "" {
		t.Errorf("files are left: %q", got)
	}
	f.patag("status", "foundation").expect(t, exit.Failed, "is not up")

	tracked, err := os.ReadFile(f.root + "/stacks/Pulumi.foundation.yaml")
	must(t, err)
	if strings.Contains(string(tracked), "salt") {
		t.Errorf("the tracked config was written to:\n%s", tracked)
	}
	for _, secret := range []string{"/pulumi/passphrase"} {
		info, err := os.Stat(f.state + secret)
		must(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", secret, info.Mode())
		}
	}
}

func TestFailureNamesTheResource(t *testing.T) {
	f := engineFixture(t)
	t.Setenv("FILES", "a refused-b")
	a := f.patag("up", "foundation")
	a.expect(t, exit.Failed, `"refused-b"`, "Error 403: the caller may not make refused-b", "all that was said: ")
	first := ""
	for line := range strings.Lines(a.err) {
		if strings.HasPrefix(line, "error: ") {
			first = line
			break
		}
	}
	if !strings.Contains(first, "up foundation") {
		t.Errorf("first line of the error: %q", first)
	}
	t.Setenv("FILES", "a")
	f.patag("up", "foundation").expect(t, exit.OK, "no changes")
}

func TestUserConfigSurvives(t *testing.T) {
	f := engineFixture(t)
	t.Setenv("FILES", "a")
	f.patag("up", "foundation").expect(t, exit.OK)
	// What a person does: eval "$(patag env foundation)"; pulumi config set …
	sh := func(script string) string {
		cmd := exec.Command("sh", "-c", `eval "$(`+filepath.Join(f.bin, "patag")+` env foundation)" && `+script)
		cmd.Dir = f.root
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", script, err, out)
		}
		return string(out)
	}
	sh("pulumi config set --secret patag:tagKey 0123456789abcdef0123456789abcdef0123456789abcdef")
	sh("pulumi config set patag:backupRetentionDays 30")
	f.patag("up", "foundation").expect(t, exit.OK)
	if out := sh("pulumi config"); !strings.Contains(out, "30") || !strings.Contains(out, "patag.example.com") || !strings.Contains(out, "[secret]") {
		t.Errorf("pulumi config:\n%s", out)
	}
	if out := sh("pulumi stack output adURL"); strings.TrimSpace(out) != "http://127.77.2.1/v1/ad?placement=demo-top" {
		t.Errorf("pulumi stack output: %q", out)
	}
	if out := sh("pulumi stack"); !strings.Contains(out, "Current stack is foundation") {
		t.Errorf("pulumi stack:\n%s", out)
	}
	if out := sh("cd / && pulumi stack output adURL"); !strings.Contains(out, "http://") {
		t.Errorf("outside the repository: %q", out)
	}
	f.write("stacks/Pulumi.foundation.yaml", "config:\n  patag:kind: foundation\n  patag:domain: other.example.com\n  patag:alertEmail: oncall@patag.example.com\n")
	f.patag("up", "foundation").expect(t, exit.OK)
	if out := sh("pulumi config"); !strings.Contains(out, "30") || !strings.Contains(out, "other.example.com") {
		t.Errorf("pulumi config after the tracked file changed:\n%s", out)
	}
	if status := gitless(f.root); status != "" {
		t.Errorf("files in the repository: %s", status)
	}
}

// gitless lists what is in the repository and was not put there by the fixture.
func gitless(root string) string {
	var extra []string
	_ = filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			switch strings.TrimPrefix(path, root+"/") {
			case "Pulumi.yaml", "stacks/Pulumi.foundation.yaml", "stacks/Pulumi.production.yaml", "stacks/sandbox.yaml":
			default:
				extra = append(extra, path)
			}
		}
		return nil
	})
	return strings.Join(extra, " ")
}

// start runs patag as a process of its own.
func (f *fixture) start(args ...string) (*exec.Cmd, *strings.Builder) {
	cmd := exec.Command(filepath.Join(f.bin, "patag"), args...)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	must(f.t, cmd.Start())
	return cmd, &out
}

func TestLocks(t *testing.T) {
	f := engineFixture(t)
	t.Setenv("FILES", "a")
	t.Setenv("PATAG_TEST_PAUSE", "3s")
	cmd, out := f.start("up", "foundation")
	locks := filepath.Join(f.state, "pulumi/state/.pulumi/locks/organization/patag/foundation")
	waitFor(t, func() bool { found, _ := filepath.Glob(locks + "/*.json"); return len(found) > 0 })
	f.patag("up", "foundation").expect(t, exit.Locked, "is in use by", fmt.Sprintf("process %d", cmd.Process.Pid), "since")
	status := f.patag("status", "foundation") // its exit code depends on whether the run has saved something yet
	status.expect(t, status.code, "it is worked on by", fmt.Sprintf("process %d", cmd.Process.Pid))
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}

	t.Setenv("PATAG_TEST_PAUSE", "")
	host, _ := os.Hostname()
	write := func(pid int, host string) {
		must(t, os.MkdirAll(locks, 0o755))
		raw := fmt.Sprintf(`{"pid":%d,"username":"eve","hostname":%q,"timestamp":%q}`, pid, host, time.Now().Format(time.RFC3339Nano))
		must(t, os.WriteFile(filepath.Join(locks, "x.json"), []byte(raw), 0o600))
	}
	dead := exec.Command("true")
	must(t, dead.Run())
	write(dead.Process.Pid, host)
	f.patag("up", "foundation").expect(t, exit.OK, "cleared the lock of a run that was killed: eve@")
	write(os.Getpid(), host)
	f.patag("up", "foundation").expect(t, exit.Locked, "eve@", fmt.Sprintf("process %d", os.Getpid()))
	write(1, "elsewhere")
	f.patag("up", "foundation").expect(t, exit.Locked, "eve@elsewhere")
	must(t, os.Remove(filepath.Join(locks, "x.json")))
	// A number that another process has by now: it began after the lock was written.
	sleeper := exec.Command("sleep", "60")
	must(t, sleeper.Start())
	defer func() { _ = sleeper.Process.Kill(); _ = sleeper.Wait() }()
	raw := fmt.Sprintf(`{"pid":%d,"username":"eve","hostname":%q,"timestamp":%q}`, sleeper.Process.Pid, host, time.Now().Add(-time.Hour).Format(time.RFC3339Nano))
	must(t, os.WriteFile(filepath.Join(locks, "x.json"), []byte(raw), 0o600))
	f.patag("up", "foundation").expect(t, exit.OK, "cleared the lock")
}

func waitFor(t *testing.T, what func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if what() {
			return
		}
	}
	t.Fatal("waited a minute in vain")
}

func TestCtrlC(t *testing.T) {
	f := engineFixture(t)
	t.Setenv("FILES", "a b c d e f")
	t.Setenv("PATAG_TEST_PAUSE", "1s")
	cmd, out := f.start("up", "foundation")
	waitFor(t, func() bool { return strings.Contains(f.names(), "a") })
	must(t, cmd.Process.Signal(syscall.SIGINT))
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != exit.Interrupted {
		t.Fatalf("exit code %d\n%s", code, out)
	}
	if !strings.Contains(out.String(), "the next `patag up` goes on from here") {
		t.Error(out)
	}
	t.Setenv("PATAG_TEST_PAUSE", "")
	f.patag("up", "foundation").expect(t, exit.OK)
	if got := f.names(); got != "a b c d e f" {
		t.Errorf("files: %q", got)
	}
	f.leavesNothing()
}

// leavesNothing fails when a process of a run is still there.
func (f *fixture) leavesNothing() {
	f.t.Helper()
	environs, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range environs {
		raw, _ := os.ReadFile(path)
		if strings.Contains(string(raw), "PATAG_RUN=") && strings.Contains(string(raw), f.state) {
			comm, _ := os.ReadFile(filepath.Dir(path) + "/comm")
			f.t.Errorf("left running: %s %s", path, comm)
		}
	}
}

// TestKill kills an up at random moments; the next one must converge, with nothing made twice and nothing lost.
// PATAG_SOAK sets the number of kills.
func TestKill(t *testing.T) {
	f := engineFixture(t)
	rounds := 6
	if s := os.Getenv("PATAG_SOAK"); s != "" {
		_, err := fmt.Sscan(s, &rounds)
		must(t, err)
	} else if testing.Short() {
		rounds = 2
	}
	sets := []string{"a b c d e f g h", "a b", "c d e f i j k"}
	for round := range rounds {
		files := sets[round%len(sets)]
		t.Setenv("FILES", files)
		t.Setenv("TEXT", fmt.Sprint("round ", round))
		t.Setenv("PATAG_TEST_PAUSE", "300ms")
		cmd, out := f.start("up", "foundation")
		after := time.Duration(rand.Int64N(int64(3 * time.Second)))
		time.Sleep(after)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		t.Setenv("PATAG_TEST_PAUSE", "")
		a := f.patag("up", "foundation")
		if a.code != exit.OK || f.names() != files {
			t.Fatalf("round %d, killed after %s: exit code %d, files %q, want %q\nkilled run:\n%s\nnext run:\n%s%s", round, after, a.code, f.names(), files, out, a.out, a.err)
		}
		f.patag("preview", "foundation", "--expect-no-changes").expect(t, exit.OK)
		for _, name := range strings.Fields(files) {
			raw, _ := os.ReadFile(filepath.Join(f.files, name))
			if string(raw) != fmt.Sprint("round ", round) {
				t.Errorf("round %d: %s holds %q", round, name, raw)
			}
		}
		f.leavesNothing()
		t.Logf("round %d: killed after %s; %s", round, after.Round(time.Millisecond), recovered(a.err))
	}
}

func recovered(said string) string {
	for line := range strings.Lines(said) {
		if strings.Contains(line, "was killed while") {
			return strings.TrimSpace(line)
		}
	}
	return "nothing was open"
}

// TestFirstPreviewLeavesNothing: on Google Cloud, the first preview of a stack makes no state folder, and the next one
// after an up works where the state is.
func TestFirstPreviewLeavesNothing(t *testing.T) {
	f := newFixture(t)
	f.withTools()
	t.Setenv("TMPDIR", t.TempDir())
	t.Setenv("FILES", "one two")
	state := filepath.Join(os.Getenv("XDG_STATE_HOME"), "patag-gcp")
	args := []string{"preview", "foundation", "--cloud", "gcp", "--project", "acme-ads", "--region", "europe-west1"}
	f.patag(append(args, "--json")...).expect(t, exit.OK, `"create":3`, "no Google credentials")
	if _, err := os.Stat(state); !os.IsNotExist(err) {
		t.Errorf("the preview made %s (%v)", state, err)
	}
	if left, _ := filepath.Glob(os.Getenv("TMPDIR") + "/patag-preview-*"); len(left) != 0 {
		t.Errorf("the preview left %v", left)
	}

	// Who is told to read the log finds it.
	f.patag(append(args, "--expect-no-changes")...).expect(t, exit.Changes, "the preview's files")
	if left, _ := filepath.Glob(os.Getenv("TMPDIR") + "/patag-preview-*/stacks/foundation/log/*"); len(left) != 1 {
		t.Errorf("the log that was named is not there: %v", left)
	}

	t.Setenv("GOOGLE_OAUTH_ACCESS_TOKEN", "a-token")
	args[0] = "up"
	f.patag(args...).expect(t, exit.OK)
	args[0] = "preview"
	f.patag(append(args, "--expect-no-changes")...).expect(t, exit.OK)
}

// TestRecoveryInterrupted: a recovery that was interrupted itself is gone on with. What it took into the state on suspicion is looked
// at by the next run; else a cluster whose creation was cut off stays without its address.
func TestRecoveryInterrupted(t *testing.T) {
	f := engineFixture(t)
	t.Setenv("FILES", "a b")
	t.Setenv("TEXT", "one")
	f.patag("up", "foundation").expect(t, exit.OK, "2 created")
	states, err := filepath.Glob(filepath.Join(f.state, "pulumi", "state", ".pulumi", "stacks", "*", "foundation.json"))
	must(t, err)
	if len(states) != 1 {
		t.Fatal(states)
	}
	var file struct {
		Checkpoint struct {
			Latest struct {
				Resources []struct{ URN, ID string }
			}
		}
	}
	raw, err := os.ReadFile(states[0])
	must(t, err)
	must(t, json.Unmarshal(raw, &file))
	urn, id := "", ""
	for _, r := range file.Checkpoint.Latest.Resources {
		if strings.HasSuffix(r.URN, "::b") {
			urn, id = r.URN, r.ID
		}
	}
	if urn == "" {
		t.Fatalf("no resource b in %s", raw)
	}
	// As a run leaves it that is interrupted before its look: the state has b, and it does not exist.
	note := filepath.Join(f.state, "pulumi", "stacks", "foundation", "recovery.json")
	raw, err = json.Marshal(map[string][]string{"adopted": {urn + " " + id}, "targets": {urn, urn + "-gone"}})
	must(t, err)
	must(t, os.WriteFile(note, raw, 0o600))
	must(t, os.Remove(filepath.Join(f.files, "b")))
	f.patag("up", "foundation").expect(t, exit.OK, "was interrupted while it looked", "1 created")
	if f.names() != "a b" {
		t.Errorf("files: %q", f.names())
	}
	if _, err := os.Stat(note); !os.IsNotExist(err) {
		t.Errorf("the note is still there: %v", err)
	}
	f.patag("up", "foundation").expect(t, exit.OK, "no changes")
}

// TestOtherProject: a stack that is up stays in its project.
func TestOtherProject(t *testing.T) {
	f := engineFixture(t)
	t.Setenv("FILES", "a")
	t.Setenv("TEXT", "one")
	f.patag("up", "foundation").expect(t, exit.OK, "1 created")
	f.patag("up", "foundation", "--project", "another-project").expect(t, exit.Usage, "is up in project patag-sandbox, and this run is for project another-project", "Nothing was changed")
	f.patag("up", "foundation").expect(t, exit.OK, "no changes")
}
