// Package redisproxy makes go-redis v9 clients that work through twemproxy (nutcracker), and as well against Redis itself.
// twemproxy closes the connection on HELLO, which go-redis always sends first; the dialer here answers it in the proxy's stead
// with the error that makes go-redis fall back to RESP2. Transactions, SELECT, SCAN, pub/sub and CLIENT do not pass the proxy:
// callers use single-key commands, MGET and pipelines of them.
package redisproxy

import (
	"bytes"
	"context"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Options of a client. Zero values mean the defaults.
type Options struct {
	Addr    string        // host:port of twemproxy
	Timeout time.Duration // of a read or write; default 250 ms
	Pool    int           // connections at most; default 32
}

// quiet drops go-redis's own log lines, one per failed dial: callers get the errors and say once what they mean.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

var silence = sync.OnceFunc(func() { redis.SetLogger(quiet{}) })

// New makes a client. It does not connect: a proxy that is down shows with the first command.
func New(o Options) *redis.Client {
	silence()
	if o.Timeout == 0 {
		o.Timeout = 250 * time.Millisecond
	}
	if o.Pool == 0 {
		o.Pool = 32
	}
	dialer := &net.Dialer{Timeout: time.Second, KeepAlive: 30 * time.Second}
	return redis.NewClient(&redis.Options{
		Addr:            o.Addr,
		Protocol:        2,
		DisableIdentity: true, // CLIENT SETINFO does not pass
		Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := dialer.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return &conn{Conn: c}, nil
		},
		DialTimeout: time.Second, DialerRetries: 1,
		ReadTimeout: o.Timeout, WriteTimeout: o.Timeout, ContextTimeoutEnabled: true,
		PoolSize: o.Pool, PoolTimeout: o.Timeout, MaxRetries: -1, // a retry could count twice; callers decide
		ConnMaxIdleTime:          5 * time.Minute,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
}

// helloError is what a Redis before 6 says to HELLO.
const helloError = "-ERR unknown command 'HELLO'\r\n"

// conn swallows the first HELLO and answers it itself. Only the handshake needs the lock; it is uncontended after that.
type conn struct {
	net.Conn
	mu      sync.Mutex
	done    bool
	pending []byte
}

func (c *conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	if c.done {
		c.mu.Unlock()
		return c.Conn.Write(p)
	}
	c.done = true
	n := helloLength(p)
	if n > 0 {
		c.pending = []byte(helloError)
	}
	c.mu.Unlock()
	if n == len(p) {
		return n, nil
	}
	m, err := c.Conn.Write(p[n:])
	return n + m, err
}

func (c *conn) Read(p []byte) (int, error) {
	c.mu.Lock()
	if len(c.pending) > 0 {
		n := copy(p, c.pending)
		c.pending = c.pending[n:]
		c.mu.Unlock()
		return n, nil
	}
	c.mu.Unlock()
	return c.Conn.Read(p)
}

// helloLength is the length of a HELLO command at the start of p, 0 if there is none or not a whole one.
func helloLength(p []byte) int {
	line := func(i int, prefix byte) (n, next int) {
		if i >= len(p) || p[i] != prefix {
			return -1, 0
		}
		end := bytes.Index(p[i:], []byte("\r\n"))
		if end < 0 {
			return -1, 0
		}
		n, err := strconv.Atoi(string(p[i+1 : i+end]))
		if err != nil || n < 0 {
			return -1, 0
		}
		return n, i + end + 2
	}
	args, at := line(0, '*')
	if args < 1 {
		return 0
	}
	for i := range args {
		size, body := line(at, '$')
		if size < 0 || size > len(p)-body-2 {
			return 0
		}
		if i == 0 && !bytes.EqualFold(p[body:body+size], []byte("hello")) {
			return 0
		}
		at = body + size + 2
	}
	return at
}
