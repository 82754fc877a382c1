package engine

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"
)

// TestEndOrphans: of three plugins, the one whose run is dead and whose stack is below the folder is ended.
func TestEndOrphans(t *testing.T) {
	dead := exec.Command("true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	ends := map[string]chan error{}
	for name, mark := range map[string]string{
		"orphan":          fmt.Sprintf("%d:%s/stacks/a", dead.Process.Pid, root),
		"of a living run": fmt.Sprintf("%d:%s/stacks/a", os.Getpid(), root),
		"of another root": fmt.Sprintf("%d:%s-other/stacks/a", dead.Process.Pid, root),
	} {
		plugin := exec.Command("sleep", "60")
		plugin.Env = []string{marker + "=" + mark}
		if err := plugin.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- plugin.Wait() }()
		t.Cleanup(func() { _ = plugin.Process.Kill() })
		ends[name] = ended
	}
	if n := EndOrphans(root); n != 1 {
		t.Errorf("%d were ended, want 1", n)
	}
	select {
	case <-ends["orphan"]:
	case <-time.After(5 * time.Second):
		t.Error("the orphan lives")
	}
	for _, name := range []string{"of a living run", "of another root"} {
		select {
		case <-ends[name]:
			t.Errorf("the plugin %s was ended", name)
		default:
		}
	}
}
