package journal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// onTmpfs runs the test again with a file system of 256 KiB that is full before it is written to: RLIMIT_FSIZE would only limit one
// file. Mounting wants a mount namespace, so that nothing outside sees it.
func onTmpfs(t *testing.T, run func(dir string)) {
	t.Helper()
	if dir := os.Getenv("JOURNAL_TMPFS"); dir != "" {
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
			t.Fatal(err)
		}
		run(dir)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), "JOURNAL_TMPFS="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) {
		t.Skip("NOT TESTED: a file system of a test's own needs root")
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}

// The disk fills up: appends fail with what the disk says, fast; what was acknowledged is there; and when there is room again,
// appends succeed without a restart.
func TestFullDiskIsToldAndLeftBehind(t *testing.T) {
	onTmpfs(t, func(dir string) {
		j := open(t, filepath.Join(dir, "events"), Options{SegmentBytes: 32 << 10})
		defer j.Close()
		payload := func(i int) []byte { return fmt.Appendf(nil, "%06d%s", i, strings.Repeat("x", 500)) }
		acked := map[string]bool{}
		fill := func(from int) (failed int, err error) {
			for i := from; i < from+2000; i++ {
				if e := j.Append(t.Context(), payload(i)); e != nil {
					failed, err = failed+1, e
					if failed == 5 {
						return failed, err
					}
					continue
				}
				acked[string(payload(i))] = true
			}
			return failed, err
		}
		failed, err := fill(0)
		if failed != 5 || !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("%d appends failed on a full disk, with %v; want 5 with ENOSPC", failed, err)
		}
		if len(acked) < 100 {
			t.Fatalf("only %d were acknowledged before", len(acked))
		}
		j.Seal(t.Context())
		check := func() {
			t.Helper()
			got := records(t, j)
			have := map[string]int{}
			for _, r := range got {
				have[r]++
			}
			for r := range acked {
				if have[r] != 1 {
					t.Fatalf("record %s was acknowledged and is there %d times", r[:6], have[r])
				}
			}
			if len(have) != len(acked) {
				t.Fatalf("%d records are there, %d were acknowledged", len(have), len(acked))
			}
		}
		check()
		segs, err := j.Sealed()
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range segs { // carried away
			if err := j.Remove(s); err != nil {
				t.Fatal(err)
			}
		}
		clear(acked)
		for i := range 50 {
			if err := j.Append(t.Context(), payload(10_000+i)); err != nil {
				t.Fatalf("with room again: %v", err)
			}
			acked[string(payload(10_000+i))] = true
		}
		if err := j.Seal(t.Context()); err != nil {
			t.Fatal(err)
		}
		check()
		if over := j.Size(); over < 0 || over > 64<<10 {
			t.Errorf("the journal says that it holds %d bytes", over)
		}
	})
}

// Segments are ordered by numbers and named by random ids: clocks, and times of files in the past or the future, change nothing.
func TestOrderDoesNotDependOnClocks(t *testing.T) {
	dir := t.TempDir()
	for i, at := range []time.Time{time.Unix(4e9, 0), time.Unix(1, 0), time.Now(), time.Unix(3e9, 0)} {
		j := open(t, dir, Options{})
		if err := j.Append(t.Context(), fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
		j.Close()
		segs, _ := filepath.Glob(filepath.Join(dir, fmt.Sprintf("%012d-*.sealed", i+1)))
		if len(segs) != 1 {
			t.Fatalf("segment %d: %v", i+1, segs)
		}
		if err := os.Chtimes(segs[0], at, at); err != nil {
			t.Fatal(err)
		}
	}
	j := open(t, dir, Options{})
	defer j.Close()
	if got := strings.Join(records(t, j), ""); got != "0123" {
		t.Errorf("read in the order %s", got)
	}
}

// Many payloads share one sync and one fate.
func TestAppendAll(t *testing.T) {
	j := open(t, t.TempDir(), Options{MaxBytes: 4000})
	defer j.Close()
	if err := j.AppendAll(t.Context(), [][]byte{[]byte("a"), []byte("b"), []byte("c")}); err != nil {
		t.Fatal(err)
	}
	big := make([][]byte, 100)
	for i := range big {
		big[i] = bytes.Repeat([]byte("z"), 100)
	}
	if err := j.AppendAll(t.Context(), big); !errors.Is(err, ErrFull) {
		t.Fatalf("more than there is room for: %v", err)
	}
	if err := j.AppendAll(t.Context(), [][]byte{[]byte("d"), nil}); err == nil {
		t.Fatal("an empty record was taken")
	}
	if err := j.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(records(t, j), ""); got != "abc" {
		t.Errorf("the journal holds %q, want abc", got)
	}
}
