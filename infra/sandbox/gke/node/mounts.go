package node

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// setUpMounts makes the node's view of the file system: the host's, with /run, /var/lib and /var/log of its own. Nothing of
// it is visible outside.
func setUpMounts(c Config) error {
	// Nothing that is mounted from here on may reach the host.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make all mounts private: %w", err)
	}
	// A network namespace that the host deletes would live on in this copy of its mounts.
	if err := dropNamespaces(); err != nil {
		return err
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	// Within the node, mounts do propagate: the kubelet's must reach containers.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("make the node's mounts shared: %w", err)
	}
	if err := ownFolders(c.State, "/run", "/var/lib", "/var/log"); err != nil {
		return err
	}
	for dir, name := range map[string]string{
		"/var/lib/kubelet": "kubelet", "/var/lib/cni": "cni", "/var/log/pods": "log/pods", "/var/log/containers": "log/containers",
	} {
		own := filepath.Join(c.Folder, name)
		for _, d := range []string{own, dir} {
			if err := os.MkdirAll(d, 0o755); err != nil {
				return err
			}
		}
		if err := unix.Mount(own, dir, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount %s on %s: %w", own, dir, err)
		}
	}
	for _, dir := range []string{"/run/containerd", "/run/netns", "/run/patag"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	return fakeSysctls()
}

func dropNamespaces() error {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if fields := strings.Fields(s.Text()); len(fields) > 4 && strings.HasPrefix(fields[4], "/run/netns/") {
			if err := unix.Unmount(fields[4], unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
				return fmt.Errorf("unmount %s: %w", fields[4], err)
			}
		}
	}
	return nil
}

// ownFolders puts an empty, temporary file system on each folder. The state folder stays where it is, even in one of them.
func ownFolders(state string, folders ...string) error {
	handle, err := unix.Open(state, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", state, err)
	}
	defer unix.Close(handle)
	for _, dir := range folders {
		if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
			return fmt.Errorf("mount a temporary file system on %s: %w", dir, err)
		}
		if state != dir && !strings.HasPrefix(state, dir+"/") {
			continue
		}
		if err := os.MkdirAll(state, 0o700); err != nil {
			return err
		}
		if err := unix.Mount("/proc/self/fd/"+strconv.Itoa(handle), state, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("keep %s in the node: %w", state, err)
		}
	}
	return nil
}

// fakeSysctls puts files over the settings of the kernel that the kubelet insists on and writes if it must: they are the
// machine's, and the machine is not ours to change.
func fakeSysctls() error {
	for name, value := range map[string]string{
		"vm/overcommit_memory": "1", "vm/panic_on_oom": "0", "kernel/panic": "10", "kernel/panic_on_oops": "1",
	} {
		file := filepath.Join("/run/patag/sysctl", strings.ReplaceAll(name, "/", "."))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(value+"\n"), 0o644); err != nil {
			return err
		}
		if err := unix.Mount(file, "/proc/sys/"+name, "", unix.MS_BIND, ""); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("put a file over the sysctl %s: %w", name, err)
		}
	}
	return nil
}
