package netns

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// folder is where iproute2 keeps named namespaces, so that `ip netns` shows ours.
const folder = "/run/netns"

func pathOf(name string) string { return filepath.Join(folder, name) }

func checkName(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") || len(name) > 255 {
		return fmt.Errorf("%q is not a name for a network namespace", name)
	}
	return nil
}

// Create makes a namespace with its loopback device up. It fails with fs.ErrExist when there is one of that name.
func Create(name string) (*NS, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	if err := prepareFolder(); err != nil {
		return nil, fmt.Errorf("create network namespace %s: %w", name, err)
	}
	f, err := os.OpenFile(pathOf(name), os.O_CREATE|os.O_EXCL|os.O_RDONLY, 0o444)
	if err != nil {
		return nil, fmt.Errorf("create network namespace %s: %w", name, err)
	}
	f.Close()
	ns, err := run(name, func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare: %w; root is needed", err)
		}
		// The file of the thread, not of the process, which stays where it is.
		self := fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid())
		if err := unix.Mount(self, pathOf(name), "none", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount %s: %w", pathOf(name), err)
		}
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return fmt.Errorf("find the loopback device: %w", err)
		}
		return netlink.LinkSetUp(lo)
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("create network namespace %s: %w", name, err), Delete(name))
	}
	return ns, nil
}

// Open enters a namespace that exists; fs.ErrNotExist if there is none.
func Open(name string) (*NS, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	f, err := os.Open(pathOf(name))
	if err != nil {
		return nil, fmt.Errorf("open network namespace %s: %w", name, err)
	}
	defer f.Close()
	ns, err := run(name, func() error { return unix.Setns(int(f.Fd()), unix.CLONE_NEWNET) })
	if err != nil {
		return nil, fmt.Errorf("enter network namespace %s: %w", name, err)
	}
	return ns, nil
}

// Delete removes the name. The namespace goes with its last process, socket and link; it is no error if it is gone.
func Delete(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	path := pathOf(name)
	// A namespace mounted twice (by a mount of the folder onto itself) needs two.
	for {
		err := unix.Unmount(path, unix.MNT_DETACH)
		if err == nil {
			continue
		}
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			break // not mounted
		}
		return fmt.Errorf("delete network namespace %s: unmount: %w", name, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete network namespace %s: %w", name, err)
	}
	leaveFolder()
	return nil
}

// Names lists the named namespaces that begin with prefix.
func Names(prefix string) ([]string, error) {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// prepareFolder does what `ip netns add` does: the folder becomes a shared mount of its own, so that a name that
// is removed here goes from the mount namespaces of other programs too.
func prepareFolder() error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for range 2 {
		err := unix.Mount("", folder, "none", unix.MS_SHARED|unix.MS_REC, "")
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("share %s: %w", folder, err)
		}
		if err := unix.Mount(folder, folder, "none", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("mount %s on itself: %w", folder, err)
		}
	}
	return fmt.Errorf("%s cannot be made a shared mount", folder)
}

// leaveFolder undoes prepareFolder once no name is left. Failing is fine: another program may use the folder.
func leaveFolder() {
	entries, err := os.ReadDir(folder)
	if err == nil && len(entries) == 0 {
		_ = unix.Unmount(folder, 0)
		_ = os.Remove(folder)
	}
}
