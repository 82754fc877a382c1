// Package asuser lets a program that was started as root go on as another user without losing what root may do.
//
// The kernel counts inotify instances by user (fs.inotify.max_user_instances, 128 on most systems), and the parts of a
// control plane need fourteen of them. A sandbox may not change the machine's limits, and its nodes' programs must be
// root; as users of their own, control planes leave root's instances to the nodes.
package asuser

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Variable names the user: a number. Without it, Switch does nothing.
const Variable = "PATAG_UID"

// Switch becomes the user. It must be called by the main goroutine before others do anything of importance.
func Switch() error {
	value, ok := os.LookupEnv(Variable)
	if !ok {
		return nil
	}
	uid, err := strconv.ParseUint(value, 10, 31)
	if err != nil || uid == 0 {
		return fmt.Errorf("%s=%q is not the number of a user", Variable, value)
	}
	// The parent-death signal belongs to the thread that asks for it, which must live as long as the process: the main
	// goroutine keeps it.
	runtime.LockOSThread()
	parent := os.Getppid()
	// Without the fix-up, a change of user leaves capabilities as they are.
	const noSetuidFixup = 1 << 2
	if _, _, errno := syscall.AllThreadsSyscall(syscall.SYS_PRCTL, unix.PR_SET_SECUREBITS, noSetuidFixup, 0); errno != 0 {
		return fmt.Errorf("keep capabilities: %w", errno)
	}
	if err := syscall.Setresuid(int(uid), int(uid), int(uid)); err != nil {
		return fmt.Errorf("become user %d: %w", uid, err)
	}
	// A change of user clears it, and without it this program would outlive the sandbox.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("set the parent-death signal: %w", err)
	}
	if os.Getppid() != parent {
		return errors.New("the sandbox is gone")
	}
	return nil
}
