package gke

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"patag/infra/sandbox/netns"
)

// forwarder joins a port on the host's loopback device with one inside a namespace.
type forwarder struct {
	listener net.Listener
	mu       sync.Mutex
	open     map[net.Conn]bool
	running  sync.WaitGroup
}

// forward listens on from and pipes every connection to to, as seen from inside ns.
func forward(ctx context.Context, from, to netip.AddrPort, ns *netns.NS, logger *slog.Logger) (*forwarder, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp4", from.String())
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("the port %s is taken by another program; end it and try again: %w", from, err)
	}
	if err != nil {
		return nil, err
	}
	f := &forwarder{listener: l, open: map[net.Conn]bool{}}
	f.running.Go(func() { f.accept(to.String(), ns, logger) })
	return f, nil
}

func (f *forwarder) accept(to string, ns *netns.NS, logger *slog.Logger) {
	for {
		client, err := f.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of files, for example: this passes
			logger.Warn("a connection was not accepted", "address", f.listener.Addr(), "error", err)
			time.Sleep(100 * time.Millisecond)
			continue
		}
		f.running.Go(func() {
			defer client.Close()
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			server, err := ns.DialContext(ctx, "tcp", to)
			cancel()
			if err != nil {
				logger.Debug("a connection was not forwarded", "to", to, "error", err)
				return
			}
			defer server.Close()
			if f.track(client, server) {
				pipe(client, server)
			}
			f.forget(client, server)
		})
	}
}

func (f *forwarder) track(conns ...net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open == nil {
		return false
	}
	for _, c := range conns {
		f.open[c] = true
	}
	return true
}

func (f *forwarder) forget(conns ...net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range conns {
		delete(f.open, c)
	}
}

// close stops listening and ends all connections.
func (f *forwarder) close() {
	f.listener.Close()
	f.mu.Lock()
	for c := range f.open {
		c.Close()
	}
	f.open = nil
	f.mu.Unlock()
	f.running.Wait()
}

func pipe(a, b net.Conn) {
	var both sync.WaitGroup
	half := func(dst, src net.Conn) {
		_, _ = io.Copy(dst, src) // an error ends this direction, as the end does
		if c, ok := dst.(interface{ CloseWrite() error }); ok {
			_ = c.CloseWrite()
		}
	}
	both.Go(func() { half(a, b) })
	both.Go(func() { half(b, a) })
	both.Wait()
}
