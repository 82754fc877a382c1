// Package up is `patag up`: it brings a stack up, with the foundation before it when that is missing.
package up

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"patag/scripts/patag/app"
	"patag/scripts/patag/engine"
	"patag/scripts/patag/exit"
	"patag/scripts/patag/terminal"
	"patag/stacks/config"
)

type flags struct {
	json, yes bool
	refresh   bool
	settings  []string
}

// NewCommand makes the command.
func NewCommand(a *app.App) *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:   "up STACK",
		Short: "Bring a stack up, or up to date",
		Long: `Bring a stack up, or up to date.

The foundation is brought up first when it is not there. Images are built and pushed, and the stack's program is
run. A run that was interrupted or killed is made good: the next one goes on from there. It ends when all pods are
ready and of the newest revision, and fails with the pod that is not and the reason. The last line of the output is
the URL that serves an ad.`,
		Example:           "  patag up production\n  patag up staging-acme -c patag:tagMax=4",
		Args:              app.OneStack,
		ValidArgsFunction: a.CompleteStack,
		RunE: func(cmd *cobra.Command, args []string) error {
			return run(cmd.Context(), a, args[0], f)
		},
	}
	cmd.Flags().BoolVar(&f.json, "json", false, "print changes and outputs as JSON")
	cmd.Flags().BoolVar(&f.refresh, "refresh", false, "look at what is really there first, and make good what was changed by hand; without it that is done when nothing is to be changed and the ad is not served")
	cmd.Flags().BoolVar(&f.yes, "yes", false, "ask nothing (up asks nothing today; scripts should say so all the same)")
	cmd.Flags().StringArrayVarP(&f.settings, "config", "c", nil, "config for this run, KEY=VALUE (objects as JSON); repeatable")
	return cmd
}

func run(ctx context.Context, a *app.App, stack string, f flags) error {
	p := terminal.NewProgress(a.Streams)
	defer p.Close()
	s, err := a.BeginRun(stack, f.settings, false, p)
	if err != nil {
		return err
	}
	if err := s.Finished(); err != nil {
		return err
	}
	if err := Foundation(ctx, s); err != nil {
		return err
	}
	if err := s.BuildImages(ctx, true); err != nil {
		return err
	}
	s.Look = f.refresh
	result, err := s.Apply(ctx)
	if err == nil && result.Changed() == 0 && !f.refresh {
		result, err = heal(ctx, s, result)
	}
	if err != nil {
		return err
	}
	if err := s.Settle(ctx, result.Outputs); err != nil {
		return err
	}
	if f.json {
		return json.NewEncoder(a.Out).Encode(map[string]any{"stack": stack, "cloud": s.Cloud.Name, "changes": result.Changes, "outputs": result.Outputs})
	}
	if ad, ok := result.Outputs["adURL"].(string); ok {
		if demo, ok := result.Outputs["demoURL"].(string); ok {
			p.Line("   demo page: %s", demo)
		}
		p.Line("   the ad:")
		fmt.Fprintln(a.Out, ad)
	}
	return nil
}

// heal looks whether an ad is served where nothing was to be changed. If none is, somebody changed what the state does not know of.
func heal(ctx context.Context, s *app.Session, result engine.Result) (engine.Result, error) {
	url, ok := s.Probe(result.Outputs)
	if !ok || s.Served(ctx, url, 5*time.Second) == nil {
		return result, ctx.Err()
	}
	s.Progress.Line(" ! nothing is to be changed, and yet no ad is served: looking at what is really there")
	s.Look = true
	again, err := s.Apply(ctx)
	if err != nil {
		return again, err
	}
	step := s.Progress.Step("wait for an ad from %s", url)
	if err := s.Served(ctx, url, 2*time.Minute); err != nil {
		step.Fail()
		return again, exit.New(exit.Failed, "%s is as the program says, and serves no ad: %w", s.Stack, err).WithHint("see `patag status %s`, and the pods' logs", s.Stack)
	}
	step.Done("it answers")
	return again, nil
}

// Foundation brings the foundation up when the stack needs it and it is not there, or not whole (its outputs are written last), or was
// made by an earlier version of the programs.
func Foundation(ctx context.Context, s *app.Session) error {
	name, needed := s.NeedsFoundation()
	if !needed {
		return nil
	}
	sum, ok, err := s.Peek(ctx, name)
	if err != nil {
		return err
	}
	why := "is not up yet"
	if ok && len(sum.Outputs) > 0 && sum.Interrupted == 0 {
		missing := slices.DeleteFunc(config.FoundationOutputs(), func(output string) bool { return sum.Outputs[output] != nil })
		if len(missing) == 0 {
			return nil
		}
		why = "is of an earlier version: it lacks " + strings.Join(missing, ", ")
	}
	below, err := s.App.Begin(name, nil, s.Progress)
	if err != nil {
		return err
	}
	s.Progress.Line("   %s builds on %s, which %s", s.Stack, name, why)
	_, err = below.Apply(ctx)
	return err
}
