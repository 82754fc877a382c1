package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"patag/scripts/needs"
)

// checkMachine refuses a machine on which the rest cannot work. It changes nothing.
func checkMachine() error {
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
	return errors.Join(all...)
}

// checkBuildRoom asks for what a build from nothing takes. What a run takes, `patag sandbox start` asks for: beside a
// sandbox that runs already, nothing more is needed.
func checkBuildRoom(root, cache string) error {
	var all []error
	if have, err := needs.AvailableMemory(); err != nil {
		all = append(all, err)
	} else if have < needs.MemoryToBuild {
		all = append(all, fmt.Errorf("%s of memory are available, and building takes %s; end other programs (make down ends the sandbox) or take a larger machine", needs.Size(have), needs.Size(needs.MemoryToBuild)))
	}
	compiled, err := goCache()
	if err != nil {
		compiled = cache
	}
	for dir, need := range map[string]int64{compiled: needs.DiskToBuild, cache: needs.GiB, root: needs.GiB} {
		if free, at, err := needs.FreeDisk(dir); err != nil {
			all = append(all, fmt.Errorf("look at the disk of %s: %w", dir, err))
		} else if free < need {
			all = append(all, fmt.Errorf("%s are free on the disk of %s, and building takes %s there; make room, or set PATAG_CACHE, GOCACHE and GOMODCACHE to a larger disk", needs.Size(free), at, needs.Size(need)))
		}
	}
	return errors.Join(all...)
}

// goCache is where Go keeps what it compiled.
func goCache() (string, error) {
	if dir := os.Getenv("GOCACHE"); dir != "" {
		return dir, nil
	}
	return os.UserCacheDir()
}
