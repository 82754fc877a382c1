// Package netns works inside a network namespace from a process outside it: dial, listen, start programs, change
// links. A socket belongs to the namespace of the thread that made it, so one locked thread per namespace
// makes them all, and Go's poller does the rest on any thread.
package netns

import (
	"context"
	"net"
	"os/exec"
)

// NS is one named network namespace. Its thread lives until Close, which also ends every program started in it
// (they carry a parent-death signal, which the kernel ties to the thread).
type NS struct {
	name string
}

// Name is the namespace's name, as `ip netns` shows it.
func (n *NS) Name() string { return n.name }

// Do runs fn on the namespace's thread. fn must be short: everything else in the namespace waits for it.
func (n *NS) Do(fn func() error) error { panic("not written") }

// DialContext connects to a TCP address as seen from inside.
func (n *NS) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	panic("not written")
}

// Listen accepts TCP connections on an address inside.
func (n *NS) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	panic("not written")
}

// Start starts cmd inside, with a parent-death signal (SIGKILL).
func (n *NS) Start(cmd *exec.Cmd) error { panic("not written") }
