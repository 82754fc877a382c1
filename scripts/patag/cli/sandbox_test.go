package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"patag/infra/sandbox/client"
	"patag/infra/sandbox/layout"
	"patag/scripts/patag/exit"
)

// serveDaemon behaves towards the command as the daemon does, in the ways that a real one is hard to bring to:
// PATAG_TEST_DAEMON is die, slow, hang or empty.
func serveDaemon() int {
	mode := os.Getenv("PATAG_TEST_DAEMON")
	if mode == "die" {
		fmt.Fprintln(os.Stderr, "level=ERROR msg=\"no cgroup for you\"")
		return 7
	}
	l := layout.Layout{Root: os.Args[2]}
	settings, err := l.Settings()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	lock, _ := os.OpenFile(l.LockFile(), os.O_RDWR|os.O_CREATE, 0o600)
	if unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		return 2
	}
	fmt.Fprint(lock, os.Getpid())
	defer runtime.KeepAlive(lock)
	listener, err := net.Listen("tcp", settings.API)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	go http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/sandbox/v1/status":
			_ = json.NewEncoder(w).Encode(client.Status{Ready: mode != "slow", Phase: "starting etcd", PID: os.Getpid(), Since: time.Now()})
		case "/sandbox/v1/stop":
			if mode != "hang" {
				stop <- syscall.SIGTERM
			}
		}
	}))
	for range stop {
		if mode != "hang" {
			return 0
		}
	}
	return 0
}

