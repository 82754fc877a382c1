// Package sandbox is `patag sandbox start|stop|status|preempt|delete`: the life of the daemon that is the cloud on this
// machine.
package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"patag/infra/sandbox/client"
	"patag/infra/sandbox/layout"
	"patag/scripts/patag/app"
	"patag/scripts/patag/cloud"
	"patag/scripts/patag/exit"
	"patag/scripts/patag/terminal"
)

// NewCommand makes the command.
func NewCommand(a *app.App) *cobra.Command {
	cmd := &cobra.Command{Use: "sandbox", Short: "Start, stop and look at the cloud on this machine", Args: cobra.NoArgs}
	cmd.AddCommand(newStart(a), newStop(a), newStatus(a), newPreempt(a), newDelete(a))
	return cmd
}

// running finds the running sandbox, or ends with exit.NotRunning.
func running(a *app.App) (layout.Layout, *client.Client, error) {
	l, err := cloud.StateFolder(a.Flags.State)
	if err != nil {
		return l, nil, err
	}
	_, up, err := client.Daemon(l)
	if err != nil {
		return l, nil, err
	}
	if !up {
		return l, nil, cloud.NotRunning(l)
	}
	c, err := client.New(l)
	return l, c, err
}

func newStatus(a *app.App) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "status", Short: "Show what the sandbox runs (exit code 4 when it does not run)", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, c, err := running(a)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), 15*time.Second)
			defer cancel()
			st, err := c.Status(ctx)
			if err != nil {
				return unanswered(err)
			}
			if asJSON {
				enc := json.NewEncoder(a.Out)
				enc.SetIndent("", "  ")
				return enc.Encode(st)
			}
			show(a.Out, c.Base(), st)
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func unanswered(err error) error {
	var answer *client.Error
	if errors.As(err, &answer) {
		return exit.New(exit.Failed, "the sandbox refuses: %w", err)
	}
	return exit.New(exit.Failed, "the sandbox runs and does not answer: %w", err).WithHint("`patag sandbox stop` ends it, by force if it must; then start it again")
}

func show(w io.Writer, base string, st client.Status) {
	state := "ready"
	if !st.Ready {
		state = st.Phase
	}
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintf(t, "sandbox\t%s, process %d since %s\n", state, st.PID, st.Since.Local().Format("2006-01-02 15:04:05"))
	fmt.Fprintf(t, "API\t%s\n", base)
	if st.NetworkPolicies {
		fmt.Fprintf(t, "NetworkPolicies\tenforced\n")
	} else {
		fmt.Fprintf(t, "NetworkPolicies\tnot enforced: every pod can reach every other\n")
	}
	fmt.Fprintf(t, "version\t%s\n", st.Version)
	t.Flush()
	for _, c := range st.Clusters {
		fmt.Fprintf(w, "\ncluster %s (%s, %s) at %s: %s\n", c.Name, c.Project, c.Location, c.Endpoint, c.Status)
		if len(c.Nodes) == 0 {
			continue
		}
		fmt.Fprintln(t, "NODE\tPOOL\tZONE\tSPOT\tREADY\tCPU\tMEMORY")
		for _, n := range c.Nodes {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", n.Name, n.Pool, n.Zone, yes(n.Spot), yes(n.Ready), n.CPU, n.Memory)
		}
		t.Flush()
	}
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func newPreempt(a *app.App) *cobra.Command {
	return &cobra.Command{
		Use: "preempt NODE", Short: "Take a spot node away, as Compute Engine does",
		Long: `Take a spot or preemptible node away as Compute Engine does: it gets 30 seconds' notice, is then gone, and is
replaced later.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return exit.New(exit.Usage, "which node?").WithHint("`patag sandbox status` lists them; only those with SPOT yes can be preempted")
			}
			return nil
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			return spotNodes(cmd.Context(), a), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			_, c, err := running(a)
			if err != nil {
				return err
			}
			p := terminal.NewProgress(a.Streams)
			defer p.Close()
			step := p.Step("preempt %s", args[0])
			defer step.Fail()
			if err := c.Preempt(cmd.Context(), args[0]); err != nil {
				var answer *client.Error
				if errors.As(err, &answer) && answer.Code == 404 {
					return exit.New(exit.Usage, "%w", err).WithHint("`patag sandbox status` lists the nodes")
				}
				return unanswered(err)
			}
			step.Done("it had its notice and is gone; its pool makes another")
			return nil
		},
	}
}

func spotNodes(ctx context.Context, a *app.App) []string {
	_, c, err := running(a)
	if err != nil {
		return nil
	}
	st, err := c.Status(ctx)
	if err != nil {
		return nil
	}
	var names []string
	for _, cl := range st.Clusters {
		for _, n := range cl.Nodes {
			if n.Spot {
				names = append(names, n.Name)
			}
		}
	}
	return names
}
