package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

const gib = 1 << 30

// What a run takes at its peak, measured on two cores: see docs/architecture.md.
const (
	memoryToRun  = 6 * gib
	diskToRun    = 5 * gib
	diskToBuild  = 14 * gib
	memoryToLink = 4 * gib
)

// checkMachine refuses a machine on which the rest cannot work. It changes nothing.
func checkMachine(root, cache string) error {
	var all []error
	if runtime.GOOS != "linux" {
		return fmt.Errorf("the sandbox runs Kubernetes in Linux namespaces and this is %s; use a Debian 12 machine or virtual machine", runtime.GOOS)
	}
	if os.Geteuid() != 0 {
		all = append(all, errors.New("not root: packages, network namespaces and cgroups need it; run it as root (for example with sudo -E)"))
	}
	if raw, err := os.ReadFile("/etc/os-release"); err != nil || !strings.Contains(string(raw), "ID=debian") {
		all = append(all, errors.New("not Debian: packages come from apt; use Debian 12"))
	}
	if have, err := availableMemory(); err == nil && have < memoryToLink {
		all = append(all, fmt.Errorf("%s of memory available, %s needed; end other programs or take a larger machine", size(have), size(memoryToLink)))
	}
	for _, dir := range []string{root, cache} {
		if err := checkDisk(dir, diskToRun); err != nil {
			all = append(all, err)
		}
	}
	return errors.Join(all...)
}

// checkBuildRoom asks for the room that a cold build of the third-party programs takes in Go's caches.
func checkBuildRoom(cache string) error {
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = cache
	}
	return checkDisk(dir, diskToBuild)
}

func checkDisk(dir string, need int64) error {
	at := dir
	for at != filepath.Dir(at) {
		if _, err := os.Stat(at); err == nil {
			break
		}
		at = filepath.Dir(at)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(at, &st); err != nil {
		return fmt.Errorf("look at the disk of %s: %w", at, err)
	}
	if free := int64(st.Bavail) * st.Bsize; free < need {
		return fmt.Errorf("%s free on the disk of %s, %s needed; make room, or set PATAG_CACHE, GOCACHE and GOMODCACHE to a larger disk", size(free), dir, size(need))
	}
	return nil
}

func availableMemory() (int64, error) {
	raw, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	for _, line := range strings.Split(string(raw), "\n") {
		var kib int64
		if _, err := fmt.Sscanf(line, "MemAvailable: %d kB", &kib); err == nil {
			return kib << 10, nil
		}
	}
	return 0, errors.New("no MemAvailable in /proc/meminfo")
}

func size(n int64) string { return fmt.Sprintf("%.1f GiB", float64(n)/gib) }
