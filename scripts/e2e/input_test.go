package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestBadInput gives what cannot work; each is refused with one clear message before anything is changed.
func TestBadInput(t *testing.T) {
	m := newMachine(t)
	t.Run("port taken", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		m.refused(t, 3, "is taken by e2e.test (process "+fmt.Sprint(os.Getpid())+")", "sandbox", "start", "--api", l.Addr().String())
		if left, _ := os.ReadDir(m.layout.Root); len(left) > 0 {
			t.Errorf("the state folder has %v", left)
		}
	})
	t.Run("disk short", func(t *testing.T) {
		dir, err := os.MkdirTemp("", "patag-e2e-disk-")
		if err != nil {
			t.Fatal(err)
		}
		defer os.Remove(dir)
		if err := unix.Mount("none", dir, "tmpfs", 0, "size=64m"); err != nil {
			t.Fatal(err)
		}
		defer unix.Unmount(dir, 0)
		m.refused(t, 3, "are free in "+dir, "sandbox", "start", "--state", filepath.Join(dir, "state"), "--api", freeAddress(t))
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("%s has %v", dir, left)
		}
	})
	m.start(t)
	before := m.inventory(t)
	for _, c := range []struct{ name, want, args string }{
		{"stack", `did you mean "production"?`, "up productoin"},
		{"kind", "there is no such kind", "up production -c patag:kind=prodction"},
		{"key", "did you mean patag:tagMax?", "up production -c patag:tagMx=3"},
		{"region", "this is no Google Cloud region", "up production -c gcp:region=mars-north1"},
		{"machine family", "must be a Compute Engine machine type", "up production -c patag:highCpuMachineType=z9-mega-2"},
		{"machine size", "n1-standard-3", "up production -c patag:standardMachineType=n1-standard-3"},
		{"overlapping ranges", "overlaps patag:nodeRange", "up production -c patag:podRange=10.10.0.0/16"},
	} {
		t.Run(c.name, func(t *testing.T) { m.refused(t, 3, c.want, append(strings.Fields(c.args), "--yes")...) })
	}
	t.Run("broken YAML", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.CopyFS(filepath.Join(dir, "stacks"), os.DirFS(filepath.Join(m.root, "stacks"))); err != nil {
			t.Fatal(err)
		}
		project, err := os.ReadFile(filepath.Join(m.root, "Pulumi.yaml"))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "Pulumi.yaml"), project, 0o644)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "stacks", "Pulumi.production.yaml"), []byte("config: [\n"), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		m.refused(t, 3, "is not valid YAML", "up", "production", "--yes", "--dir", dir)
	})
	if after := m.inventory(t); !slices.Equal(before, after) {
		t.Errorf("the lists of the API changed from\n%v to\n%v", before, after)
	}
	if found, _ := filepath.Glob(filepath.Join(m.layout.Root, "pulumi/state/.pulumi/stacks/*/*")); len(found) > 0 {
		t.Errorf("stacks were made: %v", found)
	}
}
