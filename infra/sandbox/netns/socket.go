package netns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// DialContext connects to a TCP address as seen from inside. The address is an IP and a port: names are not
// resolved, as the process's resolver knows nothing of the namespace.
func (n *NS) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := n.dial(ctx, network, address)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: fmt.Errorf("%s in %s: %w", address, n.name, err)}
	}
	return conn, nil
}

func (n *NS) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if !strings.HasPrefix(network, "tcp") {
		return nil, fmt.Errorf("network %q is not supported, only tcp", network)
	}
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, fmt.Errorf("%w (names are not resolved here)", err)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	family, sockaddr := sockaddrOf(to)
	var fd int
	err = n.Do(func() (err error) {
		fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("make socket: %w", err)
	}
	// From here on the thread is not needed: the socket knows its namespace.
	if err := unix.Connect(fd, sockaddr); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		unix.Close(fd)
		return nil, err
	}
	f := os.NewFile(uintptr(fd), address)
	defer f.Close() // FileConn duplicates it
	if err := waitConnected(ctx, f); err != nil {
		return nil, err
	}
	return net.FileConn(f)
}

func sockaddrOf(to netip.AddrPort) (family int, sa unix.Sockaddr) {
	if a := to.Addr().Unmap(); a.Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Port: int(to.Port()), Addr: a.As4()}
	}
	return unix.AF_INET6, &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
}

// waitConnected lets the runtime's poller wait for the end of the handshake.
func waitConnected(ctx context.Context, f *os.File) error {
	stop := context.AfterFunc(ctx, func() { _ = f.SetWriteDeadline(time.Unix(1, 0)) })
	defer stop()
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Write(func(fd uintptr) bool {
		// The first call comes before the poller reports anything. An error that arrives between the two
		// questions is not lost: it wakes the poller, and the next call reads it.
		code, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		if err != nil {
			failed = err
			return true
		}
		if code != 0 {
			failed = unix.Errno(code)
			return true
		}
		_, err = unix.Getpeername(int(fd)) // ENOTCONN while the handshake is under way
		return err == nil
	})
	if err != nil {
		if cause := ctx.Err(); cause != nil {
			return cause
		}
		return err
	}
	return failed
}

// Listen accepts TCP connections on an address (IP and port) inside.
func (n *NS) Listen(ctx context.Context, network, address string) (l net.Listener, err error) {
	err = n.listening(address, func() (err error) {
		l, err = new(net.ListenConfig).Listen(ctx, network, address)
		return err
	})
	return l, err
}

// ListenPacket receives UDP packets on an address (IP and port) inside.
func (n *NS) ListenPacket(ctx context.Context, network, address string) (c net.PacketConn, err error) {
	err = n.listening(address, func() (err error) {
		c, err = new(net.ListenConfig).ListenPacket(ctx, network, address)
		return err
	})
	return c, err
}

func (n *NS) listening(address string, listen func() error) error {
	// A name would be looked up while the thread waits, and by the wrong resolver.
	host, _, err := net.SplitHostPort(address)
	if err == nil && host != "" {
		_, err = netip.ParseAddr(host)
	}
	if err == nil {
		err = n.Do(listen)
	}
	if err != nil {
		return fmt.Errorf("listen on %s in %s: %w", address, n.name, err)
	}
	return nil
}
