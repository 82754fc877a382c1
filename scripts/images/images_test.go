package images

import (
	"archive/tar"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

var update = flag.Bool("update", false, "write debian.lock with the versions that apt has now")

func TestLockNamesEveryPackageOnce(t *testing.T) {
	if *update {
		l, err := Pin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile("debian.lock", []byte(l.Text()), 0o644); err != nil {
			t.Fatal(err)
		}
		lockText = l.Text()
	}
	l, err := ReadLock()
	if err != nil {
		t.Fatal(err)
	}
	if len(l.Packages) != len(allPackages()) {
		t.Errorf("debian.lock has %d packages, the images need %d; run go test ./scripts/images -run Lock -update", len(l.Packages), len(allPackages()))
	}
	if _, err := l.pick(allPackages()); err != nil {
		t.Error(err)
	}
}

// packages is one download folder for all tests of a run.
var packages string

func TestMain(m *testing.M) {
	flag.Parse()
	dir, err := os.MkdirTemp("", "patag-packages-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	packages = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

func cacheDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Symlink(packages, filepath.Join(dir, "packages")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func options(t *testing.T) Options {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	tools := t.TempDir()
	if err := os.WriteFile(filepath.Join(tools, "ferretdb"), []byte("not the real one: it is only packed"), 0o755); err != nil {
		t.Fatal(err)
	}
	return Options{ProjectRoot: root, ToolsDir: tools, CacheDir: cacheDir(t), Progress: func(s string) { t.Log(s) }}
}

func build(t *testing.T, o Options) map[string]v1.Image {
	t.Helper()
	images, err := Build(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return images
}

// Two builds from nothing give the same digests; a third from the cache takes under a second and gives them too.
func TestImagesAreReproducibleAndCached(t *testing.T) {
	if testing.Short() {
		t.Skip("downloads packages and compiles")
	}
	o := options(t)
	first := build(t, o)
	other := o
	other.CacheDir = cacheDir(t)
	second := build(t, other)
	begin := time.Now()
	third := build(t, o)
	if d := time.Since(begin); d > time.Second {
		t.Errorf("taking unchanged images from the cache took %s, want under 1 s", d)
	}
	a, _ := Digests(first)
	b, _ := Digests(second)
	c, _ := Digests(third)
	if got, want := strings.Join(b, "\n"), strings.Join(a, "\n"); got != want {
		t.Errorf("a second build differs:\n%s\nthe first:\n%s", got, want)
	}
	if got, want := strings.Join(c, "\n"), strings.Join(a, "\n"); got != want {
		t.Errorf("the cache gives other images:\n%s\nthan were built:\n%s", got, want)
	}
	for name, img := range first {
		cf, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if cf.Config.User != "65532:65532" {
			t.Errorf("%s runs as %q, want 65532:65532", name, cf.Config.User)
		}
		checkFiles(t, name, img)
	}
	testPush(t, first)
}

// checkFiles looks for what must be in an image and for what must not.
func checkFiles(t *testing.T, name string, img v1.Image) {
	t.Helper()
	r := mutate.Extract(img)
	defer r.Close()
	have := map[string]*tar.Header{}
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		have[strings.TrimSuffix(h.Name, "/")] = h
	}
	for _, p := range append([]string{"etc/passwd", "tmp", "data"}, map[string][]string{
		"tag": {"tag", "etc/ssl/certs/ca-certificates.crt"}, "ferretdb": {"ferretdb"}, "backup": {"backup", "etc/ssl/certs/ca-certificates.crt"},
		"redis":      {"usr/bin/redis-server", "usr/bin/redis-cli", "lib64/ld-linux-x86-64.so.2", "lib/x86_64-linux-gnu/libc.so.6", "usr/share/doc/redis-tools/copyright"},
		"nutcracker": {"usr/sbin/nutcracker", "lib/x86_64-linux-gnu/libyaml-0.so.2"},
	}[name]...) {
		if have[p] == nil {
			t.Errorf("image %s has no /%s", name, p)
		}
	}
	for p, h := range have {
		if strings.HasSuffix(p, "/sh") || strings.HasSuffix(p, "/busybox") {
			t.Errorf("image %s has a shell: /%s", name, p)
		}
		if h.Mode&0o6000 != 0 {
			t.Errorf("image %s: /%s is set-uid or set-gid", name, p)
		}
	}
}

// testPush pushes to a registry, which checks every digest, and again, which must send nothing.
func testPush(t *testing.T, images map[string]v1.Image) {
	srv := httptest.NewServer(registry.New())
	defer srv.Close()
	o := PushOptions{Base: strings.TrimPrefix(srv.URL, "http://") + "/patag-sandbox/images"}
	refs, err := Push(t.Context(), images, o)
	if err != nil {
		t.Fatal(err)
	}
	if len(refs) != len(images) {
		t.Fatalf("%d references of %d images", len(refs), len(images))
	}
	for name, ref := range refs {
		d, _ := images[name].Digest()
		if want := o.Base + "/" + name + "@" + d.String(); ref != want {
			t.Errorf("reference of %s is %s, want %s", name, ref, want)
		}
	}
	var lines []string
	o.Progress = func(l string) { lines = append(lines, l) }
	if _, err := Push(t.Context(), images, o); err != nil {
		t.Fatal(err)
	}
	for _, l := range lines {
		if !strings.Contains(l, "is there already") {
			t.Errorf("pushed again although it was there: %s", l)
		}
	}
}

func TestWrongChecksumIsRefused(t *testing.T) {
	if testing.Short() {
		t.Skip("downloads a package")
	}
	l, err := ReadLock()
	if err != nil {
		t.Fatal(err)
	}
	p, _ := l.find("libyaml-0-2")
	p.SHA256 = strings.Repeat("0", 64)
	a := &apt{dir: t.TempDir(), say: func(string, ...any) {}}
	if _, err := a.fetch(t.Context(), p); err == nil || !strings.Contains(err.Error(), "is pinned") {
		t.Errorf("got %v, want a refusal that names the pinned checksum", err)
	}
	left, _ := os.ReadDir(a.dir)
	if len(left) != 0 {
		t.Errorf("a refused package was kept: %v", left)
	}
}

func TestTwoFilesAtOnePathAreRefused(t *testing.T) {
	_, err := layerOf([]file{{path: "a", data: []byte("x")}, {path: "/a", data: []byte("y")}})
	if err == nil {
		t.Error("two different files at one path were packed")
	}
}
