// Package remains finds and removes what a sandbox leaves in the kernel when it does not end by itself: processes, network namespaces
// and control groups. They bear the sandbox's name (layout.Settings.Name); which state folder a name belongs to is noted in /run, which
// lives as long as the kernel does, so that they are found when the state folder is damaged or gone.
package remains

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"golang.org/x/sys/unix"

	"patag/infra/sandbox/gke/cgroup"
	"patag/infra/sandbox/netns"
)

// patience is how long the kernel may take to end processes; on a machine with a load of hundreds it does take long.
const patience = time.Minute

// Notes is where names and their state folders are noted.
type Notes string

// Default is where all sandboxes of this machine note theirs.
const Default Notes = "/run/patag"

// nameForm keeps a damaged note from naming something else's namespaces.
var nameForm = regexp.MustCompile(`^patag\d{1,3}$`)

// Claim notes that a name is the state folder's.
func (n Notes) Claim(name, root string) error {
	if !nameForm.MatchString(name) {
		return fmt.Errorf("%q is not the name of a sandbox", name)
	}
	if err := os.MkdirAll(string(n), 0o700); err != nil {
		return fmt.Errorf("note whose %s is: %w", name, err)
	}
	return os.WriteFile(filepath.Join(string(n), name), []byte(root), 0o600)
}

// Owner is the state folder that has a name, "" when nobody noted it.
func (n Notes) Owner(name string) (root string, err error) {
	raw, err := os.ReadFile(filepath.Join(string(n), name))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return string(raw), err
}

// Of lists the names of a state folder.
func (n Notes) Of(root string) (names []string, err error) {
	entries, err := os.ReadDir(string(n))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		owner, ownerErr := n.Owner(e.Name())
		if err = errors.Join(err, ownerErr); owner == root && nameForm.MatchString(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// Forget removes the note of a name.
func (n Notes) Forget(name string) error {
	err := os.Remove(filepath.Join(string(n), name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Remove ends the processes in the namespaces of a name, and removes namespaces and control groups. Nothing of that name must be wanted
// any more.
func Remove(name string) error {
	names, err := netns.Names(name + "-")
	if err != nil {
		return err
	}
	for _, ns := range names {
		if err := endProcesses(ns); err != nil {
			return err
		}
	}
	for _, ns := range names {
		if err := netns.Delete(ns); err != nil {
			return err
		}
	}
	return cgroup.Remove(name)
}

// endProcesses kills what runs in a namespace and waits until it is gone. What it finds are not this process's children.
func endProcesses(name string) error {
	var ns unix.Stat_t
	if err := unix.Stat("/run/netns/"+name, &ns); err != nil {
		return err
	}
	deadline := time.Now().Add(patience)
	for {
		entries, err := os.ReadDir("/proc")
		if err != nil {
			return err
		}
		found := 0
		for _, entry := range entries {
			var st unix.Stat_t
			var pid int
			if _, err := fmt.Sscan(entry.Name(), &pid); err != nil {
				continue
			}
			if unix.Stat(filepath.Join("/proc", entry.Name(), "ns/net"), &st) != nil || st.Ino != ns.Ino || st.Dev != ns.Dev {
				continue
			}
			found++
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		if found == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d processes in the network namespace %s do not end", found, name)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
