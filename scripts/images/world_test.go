package images

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

// world is the platform's data path on loopback, made of the very images: each program runs in its image's files alone
// (chroot), as the image's user, with nothing else of this machine but the network.
type world struct {
	t     *testing.T
	roots map[string]string
	ports map[string]string
	procs map[string]*exec.Cmd
	args  map[string][]string
}

// toolsDir finds the real ferretdb.
func toolsDir(t *testing.T) string {
	t.Helper()
	dirs := []string{os.Getenv("PATAG_TOOLS")}
	if c, err := os.UserCacheDir(); err == nil {
		dirs = append(dirs, filepath.Join(c, "patag", "tools"), filepath.Join(c, "patag", "bin"))
	}
	for _, d := range dirs {
		if d == "" {
			continue
		}
		if _, err := os.Stat(filepath.Join(d, "ferretdb")); err == nil {
			return d
		}
	}
	t.Skip("SKIPPED, the data path is not tested: no ferretdb program; build the toolchain, or set PATAG_TOOLS to the folder that holds it")
	return ""
}

func newWorld(t *testing.T) *world {
	t.Helper()
	if testing.Short() {
		t.Skip("runs the whole data path")
	}
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED, the data path is not tested: running programs in their images' files alone needs root")
	}
	o := options(t)
	o.ToolsDir = toolsDir(t)
	w := &world{t: t, roots: map[string]string{}, ports: map[string]string{}, procs: map[string]*exec.Cmd{}, args: map[string][]string{}}
	t.Cleanup(w.stopAll)
	base := t.TempDir()
	if err := os.Chmod(base, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, img := range build(t, o) {
		w.roots[name] = filepath.Join(base, name)
		unpackImage(t, img, w.roots[name])
	}
	// The temporary folder's parents must let the images' user through.
	for d := base; d != "/" && d != os.TempDir(); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func unpackImage(t *testing.T, img v1.Image, root string) {
	t.Helper()
	r := mutate.Extract(img)
	defer r.Close()
	if err := os.MkdirAll(root, 0o755); err != nil {
		t.Fatal(err)
	}
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err == nil {
			err = unpackEntry(tr, h, filepath.Join(root, filepath.Clean("/"+h.Name)))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func unpackEntry(r io.Reader, h *tar.Header, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeDir:
		if err := os.MkdirAll(to, 0o755); err != nil {
			return err
		}
	case tar.TypeSymlink:
		return os.Symlink(h.Linkname, to)
	default:
		f, err := os.Create(to)
		if err != nil {
			return err
		}
		defer f.Close()
		if _, err := io.Copy(f, r); err != nil {
			return err
		}
	}
	if err := os.Chown(to, h.Uid, h.Gid); err != nil {
		return err
	}
	return os.Chmod(to, h.FileInfo().Mode())
}

// port is a free loopback address for a name, the same one each time.
func (w *world) port(name string) string {
	if a := w.ports[name]; a != "" {
		return a
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	defer l.Close()
	w.ports[name] = l.Addr().String()
	return w.ports[name]
}

// dir makes a folder in an image's /data for one instance.
func (w *world) dir(image, name string) string {
	p := filepath.Join(w.roots[image], "data", name)
	if err := os.MkdirAll(p, 0o700); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Chown(p, nonroot, nonroot); err != nil {
		w.t.Fatal(err)
	}
	return "/data/" + name
}

func (w *world) write(image, path, text string) string {
	p := filepath.Join(w.roots[image], path)
	if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
	return path
}

func (w *world) command(image string, args []string) *exec.Cmd {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir, cmd.Env = "/", []string{"HOME=/home/nonroot"}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Chroot: w.roots[image], Credential: &syscall.Credential{Uid: nonroot, Gid: nonroot}, Pdeathsig: syscall.SIGKILL,
	}
	return cmd
}

// start runs an instance in the background; its output goes into a file shown when the test fails.
func (w *world) start(name, image string, args ...string) {
	w.t.Helper()
	cmd := w.command(image, args)
	log, err := os.OpenFile(filepath.Join(w.t.TempDir(), name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if data, err := os.ReadFile(log.Name()); err == nil && w.t.Failed() {
			w.t.Logf("--- %s\n%s", name, data[max(0, len(data)-1500):])
		}
		log.Close()
	})
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		w.t.Fatalf("start %s: %v", name, err)
	}
	w.procs[name] = cmd
	w.args[name] = append([]string{image}, args...)
}

// stop ends an instance by a signal and waits for it.
func (w *world) stop(name string, sig syscall.Signal) {
	cmd := w.procs[name]
	if cmd == nil {
		return
	}
	delete(w.procs, name)
	cmd.Process.Signal(sig)
	cmd.Wait()
}

func (w *world) restart(name string) {
	w.t.Helper()
	a := w.args[name]
	w.start(name, a[0], a[1:]...)
}

func (w *world) stopAll() {
	for name := range w.procs {
		w.stop(name, syscall.SIGKILL)
	}
}

// run runs a program to its end.
func (w *world) run(image string, args ...string) (string, error) {
	cmd := w.command(image, args)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return strings.TrimSpace(out.String()), err
}

// eventually tries until it works; the error of the last try is the failure.
func (w *world) eventually(what string, within time.Duration, try func() error) {
	w.t.Helper()
	var err error
	for until := time.Now().Add(within); time.Now().Before(until); time.Sleep(50 * time.Millisecond) {
		if err = try(); err == nil {
			return
		}
	}
	w.t.Fatalf("%s: not within %s: %v", what, within, err)
}

// data starts three Redis, twemproxy and FerretDB.
func (w *world) data() {
	var servers strings.Builder
	for i := range 3 {
		name := fmt.Sprintf("redis-%d", i)
		addr := w.port(name)
		_, port, _ := net.SplitHostPort(addr)
		w.start(name, "redis", "/usr/bin/redis-server", "--bind", "127.0.0.1", "--port", port, "--dir", w.dir("redis", name), "--appendonly", "yes", "--appendfsync", "always", "--save", "")
		fmt.Fprintf(&servers, "   - %s:1 %s\n", addr, name)
	}
	// As in production: names keep the ring when addresses change, a dead shard's keys fail instead of moving.
	w.write("nutcracker", "/nutcracker.yml", "tag:\n  listen: "+w.port("proxy")+"\n  hash: murmur\n  distribution: ketama\n  redis: true\n  preconnect: false\n  auto_eject_hosts: false\n  timeout: 200\n  server_retry_timeout: 500\n  servers:\n"+servers.String())
	_, stats, _ := net.SplitHostPort(w.port("proxy-stats"))
	w.start("proxy", "nutcracker", "/usr/sbin/nutcracker", "-c", "/nutcracker.yml", "-o", w.dir("nutcracker", "log")+"/log", "-a", "127.0.0.1", "-s", stats)
	w.start("mongo", "ferretdb", "/ferretdb", "--listen", w.port("mongo"), "--data-dir", w.dir("ferretdb", "mongo"))
	w.eventually("FerretDB answers its probe", 20*time.Second, func() error {
		_, err := w.run("ferretdb", "/ferretdb", "probe", "--address", w.port("mongo"))
		return err
	})
}

func (w *world) mongoURI() string { return "mongodb://" + w.port("mongo") + "/patag" }

// tag starts a tag server and waits until it is ready.
func (w *world) tag(name string) {
	w.t.Helper()
	if _, err := os.Stat(filepath.Join(w.roots["tag"], "keys")); err != nil {
		w.write("tag", "/keys", strings.Repeat("5f", 32)+"\n")
	}
	w.start(name, "tag", "/tag", "serve", "--listen", w.port(name), "--admin-listen", w.port(name+"-admin"), "--mongo-uri", w.mongoURI(),
		"--redis-addr", w.port("proxy"), "--journal-dir", w.dir("tag", name), "--key-file", "/keys", "--server-name", name,
		"--drain-period", "100ms", "--refresh-every", "300ms", "--country-header", "X-Country")
	w.ready(name)
}

func (w *world) ready(name string) {
	w.t.Helper()
	w.eventually(name+" is ready", 20*time.Second, func() error { return status(w.url(name+"-admin", "/readyz"), http.StatusOK) })
}

func (w *world) url(name, path string) string { return "http://" + w.port(name) + path }

func status(url string, want int) error {
	_, code, err := get(url)
	if err == nil && code != want {
		err = fmt.Errorf("%s answers %d, want %d", url, code, want)
	}
	return err
}

// browser is an HTTP client that is not taken for a bot.
var browser = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 32}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

func get(url string) ([]byte, int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36")
	res, err := browser.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return body, res.StatusCode, err
}