// sandboxFixture can start a daemon.
func sandboxFixture(t *testing.T, mode string) *fixture {
	f := newFixture(t)
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: sandbox start needs root")
	}
	for _, pkg := range []string{"/usr/lib/cni/bridge", "/usr/bin/containerd", "/usr/sbin/runc"} {
		if _, err := os.Stat(pkg); err != nil {
			t.Skipf("NOT TESTED: sandbox start needs the Debian packages: %v", err)
		}
	}
	for _, name := range []string{"kube", "coredns", "metrics-server"} {
		must(t, os.WriteFile(filepath.Join(f.bin, name), nil, 0o755))
	}
	self, err := os.Executable()
	must(t, err)
	// A copy, not a link: the command looks at the name of the running program before it kills it.
	raw, err := os.ReadFile(self)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(f.bin, "patag-sandbox"), raw, 0o755))
	t.Setenv("PATAG_TOOLS", f.bin)
	t.Setenv("PATAG_TEST_DAEMON", mode)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	f.api = free.Addr().String()
	free.Close()
	t.Cleanup(func() {
		if pid, up, _ := client.Daemon(layout.Layout{Root: f.state}); up && pid > 0 {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	return f
}

func (f *fixture) startSandbox(more ...string) answer {
	return f.patag(append([]string{"sandbox", "start", "--api", f.api, "--need-memory", "0.1", "--need-disk", "0.1"}, more...)...)
}

func TestSandboxLife(t *testing.T) {
	f := sandboxFixture(t, "")
	f.startSandbox().expect(t, exit.OK, "start the sandbox: ready", f.api)
	f.startSandbox().expect(t, exit.OK, "runs already")
	f.patag("sandbox", "start", "--api", "127.0.0.1:1").expect(t, exit.Usage, "runs already, with its API on "+f.api)
	f.patag("sandbox", "status").expect(t, exit.OK, "ready", "not enforced")
	for _, secret := range []string{"token", "settings.json"} {
		info, err := os.Stat(filepath.Join(f.state, secret))
		must(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", secret, info.Mode())
		}
	}
	f.patag("sandbox", "stop").expect(t, exit.OK, "its state is kept")
	f.patag("sandbox", "stop").expect(t, exit.OK, "is not running")
	f.patag("sandbox", "start", "--api", "127.0.0.1:1").expect(t, exit.Usage, "keeps them")
	settings, err := os.ReadFile(filepath.Join(f.state, "settings.json"))
	must(t, err)
	f.patag("sandbox", "start", "--need-memory", "0.1", "--need-disk", "0.1").expect(t, exit.OK, f.api)
	if again, _ := os.ReadFile(filepath.Join(f.state, "settings.json")); string(again) != string(settings) {
		t.Errorf("settings changed: %s, were %s", again, settings)
	}
	f.patag("sandbox", "delete").expect(t, exit.Usage, "--yes")
	f.patag("sandbox", "delete", "--yes").expect(t, exit.OK, "is gone")
	if _, err := os.Stat(f.state); !os.IsNotExist(err) {
		t.Errorf("the state folder is still there: %v", err)
	}
}

func TestSandboxDeleteLeavesOtherFoldersAlone(t *testing.T) {
	f := newFixture(t)
	must(t, os.WriteFile(f.state+"/thesis.txt", nil, 0o600))
	f.patag("sandbox", "delete", "--yes").expect(t, exit.Usage, "is not the state folder of a sandbox")
	if _, err := os.Stat(f.state + "/thesis.txt"); err != nil {
		t.Error(err)
	}
}

func TestSandboxStartRefuses(t *testing.T) {
	t.Run("disk and memory", func(t *testing.T) {
		f := sandboxFixture(t, "")
		f.startSandbox("--need-disk", "99999", "--need-memory", "99999").expect(t, exit.Usage, "and 99999.0 GiB are needed: make room", "GiB of memory are available", "nothing was changed")
		f.untouched()
	})
	t.Run("port", func(t *testing.T) {
		f := sandboxFixture(t, "")
		taken, err := net.Listen("tcp", f.api)
		must(t, err)
		defer taken.Close()
		f.startSandbox().expect(t, exit.Usage, f.api+" is taken by", fmt.Sprintf("(process %d)", os.Getpid()), "--api")
		f.untouched()
	})
	t.Run("address", func(t *testing.T) {
		f := sandboxFixture(t, "")
		f.api = "0.0.0.0:7470"
		f.startSandbox().expect(t, exit.Usage, "is not a loopback address")
		f.startSandbox("--api", "127.0.0.1:7470", "--instance", "300").expect(t, exit.Usage, "instance 300 is not between 2 and 254")
		f.untouched()
	})
	t.Run("tools", func(t *testing.T) {
		f := sandboxFixture(t, "")
		must(t, os.Remove(filepath.Join(f.bin, "kube")))
		f.startSandbox().expect(t, exit.Usage, "lacks kube", "make tools")
		f.untouched()
	})
}

func (f *fixture) untouched() {
	f.t.Helper()
	if now := tree(f.t, f.state); now != "" {
		f.t.Errorf("the state folder was changed: %s", now)
	}
}

func TestSandboxDies(t *testing.T) {
	f := sandboxFixture(t, "die")
	f.startSandbox().expect(t, exit.Failed, "ended while it started", "exit status 7", "no cgroup for you", "sandbox.log")
	f.patag("sandbox", "status").expect(t, exit.NotRunning)
}

func TestSandboxHangs(t *testing.T) {
	f := sandboxFixture(t, "hang")
	f.startSandbox().expect(t, exit.OK)
	f.patag("sandbox", "stop", "--timeout", "300ms").expect(t, exit.OK, "killed after 300ms")
	f.patag("sandbox", "status").expect(t, exit.NotRunning)
}

func TestSandboxIsSlow(t *testing.T) {
	f := sandboxFixture(t, "slow")
	f.startSandbox("--timeout", "500ms").expect(t, exit.Failed, "is not ready after 500ms", "starting etcd")
	f.patag("sandbox", "stop").expect(t, exit.OK)

	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	a := f.patagWith(ctx, "sandbox", "start", "--need-memory", "0.1", "--need-disk", "0.1")
	a.expect(t, exit.Interrupted, "the sandbox is stopped again")
	f.patag("sandbox", "status").expect(t, exit.NotRunning)
}

func TestEnv(t *testing.T) {
	f := newFixture(t)
	f.running()
	a := f.patag("env", "foundation")
	a.expect(t, exit.OK, "unset KUBECONFIG", "# KUBECONFIG is not set: foundation has no cluster",
		"export GOOGLE_COMPUTE_CUSTOM_ENDPOINT='http://"+f.api+"/compute/compute/beta/'",
		"export CLOUDSDK_API_ENDPOINT_OVERRIDES_CONTAINER='http://"+f.api+"/container/'",
		"export CLOUDSDK_AUTH_ACCESS_TOKEN_FILE='"+f.state+"/token'",
		"export GOOGLE_OAUTH_ACCESS_TOKEN='secret-token'",
		"export PULUMI_STACK='organization/patag/foundation'",
		"export PATAG_STATE='"+f.state+"'")
	f.patag("env", "foundation", "--json").expect(t, exit.OK, `"GOOGLE_PROJECT": "patag-sandbox"`)
	if strings.Contains(a.out, "PULUMI_CONFIG_PASSPHRASE=") {
		t.Error("the passphrase itself is printed")
	}
}
