package staging

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"patag/scripts/patag/app"
	"patag/scripts/patag/engine"
	"patag/scripts/patag/google"
	"patag/scripts/patag/price"
	"patag/scripts/patag/terminal"
	"patag/stacks/config"
)

// Staging is one line of the list.
type Staging struct {
	Project string    `json:"project"`
	Owner   string    `json:"owner,omitempty"`
	Created time.Time `json:"created,omitzero"`
	Expires time.Time `json:"expires,omitzero"`
	State   string    `json:"state"` // up, asleep, expired, unfinished, in use by …, cluster gone
	// Dollars are an estimate of what its machines, disks and load balancer cost so far: those that are there now.
	Dollars float64 `json:"dollars"`
	Machine int     `json:"machines"`
	AdURL   string  `json:"adURL,omitempty"`
}

func newList(a *app.App) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "list", Short: "List the stagings: whose, how old, until when, what they cost so far", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p := terminal.NewProgress(a.Streams)
			defer p.Close()
			all, err := list(cmd.Context(), a, p)
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(a.Out).Encode(all)
			}
			w := tabwriter.NewWriter(a.Out, 0, 4, 2, ' ', 0)
			fmt.Fprintln(w, "PROJECT\tOWNER\tAGE\tEXPIRES\tMACHINES\tCOST SO FAR\tSTATE")
			for _, s := range all {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t≈ $%.2f\t%s\n", s.Project, s.Owner, age(s.Created), until(s.Expires), s.Machine, s.Dollars, s.State)
			}
			if len(all) == 0 {
				p.Line("   there are none")
			}
			return w.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func age(t time.Time) string {
	if t.IsZero() {
		return "?"
	}
	return terminal.Elapsed(time.Since(t))
}

func until(t time.Time) string {
	switch d := time.Until(t); {
	case t.IsZero():
		return "never"
	case d < 0:
		return terminal.Elapsed(-d) + " ago"
	default:
		return "in " + terminal.Elapsed(d)
	}
}

// names of the staging stacks of the cloud, empty ones left out.
func names(ctx context.Context, s *app.Session) ([]string, error) {
	all, known, err := engine.Stacks(s.Cloud.Backend, s.Project.Name)
	if err == nil && !known {
		var o engine.Options
		if o, err = s.EngineOptions(); err == nil {
			if err = s.WriteConfig(); err == nil {
				all, err = engine.List(ctx, o)
			}
		}
	}
	return slices.DeleteFunc(all, func(n string) bool { return !strings.HasPrefix(n, config.StagingPrefix) }), err
}

func list(ctx context.Context, a *app.App, p *terminal.Progress) ([]Staging, error) {
	s, err := a.BeginRun(app.Foundation, nil, false, p)
	if err != nil {
		return nil, err
	}
	found, err := names(ctx, s)
	if err != nil {
		return nil, err
	}
	all := []Staging{}
	if len(found) == 0 {
		return all, nil
	}
	api, err := google.New(ctx, s.Cloud)
	if err != nil {
		return nil, err
	}
	machines, err := api.List(ctx, "aggregated/instances")
	if err != nil {
		return nil, err
	}
	disks, err := api.List(ctx, "aggregated/disks")
	if err != nil {
		return nil, err
	}
	for _, stack := range found {
		sum, ok, err := s.Peek(ctx, stack)
		if err != nil {
			return nil, err
		}
		if !ok || sum.Resources == 0 && sum.Interrupted == 0 {
			continue
		}
		all = append(all, describe(ctx, s, api, stack, sum, machines, disks))
	}
	return all, nil
}

func describe(ctx context.Context, s *app.Session, api *google.Client, stack string, sum engine.Summary, machines, disks []map[string]any) Staging {
	text := func(key string) string { t, _ := sum.Outputs[key].(string); return t }
	out := Staging{Project: strings.TrimPrefix(stack, config.StagingPrefix), Owner: text("owner"), AdURL: text("adURL"), State: "up"}
	out.Expires, _ = time.Parse(time.RFC3339, text("expiresAt")) // one without never expires
	asleep, _ := sum.Outputs["asleep"].(bool)
	switch {
	case asleep:
		out.State = "asleep"
	case len(sum.Outputs) == 0 || sum.Interrupted > 0:
		out.State = "unfinished"
	}
	if !out.Expires.IsZero() && time.Now().After(out.Expires) {
		out.State = "expired"
	}
	for _, path := range sum.IDs[app.ClusterType] {
		cluster, err := api.Cluster(ctx, path)
		if google.NotFound(err) {
			out.State = "cluster gone"
			continue
		}
		if err == nil {
			out.Created, _ = time.Parse(time.RFC3339, cluster.CreateTime) // unknown is shown as such
		}
		name := path[strings.LastIndexByte(path, '/')+1:]
		out.count(name, machines, disks)
	}
	if who, yes := engine.InUse(s.Cloud.Work(stack)); yes {
		out.State = "worked on by " + who
	}
	return out
}

// count adds up what a cluster's machines and disks cost since they were made, and its share of the rest.
func (s *Staging) count(cluster string, machines, disks []map[string]any) {
	of := func(r map[string]any) bool {
		labels, _ := r["labels"].(map[string]any)
		name, _ := labels["goog-k8s-cluster-name"].(string)
		return name == cluster
	}
	hours := func(r map[string]any) float64 {
		text, _ := r["creationTimestamp"].(string)
		t, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return 0
		}
		return time.Since(t).Hours()
	}
	for _, m := range machines {
		if !of(m) {
			continue
		}
		s.Machine++
		kind, _ := m["machineType"].(string)
		schedule, _ := m["scheduling"].(map[string]any)
		spot, _ := schedule["preemptible"].(bool)
		if model, _ := schedule["provisioningModel"].(string); model == "SPOT" {
			spot = true
		}
		hourly, _ := price.Machine(kind[strings.LastIndexByte(kind, '/')+1:], spot)
		s.Dollars += hourly * hours(m)
	}
	for _, d := range disks {
		if of(d) {
			var gb float64
			if text, ok := d["sizeGb"].(string); ok {
				_, _ = fmt.Sscan(text, &gb) // Google's own number
			}
			s.Dollars += price.Disk(gb) * hours(d)
		}
	}
	if !s.Created.IsZero() {
		s.Dollars += (price.ForwardingRules + price.ClusterFee) * time.Since(s.Created).Hours()
	}
}
