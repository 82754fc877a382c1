package redisproxy

import (
	"bufio"
	"net"
	"strings"
	"testing"
	"time"
)

// proxy behaves like twemproxy where it matters here: it closes the connection on HELLO and CLIENT.
func proxy(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				r := bufio.NewReader(c)
				for {
					line, err := r.ReadString('\n')
					if err != nil {
						return
					}
					switch strings.ToLower(strings.TrimSpace(line)) {
					case "hello", "client":
						return
					case "ping":
						c.Write([]byte("+PONG\r\n"))
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

func TestWorksThroughAProxyThatHangsUpOnHello(t *testing.T) {
	rdb := New(Options{Addr: proxy(t)})
	defer rdb.Close()
	for range 3 {
		if err := rdb.Ping(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDownIsToldFast(t *testing.T) {
	rdb := New(Options{Addr: "127.0.0.1:1"})
	defer rdb.Close()
	begin := time.Now()
	if err := rdb.Ping(t.Context()).Err(); err == nil {
		t.Fatal("a ping of nothing succeeded")
	}
	if d := time.Since(begin); d > time.Second {
		t.Errorf("it took %s to learn that nothing listens", d)
	}
}

func FuzzHelloLength(f *testing.F) {
	f.Add([]byte("*2\r\n$5\r\nhello\r\n$1\r\n3\r\n*1\r\n$4\r\nping\r\n"))
	f.Add([]byte("*1\r\n$5\r\nHELLO\r\n"))
	f.Add([]byte("*99999999999\r\n$-1\r\n"))
	f.Fuzz(func(t *testing.T, p []byte) {
		if n := helloLength(p); n < 0 || n > len(p) {
			t.Fatalf("length %d of %d", n, len(p))
		}
	})
}
