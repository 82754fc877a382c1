package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/auto"

	"patag/scripts/patag/exit"
)

// Lock on a stack's state, as Pulumi keeps it in a folder or a bucket.
type Lock struct {
	by holder
	// path of the file; "" in a bucket.
	path string
}

func (l Lock) String() string { return l.by.String() }

// Here is true for one of this machine, of which can be told whether it lives.
func (l Lock) Here() bool {
	host, err := os.Hostname()
	return err == nil && l.by.Hostname == host
}

// Lives tells whether the process that took it still runs on this machine.
func (l Lock) Lives() bool { return l.Here() && alive(l.by) }

// Since is when it was taken.
func (l Lock) Since() time.Time { return l.by.Timestamp }

// PID is the process that took it.
func (l Lock) PID() int { return l.by.PID }

// ParseLock reads what a lock holds.
func ParseLock(raw []byte) Lock {
	var l Lock
	if err := json.Unmarshal(raw, &l.by); err != nil || l.by.PID == 0 {
		// Pulumi writes locks whole and in place: half a one is a killed writer's, and of this machine where the file is.
		l.by = holder{Username: "nobody known"}
		l.by.Hostname, _ = os.Hostname()
	}
	return l
}

// LockPrefix is where a stack's locks lie below the root of a backend.
func LockPrefix(projectName, stack string) string {
	return strings.Join([]string{".pulumi", "locks", "organization", projectName, stack}, "/") + "/"
}

// FileLocks reads the locks of a stack in a file backend.
func FileLocks(backend, projectName, stack string) ([]Lock, error) {
	root, local := strings.CutPrefix(backend, "file://")
	if !local {
		return nil, fmt.Errorf("%s is no folder", backend)
	}
	files, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(LockPrefix(projectName, stack)), "*.json"))
	if err != nil {
		return nil, err
	}
	var locks []Lock
	for _, path := range files {
		raw, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read the lock %s: %w", path, err)
		}
		l := ParseLock(raw)
		l.path = path
		locks = append(locks, l)
	}
	return locks, nil
}

// Remove takes a lock in a file backend away.
func (l Lock) Remove() error {
	if err := os.Remove(l.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the lock of %s: %w", l, err)
	}
	return nil
}

// Cancel has the CLI take all locks of a stack away, wherever its state lies. o.Dir must have its Pulumi.yaml.
func Cancel(ctx context.Context, o Options) error {
	ws, err := auto.NewLocalWorkspace(ctx, auto.WorkDir(o.Dir), auto.Pulumi(newCommand(o)))
	if err != nil {
		return fmt.Errorf("unlock stack %s: %w", o.Stack, err)
	}
	stack, err := auto.SelectStack(ctx, o.Stack, ws)
	if err != nil {
		return fmt.Errorf("unlock stack %s: %w", o.Stack, summary(err))
	}
	if err := stack.Cancel(ctx); err != nil {
		return fmt.Errorf("unlock stack %s: %w", o.Stack, summary(err))
	}
	return nil
}

// patiently tries until the stack is free, as long as o.Wait.
func (o Options) patiently(ctx context.Context, every time.Duration, try func() error) error {
	err := try()
	if o.Wait <= 0 || exit.Code(err) != exit.Locked {
		return err
	}
	step := o.Progress.Step("wait for stack %s", o.Stack)
	defer step.Fail()
	for end := time.Now().Add(o.Wait); time.Now().Before(end) && exit.Code(err) == exit.Locked; err = try() {
		step.Detail("%v", err)
		select {
		case <-ctx.Done():
			return exit.New(exit.Interrupted, "wait for stack %s: interrupted", o.Stack)
		case <-time.After(min(every, time.Until(end))):
		}
	}
	switch exit.Code(err) {
	case exit.OK:
		step.Done("it is free")
	case exit.Locked:
		return exit.New(exit.Locked, "waited %s: %w", o.Wait, err).WithHint("wait longer with --wait, or see `patag unlock %s`", o.Stack)
	}
	return err
}
