// Package rebuild is `patag rebuild`: a new cluster in the place of one that is gone or beyond repair, with the data of a backup,
// under the same address, certificate and name. It never asks the old cluster for anything that it cannot do without.
package rebuild

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"patag/scripts/patag/app"
	"patag/scripts/patag/backup"
	"patag/scripts/patag/engine"
	"patag/scripts/patag/exit"
	"patag/scripts/patag/kube"
	"patag/scripts/patag/project"
	"patag/scripts/patag/terminal"
)

type flags struct {
	from, confirm   string
	production, yes bool
	json            bool
}

// NewCommand makes the command.
func NewCommand(a *app.App) *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:   "rebuild STACK",
		Short: "Make a new cluster in the place of one that is gone or beyond repair",
		Long: `Make a new cluster in the place of one that is gone or beyond repair.

A last backup is taken if the old cluster still can, else the newest one in the bucket is used. Then the old cluster
and what it left (forwarding rules, backends, disks) are deleted, and a new one is made and filled from the backup.
Address, certificate and DNS name stay. From the old cluster's end to the first ad of the new one there is no service;
how long that was is told at the end. Interrupted, the same command goes on where it was.

What was counted after the backup is lost with the old cluster, except for what tag servers handed over before it.`,
		Example: "  patag rebuild production\n  patag rebuild production --from-backup 20261124T120000Z-0a1b2c --yes-production",
		Args:    app.OneStack, ValidArgsFunction: a.CompleteStack,
		RunE: func(cmd *cobra.Command, args []string) error {
			r := &run{app: a, flags: f, p: terminal.NewProgress(a.Streams)}
			defer r.p.Close()
			var err error
			if r.s, err = a.BeginRun(args[0], nil, false, r.p); err != nil {
				return err
			}
			// For the whole of it: a second rebuild would follow the same plan, beside this one.
			return r.s.AloneRebuilding(func() error { return r.all(cmd.Context(), args[0]) })
		},
	}
	cmd.Flags().StringVar(&f.from, "from-backup", "", "ID of a backup; newest; or none for an empty store (default: one that is taken now, else the newest)")
	cmd.Flags().StringVar(&f.confirm, "confirm", "", "the name of the stack, instead of typing it")
	cmd.Flags().BoolVar(&f.production, "yes-production", false, "do not ask, not even for production: for machines")
	cmd.Flags().BoolVar(&f.yes, "yes", false, "do not ask (not enough for production)")
	cmd.Flags().BoolVar(&f.json, "json", false, "print the result as JSON")
	return cmd
}

// none is a backup's ID for no backup.
const none = "none"

// plan is what a rebuild has decided and done; it is kept, so that an interrupted one goes on.
type plan struct {
	Stack string    `json:"stack"`
	Begun time.Time `json:"begun"`
	// Cluster that is replaced, projects/P/locations/L/clusters/C.
	Cluster string `json:"cluster"`
	// Backup is STACK/ID, or none. Taken is when it was.
	Backup string    `json:"backup"`
	Taken  time.Time `json:"taken,omitzero"`
	// Fresh is true for a backup that was taken for this rebuild.
	Fresh bool `json:"fresh"`
	// Forgotten is set once the state knows nothing of the old cluster.
	Forgotten bool `json:"forgotten"`
}

// other is true when a backup is asked for by name, and it is not the plan's: the store may be filled already, so that is a rebuild of its own.
func (p plan) other(from string) bool {
	return from != "" && from != "newest" && from != p.Backup && p.Stack+"/"+from != p.Backup
}

type run struct {
	app   *app.App
	flags flags
	p     *terminal.Progress
	s     *app.Session
	sum   engine.Summary
	plan  plan
}

// Result is what is told at the end.
type Result struct {
	Stack   string    `json:"stack"`
	Backup  string    `json:"backup"`
	Taken   time.Time `json:"backupTaken,omitzero"`
	Seconds float64   `json:"seconds"`
	// WithoutService is the time from the last answer to the first one again; 0 when it never stopped. Down is true when it did not answer
	// before the rebuild either: then the time counts from its beginning.
	WithoutService float64 `json:"secondsWithoutService"`
	Down           bool    `json:"downBefore"`
	AdURL          string  `json:"adURL"`
}

func (r *run) all(ctx context.Context, stack string) error {
	begin := time.Now()
	if err := r.begin(ctx, stack); err != nil {
		return err
	}
	watch := watchService(ctx, r.sum.Outputs["adURL"])
	defer watch.stop()
	// What cannot be built is found out before anything is taken away, and the last backup is as late as can be.
	if err := r.s.BuildImages(ctx, true); err != nil {
		return err
	}
	if err := r.decide(ctx); err != nil {
		return err
	}
	if err := r.replace(ctx); err != nil {
		return err
	}
	result, err := r.s.Apply(ctx)
	if err != nil {
		return err
	}
	ad, _ := result.Outputs["adURL"].(string)
	step := r.p.Step("wait for an ad from %s", ad)
	gap, down, err := watch.answered(ctx, ad, 5*time.Minute)
	if err != nil {
		step.Fail()
		return exit.New(exit.Failed, "%s is rebuilt, but serves no ad: %w", stack, err).WithHint("see `patag status %s`; the same command again goes on", stack)
	}
	step.Done("it answers")
	if err := r.s.RebuildDone(); err != nil {
		return err
	}
	return r.tell(Result{Stack: stack, Backup: r.plan.Backup, Taken: r.plan.Taken, Seconds: time.Since(begin).Seconds(), WithoutService: gap.Seconds(), Down: down, AdURL: ad})
}

