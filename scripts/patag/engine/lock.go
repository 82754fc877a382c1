package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"patag/scripts/patag/exit"
)

// holder is who has a lock; the fields are those of Pulumi's lock files.
type holder struct {
	PID       int       `json:"pid"`
	Username  string    `json:"username"`
	Hostname  string    `json:"hostname"`
	Timestamp time.Time `json:"timestamp"`
}

func (h holder) String() string {
	return fmt.Sprintf("%s@%s (process %d) since %s", h.Username, h.Hostname, h.PID, h.Timestamp.Local().Format("2006-01-02 15:04:05"))
}

func me() holder {
	h := holder{PID: os.Getpid(), Timestamp: time.Now()}
	if u, err := user.Current(); err == nil {
		h.Username = u.Username
	}
	h.Hostname, _ = os.Hostname()
	return h
}

// errLocked is the end of a command that found the stack in use.
func errLocked(stack string, by holder) error {
	return exit.New(exit.Locked, "stack %s is in use by %s", stack, by).WithHint("wait for that run to end (--wait 5m does), or end it with Ctrl-C there; `patag unlock %s` when it is gone", stack)
}

// takeLock keeps a second patag on this machine away from a stack's work folder. It is the kernel's lock and ends
// with the process; the file only says who has it.
func takeLock(path, stack string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock of stack %s: %w", stack, err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	// A status that looks whether the lock is taken has it for an instant.
	for tries := 0; errors.Is(err, unix.EWOULDBLOCK) && tries < 5; tries++ {
		time.Sleep(20 * time.Millisecond)
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if err != nil {
		defer f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		var by holder
		raw, _ := os.ReadFile(path)
		_ = json.Unmarshal(raw, &by)
		return nil, errLocked(stack, by)
	}
	raw, err := json.Marshal(me())
	if err == nil {
		if err = f.Truncate(0); err == nil {
			_, err = f.WriteAt(raw, 0)
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	return f, nil
}

// clearLocks removes the locks that killed engines left on a stack in a file backend. It ends with an error when a
// living one holds it. Locks on a shared backend, and of other hosts, are not ours to judge.
func clearLocks(backend, projectName, stack string) (cleared []string, err error) {
	if !strings.HasPrefix(backend, "file://") {
		return nil, nil
	}
	locks, err := FileLocks(backend, projectName, stack)
	if err != nil {
		return nil, err
	}
	for _, l := range locks {
		if !l.Here() || l.Lives() {
			return cleared, errLocked(stack, l.by)
		}
		if err := l.Remove(); err != nil {
			return cleared, err
		}
		cleared = append(cleared, l.String())
	}
	return cleared, nil
}

// alive tells whether the process that wrote the lock still runs: one with its number does, and began before the
// lock was written. A number is used again after a reboot, soon.
func alive(h holder) bool {
	if h.PID <= 0 {
		return false
	}
	began, zombie, err := processStart(h.PID)
	if err != nil || zombie {
		return false
	}
	return !began.After(h.Timestamp.Add(time.Second))
}

// processStart reads when a process began (to 10 ms) and whether it is only waiting to be reaped.
func processStart(pid int) (began time.Time, zombie bool, err error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return began, false, err
	}
	// The name in parentheses may hold anything; what counts comes after the last one.
	_, rest, ok := strings.Cut(string(raw[strings.LastIndexByte(string(raw), ')'):]), " ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 20 {
		return began, false, fmt.Errorf("unreadable /proc/%d/stat", pid)
	}
	ticks, err := strconv.ParseInt(fields[19], 10, 64)
	if err != nil {
		return began, false, err
	}
	boot, err := bootTime()
	if err != nil {
		return began, false, err
	}
	const hz = 100 // USER_HZ, the unit of /proc, is 100 on every platform Go runs on
	return boot.Add(time.Duration(ticks) * time.Second / hz), fields[0] == "Z", nil
}

func bootTime() (time.Time, error) {
	raw, err := os.ReadFile("/proc/stat")
	if err != nil {
		return time.Time{}, err
	}
	for line := range strings.Lines(string(raw)) {
		if v, ok := strings.CutPrefix(line, "btime "); ok {
			secs, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
			return time.Unix(secs, 0), err
		}
	}
	return time.Time{}, errors.New("/proc/stat has no btime")
}

// IfFree calls do while no run has the stack, and does nothing otherwise.
func IfFree(dir, stack string, do func() error) error {
	began := false
	err := Alone(dir, stack, func() error { began = true; return do() })
	if !began && exit.Code(err) == exit.Locked {
		return nil
	}
	return err
}

// Alone does something to a stack's work folder that no run may see half done; when a run has the stack it says who.
func Alone(dir, stack string, do func() error) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the work folder of stack %s: %w", stack, err)
	}
	f, err := takeLock(filepath.Join(dir, "lock"), stack)
	if err != nil {
		return err
	}
	defer f.Close()
	return do()
}

// AlonePatiently is Alone for work of several runs of a stack, kept apart by a folder of its own; it waits as long as o.Wait.
func AlonePatiently(ctx context.Context, o Options, dir string, do func() error) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the work folder of stack %s: %w", o.Stack, err)
	}
	var f *os.File
	err := o.patiently(ctx, time.Second, func() (err error) {
		f, err = takeLock(filepath.Join(dir, "lock"), o.Stack)
		return err
	})
	if err != nil {
		return err
	}
	defer f.Close()
	return do()
}

// InUse tells who runs the stack of a work folder now.
func InUse(dir string) (who string, yes bool) {
	path := filepath.Join(dir, "lock")
	f, err := os.Open(path)
	if err != nil {
		return "", false
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
		return "", false
	}
	var by holder
	raw, _ := os.ReadFile(path)
	_ = json.Unmarshal(raw, &by)
	return by.String(), true
}
