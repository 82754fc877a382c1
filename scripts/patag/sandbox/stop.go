package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"patag/infra/sandbox/client"
	"patag/infra/sandbox/layout"
	"patag/scripts/patag/app"
	"patag/scripts/patag/cloud"
	"patag/scripts/patag/engine"
	"patag/scripts/patag/exit"
	"patag/scripts/patag/terminal"
)

func newStop(a *app.App) *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: "stop", Short: "Stop the sandbox and keep its state", Args: cobra.NoArgs,
		Long: `Stop the sandbox and keep its state. It is asked to stop, and killed when it has not done so in time; everything it
started dies with it either way, and the next start removes what a killed one left in the kernel.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := cloud.StateFolder(a.Flags.State)
			if err != nil {
				return err
			}
			p := terminal.NewProgress(a.Streams)
			defer p.Close()
			pid, up, err := client.Daemon(l)
			if err != nil {
				return err
			}
			if n := engine.EndOrphans(l.Pulumi()); n > 0 {
				p.Line("   ended %d processes of runs that were killed", n)
			}
			if !up {
				p.Line("   the sandbox is not running")
				return nil
			}
			step := p.Step("stop the sandbox")
			defer step.Fail()
			how, err := stop(cmd.Context(), l, pid, timeout)
			if err != nil {
				return err
			}
			step.Done("%s", how)
			return nil
		},
	}
	cmd.Flags().DurationVar(&timeout, "timeout", time.Minute, "how long it may take before it is killed")
	return cmd
}

// stop ends the daemon: its own call first, SIGTERM when it does not answer, SIGKILL after the time.
func stop(ctx context.Context, l layout.Layout, pid int, timeout time.Duration) (how string, err error) {
	c, err := client.New(l)
	if err == nil {
		asked, cancel := context.WithTimeout(ctx, 10*time.Second)
		err = c.Stop(asked)
		cancel()
	}
	if err != nil && !errors.Is(err, client.ErrNotRunning) || err != nil && pid != 0 {
		if err := signal(pid, unix.SIGTERM); err != nil {
			return "", err
		}
	}
	gone, err := waitGone(ctx, l, timeout)
	if gone || err != nil {
		return "its state is kept", err
	}
	if err := signal(pid, unix.SIGKILL); err != nil {
		return "", err
	}
	gone, err = waitGone(ctx, l, time.Minute) // the kernel, on a machine with a load of hundreds
	if err != nil {
		return "", err
	}
	if !gone {
		return "", exit.New(exit.Failed, "process %d does not die", pid).WithHint("see /proc/%d/stack; it waits inside the kernel", pid)
	}
	return fmt.Sprintf("killed after %s; the next start cleans up", timeout), nil
}

// signal reaches the daemon only: a number read from a file may be another process's by now.
func signal(pid int, sig unix.Signal) error {
	if pid <= 0 {
		return exit.New(exit.Failed, "the sandbox runs, does not answer, and its lock does not say which process it is").
			WithHint("find the process patag-sandbox and end it")
	}
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		return nil // gone in the meantime
	}
	if name := strings.TrimSuffix(filepath.Base(exe), " (deleted)"); name != daemonName {
		return exit.New(exit.Failed, "process %d, which the sandbox's lock names, is %s", pid, name).WithHint("it is left alone; end the process %s yourself", daemonName)
	}
	if err := unix.Kill(pid, sig); err != nil && !errors.Is(err, unix.ESRCH) {
		return exit.New(exit.Failed, "end process %d: %w", pid, err).WithHint("run it as root")
	}
	return nil
}

// waitGone waits for the lock to be free, which the kernel does when the process has ended.
func waitGone(ctx context.Context, l layout.Layout, timeout time.Duration) (bool, error) {
	deadline := time.Now().Add(timeout)
	for {
		_, up, err := client.Daemon(l)
		if err != nil {
			return false, err
		}
		if !up {
			return true, nil
		}
		if time.Now().After(deadline) {
			return false, nil
		}
		select {
		case <-ctx.Done():
			return false, exit.New(exit.Interrupted, "interrupted; the sandbox is stopping")
		case <-time.After(100 * time.Millisecond):
		}
	}
}
