// Package e2e runs the built programs as a user would, in a sandbox of its own beside any other on the machine, and
// breaks things while it looks. It needs root and what `make build` makes; without them it fails rather than skips.
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
	"strconv"
	"strings"
	"testing"
	"time"
)

// machine is one sandbox and the commands that speak to it.
type machine struct {
	root, state, tools string
	env                []string
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
	if m.state, err = os.MkdirTemp("", "patag-e2e-"); err != nil {
		t.Fatal(err)
	}
	m.env = append(os.Environ(), "PATAG_STATE="+m.state)
	t.Cleanup(func() {
		if out, err := m.run(2*time.Minute, "patag", "sandbox", "stop"); err != nil {
			t.Errorf("stop the sandbox: %v\n%s", err, out)
		}
		if t.Failed() {
			t.Logf("state kept for a look: %s", m.state)
			return
		}
		if err := os.RemoveAll(m.state); err != nil {
			t.Error(err)
		}
	})
	return m
}

func (m *machine) bin(name string) string { return filepath.Join(m.root, "bin", name) }

// run runs one of our programs and returns all it printed.
func (m *machine) run(limit time.Duration, program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, m.bin(program), args...)
	cmd.Dir, cmd.Env = m.root, m.env
	cmd.WaitDelay = 5 * time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if ctx.Err() != nil {
		err = fmt.Errorf("not done after %s", limit)
	}
	return out.String(), err
}

func (m *machine) must(t *testing.T, limit time.Duration, args ...string) string {
	t.Helper()
	start := time.Now()
	out, err := m.run(limit, "patag", args...)
	if err != nil {
		t.Fatalf("patag %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	t.Logf("patag %s: %s", strings.Join(args, " "), time.Since(start).Round(100*time.Millisecond))
	return out
}

// exitCode runs patag and returns its exit code and output.
func (m *machine) exitCode(t *testing.T, args ...string) (int, string) {
	t.Helper()
	out, err := m.run(2*time.Minute, "patag", args...)
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, out
	case errors.As(err, &exit):
		return exit.ExitCode(), out
	default:
		t.Fatalf("patag %s: %v\n%s", strings.Join(args, " "), err, out)
		return -1, ""
	}
}

// start starts the sandbox on a free port.
func (m *machine) start(t *testing.T) {
	t.Helper()
	args := []string{"sandbox", "start"}
	if _, err := os.Stat(filepath.Join(m.state, "settings.json")); err != nil {
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
func (m *machine) shell(t *testing.T, limit time.Duration, line string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	script := fmt.Sprintf("eval \"$(%s env production)\" && %s", m.bin("patag"), line)
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script)
	cmd.Dir, cmd.Env = m.root, m.env
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (m *machine) mustShell(t *testing.T, line string) string {
	t.Helper()
	out, err := m.shell(t, 2*time.Minute, line)
	if err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return out
}

type status struct {
	AdURL      string `json:"adURL"`
	DemoURL    string `json:"demoURL"`
	APIURL     string `json:"apiURL"`
	Kubeconfig string `json:"kubeconfig"`
	Resources  int    `json:"resources"`
}

func (m *machine) status(t *testing.T) status {
	t.Helper()
	var s status
	cmd := exec.Command(m.bin("patag"), "status", "production", "--json")
	cmd.Dir, cmd.Env = m.root, m.env
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("patag status production --json: %v\n%s", err, out)
	}
	if err := json.Unmarshal(out, &s); err != nil {
		t.Fatalf("patag status production --json: %v\n%s", err, out)
	}
	return s
}

func (m *machine) daemon(t *testing.T) int {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(m.state, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil {
		t.Fatalf("process id in the lock file: %v", err)
	}
	return pid
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

// leftovers lists what of the sandbox is still there: processes, namespaces, cgroups, mounts.
func (m *machine) leftovers(t *testing.T) []string {
	t.Helper()
	var left []string
	var settings struct {
		Instance int `json:"instance"`
	}
	raw, err := os.ReadFile(filepath.Join(m.state, "settings.json"))
	if err != nil || json.Unmarshal(raw, &settings) != nil {
		t.Fatalf("read the settings: %v", err)
	}
	name := fmt.Sprintf("patag%d", settings.Instance)
	procs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, p := range procs {
		line, err := os.ReadFile(p)
		if err == nil && bytes.Contains(line, []byte(m.state)) {
			left = append(left, "process "+p+": "+strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	spaces, _ := filepath.Glob("/run/netns/" + name + "-*")
	left = append(left, spaces...)
	groups, _ := filepath.Glob("/sys/fs/cgroup/*/" + name)
	left = append(left, groups...)
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(mounts), "\n") {
		if strings.Contains(line, m.state) || strings.Contains(line, "/netns/"+name+"-") {
			left = append(left, "mount "+line)
		}
	}
	return left
}
