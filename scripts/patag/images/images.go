// Package images is `patag images build|push`: the container images of the platform, built without Docker.
package images

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	builder "patag/scripts/images"
	"patag/scripts/patag/app"
	"patag/scripts/patag/cloud"
	"patag/scripts/patag/exit"
	"patag/scripts/patag/terminal"
)

type flags struct {
	json, locked bool
	repository   string
}

// NewCommand makes the command.
func NewCommand(a *app.App) *cobra.Command {
	cmd := &cobra.Command{Use: "images", Short: "Build and push the images of the platform", Args: cobra.NoArgs}
	cmd.AddCommand(verb(a, "build", "Build the images and print the references that they will have", false),
		verb(a, "push", "Build the images, push them, and print their references", true), newPin(a))
	return cmd
}

func verb(a *app.App, name, short string, push bool) *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use: name, Short: short, Args: cobra.NoArgs,
		Long: short + `.

The output is what config patag:images takes: one line per image, or with --json one object. The repository is the
one of the foundation.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return run(cmd.Context(), a, push, f) },
	}
	cmd.Flags().BoolVar(&f.json, "json", false, "print one JSON object")
	cmd.Flags().BoolVar(&f.locked, "locked", os.Getenv("PATAG_LOCKED") == "1", "refuse when Debian has superseded a pinned package, instead of taking the newer one [PATAG_LOCKED=1]")
	cmd.Flags().StringVar(&f.repository, "repository", "", "another repository: LOCATION-docker.pkg.dev/PROJECT/REPOSITORY")
	return cmd
}

func run(ctx context.Context, a *app.App, push bool, f flags) error {
	p := terminal.NewProgress(a.Streams)
	defer p.Close()
	s, err := a.Begin(app.Foundation, nil, p)
	if err != nil {
		return err
	}
	if push {
		if err := s.Cloud.Running(); err != nil {
			return err
		}
		if s.Cloud.Name == cloud.GCP && !s.Cloud.Credentialed {
			return exit.New(exit.Usage, "there are no Google credentials").WithHint("%s", cloud.Credentials)
		}
	}
	base, found := f.repository, true
	if base == "" {
		if base, found, err = s.Repository(ctx); err != nil {
			return err
		}
	}
	if push && !found {
		return exit.New(exit.Usage, "there is no repository to push to: the foundation is not up").WithHint("`patag up foundation` first, or give --repository")
	}
	refs, err := a.MakeImages(ctx, s.Project, s.Cloud, s.Tools, base, push, f.locked, p)
	if err != nil {
		return err
	}
	if f.json {
		enc := json.NewEncoder(a.Out)
		enc.SetIndent("", "  ")
		return enc.Encode(refs)
	}
	for _, name := range slices.Sorted(maps.Keys(refs)) {
		fmt.Fprintf(a.Out, "%s %s\n", name, refs[name])
	}
	return nil
}

func newPin(a *app.App) *cobra.Command {
	return &cobra.Command{
		Use: "pin", Short: "Pin the Debian packages of the images to the versions that there are now", Args: cobra.NoArgs,
		Long: `Write the versions and checksums that apt would install now into scripts/images/debian.lock. Run apt-get update
before it, and make build after it: the list is compiled in.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return pin(cmd.Context(), a) },
	}
}

func pin(ctx context.Context, a *app.App) error {
	p, err := a.OpenProject()
	if err != nil {
		return err
	}
	lock, err := builder.Pin(ctx)
	if err != nil {
		return exit.New(exit.Failed, "pin the Debian packages: %w", err)
	}
	file := filepath.Join(p.Root, "scripts", "images", "debian.lock")
	if err := os.WriteFile(file, []byte(lock.Text()), 0o644); err != nil {
		return exit.New(exit.Failed, "write the list of pinned packages: %w", err)
	}
	fmt.Fprintln(a.Out, file)
	return nil
}
