package e2e

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestInterrupted cuts `patag up production` off at random moments, with Ctrl-C and with kill -9; the next one must
// go on and end with no difference between program, state and cloud. The long form cuts ten times each way, from
// nothing again after each pair, and no plugin outlives the sandbox.
func TestInterrupted(t *testing.T) {
	m := newMachine(t)
	rounds := 1
	if os.Getenv("PATAG_SOAK") != "" {
		rounds = 10
	}
	hits := map[syscall.Signal]int{}
	for round := range rounds {
		m.start(t)
		for i, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGINT} {
			// The second run has less to do.
			if m.cut(t, sig, time.Second+rand.N(20*time.Second/time.Duration(i+1)), round == 0 && i == 0) {
				hits[sig]++
			}
		}
		begun := time.Now()
		m.must(t, 10*time.Minute, "up", "production", "--yes")
		took := time.Since(begun)
		m.must(t, 5*time.Minute, "preview", "production", "--expect-no-changes")
		servesAgain(t, m.status(t).AdURL, time.Minute)
		t.Logf("ROW up after kill -9 and Ctrl-C, round %d | converged in %s | 0 changes after it", round+1, tenths(took))
		m.stop(t)
		m.must(t, 2*time.Minute, "sandbox", "delete", "--yes")
		if _, err := os.Stat(m.layout.Root); !os.IsNotExist(err) {
			t.Fatalf("the state is still there after delete: %v", err)
		}
	}
	t.Logf("ROW cuts of up that met a run | %d of %d kill -9, %d of %d Ctrl-C | the others came after its end", hits[syscall.SIGKILL], rounds, hits[syscall.SIGINT], rounds)
}

// cut starts an up and ends it after a while. On the way it may try a second run, which must be refused.
// It tells whether the run was still going on.
func (m *machine) cut(t *testing.T, sig syscall.Signal, after time.Duration, second bool) bool {
	t.Helper()
	cmd := m.command(context.Background(), "up", "production", "--yes")
	// A terminal's Ctrl-C goes to the whole group.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	begun, done := time.Now(), make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	if second {
		waitFor(t, time.Minute, "the run takes the lock of a stack", func() (string, bool) { return "", m.inUse() })
		m.refused(t, 5, "is in use by", "up", "production", "--yes")
	}
	time.Sleep(time.Until(begun.Add(after)))
	target := cmd.Process.Pid
	if sig == syscall.SIGINT {
		target = -target
	}
	if err := syscall.Kill(target, sig); err != nil && err != syscall.ESRCH {
		t.Fatal(err)
	}
	select {
	case err := <-done:
		last := strings.TrimSpace(out.String())
		last = strings.TrimSpace(last[strings.LastIndexByte(last, '\n')+1:])
		t.Logf("%v after %s: ended after %s with %v: %s", sig, tenths(after), tenths(time.Since(begun)), err, last)
		return err != nil
	case <-time.After(3 * time.Minute):
		_ = cmd.Process.Kill()
		t.Fatalf("%v after %s: still running three minutes later:\n%s", sig, after, out.String())
	}
	return false
}

// inUse tells whether a run has a stack: of the foundation first, then its own.
func (m *machine) inUse() bool {
	locks, _ := filepath.Glob(filepath.Join(m.layout.Pulumi(), "stacks", "*", "lock"))
	for _, path := range locks {
		f, err := os.Open(path)
		if err != nil {
			continue
		}
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
		f.Close()
		if err == syscall.EWOULDBLOCK {
			return true
		}
	}
	return false
}
