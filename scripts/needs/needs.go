// Package needs is what patag takes of a machine: memory, disk and Debian packages. It is the one place of these
// figures: `make` checks them before it builds, `patag sandbox start` before it starts. Where they come from is in
// docs/architecture.md, "Figures".
package needs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// GiB is the unit of all sizes here.
const GiB = 1 << 30

const (
	// MemoryToRun must be available when the sandbox starts. Production takes 2.3 GiB; the rest is for rollouts, added
	// nodes and the page cache, without which etcd's syncs stall.
	MemoryToRun = 4 * GiB
	// MemoryToBuild must be available for a build from nothing: the largest compilation, one package of the Google
	// Cloud SDK, takes 3.9 GiB, and another runs beside it.
	MemoryToBuild = 6 * GiB
	// DiskToRun is for images on each node, volumes and logs.
	DiskToRun = 5 * GiB
	// DiskToBuild is for Go's caches of modules and of compiled packages.
	DiskToBuild = 14 * GiB
)

// Package is a Debian 12 package whose programs run on the machine itself. What runs in pods (redis, twemproxy) is not
// among them: images are packed from package files that are never installed.
type Package struct {
	Name string
	// Programs that the sandbox runs, by name or by path; none for packages that only builds and tests use.
	Programs []string
	// Why it is needed.
	Why string
}

// Packages are all of them.
var Packages = []Package{
	{"ca-certificates", nil, "certificate authorities, to download modules"},
	{"containerd", []string{"containerd", "ctr", "containerd-shim-runc-v2"}, "container runtime of the nodes"},
	{"containernetworking-plugins", []string{"/usr/lib/cni/ptp", "/usr/lib/cni/bridge", "/usr/lib/cni/host-local"}, "pod networks"},
	{"gcc", nil, "the race detector of the tests"},
	{"git", nil, "the version that programs bear"},
	{"iproute2", nil, "to look at network namespaces"},
	{"iptables", []string{"iptables"}, "kube-proxy's rules inside the nodes' namespaces"},
	{"libc6-dev", nil, "the race detector of the tests"},
	{"mount", []string{"mount", "umount"}, "volumes"},
	{"nftables", []string{"nft"}, "NetworkPolicies inside the nodes' namespaces"},
	{"runc", []string{"runc"}, "starts containers for containerd"},
	{"util-linux", []string{"nsenter", "setpriv"}, "nodes enter namespaces and drop users"},
}

// TestPackages are what tests run beside these: the real counterparts of what they test. Their services are not started.
var TestPackages = []Package{
	{"chromium", nil, "the loader's tests in a real browser"},
	{"nutcracker", nil, "twemproxy between tag server and Redis"},
	{"redis-server", nil, "Redis of the tag server's tests"},
}

// BenchPackages are what `make bench` measures with and against. Their services are not started.
var BenchPackages = []Package{
	{"nginx-light", nil, "serves a static file, which the tag server is held against"},
	{"nodejs", nil, "serves the least that could pass for the job"},
	{"wrk", nil, "load"},
}

// AvailableMemory is what can be had without swapping, in bytes.
func AvailableMemory() (int64, error) {
	raw, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(raw)) {
		if v, ok := strings.CutPrefix(line, "MemAvailable:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(v)[0], 10, 64)
			return kib << 10, err
		}
	}
	return 0, errors.New("/proc/meminfo has no MemAvailable")
}

// FreeDisk is the room on the disk of a folder, or of the nearest one above that exists, which it names.
func FreeDisk(dir string) (bytes int64, at string, err error) {
	for at = dir; ; at = filepath.Dir(at) {
		var st unix.Statfs_t
		if err = unix.Statfs(at, &st); err == nil {
			return int64(st.Bavail) * st.Bsize, at, nil
		}
		if !errors.Is(err, unix.ENOENT) || at == filepath.Dir(at) {
			return 0, at, fmt.Errorf("%s: %w", at, err)
		}
	}
}

// Size prints bytes for a person.
func Size(n int64) string { return fmt.Sprintf("%.1f GiB", float64(n)/GiB) }
