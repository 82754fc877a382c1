package engine

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// marker is in the environment of the CLI and of the plugins that it starts: PID:FOLDER of the run. The CLI dies with
// patag, but a plugin notices only after minutes that its engine is gone, and meanwhile goes on creating things.
const marker = "PATAG_RUN"

func mark(dir string) string { return strconv.Itoa(os.Getpid()) + ":" + dir }

// endLeftovers kills what a killed run on this work folder left running. The stack's lock must be held: then no run
// is going on, and what bears its mark is left over.
func endLeftovers(dir string) (ended int) {
	return endMarked(func(value string) bool {
		_, of, ok := strings.Cut(value, ":")
		return ok && of == dir
	})
}

// EndNow kills what this process has started, for an end that cannot wait.
func EndNow() {
	mine := strconv.Itoa(os.Getpid()) + ":"
	endMarked(func(value string) bool { return strings.HasPrefix(value, mine) })
}

// EndOrphans kills what runs on work folders below root left when they were killed: a plugin notices only after minutes that its engine
// is gone. What a living run has started is left alone.
func EndOrphans(root string) (ended int) {
	return endMarked(func(value string) bool {
		number, of, _ := strings.Cut(value, ":")
		pid, err := strconv.Atoi(number)
		if err != nil || !strings.HasPrefix(of, strings.TrimSuffix(root, "/")+"/") {
			return false
		}
		_, zombie, err := processStart(pid)
		return err != nil || zombie
	})
}

func endMarked(match func(value string) bool) (ended int) {
	var pids []int
	environs, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range environs {
		raw, err := os.ReadFile(path)
		if err != nil {
			continue // another user's, or gone
		}
		for _, kv := range bytes.Split(raw, []byte{0}) {
			value, ok := strings.CutPrefix(string(kv), marker+"=")
			if !ok || !match(value) {
				continue
			}
			if pid, err := strconv.Atoi(strings.Split(path, "/")[2]); err == nil && pid != os.Getpid() && unix.Kill(pid, unix.SIGKILL) == nil {
				pids = append(pids, pid)
			}
		}
	}
	// A killed process may still finish the system call that it is in: go on only when it is gone.
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		gone := true
		for _, pid := range pids {
			if _, zombie, err := processStart(pid); err == nil && !zombie {
				gone = false
			}
		}
		if gone {
			break
		}
	}
	return len(pids)
}
