package faulttest

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// build builds the tag server once for a test.
func build(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tag")
	if out, err := exec.Command("go", "build", "-o", path, "patag/app/tag").CombinedOutput(); err != nil {
		t.Fatalf("build the tag server: %v\n%s", err, out)
	}
	return path
}

// tagServer is a tag server that can be killed and started again with the same journal and address.
type tagServer struct {
	t    *testing.T
	path string
	args []string
	addr string
	log  string
	cmd  *exec.Cmd
}

func newTagServer(t *testing.T, path, name, keys, redis, mongo string) *tagServer {
	t.Helper()
	s := &tagServer{t: t, path: path, addr: freeAddr(t), log: filepath.Join(t.TempDir(), name+".log")}
	s.args = []string{"serve", "--listen", s.addr, "--admin-listen", freeAddr(t), "--redis-addr", redis, "--mongo-uri", mongo, "--key-file", keys,
		"--journal-dir", t.TempDir(), "--server-name", name, "--drain-period", "0s", "--refresh-every", "500ms"}
	t.Cleanup(s.kill)
	s.start()
	s.ready()
	return s
}

func (s *tagServer) start() {
	out, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Error(err)
		return
	}
	defer out.Close()
	s.cmd = exec.Command(s.path, s.args...)
	s.cmd.Stdout, s.cmd.Stderr = out, out
	if err := s.cmd.Start(); err != nil {
		s.t.Error(err)
		s.cmd = nil
	}
}

func (s *tagServer) kill() {
	if s.cmd != nil {
		s.cmd.Process.Kill()
		s.cmd.Wait()
		s.cmd = nil
	}
}

// stop ends the server as Kubernetes does.
func (s *tagServer) stop() {
	s.cmd.Process.Signal(os.Interrupt)
	s.cmd.Wait()
	s.cmd = nil
}

func (s *tagServer) ready() {
	s.t.Helper()
	for until := time.Now().Add(30 * time.Second); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		if r, err := http.Get("http://" + s.addr + "/healthz"); err == nil {
			r.Body.Close()
			if r.StatusCode == http.StatusOK {
				return
			}
		}
	}
	text, _ := os.ReadFile(s.log)
	s.t.Fatalf("the tag server on %s does not get ready:\n%s", s.addr, text)
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// browser asks like one, follows no redirect, and gives a server that is gone two seconds.
var browser = &http.Client{
	Timeout:       2 * time.Second,
	Transport:     &http.Transport{MaxIdleConnsPerHost: 16},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

func get(ctx context.Context, url string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/130.0 Safari/537.36")
	r, err := browser.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	return r.StatusCode, body, err
}

func between(a, b time.Duration) time.Duration { return a + rand.N(b-a) }
