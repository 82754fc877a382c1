// Package deploy is `patag deploy`, `rollback` and `history`: a new image of the tag servers is tried on one server before the
// others get it. That server, the canary, is part of the stack's own program (patag:canaryImage, patag:canaryLive), so that no
// step is an edit behind the program's back. It is dark first and asked through the API server; only what answers as the running
// servers do gets traffic, and only what serves that as well as they do is rolled out. Anything else is taken back.
package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"patag/scripts/patag/app"
	"patag/scripts/patag/exit"
	"patag/scripts/patag/kube"
	"patag/scripts/patag/project"
	"patag/scripts/patag/terminal"
)

type flags struct {
	images, placements []string
	promote            string
	abort, json        bool
	limits             Limits
}

// NewCommands makes the commands.
func NewCommands(a *app.App) []*cobra.Command {
	return []*cobra.Command{newDeploy(a), newRollback(a), newHistory(a)}
}

func newDeploy(a *app.App) *cobra.Command {
	f := flags{limits: Standard()}
	cmd := &cobra.Command{
		Use:   "deploy STACK",
		Short: "Roll new images out, after one server has shown that they are good",
		Long: `Roll new images out, after one server has shown that they are good.

Images are built from the working tree, or given by digest. One tag server more is started with the new image and
asked what the running ones are asked, before it gets any traffic: status, fields and time of the answers are
compared. Then it takes its share of the traffic for --window, and errors, fill rate and time are compared again. Only
then the others are replaced, one by one. If anything is worse, what ran before stays, the new server is taken
away and the command ends with code 1.

Interrupted or killed, the same command goes on where it was; --abort takes everything back instead.`,
		Example: "  patag deploy production\n  patag deploy staging-acme --image tag@sha256:… --window 1m\n  patag deploy staging-acme --json >deployed.json && patag deploy production --promote deployed.json\n  patag deploy production --abort",
		Args:    app.OneStack, ValidArgsFunction: a.CompleteStack,
		RunE: func(cmd *cobra.Command, args []string) error {
			r := &run{app: a, flags: f}
			return r.all(cmd.Context(), args[0])
		},
	}
	cmd.Flags().StringArrayVar(&f.images, "image", nil, "an image by digest, [REPOSITORY/]NAME@sha256:…, instead of building; its last name says which (tag, redis …); repeatable")
	cmd.Flags().StringVar(&f.promote, "promote", "", "deploy the images that another stack's deployment brought, by digest: a file with what `patag deploy OTHER --json` printed, or - for standard input")
	cmd.MarkFlagsMutuallyExclusive("image", "promote")
	cmd.Flags().StringArrayVar(&f.placements, "placement", nil, "placements to ask the new server for (default: what visitors asked for within the last hour, the demo catalogue's, patag:demoPlacement); repeatable")
	cmd.Flags().BoolVar(&f.abort, "abort", false, "take a deployment back that was interrupted")
	cmd.Flags().BoolVar(&f.json, "json", false, "print the result as JSON")
	f.limits.register(cmd.Flags())
	return cmd
}

// Report is what is told at the end.
type Report struct {
	Stack string `json:"stack"`
	// Result is deployed, unchanged or rolled back.
	Result  string            `json:"result"`
	Reason  string            `json:"reason,omitempty"`
	From    map[string]string `json:"from"`
	To      map[string]string `json:"to"`
	Dark    *Comparison       `json:"dark,omitempty"`
	Live    *Comparison       `json:"live,omitempty"`
	Seconds float64           `json:"seconds"`
	// Steps are the seconds of each.
	Steps map[string]float64 `json:"steps"`
}

type run struct {
	app     *app.App
	flags   flags
	p       *terminal.Progress
	s       *app.Session
	plan    plan
	resumed bool
	// doubtful is true while the state may not be as the cluster is: after a run of the program that was cut off.
	doubtful  bool
	namespace string
	// address and host are what visitors reach the stack by.
	address, host string
	cluster       *kube.Cluster
	report        Report
}

// The results of a deployment.
const (
	deployed   = "deployed"
	unchanged  = "unchanged"
	rolledBack = "rolled back"
)

func (r *run) all(ctx context.Context, stack string) error {
	r.p = terminal.NewProgress(r.app.Streams)
	defer r.p.Close()
	return r.alone(ctx, stack, func() error { return r.deploy(ctx, stack) })
}

// alone opens the session, and keeps other deployments away for all of this one.
func (r *run) alone(ctx context.Context, stack string, do func() error) error {
	var err error
	if r.s, err = r.app.BeginRun(stack, nil, false, r.p); err != nil {
		return err
	}
	if r.s.Kind == app.Foundation {
		return exit.New(exit.Usage, "%s runs no images", stack).WithHint("deploy to production or a staging")
	}
	return r.s.AloneDeploying(ctx, do)
}

func (r *run) deploy(ctx context.Context, stack string) error {
	begin := time.Now()
	r.report = Report{Stack: stack, Steps: map[string]float64{}}
	if err := r.begin(ctx, stack); err != nil {
		return err
	}
	err := r.work(ctx)
	r.report.Seconds = time.Since(begin).Seconds()
	r.report.From, r.report.To = r.plan.From, r.plan.To
	if r.report.Result == "" {
		return err
	}
	if r.flags.json {
		return errors.Join(err, json.NewEncoder(r.app.Out).Encode(r.report))
	}
	switch r.report.Result {
	case deployed:
		r.p.Line("   %s runs the new images, %s", stack, terminal.Elapsed(time.Since(begin)))
	case unchanged:
		r.p.Line("   %s runs these images already; nothing was changed", stack)
	case rolledBack:
		r.p.Line("   %s runs what it ran before, %s", stack, terminal.Elapsed(time.Since(begin)))
	}
	return err
}

