package remains

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"patag/infra/sandbox/gke/cgroup"
	"patag/infra/sandbox/netns"
)

func TestNotes(t *testing.T) {
	n := Notes(filepath.Join(t.TempDir(), "notes"))
	if names, err := n.Of("/a"); err != nil || names != nil {
		t.Error(names, err)
	}
	for name, root := range map[string]string{"patag7": "/a", "patag8": "/b", "patag9": "/a"} {
		if err := n.Claim(name, root); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.Claim("../x", "/a"); err == nil {
		t.Error("a name that is none was noted")
	}
	if names, err := n.Of("/a"); err != nil || !slices.Equal(names, []string{"patag7", "patag9"}) {
		t.Error(names, err)
	}
	if owner, err := n.Owner("patag8"); err != nil || owner != "/b" {
		t.Error(owner, err)
	}
	for range 2 {
		if err := n.Forget("patag8"); err != nil {
			t.Error(err)
		}
	}
	if owner, _ := n.Owner("patag8"); owner != "" {
		t.Error(owner)
	}
}

// TestRemove leaves a namespace with a process in it and a control group, as a killed sandbox does.
func TestRemove(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: namespaces need root")
	}
	const name = "patag255" // no sandbox has this instance
	ns, err := netns.Create(name + "-test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = netns.Delete(name + "-test") })
	cmd := exec.Command("nsenter", "--net="+ns.Path(), "sleep", "600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	ns.Close()
	if err := cgroup.Create(name + "/node"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond) // nsenter is on its way into the namespace
	for range 2 {                      // the second time there is nothing
		if err := Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		_ = unix.Kill(cmd.Process.Pid, unix.SIGKILL)
		t.Error("the process lives on")
	}
	if names, err := netns.Names(name + "-"); err != nil || len(names) > 0 {
		t.Error(names, err)
	}
	if left, _ := filepath.Glob("/sys/fs/cgroup/*/" + name); len(left) > 0 {
		t.Error(left)
	}
}
