package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"time"

	"github.com/spf13/cobra"

	"patag/scripts/patag/app"
	"patag/scripts/patag/exit"
	"patag/scripts/patag/terminal"
)

func newRollback(a *app.App) *cobra.Command {
	to := 0
	f := flags{limits: Standard()}
	cmd := &cobra.Command{
		Use:   "rollback STACK",
		Short: "Go back to the images of an earlier deployment",
		Long: `Go back to the images of an earlier deployment.

By default to those of the last update that ran other ones; --to takes a number of ` + "`patag history`" + `. They served
before, so there is no canary: the servers are replaced one by one, each when its successor is ready. A deployment
that is under way is ended by it. When the rollback itself fails, what ran before it stays.`,
		Args: app.OneStack, ValidArgsFunction: a.CompleteStack,
		RunE: func(cmd *cobra.Command, args []string) error {
			r := &run{app: a, flags: f}
			return r.rollback(cmd.Context(), args[0], to)
		},
	}
	cmd.Flags().IntVar(&to, "to", 0, "number of the update whose images are wanted (default: the last one with other images)")
	cmd.Flags().BoolVar(&f.json, "json", false, "print the result as JSON")
	cmd.Flags().DurationVar(&f.limits.Rollout, "rollout-timeout", f.limits.Rollout, "how long it may take to replace the servers")
	return cmd
}

func (r *run) rollback(ctx context.Context, stack string, to int) error {
	r.p = terminal.NewProgress(r.app.Streams)
	defer r.p.Close()
	return r.alone(ctx, stack, func() error { return r.goBack(ctx, stack, to) })
}

func (r *run) goBack(ctx context.Context, stack string, to int) error {
	begin := time.Now()
	r.report = Report{Stack: stack, Steps: map[string]float64{}}
	if err := r.begin(ctx, stack); err != nil {
		return err
	}
	if r.resumed && to == 0 && !r.plan.Rollback {
		return r.abandon(ctx, begin)
	}
	if r.resumed && to == 0 {
		return r.replace(ctx, begin) // killed: the same command finishes it
	}
	running, err := r.s.Running(ctx)
	if err != nil {
		return err
	}
	all, err := history(ctx, r.s)
	if err != nil {
		return err
	}
	from := texts(running)
	if r.resumed {
		from = r.plan.From
	}
	target, err := earlier(all, from, to)
	if err != nil {
		return err
	}
	r.p.Line("   back to the images of update %d, %s: tag %s, now %s", target.Number, target.Begun.Local().Format("2006-01-02 15:04:05"), short(target.Images["tag"]), short(from["tag"]))
	r.plan = plan{Begun: time.Now().UTC(), By: who(), Rollback: true, From: from, To: maps.Clone(from)}
	for name, ref := range target.Images {
		if _, runs := from[name]; runs {
			r.plan.To[name] = ref
		}
	}
	return r.replace(ctx, begin)
}

// replace does what the plan of a rollback says.
func (r *run) replace(ctx context.Context, begin time.Time) error {
	if r.plan.Step == stepBack {
		return r.back(ctx, r.plan.Reason, errors.New(r.plan.Reason))
	}
	r.message(r.plan.verb())
	if err := r.roll(ctx); err != nil {
		if ctx.Err() != nil {
			return r.interrupted()
		}
		if exit.Code(err) == exit.Locked || exit.Code(err) == exit.NotRunning {
			return err
		}
		return r.back(ctx, err.Error(), err)
	}
	if err := r.s.DeploymentDone(); err != nil {
		return err
	}
	r.report.Result = deployed
	return r.told(begin)
}

// abandon ends the deployment that is under way, which is what somebody means who asks for a rollback now.
func (r *run) abandon(ctx context.Context, begin time.Time) error {
	if err := r.back(ctx, "a rollback was asked for", nil); err != nil {
		return err
	}
	return r.told(begin)
}

func (r *run) told(begin time.Time) error {
	r.report.Seconds, r.report.From, r.report.To = time.Since(begin).Seconds(), r.plan.From, r.plan.To
	if r.flags.json {
		return json.NewEncoder(r.app.Out).Encode(r.report)
	}
	r.p.Line("   %s is back, %s", r.report.Stack, terminal.Elapsed(time.Since(begin)))
	return nil
}

// earlier finds the update whose images are wanted.
func earlier(all []Entry, running map[string]string, to int) (Entry, error) {
	for i := len(all) - 1; i >= 0; i-- {
		e := all[i]
		switch {
		case to != 0 && e.Number != to:
			continue
		case to != 0 && len(e.Images) == 0:
			return Entry{}, exit.New(exit.Usage, "update %d ran no images", to).WithHint("choose another; nothing was changed")
		case to != 0 && e.Result != "succeeded":
			return Entry{}, exit.New(exit.Usage, "update %d did not succeed (%s): its images never ran whole", to, e.Result).WithHint("choose another; nothing was changed")
		case to != 0:
			return e, nil
		case e.Result == "succeeded" && e.Images["tag"] != "" && e.Images["tag"] != running["tag"]:
			return e, nil
		}
	}
	if to != 0 {
		return Entry{}, exit.New(exit.Usage, "there is no update %d", to).WithHint("`patag history` shows what there is; nothing was changed")
	}
	return Entry{}, exit.New(exit.Usage, "there is no earlier deployment with other images").WithHint("`patag history` shows what there is; nothing was changed")
}
