// Package staging is `patag staging`: a copy of production, small and short-lived, for one project. A staging is the stack
// staging-PROJECT; whose it is, until when, and what is in it are config of that stack, kept beside its state.
package staging

import (
	"context"
	"fmt"
	"os"
	"os/user"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"patag/scripts/patag/app"
	"patag/scripts/patag/exit"
	"patag/scripts/patag/google"
	"patag/scripts/patag/project"
	"patag/scripts/patag/terminal"
	"patag/stacks/config"
)

// Config keys of a staging.
const (
	keyExpires   = "patag:expiresAt"
	keyAsleep    = "patag:asleep"
	keyImages    = "patag:images"
	keyCatalogue = "patag:catalogue"
)

// longest is how long a staging may be asked for at a time: what is forgotten costs no more than that.
const longest = 30 * 24 * time.Hour

// NewCommand makes the command.
func NewCommand(a *app.App) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "staging",
		Short: "Make, list and end stagings, one per project",
		Long: `Make, list and end stagings, one per project.

A staging is like production, but small, on spot machines, with an address, a name (PROJECT.staging.<domain>) and keys
of its own. It ends when its time is over (` + "`patag staging reap`" + `, from cron), or with ` + "`patag staging down`" + `.`,
	}
	cmd.AddCommand(newCreate(a), newList(a), newExtend(a), newSleep(a), newWake(a), newDown(a), newReap(a))
	return cmd
}

var projectName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?$`)

// stackOf checks a project's name and answers its staging's stack.
func stackOf(name string) (string, error) {
	name = strings.TrimPrefix(name, config.StagingPrefix)
	if !projectName.MatchString(name) {
		return "", exit.New(exit.Usage, "%q cannot name a project: up to 22 lower-case letters, digits and hyphens", name).WithHint("nothing was changed")
	}
	return config.StagingPrefix + name, nil
}

// oneProject accepts exactly one argument, the project.
func oneProject(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return exit.New(exit.Usage, "%s takes one project, not %d arguments", cmd.CommandPath(), len(args)).WithHint("for example: %s acme", cmd.CommandPath())
	}
	_, err := stackOf(args[0])
	return err
}

// expiry checks a --ttl and answers when it ends.
func expiry(ttl time.Duration) (string, error) {
	if ttl < 15*time.Minute || ttl > longest {
		return "", exit.New(exit.Usage, "--ttl %s is not from 15m to %s", ttl, "720h").WithHint("extend it later with `patag staging extend`")
	}
	return time.Now().Add(ttl).UTC().Truncate(time.Second).Format(time.RFC3339), nil
}

var labelRune = regexp.MustCompile(`[^a-z0-9_-]+`)

// whoami is the user as a label.
func whoami() string {
	name := os.Getenv("SUDO_USER")
	if u, err := user.Current(); name == "" && err == nil {
		name = u.Username
	}
	name = strings.Trim(labelRune.ReplaceAllString(strings.ToLower(name), "-"), "-_")
	if name == "" {
		return "nobody"
	}
	return name[:min(len(name), 60)]
}

// existing opens a staging that is there.
func existing(ctx context.Context, a *app.App, name string, p *terminal.Progress) (*app.Session, error) {
	stack, err := stackOf(name)
	if err != nil {
		return nil, err
	}
	s, err := a.BeginRun(stack, nil, false, p)
	if err != nil {
		return nil, err
	}
	sum, ok, err := s.Peek(ctx, stack)
	if err != nil {
		return nil, err
	}
	if !ok || sum.Resources == 0 && sum.Interrupted == 0 {
		return nil, exit.New(exit.Failed, "there is no staging %s on %s", strings.TrimPrefix(stack, config.StagingPrefix), s.Cloud.Name).WithHint("`patag staging list` shows what there is")
	}
	return s, nil
}

// change sets config of a staging and makes the cloud follow.
func change(ctx context.Context, a *app.App, name string, values project.Config, p *terminal.Progress) (*app.Session, error) {
	s, err := existing(ctx, a, name, p)
	if err != nil {
		return nil, err
	}
	if err := s.Keep(values); err != nil {
		return nil, err
	}
	// Begun again: the config is checked as it is now.
	if s, err = existing(ctx, a, name, p); err != nil {
		return nil, err
	}
	// With the images that run: neither more time nor a rest is a deployment.
	if err := s.KeepImages(); err != nil {
		return nil, err
	}
	_, err = s.Apply(ctx)
	return s, err
}

func newExtend(a *app.App) *cobra.Command {
	var ttl time.Duration
	cmd := &cobra.Command{
		Use: "extend PROJECT", Short: "Give a staging more time, counted from now", Args: oneProject,
		RunE: func(cmd *cobra.Command, args []string) error {
			until, err := expiry(ttl)
			if err != nil {
				return err
			}
			p := terminal.NewProgress(a.Streams)
			defer p.Close()
			if _, err := change(cmd.Context(), a, args[0], project.Config{keyExpires: until}, p); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.Out, "%s\n", until)
			return err
		},
	}
	cmd.Flags().DurationVar(&ttl, "ttl", 72*time.Hour, "how long from now, up to 720h")
	return cmd
}

func newSleep(a *app.App) *cobra.Command {
	return &cobra.Command{
		Use: "sleep PROJECT", Short: "Take all nodes of a staging away, and keep its data", Args: oneProject,
		RunE: func(cmd *cobra.Command, args []string) error {
			p := terminal.NewProgress(a.Streams)
			defer p.Close()
			s, err := change(cmd.Context(), a, args[0], project.Config{keyAsleep: "true"}, p)
			if err != nil {
				return err
			}
			if err := emptied(cmd.Context(), s, 15*time.Minute); err != nil {
				return err
			}
			p.Line("   it sleeps; disks, address and the cluster itself stay. Wake it with `patag staging wake %s`", args[0])
			return nil
		},
	}
}

// emptied waits until no machine of the staging is left. Usually none is; one that was killed while GKE took them away began that, and
// the program, which finds nothing more to change, does not wait for it.
func emptied(ctx context.Context, s *app.Session, most time.Duration) error {
	api, err := google.New(ctx, s.Cloud)
	if err != nil {
		return err
	}
	sum, err := s.Existing(ctx)
	if err != nil {
		return err
	}
	step := s.Progress.Step("wait until its machines are gone")
	defer step.Fail()
	for end := time.Now().Add(most); ; {
		machines, err := api.List(ctx, "aggregated/instances")
		if err != nil {
			return err
		}
		left := describe(ctx, s, api, s.Stack, sum, machines, nil).Machine
		if left == 0 {
			step.Done("")
			return nil
		}
		if time.Now().After(end) {
			return exit.New(exit.Failed, "%d machines of %s are still there after %s", left, s.Stack, most).WithHint("the same command again waits on")
		}
		step.Detail("%d left", left)
		select {
		case <-ctx.Done():
			return exit.New(exit.Interrupted, "wait for the machines of %s to go: interrupted", s.Stack).WithHint("they go all the same")
		case <-time.After(2 * time.Second):
		}
	}
}

func newWake(a *app.App) *cobra.Command {
	return &cobra.Command{
		Use: "wake PROJECT", Short: "Give a sleeping staging its nodes back", Args: oneProject,
		RunE: func(cmd *cobra.Command, args []string) error {
			p := terminal.NewProgress(a.Streams)
			defer p.Close()
			s, err := change(cmd.Context(), a, args[0], project.Config{keyAsleep: nil}, p)
			if err != nil {
				return err
			}
			return serving(cmd.Context(), s, 10*time.Minute)
		},
	}
}