func (r *run) tell(result Result) error {
	if r.flags.json {
		return json.NewEncoder(r.app.Out).Encode(result)
	}
	since := ""
	if result.Down {
		since = " (it did not answer before either)"
	}
	r.p.Line("   rebuilt in %.0f s; %.1f s without service%s", result.Seconds, result.WithoutService, since)
	switch {
	case r.plan.Backup == none:
		r.p.Line("   the store is new and empty but for what the program loads")
	case !r.plan.Fresh:
		r.p.Line("   the store is as of %s: what was counted or changed after that is lost", r.plan.Taken.Local().Format("2006-01-02 15:04:05"))
	}
	_, err := fmt.Fprintln(r.app.Out, result.AdURL)
	return err
}

// begin opens the session, finds a rebuild that was interrupted, or asks for a new one.
func (r *run) begin(ctx context.Context, stack string) error {
	if r.s.Kind == app.Foundation {
		return exit.New(exit.Usage, "%s has no cluster to rebuild", stack).WithHint("rebuild production or a staging")
	}
	if who, yes := r.s.InUse(); yes {
		return exit.New(exit.Locked, "stack %s is in use by %s", stack, who).WithHint("wait for that run to end, or end it with Ctrl-C there")
	}
	raw, err := os.ReadFile(r.s.RebuildFile())
	switch {
	case err == nil:
		if err := json.Unmarshal(raw, &r.plan); err != nil {
			return fmt.Errorf("read %s: %w", r.s.RebuildFile(), err)
		}
		if !r.plan.other(r.flags.from) {
			r.p.Line("   going on with the rebuild of %s", r.plan.Begun.Local().Format("2006-01-02 15:04:05"))
			r.sum, _, err = r.s.Peek(ctx, stack)
			return err
		}
		r.p.Line(" ! the rebuild of %s, from backup %s, is given up for one from %s", r.plan.Begun.Local().Format("2006-01-02 15:04:05"), r.plan.Backup, r.flags.from)
		r.plan = plan{}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if r.sum, err = r.s.Existing(ctx); err != nil {
		return err
	}
	confirm := r.flags.confirm
	if r.flags.production {
		confirm = stack
	}
	return r.app.Confirm(r.s, r.flags.yes, confirm, fmt.Sprintf("Delete the cluster of %s on %s and make a new one?", stack, r.s.Cloud.Name))
}

// decide chooses the backup and writes the plan down.
func (r *run) decide(ctx context.Context) error {
	if r.plan.Stack != "" {
		return nil
	}
	r.plan = plan{Stack: r.s.Stack, Begun: time.Now().UTC()}
	if ids := r.sum.IDs[app.ClusterType]; len(ids) > 0 {
		r.plan.Cluster = ids[0]
	}
	switch r.flags.from {
	case none:
		r.plan.Backup = none
	case "":
		if m := r.lastBackup(ctx); m != nil {
			r.plan.Backup, r.plan.Taken, r.plan.Fresh = m.stack+"/"+m.id, m.taken, true
			break
		}
		fallthrough
	default:
		m, err := backup.Choose(ctx, r.s, r.s.Stack, r.flags.from)
		if err != nil {
			return fmt.Errorf("%w\n  (--from-backup none makes an empty store)", err)
		}
		r.plan.Backup, r.plan.Taken = m.Stack+"/"+m.ID, m.Taken
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return r.write()
}

type taken struct {
	stack, id string
	taken     time.Time
}

// patience with an old cluster: one that answers does so at once.
const patience = 90 * time.Second

// lastBackup has the old cluster take a backup, if it still can.
func (r *run) lastBackup(ctx context.Context) *taken {
	cluster, err := kube.Find(ctx, r.s.Cloud, r.sum.Outputs)
	if err == nil {
		err = cluster.Answers(ctx)
	}
	if err != nil {
		r.p.Line(" ! the old cluster does not answer (%v): no last backup", err)
		return nil
	}
	short, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	m, err := backup.Take(short, r.s)
	if err != nil {
		r.p.Line(" ! the old cluster can take no last backup: %v", err)
		return nil
	}
	return &taken{m.Stack, m.ID, m.Taken}
}

func (r *run) write() error {
	raw, err := json.MarshalIndent(r.plan, "", "  ")
	if err != nil {
		return err
	}
	tmp := r.s.RebuildFile() + ".new"
	if err := os.WriteFile(tmp, raw, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, r.s.RebuildFile())
}

// replace ends the old cluster and lets the state forget it, and tells the program which backup to fill the store from.
func (r *run) replace(ctx context.Context) error {
	if !r.plan.Forgotten {
		if err := r.end(ctx); err != nil {
			return err
		}
		r.plan.Forgotten = true
		if err := r.write(); err != nil {
			return err
		}
	}
	// The disks are new: the database keeps the name that all begin with.
	values := project.Config{backup.KeyDatabase: nil, backup.KeyRestore: nil}
	if r.plan.Backup != none {
		values[backup.KeyRestore] = r.plan.Backup
	}
	return r.s.Keep(values)
}

// end deletes the old cluster and what it left, and lets the state forget it.
func (r *run) end(ctx context.Context) error {
	opened, err := r.s.Open(ctx)
	if err != nil {
		return err
	}
	defer opened.Close()
	// Also what a killed run made and the state does not know yet: nothing that is forgotten may live on.
	sum, err := opened.Recover(ctx)
	if err != nil {
		return err
	}
	before, err := r.s.Remember(sum)
	if err != nil {
		return err
	}
	old := slices.Clone(sum.IDs[app.ClusterType])
	if r.plan.Cluster != "" && !slices.Contains(old, r.plan.Cluster) {
		old = append(old, r.plan.Cluster)
	}
	if err := r.s.EndClusters(ctx, opened, old); err != nil {
		return err
	}
	_, err = r.s.Sweep(ctx, before)
	return err
}
