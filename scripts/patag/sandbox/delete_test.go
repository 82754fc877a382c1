package sandbox

import (
	"os"
	"slices"
	"testing"

	"patag/infra/sandbox/layout"
	"patag/infra/sandbox/netns"
	"patag/infra/sandbox/remains"
)

// TestClear: the namespaces of a sandbox are found by the note in /run when nothing is left of its state folder, and taken away; those
// of another sandbox are not.
func TestClear(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: namespaces need root")
	}
	l := layout.Layout{Root: t.TempDir()}
	const name, other = "patag255", "patag256" // no sandbox has these instances
	for n, root := range map[string]string{name: l.Root, other: "/elsewhere"} {
		if err := remains.Default.Claim(n, root); err != nil {
			t.Fatal(err)
		}
		ns, err := netns.Create(n + "-x")
		if err != nil {
			t.Fatal(err)
		}
		ns.Close()
		t.Cleanup(func() { _ = netns.Delete(n + "-x"); _ = remains.Default.Forget(n) })
	}
	for i, want := range [][]string{{name}, nil} { // the second time there is nothing
		names, err := namesOf(l)
		if err != nil || !slices.Equal(names, want) {
			t.Fatalf("look %d: %v %v", i, names, err)
		}
		if err := clear(l, names); err != nil {
			t.Fatal(err)
		}
	}
	if left, err := netns.Names(name + "-"); err != nil || len(left) > 0 {
		t.Error(left, err)
	}
	if left, err := netns.Names(other + "-"); err != nil || len(left) != 1 {
		t.Error("the other sandbox's namespace is gone:", left, err)
	}
}
