package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/blang/semver"
	"github.com/pulumi/pulumi/sdk/v3"
	"github.com/pulumi/pulumi/sdk/v3/go/auto"
)

// command runs the Pulumi CLI for the Automation API, with three differences from the API's own: the CLI dies with
// this process (an engine that goes on without its program would only do harm), a cancelled run is given all the
// time it needs to finish what it is doing and to write its state, and the environment is exactly the given one.
type command struct {
	path string
	env  []string
}

var _ auto.PulumiCommand = command{}

func newCommand(o Options) command {
	merged := map[string]string{}
	for _, kv := range os.Environ() {
		if k, v, ok := strings.Cut(kv, "="); ok && keep(k) {
			merged[k] = v
		}
	}
	maps.Copy(merged, o.Env)
	merged["PULUMI_AUTOMATION_API"] = "true"
	merged[marker] = mark(o.Dir)
	c := command{path: o.CLI}
	for _, k := range slices.Sorted(maps.Keys(merged)) {
		c.env = append(c.env, k+"="+merged[k])
	}
	return c
}

// keep drops what `patag env` of another stack may have left in the shell: it would send this run elsewhere.
func keep(name string) bool {
	return name != "PULUMI_STACK" && name != "PULUMI_CWD" && !strings.HasPrefix(name, "PULUMI_OPTION_")
}

// Version is the SDK's: `make build` pins both together, and asking the CLI costs half a second in each run.
func (c command) Version() semver.Version { return sdk.Version }

func (c command) Run(ctx context.Context, dir string, stdin io.Reader, stdouts, stderrs []io.Writer, env []string, args ...string) (string, string, int, error) {
	if err := ctx.Err(); err != nil {
		return "", "", -1, err
	}
	args = append([]string{"--non-interactive"}, args...)
	cmd := exec.Command(c.path, args...)
	cmd.Dir = dir
	cmd.Stdin = stdin
	cmd.Env = append(append([]string{}, env...), c.env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout = io.MultiWriter(append(stdouts, &stdout)...)
	cmd.Stderr = io.MultiWriter(append(stderrs, &stderr)...)
	// A group of its own keeps the terminal's Ctrl-C away: the engine takes a second interrupt as the order to
	// drop everything, and it gets its one from below.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = 10 * time.Second

	ended := make(chan error, 1)
	started := make(chan error, 1)
	go func() {
		// The parent-death signal is sent when the starting thread ends, not the process: keep the thread.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			ended <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return "", "", -1, fmt.Errorf("start %s: %w", c.path, err)
	}
	var err error
	select {
	case err = <-ended:
	case <-ctx.Done():
		_ = cmd.Process.Signal(syscall.SIGINT)
		err = <-ended
	}
	code := 0
	var exitErr *exec.ExitError
	switch {
	case errors.As(err, &exitErr):
		code = exitErr.ExitCode()
	case err != nil:
		code = -1
	}
	return stdout.String(), stderr.String(), code, err
}
