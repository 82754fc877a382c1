package engine

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/auto"
)

// Remove ends a stack that holds nothing any more: its record in the backend, with its history, and its work folder.
func (s *Stack) Remove(ctx context.Context) error {
	if err := s.auto.Workspace().RemoveStack(ctx, s.o.Stack); err != nil {
		return s.explain(ctx, "remove stack "+s.o.Stack, err, "")
	}
	if err := os.RemoveAll(s.o.Dir); err != nil {
		return fmt.Errorf("remove the work folder of stack %s: %w", s.o.Stack, err)
	}
	return nil
}

// List answers the names of all stacks of a project in the backend, empty ones too.
func List(ctx context.Context, o Options) ([]string, error) {
	ws, err := auto.NewLocalWorkspace(ctx, auto.WorkDir(o.Dir), auto.Pulumi(newCommand(o)))
	if err != nil {
		return nil, fmt.Errorf("prepare the work folder: %w", err)
	}
	all, err := ws.ListStacks(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the stacks: %w", summary(err))
	}
	var names []string
	for _, s := range all {
		// organization/project/stack, or the last of them.
		parts := strings.Split(s.Name, "/")
		if len(parts) == 3 && parts[1] != o.Project {
			continue
		}
		names = append(names, parts[len(parts)-1])
	}
	return names, nil
}
