package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"patag/infra/sandbox/client"
	"patag/infra/sandbox/layout"
	"patag/infra/sandbox/remains"
	"patag/scripts/patag/app"
	"patag/scripts/patag/cloud"
	"patag/scripts/patag/engine"
	"patag/scripts/patag/exit"
	"patag/scripts/patag/terminal"
)

func newDelete(a *app.App) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use: "delete", Short: "Stop the sandbox and delete its state: clusters, disks, images, stacks", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := cloud.StateFolder(a.Flags.State)
			if err != nil {
				return err
			}
			p := terminal.NewProgress(a.Streams)
			defer p.Close()
			names, err := namesOf(l)
			if err != nil {
				return err
			}
			if err := deletable(l); err != nil && len(names) == 0 {
				return err
			}
			if _, err := os.Stat(l.Root); os.IsNotExist(err) && len(names) == 0 {
				p.Line("   there is no sandbox in %s", l.Root)
				return nil
			}
			if !yes {
				if !a.Interactive() {
					return exit.New(exit.Usage, "deleting %s wants a yes, and nobody can be asked", l.Root).WithHint("add --yes")
				}
				answer, err := a.Ask(fmt.Sprintf("Delete %s with all clusters, disks and stacks in it? [y/N] ", l.Root))
				if err != nil {
					return err
				}
				if s := strings.ToLower(answer); s != "y" && s != "yes" {
					return exit.New(exit.Usage, "not confirmed; nothing was changed")
				}
			}
			step := p.Step("delete the sandbox")
			defer step.Fail()
			pid, up, err := client.Daemon(l)
			if err != nil {
				return err
			}
			if up {
				if _, err := stop(cmd.Context(), l, pid, time.Minute); err != nil {
					return err
				}
			}
			engine.EndOrphans(l.Pulumi())
			if err := clear(l, names); err != nil {
				return err
			}
			// The settings last: while they are there, the folder is recognised as a sandbox's and can be deleted again.
			entries, err := os.ReadDir(l.Root)
			if err != nil && !os.IsNotExist(err) {
				return err
			}
			for _, e := range entries {
				if path := filepath.Join(l.Root, e.Name()); path != l.SettingsFile() {
					if err := os.RemoveAll(path); err != nil {
						return fmt.Errorf("delete the sandbox's state: %w", err)
					}
				}
			}
			if err := os.RemoveAll(l.Root); err != nil {
				return fmt.Errorf("delete the sandbox's state: %w", err)
			}
			step.Done("%s is gone", l.Root)
			return nil
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

// namesOf are the names under which the kernel may have something of the sandbox: the settings', unless another state folder has the
// same and is in use, and those that its daemons noted, which are found when the settings are gone.
func namesOf(l layout.Layout) ([]string, error) {
	names, err := remains.Default.Of(l.Root)
	if err != nil {
		return nil, fmt.Errorf("look up what the sandbox has in the kernel: %w", err)
	}
	settings, err := l.Settings()
	if err != nil {
		return names, nil // gone or damaged, and to be deleted
	}
	owner, err := remains.Default.Owner(settings.Name())
	if err == nil && owner == "" {
		names = append(names, settings.Name())
	}
	return names, err
}

// clear removes what a killed sandbox left in the kernel. The daemon has ended.
func clear(l layout.Layout, names []string) error {
	for _, name := range names {
		if err := remains.Remove(name); err != nil {
			return exit.New(exit.Failed, "take away what the sandbox left in the kernel: %w", err).WithHint("delete again when the machine is less busy; it goes on where it ended")
		}
		if err := remains.Default.Forget(name); err != nil {
			return err
		}
	}
	for _, at := range slices.Backward(mountsUnder(l.Root)) {
		if err := unix.Unmount(at, unix.MNT_DETACH); err != nil {
			return exit.New(exit.Failed, "take away the mount at %s: %w", at, err).WithHint("unmount it, then delete again")
		}
	}
	return nil
}

// deletable refuses a folder that is not a sandbox's: --state and PATAG_STATE may be mistyped.
func deletable(l layout.Layout) error {
	entries, err := os.ReadDir(l.Root)
	if os.IsNotExist(err) || err == nil && len(entries) == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look into the state folder: %w", err)
	}
	known := []string{l.SettingsFile(), l.Database(), l.Pulumi()}
	for _, path := range known {
		if _, err := os.Stat(path); err == nil {
			return nil
		}
	}
	return exit.New(exit.Usage, "%s is not the state folder of a sandbox; it is left alone", l.Root).WithHint("see --state and PATAG_STATE")
}

func mountsUnder(root string) (found []string) {
	raw, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(raw)) {
		if fields := strings.Fields(line); len(fields) > 4 && strings.HasPrefix(fields[4], root+"/") {
			found = append(found, fields[4])
		}
	}
	return found
}
