package daemon

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"patag/infra/sandbox/layout"
)

// lock takes the state folder for this process. The kernel frees it when the process ends, however it ends; the
// process id in the file is for people and for a stop that must use force.
func lock(l layout.Layout) (release func(), err error) {
	f, err := os.OpenFile(l.LockFile(), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the state folder: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("another sandbox runs on %s; stop it first, or use another state folder", l.Root)
		}
		return nil, fmt.Errorf("lock %s: %w", l.LockFile(), err)
	}
	if err := f.Truncate(0); err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0)
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("write %s: %w", l.LockFile(), err)
		}
	}
	return func() {
		// Emptied before it is let go: nobody must take an old process id for a running one's.
		_ = f.Truncate(0)
		f.Close()
	}, nil
}
