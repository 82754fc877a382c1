// Package unlock is `patag unlock`: it tells who has a stack, and removes the lock of a run that is gone.
package unlock

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"patag/scripts/patag/app"
	"patag/scripts/patag/engine"
	"patag/scripts/patag/exit"
	"patag/scripts/patag/terminal"
)

// NewCommand makes the command.
func NewCommand(a *app.App) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "unlock STACK",
		Short: "Tell who has a stack, and remove the lock of a run that is gone",
		Long: `Tell who has a stack, and remove the lock of a run that is gone.

The lock of a process that lives on this machine is never removed: end that process. That of a dead one is (the next run
would do so too). Whether a process of another machine lives cannot be seen from here: --force removes its lock, once you have asked whoever
it names. Two runs at once on one stack damage its state.

After this, patag up makes good what the ended run left half done.`,
		Example:           "  patag unlock production\n  patag unlock production --cloud gcp --project acme-ads --region europe-west1 --backend gs://acme-state --force",
		Args:              app.OneStack,
		ValidArgsFunction: a.CompleteStack,
		RunE:              func(cmd *cobra.Command, args []string) error { return run(cmd.Context(), a, args[0], force) },
	}
	cmd.Flags().BoolVar(&force, "force", false, "remove locks of other machines, too")
	return cmd
}

func run(ctx context.Context, a *app.App, stack string, force bool) error {
	p := terminal.NewProgress(a.Streams)
	defer p.Close()
	s, err := a.Begin(stack, nil, p)
	if err != nil {
		return err
	}
	if who, yes := s.InUse(); yes {
		return exit.New(exit.Locked, "stack %s is worked on by %s, which lives", stack, who).WithHint("wait for it, or end it with Ctrl-C there (or kill its process): it then leaves a state to go on from")
	}
	locks, err := s.Locks(ctx)
	if err != nil {
		return err
	}
	if len(locks) == 0 {
		fmt.Fprintf(a.Out, "stack %s is not locked\n", stack)
		return nil
	}
	for _, l := range locks {
		switch {
		case l.Lives():
			return exit.New(exit.Locked, "stack %s is locked by %s, which lives", stack, l).WithHint("wait for it, or end it: kill %d", l.PID())
		case !l.Here() && !force:
			return exit.New(exit.Locked, "stack %s is locked by %s, on another machine", stack, l).WithHint("ask there whether it still runs; when it does not: patag unlock %s --force", stack)
		}
	}
	if err := engine.Alone(s.Cloud.Work(stack), stack, func() error { return remove(ctx, s, locks) }); err != nil {
		return err
	}
	for _, l := range locks {
		fmt.Fprintf(a.Out, "removed the lock of %s\n", l)
	}
	return nil
}

func remove(ctx context.Context, s *app.Session, locks []engine.Lock) error {
	if !strings.HasPrefix(s.Cloud.Backend, "file://") {
		o, err := s.EngineOptions()
		if err != nil {
			return err
		}
		return engine.Cancel(ctx, o)
	}
	for _, l := range locks {
		if err := l.Remove(); err != nil {
			return err
		}
	}
	return nil
}
