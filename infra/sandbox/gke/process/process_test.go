package process

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestSuperviseStartsAgainAndStops(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log", "program.log")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		Supervise(ctx, Spec{Name: "program", Log: log, Command: func() *exec.Cmd {
			return exec.Command("/bin/sh", "-c", "echo started")
		}}, slog.New(slog.DiscardHandler))
	}()
	deadline := time.Now().Add(10 * time.Second)
	for starts := 0; starts < 3; time.Sleep(20 * time.Millisecond) {
		raw, _ := os.ReadFile(log)
		starts = strings.Count(string(raw), "started")
		if time.Now().After(deadline) {
			t.Fatalf("only %d starts in 10 s", starts)
		}
	}
	cancel()
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Fatal("Supervise did not end with its context")
	}
}

func TestStopKillsAfterGrace(t *testing.T) {
	p, err := Start(Spec{Name: "stubborn", Log: filepath.Join(t.TempDir(), "l"), Grace: 100 * time.Millisecond,
		Command: func() *exec.Cmd { return exec.Command("/bin/sh", "-c", "trap '' TERM; while :; do sleep 0.05; done") }})
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	p.Stop()
	if p.Err() == nil {
		t.Error("a killed program counts as having ended well")
	}
}

func TestBackoffGrowsAndForgets(t *testing.T) {
	b := Backoff{}
	b.Started()
	want := []time.Duration{0, firstDelay, 2 * firstDelay, 4 * firstDelay}
	for i, w := range want {
		if got := b.Next(); got != w {
			t.Errorf("delay %d: %v, want %v", i, got, w)
		}
	}
	for range 10 {
		b.Next()
	}
	if got := b.Next(); got != maxDelay {
		t.Errorf("delay grew to %v, want %v", got, maxDelay)
	}
	b.started = time.Now().Add(-2 * longRun)
	if got := b.Next(); got != 0 {
		t.Errorf("after a long run the delay is %v", got)
	}
}
