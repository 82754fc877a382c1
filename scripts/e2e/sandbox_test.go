// Package e2e runs the built programs as a user would, in a sandbox of its own beside any other on the machine, and
// breaks things while it looks. It needs root and what `make build` makes; without them it fails rather than skips.
// The working tree must not change while it runs: images are built from it.
//
// PATAG_SOAK=1 is the long form; PATAG_KILLS says how often it kills each verb (10).
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"patag/infra/sandbox/layout"
)

// machine is one sandbox and the commands that speak to it.
type machine struct {
	root, tools string
	layout      layout.Layout
	env         []string
	// stack is the environment of `patag env production`, once asked for.
	stack []string
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("these tests run Kubernetes nodes and need root")
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	m := &machine{root: root, tools: os.Getenv("PATAG_TOOLS")}
	for _, f := range []string{m.bin("patag"), m.bin("patag-sandbox"), filepath.Join(m.tools, "kube")} {
		if _, err := os.Stat(f); err != nil {
			t.Fatalf("%v; run `make build` first (and set PATAG_TOOLS, as `make test` does)", err)
		}
	}
	// Not t.TempDir: its removal would race a daemon that is still stopping, and unix socket paths must be short.
	if m.layout.Root, err = os.MkdirTemp("", "patag-e2e-"); err != nil {
		t.Fatal(err)
	}
	m.env = append(os.Environ(), "PATAG_STATE="+m.layout.Root)
	t.Cleanup(func() {
		if out, err := m.run(2*time.Minute, "sandbox", "stop"); err != nil {
			t.Errorf("stop the sandbox: %v\n%s", err, out)
		}
		if t.Failed() {
			t.Logf("state kept for a look: %s", m.layout.Root)
			return
		}
		if err := os.RemoveAll(m.layout.Root); err != nil {
			t.Error(err)
		}
	})
	return m
}

func (m *machine) bin(name string) string { return filepath.Join(m.root, "bin", name) }

func (m *machine) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, m.bin("patag"), args...)
	cmd.Dir, cmd.Env = m.root, m.env
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// run runs patag and returns all it printed.
func (m *machine) run(limit time.Duration, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	out, err := m.command(ctx, args...).CombinedOutput()
	if ctx.Err() != nil {
		err = fmt.Errorf("not done after %s", limit)
	}
	return string(out), err
}

func (m *machine) must(t *testing.T, limit time.Duration, args ...string) string {
	t.Helper()
	start := time.Now()
	out, err := m.run(limit, args...)
	if err != nil {
		t.Fatalf("patag %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	t.Logf("patag %s: %s", strings.Join(args, " "), tenths(time.Since(start)))
	return out
}

// refused expects the exit code and one error that says what is wrong.
func (m *machine) refused(t *testing.T, code int, want string, args ...string) {
	t.Helper()
	out, err := m.run(2*time.Minute, args...)
	got := 0
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		t.Fatalf("patag %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	if got != code || strings.Count("\n"+out, "\nerror: ") != 1 || !strings.Contains(out, want) {
		t.Errorf("patag %s: exit code %d, want %d and one error with %q:\n%s", strings.Join(args, " "), got, code, want, out)
	}
}

// start starts the sandbox, the first time on a free port.
func (m *machine) start(t *testing.T) {
	t.Helper()
	args := []string{"sandbox", "start"}
	if _, err := os.Stat(m.layout.SettingsFile()); err != nil {
		args = append(args, "--api", freeAddress(t))
	}
	m.must(t, 3*time.Minute, args...)
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// shell runs a command line in the environment that `patag env production` gives.
func (m *machine) shell(limit time.Duration, line string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	script := fmt.Sprintf("eval \"$(%s env production)\" && %s", m.bin("patag"), line)
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script)
	cmd.Dir, cmd.Env, cmd.WaitDelay = m.root, m.env, time.Second
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (m *machine) mustShell(t *testing.T, line string) string {
	t.Helper()
	out, err := m.shell(2*time.Minute, line)
	if err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return out
}

// kubectl is for looks that are repeated: it asks `patag env` once.
func (m *machine) kubectl(args ...string) (string, error) {
	if m.stack == nil {
		out, err := m.run(30*time.Second, "env", "production", "--json")
		var vars map[string]string
		if err != nil || json.Unmarshal([]byte(out), &vars) != nil {
			return out, fmt.Errorf("patag env production --json: %w", err)
		}
		stack := m.env
		for k, v := range vars {
			stack = append(stack, k+"="+v)
		}
		m.stack = stack
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(m.tools, "kubectl"), append([]string{"--request-timeout=15s", "-n", "patag"}, args...)...)
	cmd.Env, cmd.WaitDelay = m.stack, time.Second
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(errs.String()))
	}
	return out.String(), nil
}

type status struct {
	AdURL   string `json:"adURL"`
	DemoURL string `json:"demoURL"`
	APIURL  string `json:"apiURL"`

	Healthy  bool     `json:"healthy"`
	Problems []string `json:"problems"`
}

func (m *machine) status(t *testing.T) status {
	t.Helper()
	var s status
	out, err := m.command(context.Background(), "status", "production", "--json").Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() == 6 {
		err = nil // not well, which is the point of some tests
	}
	if err == nil {
		err = json.Unmarshal(out, &s)
	}
	if err != nil {
		t.Fatalf("patag status production --json: %v\n%s", err, out)
	}
	return s
}

func (m *machine) settings(t *testing.T) layout.Settings {
	t.Helper()
	s, err := m.layout.Settings()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// get asks for a URL without keeping connections, so that each call is a new client.
func get(url string, header http.Header) (int, string, error) {
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	for k, v := range header {
		req.Header[k] = v
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(raw), err
}

// servesAgain waits until the URL has answered 200 ten times in a row and returns how long that took.
func servesAgain(t *testing.T, url string, limit time.Duration) time.Duration {
	t.Helper()
	start, good := time.Now(), 0
	last := "never asked"
	for time.Since(start) < limit {
		code, body, err := get(url, nil)
		if err == nil && code == http.StatusOK {
			if good++; good == 10 {
				return time.Since(start)
			}
			continue
		}
		good, last = 0, fmt.Sprintf("%d %v %.200s", code, err, body)
		time.Sleep(200 * time.Millisecond)
	}
	t.Fatalf("%s does not serve after %s; last answer: %s", url, limit, last)
	return 0
}

// waitFor looks until fn says yes, and returns how long that took.
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
		time.Sleep(300 * time.Millisecond)
	}
}

func tenths(d time.Duration) time.Duration { return d.Round(100 * time.Millisecond) }
