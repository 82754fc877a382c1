package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// progress prints a line per step with the time it took. On a terminal the line counts while the step runs; elsewhere
// a step that lasts says so every half minute, so that nobody takes a long build for a hang.
type progress struct {
	out      io.Writer
	terminal bool
	mu       sync.Mutex
}

func newProgress(out *os.File) *progress {
	return &progress{out: out, terminal: term.IsTerminal(int(out.Fd()))}
}

// step runs fn with a file for its output; if fn fails, the end of that output is part of the error.
func (p *progress) step(ctx context.Context, title string, fn func(context.Context, *os.File) error) error {
	log, err := os.CreateTemp("", "patag-setup-*.log")
	if err != nil {
		return err
	}
	defer log.Close()
	start, done := time.Now(), make(chan struct{})
	var ticking sync.WaitGroup
	ticking.Add(1)
	go func() {
		defer ticking.Done()
		p.count(title, start, done)
	}()
	err = fn(ctx, log)
	close(done)
	ticking.Wait()
	took := time.Since(start).Round(100 * time.Millisecond)
	if err != nil {
		p.line("✗ %s  %s\n", title, took)
		return fmt.Errorf("%w\n%s(all of it: %s)", err, tail(log, 2000), log.Name())
	}
	p.line("✓ %s  %s\n", title, took)
	os.Remove(log.Name())
	return nil
}

func (p *progress) count(title string, start time.Time, done <-chan struct{}) {
	every := 30 * time.Second
	if p.terminal {
		every = time.Second
	} else {
		p.line("• %s …\n", title)
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
			took := time.Since(start).Round(time.Second)
			if p.terminal {
				p.line("• %s  %s", title, took)
			} else {
				p.line("  … %s, %s so far\n", title, took)
			}
		}
	}
}

func (p *progress) line(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.terminal {
		io.WriteString(p.out, "\r\x1b[K")
	}
	fmt.Fprintf(p.out, format, args...)
}

// tail is the last n bytes of a file, from the start of a line.
func tail(f *os.File, n int64) []byte {
	st, err := f.Stat()
	if err != nil {
		return nil
	}
	raw := make([]byte, min(n, st.Size()))
	if _, err := f.ReadAt(raw, st.Size()-int64(len(raw))); err != nil && err != io.EOF {
		return nil
	}
	if int64(len(raw)) == n {
		if i := bytes.IndexByte(raw, '\n'); i >= 0 {
			raw = raw[i+1:]
		}
	}
	return raw
}
