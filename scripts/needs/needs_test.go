package needs

import (
	"path/filepath"
	"testing"
)

// TestFreeDisk: a folder that is not there yet lies on the disk of the one above.
func TestFreeDisk(t *testing.T) {
	dir := t.TempDir()
	free, at, err := FreeDisk(filepath.Join(dir, "not", "yet"))
	if err != nil || at != dir || free <= 0 {
		t.Errorf("got %d in %s (%v), want the room in %s", free, at, err, dir)
	}
	if _, _, err := FreeDisk(filepath.Join(dir, "a\x00b")); err == nil {
		t.Error("no error for an impossible path")
	}
}

func TestAvailableMemory(t *testing.T) {
	n, err := AvailableMemory()
	if err != nil || n < 1<<20 || n > 1<<46 {
		t.Errorf("got %d bytes (%v)", n, err)
	}
}

func TestPackagesAreNamedOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range Packages {
		for _, name := range append([]string{"package " + p.Name}, p.Programs...) {
			if seen[name] {
				t.Errorf("%s is listed twice", name)
			}
			seen[name] = true
		}
		if p.Why == "" {
			t.Errorf("nobody knows what %s is for", p.Name)
		}
	}
}
