// Package netns works inside a network namespace from a process outside it: dial, listen, start programs, change
// links. A socket belongs to the namespace of the thread that made it, so one locked thread per namespace
// makes them all, and Go's poller does the rest on any thread.
package netns

import (
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// NS is one named network namespace. Its thread lives until Close, which also ends every program started in it
// (they carry a parent-death signal, which the kernel ties to the thread).
type NS struct {
	name string
	work chan func()
	// closed is closed by Close, and makes later work fail instead of waiting for a thread that is gone.
	closed chan struct{}
	once   sync.Once
	// gone is closed when the thread has ended.
	gone chan struct{}
}

// ErrClosed answers everything asked of a namespace after Close.
var ErrClosed = errors.New("the network namespace is closed")

// Name is the namespace's name, as `ip netns` shows it.
func (n *NS) Name() string { return n.name }

// Path is the file that stands for the namespace.
func (n *NS) Path() string { return pathOf(n.name) }

// Do runs fn on the namespace's thread. fn must be short: everything else in the namespace waits for it.
func (n *NS) Do(fn func() error) error {
	result := make(chan error, 1)
	select {
	case n.work <- func() { result <- fn() }:
		return <-result
	case <-n.closed:
		return fmt.Errorf("namespace %s: %w", n.name, ErrClosed)
	}
}

// Close ends the thread, and with it every program that was started in the namespace. The namespace itself stays
// until Delete, as do open connections and listeners. It may be called more than once.
func (n *NS) Close() error {
	n.once.Do(func() { close(n.closed) })
	<-n.gone
	return nil
}

// Start starts cmd inside, with a parent-death signal (SIGKILL).
func (n *NS) Start(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	return n.Do(cmd.Start)
}

// run makes the thread: enter puts it into the namespace.
func run(name string, enter func() error) (*NS, error) {
	n := &NS{name: name, work: make(chan func()), closed: make(chan struct{}), gone: make(chan struct{})}
	entered := make(chan error)
	go func() {
		// Never unlocked: the thread has left the process's namespace and must not serve other goroutines, so
		// it ends with this goroutine. That it can end is also why it must not be the process's main thread:
		// Go parks that one for ever instead, and the parent-death signals would not be sent.
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			again := make(chan struct{})
			go func() { // another thread, as this goroutine keeps the main one
				defer close(again)
				retry, err := run(name, enter)
				if err == nil {
					*n = NS{name: name, work: retry.work, closed: retry.closed, gone: retry.gone}
				}
				entered <- err
			}()
			<-again
			runtime.UnlockOSThread()
			return
		}
		defer close(n.gone)
		if err := enter(); err != nil {
			entered <- err
			return
		}
		entered <- nil
		for {
			select {
			case fn := <-n.work:
				fn()
			case <-n.closed:
				return
			}
		}
	}()
	if err := <-entered; err != nil {
		return nil, err
	}
	return n, nil
}
