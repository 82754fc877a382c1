package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport/spdy"
)

// Forward is a way into one pod, as `kubectl port-forward` makes it: through the API server and the kubelet. No NetworkPolicy has
// to let it in, and no port of this machine is taken.
type Forward struct {
	url    *url.URL
	config *rest.Config

	mu   sync.Mutex
	conn httpstream.Connection
	next int
}

// portForward is the protocol's name, streamType, port and requestID its headers.
const (
	portForward = "portforward.k8s.io"
	streamType  = "streamType"
	portHeader  = "port"
	requestID   = "requestID"
)

// Forward makes a way into a pod; nothing is sent before the first Dial.
func (c *Cluster) Forward(namespace, pod string) (*Forward, error) {
	u, err := url.Parse(c.Server + "/api/v1/namespaces/" + namespace + "/pods/" + pod + "/portforward")
	if err != nil {
		return nil, err
	}
	config := &rest.Config{Host: c.Server, BearerToken: c.token, TLSClientConfig: rest.TLSClientConfig{CAData: c.CA}}
	config.Proxy = func(*http.Request) (*url.URL, error) { return nil, nil }
	if t, ok := c.http.Transport.(*http.Transport); ok && t.Proxy != nil {
		config.Proxy = t.Proxy
	}
	return &Forward{url: u, config: config}, nil
}

// Client speaks HTTP to a port of the pod; the host of its URLs does not matter.
func (f *Forward) Client(port int, timeout time.Duration) *http.Client {
	return &http.Client{
		Timeout:       timeout,
		Transport:     &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return f.Dial(ctx, port) }, MaxIdleConnsPerHost: 2},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Dial connects to a port of the pod.
func (f *Forward) Dial(ctx context.Context, port int) (net.Conn, error) {
	conn, id, err := f.connection(ctx)
	if err != nil {
		return nil, err
	}
	headers := http.Header{}
	headers.Set(streamType, "error")
	headers.Set(portHeader, strconv.Itoa(port))
	headers.Set(requestID, strconv.Itoa(id))
	failures, err := conn.CreateStream(headers)
	if err != nil {
		f.drop(conn)
		return nil, fmt.Errorf("forward port %d: %w", port, err)
	}
	_ = failures.Close() // our half: nothing is written to it
	headers.Set(streamType, "data")
	data, err := conn.CreateStream(headers)
	if err != nil {
		f.drop(conn)
		return nil, fmt.Errorf("forward port %d: %w", port, err)
	}
	s := &stream{Stream: data, failures: failures, conn: conn, said: make(chan string, 1)}
	go func() {
		text, err := io.ReadAll(io.LimitReader(failures, 4096))
		if err == nil && len(text) > 0 {
			s.said <- strings.TrimSpace(string(text))
			_ = data.Reset() // or a reader would wait for ever
		}
	}()
	return s, nil
}

// connection is the one to the API server; one that was lost is made anew.
func (f *Forward) connection(ctx context.Context) (httpstream.Connection, int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next++
	if f.conn != nil {
		select {
		case <-f.conn.CloseChan():
			f.conn = nil
		default:
			return f.conn, f.next, nil
		}
	}
	transport, upgrader, err := spdy.RoundTripperFor(f.config)
	if err != nil {
		return nil, 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.url.String(), nil)
	if err != nil {
		return nil, 0, err
	}
	conn, protocol, err := spdy.Negotiate(upgrader, &http.Client{Transport: transport}, req, portForward)
	if err != nil {
		return nil, 0, fmt.Errorf("open a way into the pod (%s): %w", f.url.Path, err)
	}
	if protocol != portForward {
		conn.Close()
		return nil, 0, fmt.Errorf("open a way into the pod: the API server speaks %q, not %s", protocol, portForward)
	}
	f.conn = conn
	return conn, f.next, nil
}

func (f *Forward) drop(conn httpstream.Connection) {
	f.mu.Lock()
	defer f.mu.Unlock()
	conn.Close()
	if f.conn == conn {
		f.conn = nil
	}
}

// Close ends all connections.
func (f *Forward) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.conn != nil {
		f.conn.Close()
		f.conn = nil
	}
}

// stream is one connection to a port.
type stream struct {
	httpstream.Stream
	failures httpstream.Stream
	conn     httpstream.Connection
	said     chan string
}

// Read tells what the kubelet said where a connection ends at once, such as that nobody listens.
func (s *stream) Read(b []byte) (int, error) {
	n, err := s.Stream.Read(b)
	if err == nil || n > 0 {
		return n, err
	}
	select {
	case text := <-s.said:
		return 0, errors.New(text)
	default:
		return 0, err
	}
}

func (s *stream) Close() error {
	err := s.Stream.Reset()
	_ = s.failures.Reset()
	s.conn.RemoveStreams(s.Stream, s.failures)
	return err
}

// A stream has no addresses; deadlines are those of the requests' contexts, which close it.

func (s *stream) LocalAddr() net.Addr              { return nowhere{} }
func (s *stream) RemoteAddr() net.Addr             { return nowhere{} }
func (s *stream) SetDeadline(time.Time) error      { return nil }
func (s *stream) SetReadDeadline(time.Time) error  { return nil }
func (s *stream) SetWriteDeadline(time.Time) error { return nil }

type nowhere struct{}

func (nowhere) Network() string { return "portforward" }
func (nowhere) String() string  { return "pod" }
