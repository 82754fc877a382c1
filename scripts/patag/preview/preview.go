// Package preview is `patag preview`: what `patag up` would change.
package preview

import (
	"context"
	"encoding/json"

	"github.com/spf13/cobra"

	"patag/scripts/patag/app"
	"patag/scripts/patag/engine"
	"patag/scripts/patag/exit"
	"patag/scripts/patag/terminal"
)

type flags struct {
	json, expectNoChanges bool
	settings              []string
}

// NewCommand makes the command.
func NewCommand(a *app.App) *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:   "preview STACK",
		Short: "Show what up would change, and change nothing",
		Long: `Show what up would change, and change nothing.

On Google Cloud without credentials the preview is made from the state alone, which must then be local. Where there
is no foundation to build on, its outputs are given with -c patag:foundation='{…}'. The first preview of a stack there
leaves nothing behind; a later one keeps its log, and a stack that is empty, beside the state.`,
		Example:           "  patag preview production --expect-no-changes\n  patag preview production --cloud gcp --project acme-ads --region europe-west1",
		Args:              app.OneStack,
		ValidArgsFunction: a.CompleteStack,
		RunE:              func(cmd *cobra.Command, args []string) error { return run(cmd.Context(), a, args[0], f) },
	}
	cmd.Flags().BoolVar(&f.json, "json", false, "print the counts of changes as JSON")
	cmd.Flags().BoolVar(&f.expectNoChanges, "expect-no-changes", false, "end with code 2 when something would change")
	cmd.Flags().StringArrayVarP(&f.settings, "config", "c", nil, "config for this run, KEY=VALUE (objects as JSON); repeatable")
	return cmd
}

func run(ctx context.Context, a *app.App, stack string, f flags) error {
	p := terminal.NewProgress(a.Streams)
	defer p.Close()
	s, err := a.BeginRun(stack, f.settings, true, p)
	if err != nil {
		return err
	}
	if name, needed := s.NeedsFoundation(); needed {
		sum, ok, err := s.Peek(ctx, name)
		if err != nil {
			return err
		}
		if !ok || len(sum.Outputs) == 0 {
			return exit.New(exit.Usage, "%s builds on stack %s, which is not up on %s", stack, name, s.Cloud.Name).
				WithHint("`patag up %s` first, or give its outputs with -c patag:foundation='{…}' (docs/configuration.md)", name)
		}
	}
	if err := s.BuildImages(ctx, false); err != nil {
		return err
	}
	end, err := s.Discard()
	if err != nil {
		return err
	}
	result, err := look(ctx, s)
	// Who is told to read the log must find it.
	end(result.Log != "" && (err != nil || f.expectNoChanges && result.Changed() > 0))
	if err != nil {
		return err
	}
	if f.json {
		if err := json.NewEncoder(a.Out).Encode(map[string]any{"stack": stack, "cloud": s.Cloud.Name, "changes": result.Changes}); err != nil {
			return err
		}
	}
	if f.expectNoChanges && result.Changed() > 0 {
		return exit.New(exit.Changes, "%s would change (%d resources)", stack, result.Changed()).WithHint("what in detail: %s", result.Log)
	}
	return nil
}

func look(ctx context.Context, s *app.Session) (engine.Result, error) {
	opened, err := s.Open(ctx)
	if err != nil {
		return engine.Result{}, err
	}
	defer opened.Close()
	return opened.Preview(ctx)
}