// begin reads what is there and finds a deployment that was interrupted.
func (r *run) begin(ctx context.Context, stack string) error {
	sum, err := r.s.Existing(ctx)
	if err != nil {
		return err
	}
	if asleep, _ := sum.Outputs["asleep"].(bool); asleep {
		return exit.New(exit.Usage, "%s is asleep: no server runs to compare with", stack).WithHint("`patag staging wake` first")
	}
	r.namespace, _ = sum.Outputs["namespace"].(string)
	r.address, _ = sum.Outputs["address"].(string)
	r.host, _ = sum.Outputs["host"].(string)
	if r.resumed, err = r.plan.read(r.s.DeploymentFile()); err != nil {
		return err
	}
	r.doubtful = r.resumed
	if r.flags.abort && !r.resumed {
		return exit.New(exit.Usage, "no deployment of %s is under way", stack).WithHint("`patag rollback %s` goes back to an earlier one", stack)
	}
	if err := r.reachCluster(ctx, sum.Outputs); err != nil {
		return r.unreachable(ctx, err)
	}
	if r.resumed {
		r.p.Line("   going on with the %s that %s began %s", r.plan.kind(), r.plan.By, r.plan.Begun.Local().Format("2006-01-02 15:04:05"))
	}
	return nil
}

// reachCluster finds the cluster and waits a little for its answer: a control plane that is being restarted comes back in seconds.
func (r *run) reachCluster(ctx context.Context, outputs map[string]any) (err error) {
	for tries := 0; ; tries++ {
		if r.cluster, err = kube.Find(ctx, r.s.Cloud, outputs); err == nil {
			err = r.cluster.Answers(ctx)
		}
		if err == nil || tries == 4 || pause(ctx, 3*time.Second) != nil {
			return err
		}
	}
}

// unreachable is the end of a command whose cluster is gone or answers nothing. A deployment that was interrupted must not be in the
// way of a rebuild then, so --abort forgets it: the next run of the program takes its canary away.
func (r *run) unreachable(ctx context.Context, cause error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case !r.flags.abort:
		err := exit.New(exit.Failed, "the cluster of %s cannot be reached: %w", r.s.Stack, cause)
		if r.resumed {
			return err.WithHint("when it is gone: patag deploy %s --abort, then patag rebuild %s; nothing was changed", r.s.Stack, r.s.Stack)
		}
		return err.WithHint("when it is gone: patag rebuild %s; nothing was changed", r.s.Stack)
	}
	if err := r.s.Keep(noCanary); err != nil {
		return err
	}
	if err := r.s.DeploymentDone(); err != nil {
		return err
	}
	r.p.Line(" ! the cluster of %s cannot be reached (%v)", r.s.Stack, cause)
	return exit.New(exit.Failed, "the deployment of %s is forgotten, and nothing was taken back: its cluster cannot be reached", r.s.Stack).
		WithHint("patag rebuild %s makes a new cluster; where the old one comes back, patag up %s does the rest", r.s.Stack, r.s.Stack)
}

// noCanary takes the canary out of the config.
var noCanary = project.Config{app.KeyCanaryImage: nil, app.KeyCanaryLive: nil}

func (r *run) work(ctx context.Context) error {
	if r.flags.abort {
		return r.back(ctx, "that was asked for", nil)
	}
	if r.resumed {
		if err := r.sameImages(ctx); err != nil {
			return err
		}
		if r.plan.Step == stepBack {
			return r.back(ctx, r.plan.Reason, errors.New(r.plan.Reason))
		}
	} else if err := r.decide(ctx); err != nil || r.report.Result != "" {
		if err != nil && ctx.Err() != nil && r.plan.Step != "" {
			return r.interrupted()
		}
		return err
	}
	r.message(r.plan.verb())
	err := r.forward(ctx)
	switch {
	case err == nil:
		r.report.Result = deployed
		return r.s.DeploymentDone()
	case ctx.Err() != nil:
		return r.interrupted()
	case exit.Code(err) == exit.Locked, exit.Code(err) == exit.NotRunning:
		return err // it says nothing against the image
	}
	return r.back(ctx, err.Error(), err)
}

func (r *run) interrupted() error {
	return exit.New(exit.Interrupted, "the %s of %s was interrupted; it is as far as %q", r.plan.kind(), r.s.Stack, r.plan.Step).
		WithHint("`patag deploy %s` goes on, `patag deploy %s --abort` takes it back", r.s.Stack, r.s.Stack)
}

// message is what Pulumi's history keeps of each update.
func (r *run) message(verb string) { r.s.Message = fmt.Sprintf("patag %s by %s", verb, r.plan.By) }

// forward goes through the steps that are left.
func (r *run) forward(ctx context.Context) error {
	if r.plan.Step != stepRoll && r.plan.From["tag"] != r.plan.To["tag"] {
		if err := r.dark(ctx); err != nil {
			return err
		}
		if err := r.live(ctx); err != nil {
			return err
		}
	}
	return r.roll(ctx)
}

// timed notes how long a step took.
func (r *run) timed(name string, do func() error) error {
	begin := time.Now()
	err := do()
	r.report.Steps[name] += time.Since(begin).Seconds()
	return err
}
