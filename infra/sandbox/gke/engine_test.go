package gke

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"patag/infra/sandbox/cluster"
	"patag/infra/sandbox/gke/node"
	"patag/infra/sandbox/layout"
	"patag/infra/sandbox/netns"
	"patag/infra/sandbox/store"
)

// The engine starts nodes with this program, so the test binary is one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "node":
			os.Exit(node.Main(os.Args[2:]))
		case "engine":
			os.Exit(engineMain(os.Args[2:]))
		case "hold":
			l, err := net.Listen("tcp4", os.Args[2])
			fmt.Println("held", err)
			if err == nil {
				_, err = l.Accept() // nobody calls; the listener must not be collected
			}
			fmt.Println(err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// testInstance is kept from sandboxes that people start.
const testInstance = 251

type fixture struct {
	t      *testing.T
	o      Options
	engine *Engine
}

// newFixture makes an engine with a state folder of its own; the test is skipped, loudly, where none can run.
func newFixture(t *testing.T) *fixture {
	t.Helper()
	tools := os.Getenv("PATAG_TOOLS")
	if tools == "" {
		t.Skip("NOT TESTED: clusters need the folder of built tools in PATAG_TOOLS")
	}
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: clusters need root")
	}
	if testing.Short() {
		t.Skip("NOT TESTED: clusters take a minute, and -short was given")
	}
	root, err := os.MkdirTemp("", "patag-gke-")
	if err != nil {
		t.Fatal(err)
	}
	l := layout.Layout{Root: root}
	s, err := store.Open(l.Database())
	if err != nil {
		t.Fatal(err)
	}
	level := slog.LevelInfo
	f := &fixture{t: t, o: Options{
		Layout: l, Settings: layout.Settings{Instance: testInstance, API: "127.0.0.1:1"}, Tools: tools, Store: s,
		AdminToken: "test-token", Images: []string{helloImage(t)}, IdleAfter: 5 * time.Second, DrainTimeout: 10 * time.Second,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})),
	}}
	t.Cleanup(func() {
		if f.engine != nil {
			if err := f.engine.Stop(); err != nil {
				t.Error(err)
			}
		}
		f.nothingLeft()
		s.Close()
		if t.Failed() {
			t.Logf("the state is kept in %s", root)
			return
		}
		if err := os.RemoveAll(root); err != nil {
			t.Error(err)
		}
	})
	f.start()
	return f
}

func (f *fixture) start() {
	f.t.Helper()
	engine, err := New(f.o)
	if err != nil {
		f.t.Fatal(err)
	}
	f.engine = engine
	if err := engine.Start(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
}

// nothingLeft proves that a stopped engine has left nothing in the kernel.
func (f *fixture) nothingLeft() {
	f.t.Helper()
	names, err := netns.Names(f.o.Settings.Name() + "-")
	if err != nil || len(names) > 0 {
		f.t.Errorf("namespaces left: %v %v", names, err)
	}
	groups, err := filepath.Glob("/sys/fs/cgroup/*/" + f.o.Settings.Name())
	if err != nil || len(groups) > 0 {
		f.t.Errorf("control groups left: %v %v", groups, err)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(mounts), f.o.Layout.Root) {
		f.t.Errorf("mounts left (%v)", err)
	}
	for _, p := range f.processes() {
		f.t.Errorf("a process is left: %s", p)
	}
}

func (f *fixture) spec(n int) cluster.Cluster {
	return cluster.Cluster{
		ID: fmt.Sprintf("test%d-0000000%d", n, n), Project: "patag-sandbox", Location: "europe-west1-b", Name: fmt.Sprintf("test%d", n),
		Zones: []string{"europe-west1-b"}, Version: "1.34.4-gke.1",
		NodeCIDR: netip.MustParsePrefix("10.10.0.0/20"), PodCIDR: netip.MustParsePrefix("10.20.0.0/16"),
		ServiceCIDR: netip.MustParsePrefix("10.30.0.0/20"), MasterCIDR: netip.MustParsePrefix("172.16.0.0/28"),
		Endpoint: f.o.Settings.ClusterEndpoint(n), WorkloadPool: "patag-sandbox.svc.id.goog",
	}
}

// kubectl runs kubectl as the administrator and returns its output.
func (f *fixture) kubectl(c cluster.Cluster, args ...string) (string, error) {
	base := []string{"--server=https://" + c.Endpoint.String(), "--token=" + f.o.AdminToken,
		"--certificate-authority=" + filepath.Join(f.o.Layout.Cluster(c.ID), "control-plane/keys/authority/ca.crt")}
	cmd := exec.Command(filepath.Join(f.o.Tools, "kube"), append(base, args...)...)
	cmd.Args[0] = "kubectl"
	cmd.Env = append(os.Environ(), "KUBECONFIG=/dev/null", "HOME="+f.o.Layout.Root)
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (f *fixture) must(c cluster.Cluster, args ...string) string {
	f.t.Helper()
	out, err := f.kubectl(c, args...)
	if err != nil {
		f.t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (f *fixture) apply(c cluster.Cluster, manifest string) {
	f.t.Helper()
	file := filepath.Join(f.o.Layout.Root, "manifest.yaml")
	if err := os.WriteFile(file, []byte(manifest), 0o600); err != nil {
		f.t.Fatal(err)
	}
	f.must(c, "apply", "-f", file)
}

// eventually waits for a condition and says how long it took.
func (f *fixture) eventually(what string, limit time.Duration, ok func() (string, bool)) {
	f.t.Helper()
	begun := time.Now()
	for {
		state, done := ok()
		if done {
			f.t.Logf("%s after %s", what, time.Since(begun).Round(10*time.Millisecond))
			return
		}
		if time.Since(begun) > limit {
			f.t.Fatalf("not within %s: %s; now: %s", limit, what, state)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func helloImage(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("go", "build", "-o", filepath.Join(dir, "hello"), "./testdata/hello")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the workload: %v\n%s", err, out)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "hello"))
	if err != nil {
		t.Fatal(err)
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	w.WriteHeader(&tar.Header{Name: "hello", Mode: 0o755, Size: int64(len(raw))})
	w.Write(raw)
	w.Close()
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	image, err := mutate.AppendLayers(empty.Image, l)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Config.Entrypoint = "linux", "amd64", []string{"/hello"}
	if image, err = mutate.ConfigFile(image, config); err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag("test.local/hello:1")
	if err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(dir, "hello.tar")
	if err := tarball.WriteToFile(archive, tag, image); err != nil {
		t.Fatal(err)
	}
	return archive
}

func limit(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
