// Package drift is `patag drift`: what differs between the program, the stack's state and the cloud.
package drift

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"patag/scripts/patag/app"
	"patag/scripts/patag/engine"
	"patag/scripts/patag/exit"
	"patag/scripts/patag/terminal"
)

type flags struct {
	json     bool
	settings []string
}

// NewCommand makes the command.
func NewCommand(a *app.App) *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:   "drift STACK",
		Short: "Tell what differs from the program, and change nothing",
		Long: `Tell what differs from the program, and change nothing.

Every resource is read from the cloud and compared with what the program, the stack's config and its running images ask for. What
an up would make, change or delete is told with the properties in question, and who changed them: the cloud (somebody by hand) or
the program. Images are those of the last run: what the working tree would build is no drift, ` + "`patag preview`" + ` tells of it. Code 0 means that nothing differs, 2 that something does.`,
		Example:           "  patag drift production\n  patag drift production --json",
		Args:              app.OneStack,
		ValidArgsFunction: a.CompleteStack,
		RunE:              func(cmd *cobra.Command, args []string) error { return run(cmd.Context(), a, args[0], f) },
	}
	cmd.Flags().BoolVar(&f.json, "json", false, "print the differences as JSON")
	cmd.Flags().StringArrayVarP(&f.settings, "config", "c", nil, "config for this run, KEY=VALUE (objects as JSON); repeatable")
	return cmd
}

// Report is what --json prints.
type Report struct {
	Stack string `json:"stack"`
	Cloud string `json:"cloud"`
	// Interrupted counts operations of a killed run that are not made good yet.
	Interrupted int                 `json:"interruptedOperations"`
	Differences []engine.Difference `json:"differences"`
}

func run(ctx context.Context, a *app.App, stack string, f flags) error {
	p := terminal.NewProgress(a.Streams)
	defer p.Close()
	s, err := a.BeginRun(stack, f.settings, false, p)
	if err != nil {
		return err
	}
	sum, err := s.Existing(ctx)
	if err != nil {
		return err
	}
	if err := images(ctx, s); err != nil {
		return err
	}
	result, err := look(ctx, s)
	if err != nil {
		return err
	}
	report := Report{Stack: stack, Cloud: s.Cloud.Name, Interrupted: sum.Interrupted, Differences: result.Differences}
	if f.json {
		if report.Differences == nil {
			report.Differences = []engine.Difference{}
		}
		if err := json.NewEncoder(a.Out).Encode(report); err != nil {
			return err
		}
	} else {
		for _, d := range report.Differences {
			fmt.Fprintln(a.Out, d)
		}
	}
	switch {
	case sum.Interrupted > 0:
		return exit.New(exit.Changes, "%s: %d operations of a killed run are open, and %d resources differ", stack, sum.Interrupted, len(report.Differences)).
			WithHint("`patag up %s` makes both good; what in detail: %s", stack, result.Log)
	case len(report.Differences) > 0:
		return exit.New(exit.Changes, "%s: %d resources differ from the program", stack, len(report.Differences)).
			WithHint("`patag up %s` makes them as the program says; to keep a change, write it into the program or the config. In detail: %s", stack, result.Log)
	}
	return nil
}

// images are those that the stack runs: a tree with newer sources is no drift, `patag preview` tells of it.
func images(ctx context.Context, s *app.Session) error {
	own, err := s.Value("patag:images")
	if err != nil {
		return err
	}
	if own != "" {
		return nil
	}
	if _, err := s.ImagesOf(s.Stack); err != nil {
		s.Progress.Line(" ! it is not known from here which images %s runs: it is compared with those of the working tree", s.Stack)
		return s.BuildImages(ctx, false)
	}
	return s.KeepImages()
}

func look(ctx context.Context, s *app.Session) (engine.Result, error) {
	opened, err := s.Open(ctx)
	if err != nil {
		return engine.Result{}, err
	}
	defer opened.Close()
	return opened.Drift(ctx)
}
