// Command bench measures the tag server against named baselines in the same run: nginx with a file of the same size, and the least
// in Node.js that could pass for the job. The server has one core to itself, the client and the tag server's data tier share
// another; runs of the servers alternate, and medians are told. It prints a table, and draws latency against rate into
// docs/performance.svg when told to. It needs two cores, and the Debian packages of scripts/needs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

type options struct {
	rounds, connections, priority int
	span                          time.Duration
	plot, tag, table              string
	quick                         bool
}

type bench struct {
	o         options
	dir       string
	tag, wrk  string
	catalogue string
	admin     string // the tag server's second port
	serve     []string
	processes []*process
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	flag.IntVar(&o.rounds, "rounds", 5, "runs of each server, of which the median is told")
	flag.DurationVar(&o.span, "span", 3*time.Second, "length of a run")
	flag.IntVar(&o.connections, "connections", 32, "kept-alive connections")
	flag.IntVar(&o.priority, "priority", -12, "nice value of servers and clients, so that what else runs counts less")
	flag.StringVar(&o.plot, "plot", "", "draw latency against rate into this file")
	flag.StringVar(&o.table, "table", "", "write the table into this file as well")
	flag.StringVar(&o.tag, "tag", "", "a tag server that is built already")
	flag.BoolVar(&o.quick, "quick", false, "requests a second only, no latencies")
	flag.Parse()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	if runtime.NumCPU() < 2 {
		return errors.New("two cores are needed: one for the server, one for the client")
	}
	if o.rounds < 1 || o.span < time.Second {
		return errors.New("at least one round of at least a second")
	}
	// Children die with the thread that started them, and the rate runs belong on the client's core: all on this thread.
	runtime.LockOSThread()
	var all, client unix.CPUSet
	client.Set(clientCore)
	if err := errors.Join(unix.SchedGetaffinity(0, &all), unix.SchedSetaffinity(0, &client)); err != nil {
		return fmt.Errorf("move to core %d: %w", clientCore, err)
	}
	was, _ := os.ReadFile("/proc/self/autogroup")
	prefer(os.Getpid(), o.priority)
	defer restore(was)

	b := &bench{o: o}
	if b.dir, err = os.MkdirTemp("", "patag-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	defer func() {
		for i := len(b.processes) - 1; i >= 0; i-- {
			b.processes[i].stop()
		}
	}()
	if b.wrk, err = find("wrk", "Debian's wrk"); err != nil {
		return err
	}
	if b.tag = o.tag; b.tag == "" {
		b.tag = filepath.Join(b.dir, "tag")
		if _, err := b.run(ctx, "go", "build", "-o", b.tag, "patag/app/tag"); err != nil {
			return err
		}
	}
	b.catalogue = filepath.Join(b.dir, "catalogue.json")
	if _, err := b.run(ctx, b.tag, "catalogue", "generate", "--placements", "1000", "--candidates", "10", "--sources", "0", "--tags", "2",
		"--start", time.Now().Format(time.DateOnly), b.catalogue); err != nil {
		return err
	}
	return b.measure(ctx)
}

// restore gives this session, which is the caller's too, its old place back.
func restore(autogroup []byte) {
	var n int
	if _, err := fmt.Sscanf(string(autogroup), "/autogroup-%d nice %d", new(int), &n); err == nil {
		os.WriteFile("/proc/self/autogroup", fmt.Append(nil, n), 0)
	}
}
