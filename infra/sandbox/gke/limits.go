package gke

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// instancesPerNode is how many inotify instances of root's a node holds: containerd's. The kernel counts them by user,
// for all sandboxes of a machine together.
const instancesPerNode = 1

// checkWatches refuses a node that the kernel would not let watch files: its programs would end again and again, with the
// reason in a log that nobody reads.
func checkWatches() error {
	var held []int
	defer func() {
		for _, fd := range held {
			unix.Close(fd)
		}
	}()
	for range instancesPerNode {
		fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
		if err != nil {
			limit, _ := os.ReadFile("/proc/sys/fs/inotify/max_user_instances") // only for the message
			return fmt.Errorf("the machine's limit of inotify instances (%s) is used up: a node needs %d of them and %d are left; "+
				"use fewer nodes, stop other sandboxes, or raise it with: sysctl fs.inotify.max_user_instances=1024 (%w)",
				strings.TrimSpace(string(limit)), instancesPerNode, len(held), err)
		}
		held = append(held, fd)
	}
	return nil
}
