// Package attack sends HTTP/1.1 requests at a constant rate over kept-alive connections and measures how long each answer takes
// from the moment its request was due, whether or not a connection was free then: a server that stalls is not spared the requests
// that would have come meanwhile (no coordinated omission). In go an address and a Script; out comes a Result.
//
// It is one thread around epoll, because the client must cost less than the server that it measures. It speaks plain HTTP with
// Content-Length, which is what the servers measured here answer, and says so when it meets something else.
package attack

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"time"
)

// Script says what to ask and hears what became of it. Both are called on the thread that sends, and must not block.
type Script interface {
	// Next is a whole request, unchanged until its Done, and a number of the script's own.
	Next() (request []byte, id uint64)
	// Done hears an answer; body is valid during the call only. Status 0 is none: it timed out or the connection broke.
	Done(id uint64, status int, body []byte)
}

// Options of a run.
type Options struct {
	Addr        netip.AddrPort
	Rate        float64 // requests a second
	Connections int     // default 64
	Duration    time.Duration
	Timeout     time.Duration // of one answer; default 5 s
	// Each is called with every latency where it is set, for tallies by time.
	Each func(due, latency time.Duration, status int)
}

// Result of a run.
type Result struct {
	Latencies []uint32    // microseconds, ascending; of answers, and of those without one their timeout
	Statuses  map[int]int // answers by status; 0 is none
	Took      time.Duration
	Late      int // requests that found no connection free when they were due
}

// Quantile of the latencies, q from 0 to 1.
func (r *Result) Quantile(q float64) time.Duration {
	if len(r.Latencies) == 0 {
		return 0
	}
	at := min(int(q*float64(len(r.Latencies))), len(r.Latencies)-1)
	return time.Duration(r.Latencies[at]) * time.Microsecond
}

// Failed are requests without an answer of 2xx or 3xx.
func (r *Result) Failed() (n int) {
	for status, count := range r.Statuses {
		if status < 200 || status > 399 {
			n += count
		}
	}
	return n
}

// Run sends all that is due within Duration, up to Timeout later when the server falls behind, or until ctx ends; then it waits for what
// is under way.
func Run(ctx context.Context, o Options, script Script) (*Result, error) {
	if o.Connections == 0 {
		o.Connections = 64
	}
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Second
	}
	if o.Rate <= 0 || o.Rate > 1e6 || o.Duration <= 0 {
		return nil, fmt.Errorf("rate %v for %v: both must be above 0, and the rate at most a million", o.Rate, o.Duration)
	}
	if !o.Addr.IsValid() {
		return nil, errors.New("no address to send to")
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	l, err := newLoop(o, script)
	if err != nil {
		return nil, err
	}
	defer l.close()
	if err := l.run(ctx); err != nil {
		return nil, err
	}
	slices.Sort(l.result.Latencies)
	return &l.result, nil
}
