package server

import (
	"net"
	"sync/atomic"
	"time"
)

// Listener makes connections end so that a client which still sends can read why it is refused: a closed socket with unread bytes
// is reset, and takes the answer with it.
func Listener(l net.Listener) net.Listener { return listener{l} }

type listener struct{ net.Listener }

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if tcp, ok := c.(*net.TCPConn); ok {
		return &conn{TCPConn: tcp}, nil
	}
	return c, err
}

// lingerFor is for how long a refused client may take its answer, as in Go's own server.
const lingerFor = 500 * time.Millisecond

type conn struct {
	*net.TCPConn
	linger atomic.Bool
}

// Close implements net.Conn.
func (c *conn) Close() error {
	if !c.linger.CompareAndSwap(true, false) {
		return c.TCPConn.Close()
	}
	if err := c.CloseWrite(); err != nil {
		return c.TCPConn.Close()
	}
	time.AfterFunc(lingerFor, func() { c.TCPConn.Close() })
	return nil
}
