// Package cli puts the commands of patag together and runs one.
package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"patag/scripts/patag/app"
	"patag/scripts/patag/backup"
	"patag/scripts/patag/deploy"
	"patag/scripts/patag/down"
	"patag/scripts/patag/drift"
	"patag/scripts/patag/engine"
	"patag/scripts/patag/env"
	"patag/scripts/patag/exit"
	"patag/scripts/patag/images"
	"patag/scripts/patag/policy"
	"patag/scripts/patag/preview"
	"patag/scripts/patag/rebuild"
	"patag/scripts/patag/sandbox"
	"patag/scripts/patag/staging"
	"patag/scripts/patag/status"
	"patag/scripts/patag/terminal"
	"patag/scripts/patag/unlock"
	"patag/scripts/patag/up"
)

// Main runs the process's own arguments. The first Ctrl-C or SIGTERM ends the work cleanly, the second at once.
func Main(a *app.App) int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		fmt.Fprintln(os.Stderr, "\n ! interrupted: finishing what was begun, to leave a state that the next run can go on from (again to stop at once)")
		cancel()
		<-signals
		engine.EndNow()
		os.Exit(exit.Interrupted)
	}()
	return Run(ctx, a, terminal.Standard(), os.Args[1:])
}

// Run runs one command and answers its exit code. Nothing of the process but the environment is used.
func Run(ctx context.Context, a *app.App, streams terminal.Streams, args []string) int {
	a.Streams = streams
	root := newRoot(a)
	root.SetArgs(args)
	root.SetIn(streams.In)
	root.SetOut(streams.Out)
	root.SetErr(streams.Err)
	began := false
	root.PersistentPreRun = func(*cobra.Command, []string) { began = true }
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exit.OK
	}
	var known *exit.Error
	if !began && !errors.As(err, &known) {
		// What cobra itself refuses is about the arguments.
		err = exit.New(exit.Usage, "%w", err).WithHint("see patag --help")
	}
	fmt.Fprintln(streams.Err, "error: "+exit.Text(err))
	return exit.Code(err)
}

func newRoot(a *app.App) *cobra.Command {
	root := &cobra.Command{
		Use:   "patag",
		Short: "Provision, deploy and operate the ad-tag platform",
		Long: `patag provisions, deploys and operates the ad-tag platform on Google Kubernetes Engine, and brings the very same
programs up on this machine, without a cloud account (the sandbox).

` + exit.Help,
		Version:       a.Version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_ = cmd.Help()
			return exit.New(exit.Usage, "no command is given")
		},
	}
	a.Flags.Register(root)
	root.AddCommand(up.NewCommand(a), preview.NewCommand(a), down.NewCommand(a), status.NewCommand(a), env.NewCommand(a),
		sandbox.NewCommand(a), images.NewCommand(a), newVersion(a))
	root.AddCommand(backup.NewCommands(a)...)
	root.AddCommand(deploy.NewCommands(a)...)
	root.AddCommand(rebuild.NewCommand(a), staging.NewCommand(a), drift.NewCommand(a), unlock.NewCommand(a), policy.NewCommand(a))
	for _, group := range root.Commands() {
		if group.HasSubCommands() && group.RunE == nil {
			group.RunE = func(cmd *cobra.Command, _ []string) error {
				_ = cmd.Help()
				return exit.New(exit.Usage, "%s: no command is given", cmd.CommandPath())
			}
		}
	}
	return root
}

func newVersion(a *app.App) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		Run: func(*cobra.Command, []string) { fmt.Fprintln(a.Out, a.Version) },
	}
}
