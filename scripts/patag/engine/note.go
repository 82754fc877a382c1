package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// note is what a recovery has put into the state on suspicion and not looked at yet. It lies beside the stack's config, so that a
// recovery that is interrupted itself is gone on with.
type note struct {
	// Adopted are keys of resources, Targets the URNs to refresh.
	Adopted []string `json:"adopted"`
	Targets []string `json:"targets"`
}

func noteFile(dir string) string { return filepath.Join(dir, "recovery.json") }

func readNote(dir string) (n note, err error) {
	raw, err := os.ReadFile(noteFile(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return n, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, &n)
	}
	if err != nil {
		return n, fmt.Errorf("read what the last recovery was at (%s; delete it and run `patag up --refresh` if it is damaged): %w", noteFile(dir), err)
	}
	return n, nil
}

func (n *note) empty() bool { return len(n.Adopted) == 0 && len(n.Targets) == 0 }

func (n *note) add(adopted map[string]bool, targets []string) {
	for k := range adopted {
		n.Adopted = append(n.Adopted, k)
	}
	n.Targets = append(n.Targets, targets...)
	slices.Sort(n.Adopted)
	slices.Sort(n.Targets)
	n.Adopted, n.Targets = slices.Compact(n.Adopted), slices.Compact(n.Targets)
}

// in leaves away what the state does not have: the state may not have been saved, or have been changed since.
func (n *note) in(st *state) (adopted map[string]bool, targets []string) {
	adopted = map[string]bool{}
	for _, r := range st.Resources {
		if slices.Contains(n.Adopted, key(r)) {
			adopted[key(r)] = true
		}
		if urn := text(r, "urn"); slices.Contains(n.Targets, urn) && !slices.Contains(targets, urn) {
			targets = append(targets, urn)
		}
	}
	return adopted, targets
}

func (n *note) write(dir string) error {
	raw, err := json.Marshal(n)
	if err != nil {
		return err
	}
	tmp := noteFile(dir) + ".new"
	if err := os.WriteFile(tmp, raw, 0o600); err != nil {
		return fmt.Errorf("note what is being recovered: %w", err)
	}
	return os.Rename(tmp, noteFile(dir))
}

func (n *note) end(dir string) error {
	if err := os.Remove(noteFile(dir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
