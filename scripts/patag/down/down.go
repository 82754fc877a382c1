// Package down is `patag down`: it destroys a stack, after asking.
package down

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"patag/scripts/patag/app"
	"patag/scripts/patag/backup"
	"patag/scripts/patag/engine"
	"patag/scripts/patag/exit"
	"patag/scripts/patag/terminal"
)

type flags struct {
	yes     bool
	confirm string
}

// NewCommand makes the command.
func NewCommand(a *app.App) *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:   "down STACK",
		Short: "Destroy a stack",
		Long: `Destroy a stack: delete every resource of it. A stack that holds protected resources (the foundation, and what
holds data) asks for its name to be typed, or given with --confirm; --yes is not enough for it. The foundation is
refused while another stack builds on it.`,
		Example:           "  patag down staging-acme --yes\n  patag down production --confirm production",
		Args:              app.OneStack,
		ValidArgsFunction: a.CompleteStack,
		RunE:              func(cmd *cobra.Command, args []string) error { return run(cmd.Context(), a, args[0], f) },
	}
	cmd.Flags().BoolVar(&f.yes, "yes", false, "do not ask (not enough for a protected stack)")
	cmd.Flags().StringVar(&f.confirm, "confirm", "", "the name of the stack, instead of typing it")
	return cmd
}

func run(ctx context.Context, a *app.App, stack string, f flags) error {
	p := terminal.NewProgress(a.Streams)
	defer p.Close()
	if f.confirm != "" && f.confirm != stack {
		return exit.New(exit.Usage, "--confirm %s is not the name of the stack, %s", f.confirm, stack).WithHint("nothing was changed")
	}
	s, err := a.BeginRun(stack, nil, false, p)
	if err != nil {
		return err
	}
	sum, ok, err := s.Peek(ctx, stack)
	if err != nil {
		return err
	}
	if !ok || sum.Resources == 0 && sum.Interrupted == 0 {
		p.Line("   %s is not up on %s: nothing to destroy", stack, s.Cloud.Name)
		return nil
	}
	if err := dependents(s); err != nil {
		return err
	}
	if err := backups(ctx, s); err != nil {
		return err
	}
	if err := ask(a, s, sum, f); err != nil {
		return err
	}
	return Destroy(ctx, s)
}

// Destroy destroys the session's stack without asking, and sweeps up what its clusters left. What is protected is not spared.
func Destroy(ctx context.Context, s *app.Session) error {
	opened, err := s.Open(ctx)
	if err != nil {
		return err
	}
	defer opened.Close()
	sum, err := opened.Recover(ctx)
	if err != nil {
		return err
	}
	if len(sum.Protected) > 0 {
		s.Progress.Line("   taking the protection off %s", list(sum.Protected))
		if err := opened.Unprotect(ctx); err != nil {
			return err
		}
	}
	before, err := s.Remember(sum)
	if err != nil {
		return err
	}
	// The clusters go first and as a whole: what is in them need not be deleted one by one, whether they still answer or not, and
	// what GKE made for them, which can be deleted only after them, is in the way of the network's deletion.
	if err := s.EndClusters(ctx, opened, sum.IDs[app.ClusterType]); err != nil {
		return err
	}
	if _, err := s.Sweep(ctx, before); err != nil {
		return err
	}
	if _, err := opened.Destroy(ctx); err != nil {
		return err
	}
	return s.Forget()
}

// dependents refuses to take the ground away under another stack.
func dependents(s *app.Session) error {
	if s.Kind != app.Foundation {
		return nil
	}
	names, known, err := engine.Stacks(s.Cloud.Backend, s.Project.Name)
	if err != nil || !known {
		return err
	}
	names = slices.DeleteFunc(names, func(n string) bool { return n == s.Stack })
	if len(names) == 0 {
		return nil
	}
	return exit.New(exit.Usage, "%s is what %s builds on", s.Stack, list(names)).WithHint("destroy these first: patag down %s", names[0])
}

// backups refuses to destroy a foundation whose bucket still holds some: the bucket would stop the run when half of it is gone.
func backups(ctx context.Context, s *app.Session) error {
	sum, ok, err := s.Peek(ctx, s.Stack)
	name, _ := sum.Outputs["backupBucket"].(string)
	if s.Kind != app.Foundation || err != nil || !ok || name == "" {
		return err
	}
	b, err := backup.Open(ctx, s)
	if err != nil {
		return err
	}
	all, err := b.List(ctx, "")
	if err != nil || len(all) == 0 {
		return err
	}
	return exit.New(exit.Usage, "bucket %s of %s holds %d backups, the newest of %s", name, s.Stack, len(all), all[0].Taken.Local().Format("2006-01-02 15:04:05")).
		WithHint("if nobody needs them: gcloud storage rm --all-versions --recursive 'gs://%s/**', then the same command again; nothing was changed", name)
}

func list(names []string) string {
	if len(names) > 6 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:6], ", "), len(names)-6)
	}
	return strings.Join(names, ", ")
}

func ask(a *app.App, s *app.Session, sum engine.Summary, f flags) error {
	if f.confirm == s.Stack || f.yes && len(sum.Protected) == 0 {
		return nil
	}
	if len(sum.Protected) == 0 {
		if !a.Interactive() {
			return exit.New(exit.Usage, "destroying %s wants a yes, and nobody can be asked", s.Stack).WithHint("add --yes")
		}
		answer, err := a.Ask(fmt.Sprintf("Destroy %s on %s, %d resources? [y/N] ", s.Stack, s.Cloud.Name, sum.Resources))
		if err != nil {
			return err
		}
		if a := strings.ToLower(answer); a != "y" && a != "yes" {
			return exit.New(exit.Usage, "not confirmed; nothing was changed")
		}
		return nil
	}
	if !a.Interactive() {
		return exit.New(exit.Usage, "%s holds protected resources: %s", s.Stack, list(sum.Protected)).WithHint("confirm with --confirm %s", s.Stack)
	}
	answer, err := a.Ask(fmt.Sprintf("Destroy %s on %s for good, %d resources, with protected ones among them:\n  %s\nType the name of the stack: ",
		s.Stack, s.Cloud.Name, sum.Resources, list(sum.Protected)))
	if err != nil {
		return err
	}
	if answer != s.Stack {
		return exit.New(exit.Usage, "%q is not %q; nothing was changed", answer, s.Stack)
	}
	return nil
}
