package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/auto"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/opthistory"
)

// Update is one run of the engine on a stack, as its history has it.
type Update struct {
	// Number counts from the stack's first update; 0 when not all were read.
	Number int
	// Kind is update, destroy, refresh, import …
	Kind    string
	Message string
	Begun   time.Time
	Ended   time.Time
	// Result is succeeded, failed or in-progress.
	Result  string
	Changes map[string]int
	// Images are those of patag:images; nil when the update had none.
	Images map[string]any
}

// History reads the history of a stack, oldest first, without taking the stack: the newest updates, as many as most, and then without
// numbers, or all for 0. o.Dir must have its Pulumi.yaml.
func History(ctx context.Context, o Options, most int) ([]Update, error) {
	ws, err := auto.NewLocalWorkspace(ctx, auto.WorkDir(o.Dir), auto.Pulumi(newCommand(o)))
	if err != nil {
		return nil, fmt.Errorf("read the history of stack %s: %w", o.Stack, err)
	}
	stack, err := auto.SelectStack(ctx, o.Stack, ws)
	if err != nil {
		return nil, fmt.Errorf("read the history of stack %s: %w", o.Stack, summary(err))
	}
	size := most
	if size == 0 {
		size = 1 << 20 // none would be the CLI's ten
	}
	// Secrets are not needed, and showing them needs the passphrase.
	all, err := stack.History(ctx, size, 1, opthistory.ShowSecrets(false))
	if err != nil {
		return nil, fmt.Errorf("read the history of stack %s: %w", o.Stack, summary(err))
	}
	slices.Reverse(all)
	var updates []Update
	for i, u := range all {
		// Buckets and files do not number updates.
		one := Update{Kind: u.Kind, Message: u.Message, Result: u.Result}
		if most == 0 {
			one.Number = i + 1
		}
		one.Begun, _ = time.Parse(time.RFC3339, u.StartTime)
		if u.EndTime != nil {
			one.Ended, _ = time.Parse(time.RFC3339, *u.EndTime)
		}
		if u.ResourceChanges != nil {
			one.Changes = *u.ResourceChanges
		}
		if raw := u.Config["patag:images"].Value; raw != "" {
			if err := json.Unmarshal([]byte(raw), &one.Images); err != nil {
				return nil, fmt.Errorf("read the history of stack %s: images of the update of %s: %w", o.Stack, u.StartTime, err)
			}
		}
		updates = append(updates, one)
	}
	return updates, nil
}
