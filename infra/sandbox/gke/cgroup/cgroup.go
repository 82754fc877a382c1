// Package cgroup makes and removes a folder of control groups in every hierarchy that is mounted, version 1 or 2. It
// mounts nothing and changes no group that it did not make.
package cgroup

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// hierarchy is one mounted tree.
type hierarchy struct {
	mount  string
	v2     bool
	cpuset bool
}

func hierarchies() ([]hierarchy, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var found []hierarchy
	seen := map[string]bool{}
	for s := bufio.NewScanner(f); s.Scan(); {
		// "36 25 0:31 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory"
		before, after, ok := strings.Cut(s.Text(), " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if !ok || len(left) < 5 || len(right) < 3 || !strings.HasPrefix(right[0], "cgroup") || seen[left[4]] {
			continue
		}
		seen[left[4]] = true
		h := hierarchy{mount: left[4], v2: right[0] == "cgroup2"}
		for _, option := range strings.Split(right[2], ",") {
			h.cpuset = h.cpuset || option == "cpuset"
		}
		found = append(found, h)
	}
	if len(found) == 0 {
		return nil, errors.New("no control group hierarchy is mounted; Kubernetes nodes need one at /sys/fs/cgroup")
	}
	return found, nil
}

// Create makes the group path ("patag7/cluster/node") with its parents everywhere.
func Create(path string) error {
	all, err := hierarchies()
	if err != nil {
		return err
	}
	for _, h := range all {
		dir := h.mount
		for _, part := range strings.Split(path, "/") {
			if h.v2 && dir != h.mount {
				if err := delegate(dir); err != nil {
					return fmt.Errorf("create control group %s: %w", path, err)
				}
			}
			dir = filepath.Join(dir, part)
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return fmt.Errorf("create control group %s: %w", path, err)
			}
			if h.cpuset && !h.v2 {
				if err := inherit(dir); err != nil {
					return fmt.Errorf("create control group %s: %w", path, err)
				}
			}
		}
	}
	return nil
}

// delegate gives the children of a version 2 group every controller that the group has.
func delegate(dir string) error {
	raw, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return err
	}
	for _, c := range strings.Fields(string(raw)) {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+c), 0o644); err != nil {
			return fmt.Errorf("give %s to the groups below %s: %w", c, dir, err)
		}
	}
	return nil
}

// inherit fills in what a new group of the version 1 cpuset hierarchy lacks: without it no process can join.
func inherit(dir string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		raw, err := os.ReadFile(filepath.Join(filepath.Dir(dir), file))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, file), raw, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Join moves a process into the group, everywhere.
func Join(path string, pid int) error {
	all, err := hierarchies()
	if err != nil {
		return err
	}
	for _, h := range all {
		file := filepath.Join(h.mount, path, "cgroup.procs")
		if err := os.WriteFile(file, []byte(strconv.Itoa(pid)), 0o644); err != nil {
			return fmt.Errorf("move process %d to control group %s: %w", pid, path, err)
		}
	}
	return nil
}

// Remove removes the group and all below it. Its processes must have been killed; Remove waits a moment for the
// kernel to be done with them.
func Remove(path string) error {
	if path == "" || path == "/" {
		return errors.New("refusing to remove the root control group")
	}
	all, err := hierarchies()
	if err != nil {
		return err
	}
	for _, h := range all {
		deadline := time.Now().Add(time.Minute)
		for {
			err := removeTree(filepath.Join(h.mount, path))
			if err == nil {
				break
			}
			if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
				return fmt.Errorf("remove control group %s: %w", path, err)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return nil
}

func removeTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeTree(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	// The files in it are the kernel's: the folder goes as if it were empty.
	if err := unix.Rmdir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &fs.PathError{Op: "rmdir", Path: dir, Err: err}
	}
	return nil
}
