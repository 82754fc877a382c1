package main

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// server is one that is measured.
type server struct {
	name string
	addr string
	p    *process
}

func (s *server) at() netip.AddrPort { return netip.MustParseAddrPort(s.addr) }

//go:embed static.js
var staticJS []byte

// startTag starts the tag server with its data tier: FerretDB, Redis and twemproxy, all real, on the client's core. Its budget for Redis is
// far above the default of 5 ms: on a busy machine questions would be given up, and what is not asked is not in the figures.
func (b *bench) startTag(ctx context.Context) (*server, error) {
	var programs [3]string
	for i, name := range []string{"redis-server", "nutcracker", "ferretdb"} {
		var err error
		if programs[i], err = find(name, "redis-server and nutcracker are Debian packages, FerretDB is built"); err != nil {
			return nil, err
		}
	}
	addrs := make([]string, 6)
	for i := range addrs {
		var err error
		if addrs[i], err = freeAddr(); err != nil {
			return nil, err
		}
	}
	redis, proxy, stats, mongo, traffic, admin := addrs[0], addrs[1], addrs[2], addrs[3], addrs[4], addrs[5]
	port := func(addr string) string { _, p, _ := net.SplitHostPort(addr); return p }
	conf := fmt.Sprintf("tag:\n  listen: %s\n  hash: murmur\n  distribution: ketama\n  redis: true\n  timeout: 400\n  auto_eject_hosts: false\n  servers:\n    - %s:1 redis-0\n", proxy, redis)
	key := strings.Repeat("5a", 32) + "\n"
	for name, text := range map[string]string{"nutcracker.yml": conf, "keys": key} {
		if err := os.WriteFile(filepath.Join(b.dir, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	uri := "mongodb://" + mongo + "/patag"
	for _, dir := range []string{"redis", "ferretdb", "journal"} {
		if err := os.Mkdir(filepath.Join(b.dir, dir), 0o700); err != nil {
			return nil, err
		}
	}
	cache, err := b.launch("redis", clientCore, redis, programs[0], "--bind", "127.0.0.1", "--port", port(redis), "--dir", filepath.Join(b.dir, "redis"), "--save", "", "--appendonly", "yes", "--appendfsync", "everysec")
	if err != nil {
		return nil, err
	}
	front, err := b.launch("twemproxy", clientCore, proxy, programs[1], "--conf-file", "nutcracker.yml", "--stats-addr", "127.0.0.1", "--stats-port", port(stats))
	if err != nil {
		return nil, err
	}
	// In production they share no core with clients: here they go before the client, or its queue would be in the latencies.
	for _, p := range []*process{cache, front} {
		prefer(p.cmd.Process.Pid, b.o.priority-4)
	}
	if _, err := b.launch("ferretdb", clientCore, mongo, programs[2], "serve", "--listen", mongo, "--data-dir", filepath.Join(b.dir, "ferretdb")); err != nil {
		return nil, err
	}
	if _, err := b.run(ctx, b.tag, "catalogue", "import", b.catalogue, "--wait", "20s", "--mongo-uri", uri); err != nil {
		return nil, err
	}
	b.admin = "http://" + admin
	b.serve = []string{"serve", "--listen", traffic, "--admin-listen", admin, "--redis-addr", proxy, "--mongo-uri", uri,
		"--key-file", "keys", "--journal-dir", "journal", "--server-name", "bench", "--drain-period", "0s"}
	return b.startTagAlone(traffic, "--frequency-budget", "100ms")
}

// startTagAlone starts the tag server in front of the data tier that runs, in the place of one before.
func (b *bench) startTagAlone(traffic string, more ...string) (*server, error) {
	p, err := b.launch("tag", serverCore, traffic, append(append([]string{b.tag}, b.serve...), more...)...)
	if err != nil {
		return nil, err
	}
	for until := time.Now().Add(30 * time.Second); time.Now().Before(until); time.Sleep(50 * time.Millisecond) {
		if _, err := fetch(b.admin + "/readyz"); err == nil {
			return &server{"tag", traffic, p}, nil
		}
	}
	text, _ := os.ReadFile(p.log)
	return nil, fmt.Errorf("the tag server does not get ready; it said:\n%s", text)
}

// startNginx serves a file of the given size for the same requests.
func (b *bench) startNginx(size int) (*server, error) {
	path, err := find("nginx", "Debian's nginx-light")
	if err != nil {
		return nil, err
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	conf := fmt.Sprintf(`worker_processes 1; daemon off; pid %[1]s/nginx.pid; error_log %[1]s/nginx.err;
events { worker_connections 4096; }
http {
  access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_requests 1000000000; open_file_cache max=10;
  server { listen %[2]s; location = /v1/ad { default_type application/json; alias %[1]s/ad.json; } }
}
`, b.dir, addr)
	for name, text := range map[string]string{"nginx.conf": conf, "ad.json": strings.Repeat("x", size)} {
		if err := os.WriteFile(filepath.Join(b.dir, name), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	if err := os.Chmod(b.dir, 0o755); err != nil { // nginx's worker is another user
		return nil, err
	}
	p, err := b.launch("nginx", serverCore, addr, path, "-c", filepath.Join(b.dir, "nginx.conf"))
	if err != nil {
		return nil, err
	}
	prefer(p.worker(), b.o.priority)
	return &server{"nginx", addr, p}, nil
}

func (b *bench) startNode(size int) (*server, error) {
	path, err := find("node", "Debian's nodejs")
	if err != nil {
		return nil, err
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	file := filepath.Join(b.dir, "static.js")
	if err := os.WriteFile(file, staticJS, 0o600); err != nil {
		return nil, err
	}
	host, port, _ := net.SplitHostPort(addr)
	p, err := b.launch("node", serverCore, addr, path, file, host, port, fmt.Sprint(size))
	if err != nil {
		return nil, err
	}
	return &server{"node", addr, p}, nil
}

// fetch gets a page.
func fetch(url string) ([]byte, error) {
	c := http.Client{Timeout: 10 * time.Second}
	r, err := c.Get(url)
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", url, r.Status, body)
	}
	return body, err
}
