package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"patag/scripts/runbooks/page"
)

// The pages of docs/runbooks in the order in which they are followed. The short form follows the first and the last of them; that
// the commands of all fit the programs is for the unit tests of scripts/runbooks.
var (
	runbooksShort = []string{"sandbox-start", "up", "README", "status", "sandbox-status", "env", "history", "policy", "preview", "images-build", "images-push",
		"backup", "backups-list", "drill-restore", "staging-list", "staging-reap", "drift", "unlock"}
	runbooksLong = []string{"deploy", "rollback", "restore", "staging-create", "staging-extend", "sandbox-preempt", "staging-sleep", "staging-wake", "staging-down",
		"rebuild", "down"}
	runbooksLast = []string{"sandbox-stop", "sandbox-delete"}
	// runbooksNever hold commands that change the tree which the tests build from.
	runbooksNever = []string{"images-pin"}
)

// TestRunbooks does what the pages say, in shells as their readers have them, and sees what they promise. It stops at the first page
// that is not true.
func TestRunbooks(t *testing.T) {
	pages, err := page.Read(filepath.Join("..", "..", "docs", "runbooks"))
	if err != nil {
		t.Fatal(err)
	}
	for name := range pages {
		if !slices.Contains(slices.Concat(runbooksShort, runbooksLong, runbooksLast, runbooksNever), name) {
			t.Errorf("docs/runbooks/%s.md is followed by no test", name)
		}
	}
	m := newMachine(t)
	follow := func(names []string) {
		t.Helper()
		for _, name := range names {
			p, ok := pages[name]
			if !ok {
				t.Fatalf("there is no page docs/runbooks/%s.md", name)
			}
			if !t.Run(name, func(t *testing.T) { m.follow(t, p) }) {
				t.FailNow()
			}
		}
	}
	// The first start chooses a port that is free; the page's is of a sandbox that has one.
	m.start(t)
	m.must(t, time.Minute, "sandbox", "stop")
	begun := time.Now()
	follow(runbooksShort)
	if os.Getenv("PATAG_SOAK") == "" {
		t.Logf("NOT FOLLOWED here: %s (make soak)", strings.Join(runbooksLong, ", "))
	} else {
		// Another good image runs before, so that there is something to deploy and to go back to.
		m.must(t, 5*time.Minute, "deploy", "production", "--image", variants(t, m, "good")["good"], "--window", "5s")
		follow(runbooksLong)
	}
	follow(runbooksLast)
	t.Logf("ROW runbooks | %s | each command did what its page says", tenths(time.Since(begun)))
}

// follow runs a page from its beginning to its end.
func (m *machine) follow(t *testing.T, p page.Page) {
	variables := filepath.Join(t.TempDir(), "variables")
	for _, b := range p.Blocks {
		at := fmt.Sprintf("docs/runbooks/%s.md:%d", p.Name, b.Line)
		if b.NotRun != "" {
			t.Logf("%s is NOT RUN: %s", at, b.NotRun)
			continue
		}
		begun := time.Now()
		code, out := m.block(t, b.Script, variables)
		if code != b.Exit {
			t.Fatalf("%s: exit code %d, and the page says %d\n%s\n%s", at, code, b.Exit, b.Script, out)
		}
		if err := page.Match(b.Output, out); err != nil {
			t.Fatalf("%s: %v\nof\n%s", at, err, b.Script)
		}
		t.Logf("%s: %s", at, tenths(time.Since(begun)))
	}
}

// block runs a script in the repository with patag on PATH. Variables are kept for the page's next one, as in one shell.
func (m *machine) block(t *testing.T, script, variables string) (code int, output string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	script = fmt.Sprintf("[ ! -f %[1]q ] || . %[1]q\ntrap 'export -p >%[1]q' EXIT\nset -a\n%[2]s\n", variables, script)
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script)
	cmd.Dir, cmd.WaitDelay = m.root, 5*time.Second
	cmd.Env = append(slices.Clone(m.env), "PATH="+filepath.Dir(m.bin("patag"))+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if ctx.Err() != nil || err != nil && !errors.As(err, &exit) {
		t.Fatalf("%v %v\n%s\n%s", ctx.Err(), err, script, out)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}
