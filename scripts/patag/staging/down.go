package staging

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"patag/scripts/patag/app"
	"patag/scripts/patag/down"
	"patag/scripts/patag/exit"
	"patag/scripts/patag/terminal"
	"patag/stacks/config"
)

func newDown(a *app.App) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use: "down PROJECT", Short: "Take a staging down: nothing of it is left that costs money", Args: oneProject,
		RunE: func(cmd *cobra.Command, args []string) error {
			p := terminal.NewProgress(a.Streams)
			defer p.Close()
			stack, err := stackOf(args[0])
			if err != nil {
				return err
			}
			s, err := a.BeginRun(stack, nil, false, p)
			if err != nil {
				return err
			}
			sum, ok, err := s.Peek(cmd.Context(), stack)
			if err != nil {
				return err
			}
			if !ok {
				p.Line("   there is no staging %s on %s: nothing to take down", args[0], s.Cloud.Name)
				return nil
			}
			if sum.Resources > 0 {
				if err := a.Confirm(s, yes, "", fmt.Sprintf("Take %s down, %d resources, with its data?", stack, sum.Resources)); err != nil {
					return err
				}
			}
			return end(cmd.Context(), s)
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

// end destroys a staging and its stack. It refuses all else, whatever led here.
func end(ctx context.Context, s *app.Session) error {
	if s.Kind != string(config.Staging) || !strings.HasPrefix(s.Stack, config.StagingPrefix) {
		return exit.New(exit.Usage, "%s is no staging", s.Stack)
	}
	if err := down.Destroy(ctx, s); err != nil {
		return err
	}
	opened, err := s.Open(ctx)
	if err != nil {
		return err
	}
	defer opened.Close()
	return opened.Remove(ctx)
}

func newReap(a *app.App) *cobra.Command {
	var dry bool
	cmd := &cobra.Command{
		Use:   "reap",
		Short: "Take down the stagings whose time is over",
		Long: `Take down the stagings whose time is over. Never anything else: neither production nor the foundation, nor a staging
without an expiry, nor one that somebody works on. Meant for cron.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return reap(cmd.Context(), a, dry) },
	}
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only say what would be taken down")
	return cmd
}

func reap(ctx context.Context, a *app.App, dry bool) error {
	p := terminal.NewProgress(a.Streams)
	defer p.Close()
	all, err := list(ctx, a, p)
	if err != nil {
		return err
	}
	var failed []error
	for _, st := range all {
		if st.Expires.IsZero() || time.Now().Before(st.Expires) {
			continue
		}
		line := fmt.Sprintf("%s of %s, expired %s", st.Project, st.Owner, until(st.Expires))
		if dry {
			fmt.Fprintln(a.Out, line)
			continue
		}
		p.Line("   %s", line)
		s, err := a.BeginRun(config.StagingPrefix+st.Project, nil, false, p)
		var later bool
		if err == nil {
			later, err = extended(s)
		}
		if later {
			p.Line("   left alone: it was given more time, which is not yet where it runs (`patag staging extend %s` again)", st.Project)
			continue
		}
		if err == nil {
			err = end(ctx, s)
		}
		if exit.Code(err) == exit.Locked {
			p.Line(" ! left alone: %v", err)
			continue
		}
		if err != nil {
			// One that cannot be taken down must not keep the others.
			failed = append(failed, fmt.Errorf("%s: %w", st.Project, err))
			continue
		}
		fmt.Fprintln(a.Out, line)
	}
	return errors.Join(failed...)
}

// extended tells whether the config gives more time than the staging knows of: somebody extended it this moment, or was cut off.
func extended(s *app.Session) (bool, error) {
	text, err := s.Value(keyExpires)
	if err != nil || text == "" {
		return false, err
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return false, fmt.Errorf("%s of %s: %w", keyExpires, s.Stack, err)
	}
	return time.Now().Before(at), nil
}
