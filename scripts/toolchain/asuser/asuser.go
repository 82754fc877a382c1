// Package asuser lets a program that was started as root go on as another user without losing what root may do.
//
// The kernel counts inotify instances by user (fs.inotify.max_user_instances, 128 on most systems): the parts of a
// control plane need fourteen of them, kubelet and kube-proxy seven. A sandbox may not change the machine's limits, and
// with root's alone it would end at sixteen nodes.
package asuser

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"unsafe"

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
	// Files stay root's: pods see who owns their volumes.
	if _, _, errno := syscall.AllThreadsSyscall(syscall.SYS_SETFSUID, 0, 0, 0); errno != 0 {
		return fmt.Errorf("keep making files as root: %w", errno)
	}
	if err := passOn(); err != nil {
		return fmt.Errorf("pass capabilities on to programs: %w", err)
	}
	// Last, as every change of user clears it. Without it this program would outlive the sandbox.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("set the parent-death signal: %w", err)
	}
	if os.Getppid() != parent {
		return errors.New("the sandbox is gone")
	}
	return nil
}

// passOn makes the programs that this one starts keep its capabilities, as root's do: for another user that takes the
// ambient set, and for that the inheritable one.
func passOn() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return err
	}
	for i := range data {
		data[i].Inheritable = data[i].Permitted
	}
	_, _, errno := syscall.AllThreadsSyscall(syscall.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])), 0)
	if errno != 0 {
		return fmt.Errorf("capset: %w", errno)
	}
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		if data[c/32].Permitted&(1<<(c%32)) == 0 {
			continue
		}
		_, _, errno := syscall.AllThreadsSyscall6(syscall.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, c, 0, 0, 0)
		if errno != 0 {
			return fmt.Errorf("raise capability %d: %w", c, errno)
		}
	}
	return nil
}
