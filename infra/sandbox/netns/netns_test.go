package netns

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

func create(t *testing.T) *NS {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("NOT TESTED: network namespaces need root")
	}
	name := fmt.Sprintf("patag-test-%d-%s", os.Getpid(), strings.ToLower(t.Name()))
	ns, err := Create(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ns.Close()
		if err := Delete(name); err != nil {
			t.Error(err)
		}
		if _, err := Open(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("after Delete, Open answers %v", err)
		}
	})
	return ns
}

func TestSocketsBelongToTheNamespace(t *testing.T) {
	ns, ctx := create(t), t.Context()
	l, err := ns.Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprintln(c, "inside")
			c.Close()
		}
	}()
	for range 50 {
		c, err := ns.DialContext(ctx, "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(c).ReadString('\n'); line != "inside\n" {
			t.Fatalf("read %q, %v", line, err)
		}
		c.Close()
	}
	if c, err := net.Dial("tcp", l.Addr().String()); err == nil {
		c.Close()
		t.Error("the listener is reachable from outside the namespace")
	}
}

func TestDialErrors(t *testing.T) {
	ns := create(t)
	if _, err := ns.DialContext(t.Context(), "tcp", "127.0.0.1:1"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("closed port: %v", err)
	}
	if _, err := ns.DialContext(t.Context(), "tcp", "10.9.8.7:1"); !errors.Is(err, syscall.ENETUNREACH) {
		t.Errorf("no route: %v", err)
	}
	if _, err := ns.DialContext(t.Context(), "tcp", "example.com:1"); err == nil {
		t.Error("a name was resolved")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := ns.DialContext(ctx, "tcp", "127.0.0.1:1"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestProgramsDieWithTheThread(t *testing.T) {
	ns := create(t)
	cmd := exec.Command("sleep", "1000")
	if err := ns.Start(cmd); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	ns.Close()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		cmd.Process.Kill()
		t.Fatal("the program outlived its namespace's thread")
	}
	if err := ns.Do(func() error { return nil }); !errors.Is(err, ErrClosed) {
		t.Errorf("Do after Close: %v", err)
	}
}

func TestCreateTwice(t *testing.T) {
	ns := create(t)
	if _, err := Create(ns.Name()); !errors.Is(err, fs.ErrExist) {
		t.Errorf("second Create: %v", err)
	}
	again, err := Open(ns.Name())
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}
