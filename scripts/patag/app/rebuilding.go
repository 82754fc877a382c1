package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"patag/scripts/patag/engine"
	"patag/scripts/patag/exit"
)

// RebuildFile is the plan of a rebuild of the stack that was begun and is not finished. `patag rebuild` writes and reads it.
func (s *Session) RebuildFile() string {
	return filepath.Join(s.Cloud.Work(s.Stack), "rebuild.json")
}

// AloneRebuilding calls do with a session that may go on with a rebuild, and keeps every other rebuild of the stack away meanwhile.
func (s *Session) AloneRebuilding(do func() error) error {
	if err := s.deployed(); err != nil {
		return err
	}
	s.rebuilding = true
	defer func() { s.rebuilding = false }()
	return engine.Alone(filepath.Join(s.Cloud.Work(s.Stack), "rebuild"), s.Stack, do)
}

// RebuildDone ends the memory of a rebuild.
func (s *Session) RebuildDone() error {
	if err := os.Remove(s.RebuildFile()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Finished refuses to change the stack in the middle of a deployment or of a rebuild: a command asks before it does anything that lasts.
func (s *Session) Finished() error {
	if err := s.rebuilt(); err != nil {
		return err
	}
	return s.deployed()
}

// rebuilt refuses to run the program in the middle of a rebuild: the store could begin as the program's, not as the backup's.
func (s *Session) rebuilt() error {
	if s.rebuilding {
		return nil
	}
	var plan struct {
		Begun  time.Time
		Backup string
	}
	if there, err := readPlan(s.RebuildFile(), &plan); !there {
		return err
	}
	return exit.New(exit.Failed, "a rebuild of %s from backup %s, begun %s, is not finished", s.Stack, plan.Backup, plan.Begun.Local().Format("2006-01-02 15:04:05")).
		WithHint("finish it: patag rebuild %s; nothing was changed", s.Stack)
}

// readPlan reads the plan of work that goes over several runs, and says whether there is one.
func readPlan(path string, plan any) (there bool, err error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for unfinished work: %w", err)
	}
	if err := json.Unmarshal(raw, plan); err != nil {
		return false, fmt.Errorf("read %s: %w", path, err)
	}
	return true, nil
}
