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

	"github.com/pulumi/pulumi/sdk/v3/go/auto"
)

// Peek reads a stack's state without taking the stack: it works while a run is going on. false when there is no
// such stack. A file backend is read directly, another one through the CLI, which needs o.Dir to exist.
func Peek(ctx context.Context, o Options) (Summary, bool, error) {
	if root, local := strings.CutPrefix(o.Backend, "file://"); local {
		return peekFile(filepath.Join(root, ".pulumi", "stacks", o.Project, o.Stack+".json"), o.Stack)
	}
	ws, err := auto.NewLocalWorkspace(ctx, auto.WorkDir(o.Dir), auto.Pulumi(newCommand(o)))
	if err != nil {
		return Summary{}, false, err
	}
	deployment, err := ws.ExportStack(ctx, o.Stack)
	if err != nil {
		if auto.IsSelectStack404Error(err) || strings.Contains(err.Error(), "no stack named") {
			return Summary{}, false, nil
		}
		return Summary{}, false, fmt.Errorf("read the state of stack %s: %w", o.Stack, summary(err))
	}
	st, err := parseState(deployment.Deployment)
	if err != nil {
		return Summary{}, false, err
	}
	return st.summary(), true, nil
}

func peekFile(path, stack string) (Summary, bool, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Summary{}, false, nil
	}
	if err != nil {
		return Summary{}, false, fmt.Errorf("read the state of stack %s: %w", stack, err)
	}
	var file struct {
		Checkpoint struct {
			Latest json.RawMessage `json:"latest"`
		} `json:"checkpoint"`
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		return Summary{}, false, fmt.Errorf("the state of stack %s is damaged (%s; a copy of each earlier one is in .pulumi/backups beside it): %w", stack, path, err)
	}
	if len(file.Checkpoint.Latest) == 0 || string(file.Checkpoint.Latest) == "null" {
		return Summary{Outputs: map[string]any{}}, true, nil
	}
	st, err := parseState(file.Checkpoint.Latest)
	if err != nil {
		return Summary{}, false, err
	}
	return st.summary(), true, nil
}

// Stacks lists the stacks of a project in a file backend that hold resources; ok is false for another backend.
func Stacks(backend, projectName string) (names []string, ok bool, err error) {
	root, local := strings.CutPrefix(backend, "file://")
	if !local {
		return nil, false, nil
	}
	files, err := filepath.Glob(filepath.Join(root, ".pulumi", "stacks", projectName, "*.json"))
	if err != nil {
		return nil, true, err
	}
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".json")
		sum, exists, err := peekFile(f, name)
		if err != nil {
			return nil, true, err
		}
		if exists && sum.Resources > 0 {
			names = append(names, name)
		}
	}
	return names, true, nil
}
