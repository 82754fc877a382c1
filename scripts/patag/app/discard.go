package app

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"patag/scripts/patag/cloud"
)

// Discard lets the first preview of a stack on Google Cloud leave no trace: it works in a folder that end removes, and
// keep keeps. A stack that was worked on before, or one that reads the foundation's state, stays where the state is.
func (s *Session) Discard() (end func(keep bool), err error) {
	stay := func(bool) {}
	if s.Cloud.Name != cloud.GCP || !s.Cloud.OwnState() {
		return stay, nil
	}
	if _, err := os.Stat(s.Cloud.Work(s.Stack)); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return stay, nil
	}
	if _, reads := s.NeedsFoundation(); reads {
		return stay, nil
	}
	dir, err := os.MkdirTemp("", "patag-preview-")
	if err != nil {
		return stay, fmt.Errorf("make a folder for the preview: %w", err)
	}
	s.Cloud.Move(dir)
	return func(keep bool) {
		if keep {
			s.Progress.Line("   the preview's files: %s", filepath.Join(dir, "stacks", s.Stack))
			return
		}
		if err := os.RemoveAll(dir); err != nil {
			s.Progress.Line(" ! the preview's files stay: %v", err)
		}
	}, nil
}
