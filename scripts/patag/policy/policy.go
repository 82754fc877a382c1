// Package policy is `patag policy`: the rules that every run of a program is held to.
package policy

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"patag/scripts/patag/app"
	"patag/stacks/policy"
)

// NewCommand makes the command.
func NewCommand(a *app.App) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "List the rules that every preview, up and deploy is held to",
		Long: `List the rules that every preview, up and deploy is held to.

A program that breaks one is refused before anything is changed, with code 3 and a line for each resource: which, which rule, why, and
what to do. Values that only the cloud computes are held to the rules when they are known, by Pulumi's engine. With plain Pulumi the same
rules are a policy pack, this program under another name:

  ln -s "$(command -v patag)" ` + policy.Analyzer + `
  pulumi preview --policy-pack ./` + policy.Analyzer,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return list(a, asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the rules as JSON")
	return cmd
}

func list(a *app.App, asJSON bool) error {
	if asJSON {
		type rule struct {
			Name        string `json:"name"`
			Description string `json:"description"`
		}
		var rules []rule
		for _, r := range policy.Rules() {
			rules = append(rules, rule{r.Name, r.Description})
		}
		return json.NewEncoder(a.Out).Encode(rules)
	}
	w := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
	for _, r := range policy.Rules() {
		fmt.Fprintf(w, "%s\t%s\n", r.Name, r.Description)
	}
	return w.Flush()
}
