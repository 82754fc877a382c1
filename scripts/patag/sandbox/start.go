package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"patag/infra/sandbox/client"
	"patag/infra/sandbox/layout"
	"patag/scripts/needs"
	"patag/scripts/patag/app"
	"patag/scripts/patag/cloud"
	"patag/scripts/patag/exit"
	"patag/scripts/patag/terminal"
)

const daemonName = "patag-sandbox"

type startFlags struct {
	api      string
	instance int
	memory   float64
	disk     float64
	timeout  time.Duration
}

func newStart(a *app.App) *cobra.Command {
	var f startFlags
	cmd := &cobra.Command{
		Use: "start", Short: "Start the sandbox, with the clusters and data that it had", Args: cobra.NoArgs,
		Long: `Start the sandbox, with the clusters and data that it had. The machine is checked first; when something is missing,
that is said and nothing is changed. The first start chooses the sandbox's addresses, which it keeps.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return start(cmd.Context(), a, f) },
	}
	cmd.Flags().StringVar(&f.api, "api", "", "address of the API, chosen at the first start (default "+defaultAPI+")")
	cmd.Flags().IntVar(&f.instance, "instance", 0, "second byte of its loopback addresses, 2 to 254, chosen at the first start (default: one that is free)")
	cmd.Flags().Float64Var(&f.memory, "need-memory", needs.MemoryToRun/needs.GiB, "GiB of memory that must be available")
	cmd.Flags().Float64Var(&f.disk, "need-disk", needs.DiskToRun/needs.GiB, "GiB that must be free in the state folder")
	cmd.Flags().DurationVar(&f.timeout, "timeout", 10*time.Minute, "how long it may take to be ready")
	return cmd
}

func start(ctx context.Context, a *app.App, f startFlags) error {
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
	if up {
		return already(ctx, l, pid, f, p)
	}
	tools, err := cloud.FindTools(a.Flags.Tools)
	if err != nil {
		return err
	}
	step := p.Step("check the machine")
	defer step.Fail()
	settings, fresh, err := choose(l, f)
	if err != nil {
		return err
	}
	daemon, err := check(l, settings, tools, f)
	if err != nil {
		return err
	}
	step.Done("it fits")
	if err := prepare(l, settings, fresh); err != nil {
		return err
	}
	return launch(ctx, l, daemon, tools, f, p)
}

// already is a start of what runs: it waits until it is ready and says so.
func already(ctx context.Context, l layout.Layout, pid int, f startFlags, p *terminal.Progress) error {
	settings, err := l.Settings()
	if err == nil && f.api != "" && f.api != settings.API {
		return exit.New(exit.Usage, "the sandbox runs already, with its API on %s", settings.API).WithHint("leave --api away, or give --state for a second sandbox")
	}
	c, err := client.New(l)
	if err != nil {
		return err
	}
	st, err := c.Status(ctx)
	if err == nil && st.Ready {
		p.Line("   the sandbox runs already (process %d, %s)", pid, c.Base())
		return nil
	}
	step := p.Step("wait for the sandbox, which starts already (process %d)", pid)
	defer step.Fail()
	return ready(ctx, l, c, nil, step, f.timeout)
}

// prepare writes what the daemon needs to begin: its settings and the administrator's token.
func prepare(l layout.Layout, s layout.Settings, fresh bool) error {
	if err := os.MkdirAll(l.Log(), 0o700); err != nil {
		return fmt.Errorf("make the state folder: %w", err)
	}
	if fresh {
		if err := writeSettings(l, s); err != nil {
			return fmt.Errorf("write the sandbox's settings: %w", err)
		}
	}
	return ensureToken(l)
}

// launch starts the daemon apart from this terminal and waits until it is ready. When it dies, or the wait is
// interrupted, nothing is left running.
func launch(ctx context.Context, l layout.Layout, daemon string, tools cloud.Tools, f startFlags, p *terminal.Progress) error {
	path := filepath.Join(l.Log(), "sandbox.log")
	log, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open the sandbox's log: %w", err)
	}
	defer log.Close()
	begin, _ := log.Seek(0, 2)

	step := p.Step("start the sandbox")
	defer step.Fail()
	cmd := exec.Command(daemon, "--state", l.Root, "--tools", tools.Dir)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), "PATH="+tools.Path(os.Getenv("PATH")))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return exit.New(exit.Failed, "start %s: %w", daemon, err)
	}
	died := make(chan error, 1)
	go func() { died <- cmd.Wait() }()

	c, err := client.New(l)
	if err != nil {
		return err
	}
	err = ready(ctx, l, c, died, step, f.timeout)
	var e *exit.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errDied):
		return exit.New(exit.Failed, "the sandbox ended while it started (%w)\n%s", err, tail(path, begin, 15)).WithHint("the whole log: %s", path)
	case errors.As(err, &e) && e.Code == exit.Interrupted:
		step.Detail("interrupted: stopping it again")
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		if _, err := stop(undo, l, cmd.Process.Pid, 30*time.Second); err != nil {
			return err
		}
		return exit.New(exit.Interrupted, "interrupted; the sandbox is stopped again")
	}
	return err
}

var errDied = errors.New("exited")

// ready waits until the daemon says that it is, telling what it does. died is nil for one that others started.
func ready(ctx context.Context, l layout.Layout, c *client.Client, died <-chan error, step *terminal.Step, timeout time.Duration) error {
	deadline := time.Now().Add(timeout)
	phase := ""
	for {
		asked, cancel := context.WithTimeout(ctx, 5*time.Second)
		st, err := c.Status(asked)
		cancel()
		if err == nil && st.Ready {
			step.Done("%s, %d clusters, API at %s", "ready", len(st.Clusters), c.Base())
			return nil
		}
		var refused *client.Error
		if errors.As(err, &refused) {
			return exit.New(exit.Failed, "the sandbox refuses: %w", err)
		}
		if err == nil && st.Phase != phase {
			phase = st.Phase
			step.Detail("%s", phase)
		}
		if time.Now().After(deadline) {
			return exit.New(exit.Failed, "the sandbox is not ready after %s; it is doing this: %s", timeout, orUnknown(phase)).
				WithHint("it goes on; `patag sandbox status` and %s tell more, `patag sandbox stop` ends it", filepath.Join(l.Log(), "sandbox.log"))
		}
		select {
		case err := <-died:
			return fmt.Errorf("%w: %w", errDied, orClean(err))
		case <-ctx.Done():
			return exit.New(exit.Interrupted, "interrupted; the sandbox goes on starting")
		case <-time.After(150 * time.Millisecond):
		}
		if died == nil {
			if _, up, err := client.Daemon(l); err == nil && !up {
				return exit.New(exit.Failed, "the sandbox ended while it started").WithHint("its log: %s", filepath.Join(l.Log(), "sandbox.log"))
			}
		}
	}
}

func orUnknown(phase string) string {
	if phase == "" {
		return "nothing is known, it does not answer"
	}
	return phase
}

func orClean(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}

// tail is the end of a log, from an offset.
func tail(path string, from int64, lines int) string {
	raw, err := os.ReadFile(path)
	if err != nil || int64(len(raw)) < from {
		return ""
	}
	all := strings.Split(strings.TrimSpace(string(raw[from:])), "\n")
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	return "    " + strings.Join(all, "\n    ")
}
