// Package status is `patag status`: where a stack answers, and how its cluster is.
package status

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"patag/infra/sandbox/client"
	"patag/scripts/patag/app"
	"patag/scripts/patag/cloud"
	"patag/scripts/patag/engine"
	"patag/scripts/patag/exit"
	"patag/scripts/patag/kube"
	"patag/scripts/patag/terminal"
)

// NewCommand makes the command.
func NewCommand(a *app.App) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status STACK",
		Short: "Show where a stack answers, how it is, and what is missing",
		Long: `Show where a stack answers, how it is, and what of it is missing or not well: its cluster, node pools and nodes,
its workloads (with the pod that is not ready and the reason), the way from its address to them, an ad. Anything of
that is exit code 6. It changes nothing; patag drift compares every property of every resource.`,
		Args:              app.OneStack,
		ValidArgsFunction: a.CompleteStack,
		RunE:              func(cmd *cobra.Command, args []string) error { return run(cmd.Context(), a, args[0], asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON: adURL, demoURL, apiURL, kubeconfig, resources, outputs, cluster …")
	return cmd
}

// Status is what --json prints.
type Status struct {
	Stack   string `json:"stack"`
	Cloud   string `json:"cloud"`
	AdURL   string `json:"adURL,omitempty"`
	DemoURL string `json:"demoURL,omitempty"`
	// APIURL is where the cloud's Google API answers, ClusterURL where the cluster's API server does.
	APIURL     string `json:"apiURL,omitempty"`
	ClusterURL string `json:"clusterURL,omitempty"`
	Kubeconfig string `json:"kubeconfig,omitempty"`
	// Resources counts what Pulumi manages in the stack.
	Resources int `json:"resources"`
	// InUse says who works on the stack now.
	InUse       string         `json:"inUse,omitempty"`
	Interrupted int            `json:"interruptedOperations"`
	Outputs     map[string]any `json:"outputs"`
	Cluster     *kube.Summary  `json:"cluster,omitempty"`
	// Workloads are the Deployments and StatefulSets of the stack.
	Workloads []kube.Workload `json:"workloads,omitempty"`
	// Healthy is true when there are no Problems: what is missing or not well, a line each.
	Healthy  bool     `json:"healthy"`
	Problems []string `json:"problems,omitempty"`
	// NetworkPolicies is true when the cloud enforces them; not set where it is not known.
	NetworkPolicies *bool    `json:"networkPolicies,omitempty"`
	Warnings        []string `json:"warnings,omitempty"`
}

func run(ctx context.Context, a *app.App, stack string, asJSON bool) error {
	p := terminal.NewProgress(a.Streams)
	defer p.Close()
	s, err := a.BeginLook(stack, p)
	if err != nil {
		return err
	}
	if err := s.Cloud.Running(); err != nil {
		return err
	}
	sum, err := s.Existing(ctx)
	if err != nil {
		return err
	}
	st := collect(ctx, s, sum)
	if asJSON {
		enc := json.NewEncoder(a.Out)
		enc.SetIndent("", "  ")
		if err := enc.Encode(st); err != nil {
			return err
		}
	} else {
		print(a.Out, st)
	}
	switch n := len(st.Problems); {
	case n == 0 || ctx.Err() != nil:
		return ctx.Err()
	case n == 1:
		return exit.New(exit.Unhealthy, "%s is not well: %s", s.Stack, st.Problems[0])
	default:
		return exit.New(exit.Unhealthy, "%s is not well: %s, and %d more", s.Stack, st.Problems[0], n-1)
	}
}

// collect never fails: a cluster that does not answer is part of the status.
func collect(ctx context.Context, s *app.Session, sum engine.Summary) Status {
	st := Status{Stack: s.Stack, Cloud: s.Cloud.Name, Resources: sum.Resources, Interrupted: sum.Interrupted, Outputs: sum.Outputs}
	text := func(name string) string { v, _ := sum.Outputs[name].(string); return v }
	st.AdURL, st.DemoURL, st.ClusterURL, st.APIURL = text("adURL"), text("demoURL"), text("clusterURL"), s.Cloud.APIURL()
	st.InUse, _ = s.InUse()
	switch {
	case st.InUse != "":
		st.Warnings = append(st.Warnings, "it is worked on by "+st.InUse)
	case sum.Interrupted > 0:
		st.problem("the last run was killed, with %d operations open; `patag up %s` makes it good", sum.Interrupted, s.Stack)
	}
	look(ctx, s, sum, &st)
	if s.Cloud.Name == cloud.Sandbox {
		sandbox(ctx, s, &st)
	}
	st.Healthy = len(st.Problems) == 0
	return st
}

func (st *Status) problem(format string, args ...any) {
	st.Problems = append(st.Problems, fmt.Sprintf(format, args...))
}

func sandbox(ctx context.Context, s *app.Session, st *Status) {
	c, err := client.New(s.Cloud.Layout)
	if err == nil {
		var answer client.Status
		if answer, err = c.Status(ctx); err == nil {
			st.NetworkPolicies = &answer.NetworkPolicies
			if !answer.NetworkPolicies {
				st.Warnings = append(st.Warnings, "the sandbox does not enforce NetworkPolicies: every pod can reach every other")
			}
			return
		}
	}
	st.Warnings = append(st.Warnings, "the sandbox does not answer: "+err.Error())
}

func print(w io.Writer, st Status) {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintf(t, "stack\t%s on %s, %d resources\n", st.Stack, st.Cloud, st.Resources)
	for _, row := range []struct{ name, value string }{{"ad", st.AdURL}, {"demo", st.DemoURL}, {"Google API", st.APIURL}, {"cluster", st.ClusterURL}, {"kubeconfig", st.Kubeconfig}} {
		if row.value != "" {
			fmt.Fprintf(t, "%s\t%s\n", row.name, row.value)
		}
	}
	shown := map[string]bool{"adURL": true, "demoURL": true, "clusterURL": true}
	for _, k := range slices.Sorted(maps.Keys(st.Outputs)) {
		if !shown[k] {
			fmt.Fprintf(t, "%s\t%v\n", k, st.Outputs[k])
		}
	}
	t.Flush()
	if st.Cluster != nil {
		fmt.Fprintln(w)
		fmt.Fprintln(t, "NODE\tPOOL\tTYPE\tZONE\tSPOT\tREADY\tCPU\tMEMORY")
		for _, n := range st.Cluster.Nodes {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", n.Name, n.Pool, n.MachineType, n.Zone, yes(n.Spot), yes(n.Ready), n.CPU, n.Memory)
		}
		t.Flush()
		fmt.Fprintln(w)
		fmt.Fprintln(t, "NAMESPACE\tPODS READY\tNOT READY")
		for _, n := range st.Cluster.Pods {
			fmt.Fprintf(t, "%s\t%d of %d\t%s\n", n.Namespace, n.Ready, n.Total, first(n.NotReady))
		}
		t.Flush()
	}
	if len(st.Workloads) > 0 {
		fmt.Fprintln(w)
		fmt.Fprintln(t, "WORKLOAD\tPODS READY\tSTATE")
		for _, l := range st.Workloads {
			state := "as it should be"
			if !l.Whole {
				state = l.Why
			}
			fmt.Fprintf(t, "%s\t%d of %d\t%s\n", l, l.Ready, l.Want, state)
		}
		t.Flush()
	}
	for _, problem := range st.Problems {
		fmt.Fprintln(w, "✗ "+problem)
	}
	for _, warning := range st.Warnings {
		fmt.Fprintln(w, "! "+warning)
	}
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func first(names []string) string {
	switch len(names) {
	case 0:
		return "-"
	case 1:
		return names[0]
	default:
		return fmt.Sprintf("%s and %d more", names[0], len(names)-1)
	}
}
