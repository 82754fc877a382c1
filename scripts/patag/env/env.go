// Package env is `patag env`: shell exports after which plain pulumi, kubectl, gcloud and Google's clients speak to
// the cloud of a stack.
package env

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"patag/scripts/patag/app"
	"patag/scripts/patag/cloud"
	"patag/scripts/patag/kube"
	"patag/scripts/patag/terminal"
)

// NewCommand makes the command.
func NewCommand(a *app.App) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "env STACK",
		Short: "Print shell exports for plain pulumi, kubectl and gcloud",
		Long: `Print shell exports after which plain pulumi, kubectl, gcloud and Google's clients speak to the cloud of a stack:

  eval "$(patag env production)"

pulumi then has the stack selected and its config at hand when it is run inside the repository.`,
		Example:           `  eval "$(patag env production)"`,
		Args:              app.OneStack,
		ValidArgsFunction: a.CompleteStack,
		RunE:              func(cmd *cobra.Command, args []string) error { return run(cmd.Context(), a, args[0], asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the variables as one JSON object")
	return cmd
}

func run(ctx context.Context, a *app.App, stack string, asJSON bool) error {
	p := terminal.NewProgress(a.Streams)
	defer p.Close()
	s, err := a.Begin(stack, nil, p)
	if err != nil {
		return err
	}
	if err := s.Cloud.Running(); err != nil {
		return err
	}
	vars, notes, err := Variables(ctx, s)
	if err != nil {
		return err
	}
	if asJSON {
		enc := json.NewEncoder(a.Out)
		enc.SetIndent("", "  ")
		return enc.Encode(vars)
	}
	for _, note := range notes {
		fmt.Fprintf(a.Out, "# %s\n", strings.ReplaceAll(note, "\n", " "))
	}
	fmt.Fprint(a.Out, cloud.Exports(vars))
	return nil
}

// Variables are the environment, and notes on what could not be set and why.
func Variables(ctx context.Context, s *app.Session) (map[string]string, []string, error) {
	vars, err := s.Cloud.Pulumi()
	if err != nil {
		return nil, nil, err
	}
	gcloud, err := s.Cloud.GCloud()
	if err != nil {
		return nil, nil, err
	}
	maps.Copy(vars, gcloud)
	if s.Cloud.Token == cloud.Placeholder {
		delete(vars, "GOOGLE_OAUTH_ACCESS_TOKEN")
	}
	vars["PATH"] = s.Tools.Path(os.Getenv("PATH"))
	vars["PULUMI_STACK"] = "organization/" + s.Project.Name + "/" + s.Stack
	// The CLI takes any of its flags from the environment. The file holds the merged config, and the salt.
	if err := s.WriteConfig(); err != nil {
		return nil, nil, err
	}
	vars["PULUMI_OPTION_CONFIG_FILE"] = s.ConfigFile()
	if s.Cloud.Name == cloud.Sandbox {
		vars["PATAG_STATE"] = s.Cloud.Layout.Root
	} else {
		vars["PATAG_CLOUD"] = s.Cloud.Name
	}
	var notes []string
	sum, ok, err := s.Peek(ctx, s.Stack)
	if err != nil {
		return nil, nil, err
	}
	switch _, path, err := s.Cluster(ctx, sum.Outputs); {
	case err == nil:
		vars["KUBECONFIG"] = path
	case !ok || errors.Is(err, kube.ErrNoCluster):
		vars["KUBECONFIG"] = ""
		notes = append(notes, "KUBECONFIG is not set: "+s.Stack+" has no cluster")
	default:
		vars["KUBECONFIG"] = ""
		notes = append(notes, "KUBECONFIG is not set: "+err.Error())
	}
	return vars, notes, nil
}
