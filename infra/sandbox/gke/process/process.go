// Package process keeps programs running: it starts them again, with back-off, when they end before they should,
// and stops them for good when their context ends. It does not know what they are.
package process

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Spec is one program.
type Spec struct {
	// Name appears in logs and errors.
	Name string
	// Command makes the command of one start; it sets no output.
	Command func() *exec.Cmd
	// Start starts it; nil means cmd.Start.
	Start func(*exec.Cmd) error
	// Before, if set, is waited for before each start.
	Before func(context.Context) error
	// Log is the file that output is appended to.
	Log string
	// Grace is the time between SIGTERM and SIGKILL at the end; zero kills at once.
	Grace time.Duration
}

// Process is one run of a program.
type Process struct {
	cmd   *exec.Cmd
	grace time.Duration
	done  chan struct{}
	err   error
}

// Start runs the program once.
func Start(s Spec) (*Process, error) {
	log, err := OpenLog(s.Log)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", s.Name, err)
	}
	defer log.Close()
	cmd := s.Command()
	cmd.Stdout, cmd.Stderr = log, log
	start := s.Start
	if start == nil {
		start = (*exec.Cmd).Start
	}
	if err := start(cmd); err != nil {
		return nil, fmt.Errorf("start %s: %w", s.Name, err)
	}
	p := &Process{cmd: cmd, grace: s.Grace, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// Pid is the process's number on the host.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended and was waited for.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err says, after Done, how it ended; nil is exit code 0.
func (p *Process) Err() error { return p.err }

// Stop ends the process and returns when it is gone.
func (p *Process) Stop() {
	if p.grace > 0 {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-p.done:
			return
		case <-time.After(p.grace):
		}
	}
	_ = p.cmd.Process.Kill()
	<-p.done
}

// Supervise runs the program again and again until ctx ends, and returns when it is gone.
func Supervise(ctx context.Context, s Spec, logger *slog.Logger) {
	backoff := Backoff{}
	for ctx.Err() == nil {
		if s.Before != nil {
			if err := s.Before(ctx); err != nil {
				if !errors.Is(err, context.Canceled) {
					logger.Warn("waiting to start", "program", s.Name, "error", err)
				}
				backoff.Wait(ctx)
				continue
			}
		}
		p, err := Start(s)
		if err != nil {
			logger.Error("a program did not start; it is tried again", "program", s.Name, "error", err)
			backoff.Wait(ctx)
			continue
		}
		backoff.Started()
		select {
		case <-ctx.Done():
			p.Stop()
			return
		case <-p.Done():
			logger.Warn("a program ended and is started again", "program", s.Name, "error", p.Err(), "log", s.Log)
			backoff.Wait(ctx)
		}
	}
}

// Backoff spaces the starts of a program that keeps ending: at once after a long run, then 0.2 s doubling to 10 s.
// The zero value is ready.
type Backoff struct {
	started time.Time
	delay   time.Duration
}

const (
	firstDelay = 200 * time.Millisecond
	maxDelay   = 10 * time.Second
	// longRun is how long a program must have run for its end not to count as the same trouble again.
	longRun = 30 * time.Second
)

// Started notes a start.
func (b *Backoff) Started() { b.started = time.Now() }

// Next is the time to wait before the next start.
func (b *Backoff) Next() time.Duration {
	if !b.started.IsZero() && time.Since(b.started) > longRun {
		b.delay = 0
	}
	delay := b.delay
	b.delay = min(max(firstDelay, 2*b.delay), maxDelay)
	return delay
}

// Wait waits before the next start, or until ctx ends.
func (b *Backoff) Wait(ctx context.Context) {
	t := time.NewTimer(b.Next())
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// maxLog is where a log is cut: two of them are kept.
const maxLog = 16 << 20

// OpenLog opens a log for appending, moving one that has grown large out of the way.
func OpenLog(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	if st, err := os.Stat(path); err == nil && st.Size() > maxLog {
		if err := os.Rename(path, path+".old"); err != nil {
			return nil, err
		}
	}
	return os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
}

// TrimLog empties a log that a running program has open once it is large: the program appends, so it goes on at the
// start of the file.
func TrimLog(path string) error {
	st, err := os.Stat(path)
	if err != nil || st.Size() <= maxLog {
		return nil //nolint:nilerr // a log that is not there need not be trimmed
	}
	return os.Truncate(path, 0)
}
