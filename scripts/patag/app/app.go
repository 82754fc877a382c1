// Package app is what the commands of patag share: streams, the flags that all of them have, and the session in
// which a command works on a stack. Commands are one folder each and do nothing but read their flags and call it.
package app

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/spf13/cobra"

	"patag/scripts/patag/cloud"
	"patag/scripts/patag/exit"
	"patag/scripts/patag/project"
	"patag/scripts/patag/terminal"
)

// App is one invocation of the command.
type App struct {
	terminal.Streams
	// Program is the Pulumi program of every stack; it picks by patag:kind.
	Program pulumi.RunFunc
	// Policies holds every run of the program to the rules of package policy.
	Policies bool
	// Images builds the images, and pushes them when told.
	Images  func(context.Context, ImagesRequest) (map[string]string, error)
	Version string
	Flags   Flags
}

// ImagesRequest is an order to the image builder.
type ImagesRequest struct {
	ProjectRoot, ToolsDir, CacheDir string
	// Base is the repository: europe-west1-docker.pkg.dev/PROJECT/REPOSITORY.
	Base string
	// Push sends them there; without it only the references that they would have are told.
	Push bool
	// Transport carries the requests; nil means the ordinary way. Token is the registry's password.
	Transport http.RoundTripper
	Token     string
	// Locked refuses Debian packages of other versions than the pinned ones.
	Locked   bool
	Progress func(line string)
	// Notice is told what is to be printed even when all goes well.
	Notice func(line string)
}

// Flags are those that every command has.
type Flags struct {
	Cloud, State, Tools, Dir, Project, Region, Zone, Backend, SecretsProvider string
	// Wait is how long a stack that another run has is waited for.
	Wait time.Duration
}

// Register declares the flags on the root command.
func (f *Flags) Register(cmd *cobra.Command) {
	flags := cmd.PersistentFlags()
	flags.StringVar(&f.Cloud, "cloud", env("PATAG_CLOUD", cloud.Sandbox), "which cloud: sandbox or gcp [PATAG_CLOUD]")
	flags.StringVar(&f.State, "state", "", "state folder of the sandbox (default $PATAG_STATE, else ~/.local/state/patag)")
	flags.StringVar(&f.Tools, "tools", "", "folder of the third-party programs (default $PATAG_TOOLS, else tools in $PATAG_CACHE or ~/.cache/patag)")
	flags.StringVar(&f.Dir, "dir", os.Getenv("PATAG_PROJECT"), "the repository (default: the current folder or one above) [PATAG_PROJECT]")
	flags.StringVar(&f.Project, "project", "", "Google project (gcp: $GOOGLE_PROJECT; sandbox: "+cloud.SandboxProject+")")
	flags.StringVar(&f.Region, "region", "", "Google region (gcp: $GOOGLE_REGION; sandbox: "+cloud.SandboxRegion+")")
	flags.StringVar(&f.Zone, "zone", "", "Google zone (gcp: $GOOGLE_ZONE; sandbox: "+cloud.SandboxZone+")")
	flags.StringVar(&f.Backend, "backend", "", "gcp: URL of Pulumi's state, gs://… or file://… (default $PULUMI_BACKEND_URL, else a folder of this user)")
	flags.StringVar(&f.SecretsProvider, "secrets-provider", "", "gcp: what encrypts secrets of a new stack, gcpkms://… (default: a passphrase)")
	flags.DurationVar(&f.Wait, "wait", 0, "wait so long for a stack that another run has, such as 5m (default: say who has it, and end with code 5)")
	_ = cmd.RegisterFlagCompletionFunc("cloud", cobra.FixedCompletions([]string{cloud.Sandbox, cloud.GCP}, cobra.ShellCompDirectiveNoFileComp))
}

func env(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

// OpenCloud resolves --cloud.
func (a *App) OpenCloud() (*cloud.Cloud, error) {
	f := a.Flags
	return cloud.Open(cloud.Options{
		Name: f.Cloud, State: f.State, Backend: f.Backend, SecretsProvider: f.SecretsProvider,
		Project: f.Project, Region: f.Region, Zone: f.Zone,
	})
}

// OpenProject finds the repository.
func (a *App) OpenProject() (project.Project, error) { return project.Find(a.Flags.Dir) }

// CacheDir is where built images and Debian packages are kept: $PATAG_CACHE, else patag in the user's cache folder.
func CacheDir() (string, error) {
	if dir := os.Getenv("PATAG_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", exit.New(exit.Usage, "find the cache folder: %w", err).WithHint("set PATAG_CACHE")
	}
	return filepath.Join(dir, "patag"), nil
}

// CompleteStack completes the name of a stack.
func (a *App) CompleteStack(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	p, err := a.OpenProject()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return p.Stacks(), cobra.ShellCompDirectiveNoFileComp
}

// OneStack accepts exactly one argument, the stack.
func OneStack(cmd *cobra.Command, args []string) error {
	switch len(args) {
	case 1:
		return nil
	case 0:
		return exit.New(exit.Usage, "%s: which stack?", cmd.CommandPath()).WithHint("for example: %s production", cmd.CommandPath())
	default:
		return exit.New(exit.Usage, "%s takes one stack, not %d arguments", cmd.CommandPath(), len(args)).WithHint("see %s --help", cmd.CommandPath())
	}
}
