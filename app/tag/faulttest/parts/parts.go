// Package parts starts the real Redis, twemproxy and FerretDB on loopback for tests, and stops and starts them again on the same
// address and data. A test whose part is not on the machine is skipped, and says what was not tested.
package parts

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Part is one running program.
type Part struct {
	Addr string

	t    testing.TB
	name string
	path string
	args []string
	log  string
	cmd  *exec.Cmd
	dead chan struct{}
}

// Redis is a redis-server that keeps its data over a restart.
func Redis(t testing.TB) *Part {
	addr := freeAddr(t)
	host, port, _ := strings.Cut(addr, ":")
	return start(t, "redis-server", find(t, "redis-server"), addr,
		"--bind", host, "--port", port, "--dir", t.TempDir(), "--save", "", "--appendonly", "yes", "--appendfsync", "everysec")
}

// Twemproxy is a nutcracker in front of Redis servers.
func Twemproxy(t testing.TB, redis ...*Part) *Part {
	addr := freeAddr(t)
	var servers strings.Builder
	for i, r := range redis {
		fmt.Fprintf(&servers, "    - %s:1 redis-%d\n", r.Addr, i)
	}
	conf := filepath.Join(t.TempDir(), "nutcracker.yml")
	text := fmt.Sprintf("tag:\n  listen: %s\n  hash: murmur\n  distribution: ketama\n  redis: true\n  timeout: 400\n  auto_eject_hosts: false\n  servers:\n%s", addr, &servers)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, port, _ := strings.Cut(freeAddr(t), ":")
	return start(t, "nutcracker", find(t, "nutcracker"), addr, "--conf-file", conf, "--stats-addr", "127.0.0.1", "--stats-port", port)
}

// FerretDB is a FerretDB over SQLite.
func FerretDB(t testing.TB) *Part {
	addr := freeAddr(t)
	return start(t, "ferretdb", find(t, "ferretdb"), addr, "serve", "--listen", addr, "--data-dir", t.TempDir())
}

// find looks on PATH, in Debian's sbin folders and where patag's setup puts the programs that it builds.
func find(t testing.TB, name string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	dirs := []string{"/usr/sbin", os.Getenv("PATAG_TOOLS")}
	if cache := os.Getenv("PATAG_CACHE"); cache != "" {
		dirs = append(dirs, filepath.Join(cache, "tools"))
	}
	if home, err := os.UserHomeDir(); err == nil {
		dirs = append(dirs, filepath.Join(home, ".cache/patag/tools"))
	}
	for _, dir := range dirs {
		if path := filepath.Join(dir, name); dir != "" {
			if fi, err := os.Stat(path); err == nil && fi.Mode().IsRegular() {
				return path
			}
		}
	}
	t.Skipf("NOT TESTED: %s is not on this machine; make setup installs it", name)
	return ""
}

func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func start(t testing.TB, name, path, addr string, args ...string) *Part {
	t.Helper()
	p := &Part{Addr: addr, t: t, name: name, path: path, args: args, log: filepath.Join(t.TempDir(), name+".log")}
	t.Cleanup(p.Kill)
	p.Start()
	return p
}

// Start starts the part and waits until it listens.
func (p *Part) Start() {
	p.t.Helper()
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command(p.path, p.args...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		p.t.Fatalf("start %s: %v", p.name, err)
	}
	dead := make(chan struct{})
	p.cmd, p.dead = cmd, dead
	go func() {
		cmd.Wait()
		close(dead)
	}()
	for until := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if c, err := net.Dial("tcp", p.Addr); err == nil {
			c.Close()
			return
		}
		select {
		case <-dead:
		default:
			if time.Now().Before(until) {
				continue
			}
		}
		text, _ := os.ReadFile(p.log)
		p.t.Fatalf("%s does not listen on %s; it said:\n%s", p.name, p.Addr, text)
	}
}

// Kill kills the part with SIGKILL and waits until it is gone; killing a dead one does nothing.
func (p *Part) Kill() {
	if p.cmd == nil {
		return
	}
	p.cmd.Process.Kill()
	<-p.dead
	p.cmd = nil
}
