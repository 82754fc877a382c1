package terminal

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// A step that is silent for longer than this gets a line of its own where no line can be rewritten.
const heartbeat = 30 * time.Second

// Progress prints one line per finished step with its elapsed time. On a terminal the step that runs is shown
// with a counter; elsewhere a long one says now and then that it still runs.
type Progress struct {
	mu    sync.Mutex
	out   io.Writer
	live  bool
	width int
	steps []*Step
	drawn bool
	stop  chan struct{}
	done  chan struct{}
}

// Step is one piece of work that is going on.
type Step struct {
	p          *Progress
	name       string
	detail     string
	start      time.Time
	lastSpoken time.Time
	ended      bool
}

// NewProgress starts to show. Close it.
func NewProgress(s Streams) *Progress {
	p := &Progress{out: s.Err, live: s.Live(), width: 100, stop: make(chan struct{}), done: make(chan struct{})}
	if f, ok := s.Err.(interface{ Fd() uintptr }); ok && p.live {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 20 {
			p.width = w
		}
	}
	go p.tick()
	return p
}

// Close ends the display; open steps are forgotten.
func (p *Progress) Close() {
	close(p.stop)
	<-p.done
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
}

func (p *Progress) tick() {
	defer close(p.done)
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-t.C:
			p.mu.Lock()
			p.draw(time.Now())
			p.mu.Unlock()
		}
	}
}

// draw shows the newest step on a terminal, or a heartbeat elsewhere. The lock is held.
func (p *Progress) draw(now time.Time) {
	if len(p.steps) == 0 {
		return
	}
	s := p.steps[len(p.steps)-1]
	if p.live {
		text := fmt.Sprintf("   %s%s  %s", s.name, prefixed(s.detail), Elapsed(now.Sub(s.start)))
		if r := []rune(text); len(r) >= p.width {
			text = string(r[:p.width-1])
		}
		fmt.Fprintf(p.out, "\r\x1b[K%s", text)
		p.drawn = true
		return
	}
	if now.Sub(s.lastSpoken) >= heartbeat {
		s.lastSpoken = now
		fmt.Fprintf(p.out, "   … %s%s (%s so far)\n", s.name, prefixed(s.detail), Elapsed(now.Sub(s.start)))
	}
}

func prefixed(detail string) string {
	if detail == "" {
		return ""
	}
	return ": " + detail
}

func (p *Progress) erase() {
	if p.drawn {
		fmt.Fprint(p.out, "\r\x1b[K")
		p.drawn = false
	}
}

// Line prints a line of its own.
func (p *Progress) Line(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	fmt.Fprintln(p.out, strings.TrimRight(fmt.Sprintf(format, args...), "\n"))
	p.draw(time.Now())
}

// Step begins one.
func (p *Progress) Step(format string, args ...any) *Step {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	s := &Step{p: p, name: fmt.Sprintf(format, args...), start: now, lastSpoken: now}
	p.steps = append(p.steps, s)
	if p.live {
		p.draw(now)
	}
	return s
}

// Detail says what the step does now.
func (s *Step) Detail(format string, args ...any) {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	s.detail = fmt.Sprintf(format, args...)
}

// Done ends the step with a line, Fail likewise. A second end does nothing, so that Fail may be deferred.
func (s *Step) Done(format string, args ...any) { s.end("✓", fmt.Sprintf(format, args...)) }

// Fail ends the step as failed.
func (s *Step) Fail() { s.end("✗", "") }

// Drop ends the step without a line.
func (s *Step) Drop() { s.end("", "") }

func (s *Step) end(mark, result string) {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	if s.ended {
		return
	}
	s.ended = true
	for i, other := range s.p.steps {
		if other == s {
			s.p.steps = append(s.p.steps[:i], s.p.steps[i+1:]...)
			break
		}
	}
	s.p.erase()
	if mark != "" {
		fmt.Fprintf(s.p.out, " %s %s%s  (%s)\n", mark, s.name, prefixed(result), Elapsed(time.Since(s.start)))
	}
}

// Elapsed prints a duration for a person: 0.4 s, 12 s, 3m07s, 5h02m, 3d04h.
func Elapsed(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < 100*time.Second:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 100*time.Minute:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%dd%02dh", int(d.Hours())/24, int(d.Hours())%24)
	}
}
