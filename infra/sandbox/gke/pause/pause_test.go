package pause

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestProgramWaitsAndIgnoresChildren(t *testing.T) {
	raw, err := program()
	if err != nil {
		t.Skip("NOT TESTED:", err)
	}
	file := filepath.Join(t.TempDir(), "pause")
	if err := os.WriteFile(file, raw, 0o755); err != nil {
		t.Fatal(err)
	}
	e, err := elf.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	e.Close()
	cmd := exec.Command(file)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	if err := cmd.Process.Signal(syscall.SIGCHLD); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-done:
		t.Fatalf("the program ended: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(cmd.Process.Pid), "status"))
	if err != nil {
		t.Fatal(err)
	}
	// Who starts the tests may ignore other signals already; those are inherited.
	_, after, _ := strings.Cut(string(status), "SigIgn:\t")
	mask, _, _ := strings.Cut(after, "\n")
	ignored, err := strconv.ParseUint(mask, 16, 64)
	if err != nil || ignored&(1<<(uint(syscall.SIGCHLD)-1)) == 0 {
		t.Errorf("SIGCHLD is not ignored (%v):\n%s", err, status)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-done
}
