package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"sort"
	"strings"

	"patag/scripts/needs"
)

// missingPackages lists those that dpkg does not know as installed.
func missingPackages(ctx context.Context, wanted []needs.Package) ([]string, error) {
	args := []string{"-W", "-f", "${Package} ${db:Status-Status}\n"}
	for _, p := range wanted {
		args = append(args, p.Name)
	}
	out, _ := exec.CommandContext(ctx, "dpkg-query", args...).Output() // fails when one is unknown, and lists the others
	installed := map[string]bool{}
	for _, line := range strings.Split(string(out), "\n") {
		if name, ok := strings.CutSuffix(line, " installed"); ok {
			installed[name] = true
		}
	}
	var missing []string
	for _, p := range wanted {
		if !installed[p.Name] {
			missing = append(missing, p.Name)
		}
	}
	sort.Strings(missing)
	return missing, ctx.Err()
}

func installPackages(ctx context.Context, p *progress, missing []string) error {
	if len(missing) == 0 {
		return nil
	}
	// RUNLEVEL=1 keeps invoke-rc.d from starting the services that packages bring: the sandbox runs its own.
	env := append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1")
	return p.step(ctx, "Installing Debian packages: "+strings.Join(missing, " "), func(ctx context.Context, log *os.File) error {
		for _, args := range [][]string{
			{"update", "-q"},
			append([]string{"install", "-q", "-y", "--no-install-recommends"}, missing...),
		} {
			cmd := exec.CommandContext(ctx, "apt-get", args...)
			cmd.Env, cmd.Stdout, cmd.Stderr = env, log, log
			if err := cmd.Run(); err != nil {
				return fmt.Errorf("apt-get %s: %w", strings.Join(args, " "), err)
			}
		}
		return nil
	})
}
