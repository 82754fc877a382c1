package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/auto"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/events"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optdestroy"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optpreview"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optup"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"patag/scripts/patag/exit"
	"patag/scripts/patag/terminal"
)

// Options say which stack, and how it is run.
type Options struct {
	Project, Stack string
	// Program is run inline: no language host is needed.
	Program pulumi.RunFunc
	// Dir is the work folder with Pulumi.yaml and Pulumi.<stack>.yaml.
	Dir string
	// CLI is the path of the pulumi executable.
	CLI string
	// Env is added to the environment of the CLI and of the plugins it starts.
	Env map[string]string
	// Backend is the URL in Env's PULUMI_BACKEND_URL.
	Backend string
	// SecretsProvider is used when the stack is made; empty for the passphrase.
	SecretsProvider string
	// Message is kept with the update in the stack's history.
	Message  string
	Progress *terminal.Progress
	// Wait is how long another run is waited for that has the stack; 0 says at once who it is.
	Wait time.Duration
	// Locks reads who has the state of the stack, where runs of other machines may; nil where the folder's own lock is enough.
	Locks func(ctx context.Context) ([]Lock, error)
	// Adopted is called for each resource that a killed run may have left half made, to finish what its provider does
	// after the creation itself. It may be nil.
	Adopted func(ctx context.Context, a Adopted) error
	// Check, if there is one, is asked before the program registers anything; its error ends the run.
	Check func(ctx *pulumi.Context) error
	// PolicyPack is the path of an analyzer that the engine holds every resource to; "" for none.
	PolicyPack string
	// Prepare is called once the stack is taken and before anything is read: it writes the work folder's files.
	Prepare func() error
}

// Stack is an opened stack; no other run can have it until Close.
type Stack struct {
	o    Options
	auto auto.Stack
	lock *os.File
	// refused is what Check had against the program in the run that is going on.
	refused error
	// unchecked is true while a run only looks, and need not be refused.
	unchecked bool
}

// Result is what a run did.
type Result struct {
	// Changes counts resources by operation: create, update, replace, delete, same.
	Changes map[string]int
	// Gone are resources that were, or would be, deleted or replaced: "type name".
	Gone []string
	// Outputs are the stack's; a secret one is left out.
	Outputs map[string]any
	// Differences are filled in by Drift.
	Differences []Difference
	Log         string
}

// Changed counts everything that was not left alone.
func (r Result) Changed() int {
	n := 0
	for op, count := range r.Changes {
		if op != "same" && op != "read" {
			n += count
		}
	}
	return n
}

// Open takes the stack for this run, clears what a killed run left locked, and makes the stack in the backend if
// it is not there.
func Open(ctx context.Context, o Options) (*Stack, error) {
	if err := os.MkdirAll(filepath.Join(o.Dir, "log"), 0o700); err != nil {
		return nil, fmt.Errorf("make the work folder of stack %s: %w", o.Stack, err)
	}
	s := &Stack{o: o}
	if err := o.patiently(ctx, time.Second, s.take); err != nil {
		return nil, err
	}
	if err := s.open(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// take keeps others away from the stack, and clears what a killed run left.
func (s *Stack) take() (err error) {
	if s.lock, err = takeLock(filepath.Join(s.o.Dir, "lock"), s.o.Stack); err != nil {
		return err
	}
	if n := endLeftovers(s.o.Dir); n > 0 {
		s.o.Progress.Line(" ! ended %d processes that a killed run of %s left", n, s.o.Stack)
	}
	cleared, err := clearLocks(s.o.Backend, s.o.Project, s.o.Stack)
	for _, who := range cleared {
		s.o.Progress.Line(" ! cleared the lock of a run that was killed: %s", who)
	}
	if err != nil {
		s.Close()
	}
	return err
}

func (s *Stack) open(ctx context.Context) error {
	if s.o.Prepare != nil {
		if err := s.o.Prepare(); err != nil {
			return err
		}
	}
	opts := []auto.LocalWorkspaceOption{
		auto.WorkDir(s.o.Dir), auto.Program(s.program), auto.Pulumi(newCommand(s.o)),
	}
	if s.o.SecretsProvider != "" {
		opts = append(opts, auto.SecretsProvider(s.o.SecretsProvider))
	}
	ws, err := auto.NewLocalWorkspace(ctx, opts...)
	if err != nil {
		return fmt.Errorf("prepare the work folder of stack %s: %w", s.o.Stack, err)
	}
	s.auto, err = auto.UpsertStack(ctx, s.o.Stack, ws)
	if err != nil {
		return s.explain(ctx, "open stack "+s.o.Stack, err, "")
	}
	return nil
}

// Close gives the stack free.
func (s *Stack) Close() {
	if s.lock != nil {
		s.lock.Close()
	}
}

// Up runs the program and makes the cloud as it says.
func (s *Stack) Up(ctx context.Context) (Result, error) {
	return s.run(ctx, "up", false, func(ctx context.Context, log *os.File, ch chan events.EngineEvent) (map[string]any, error) {
		r, err := s.auto.Up(ctx, optup.EventStreams(ch), optup.ProgressStreams(log), optup.ErrorProgressStreams(log), optup.SuppressProgress(), optup.Color("never"), optup.Message(s.o.Message), optup.PolicyPacks(s.packs()...))
		return plain(r.Outputs), err
	})
}

// Preview runs the program and counts what Up would do. It changes nothing.
func (s *Stack) Preview(ctx context.Context) (Result, error) {
	return s.run(ctx, "preview", true, func(ctx context.Context, log *os.File, ch chan events.EngineEvent) (map[string]any, error) {
		_, err := s.auto.Preview(ctx, optpreview.EventStreams(ch), optpreview.ProgressStreams(log), optpreview.ErrorProgressStreams(log), optpreview.SuppressProgress(), optpreview.Color("never"), optpreview.PolicyPacks(s.packs()...))
		return nil, err
	})
}

// Destroy deletes every resource of the stack. The emptied stack stays, with its history.
func (s *Stack) Destroy(ctx context.Context) (Result, error) {
	return s.run(ctx, "down", false, func(ctx context.Context, log *os.File, ch chan events.EngineEvent) (map[string]any, error) {
		_, err := s.auto.Destroy(ctx, optdestroy.EventStreams(ch), optdestroy.ProgressStreams(log), optdestroy.ErrorProgressStreams(log), optdestroy.SuppressProgress(), optdestroy.Color("never"))
		return nil, err
	})
}

// run does it once, and again where another run, on another machine, has the state meanwhile and o.Wait is not over.
func (s *Stack) run(ctx context.Context, verb string, preview bool, do runner) (result Result, err error) {
	err = s.o.patiently(ctx, 10*time.Second, func() error {
		var once error
		result, once = s.once(ctx, verb, preview, do)
		return once
	})
	return result, err
}

type runner func(ctx context.Context, log *os.File, ch chan events.EngineEvent) (map[string]any, error)

func (s *Stack) once(ctx context.Context, verb string, preview bool, do runner) (Result, error) {
	log, err := s.newLog(verb)
	if err != nil {
		return Result{}, err
	}
	defer log.Close()
	s.refused = nil
	v := newView(s.o.Progress, verb, s.o.Stack, preview)
	ch := make(chan events.EngineEvent, 256)
	shown := make(chan struct{})
	go func() {
		defer close(shown)
		v.watch(ch)
	}()
	outputs, err := do(ctx, log, ch)
	// The Automation API closes the channel when it stops reading the engine's events; before that it may have failed.
	select {
	case <-shown:
	case <-time.After(5 * time.Second):
	}
	result := v.close(err == nil)
	result.Outputs, result.Log = outputs, log.Name()
	if err != nil {
		if refusal := s.refusal(ctx, v, preview); refusal != nil {
			return result, refusal
		}
		return result, s.explain(ctx, v.title(), v.failure(err), log.Name())
	}
	return result, nil
}

const keptLogs = 20

// newLog opens the log of one run and lets the oldest go.
func (s *Stack) newLog(verb string) (*os.File, error) {
	dir := filepath.Join(s.o.Dir, "log")
	old, _ := filepath.Glob(filepath.Join(dir, "*.log"))
	for len(old) >= keptLogs {
		_ = os.Remove(old[0])
		old = old[1:]
	}
	name := time.Now().UTC().Format("20060102T150405.000Z") + "-" + verb + ".log"
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log of this run: %w", err)
	}
	return f, nil
}

// plain takes the values out; secrets stay where they are.
func plain(outputs auto.OutputMap) map[string]any {
	out := make(map[string]any, len(outputs))
	for k, v := range outputs {
		if !v.Secret {
			out[k] = v.Value
		}
	}
	return out
}

// explain turns the Automation API's errors, which hold the whole output of the CLI, into one line and a hint.
func (s *Stack) explain(ctx context.Context, doing string, err error, log string) error {
	if ctx.Err() != nil {
		return exit.New(exit.Interrupted, "%s: interrupted; what was begun was finished and the state written", doing).
			WithHint("the next `patag up` goes on from here")
	}
	var known *exit.Error
	if errors.As(err, &known) {
		return err
	}
	hint := ""
	if log != "" {
		hint = "all that was said: " + log
	}
	text := err.Error()
	switch {
	case strings.Contains(text, "stack is currently locked") || auto.IsConcurrentUpdateError(err):
		_, lockErr := clearLocks(s.o.Backend, s.o.Project, s.o.Stack)
		if lockErr == nil {
			lockErr = s.free(ctx)
		}
		if exit.Code(lockErr) == exit.Locked {
			return lockErr
		}
		return exit.New(exit.Locked, "stack %s is in use by another run: %s", s.o.Stack, lastLine(text)).WithHint("wait for it to end, or use --wait; `patag unlock %s` tells who has it, and removes a lock whose owner is gone", s.o.Stack)
	case strings.Contains(text, "incorrect passphrase"):
		return exit.New(exit.Usage, "the passphrase does not open the secrets of stack %s", s.o.Stack).WithHint("it is read from PULUMI_CONFIG_PASSPHRASE_FILE, else from the state folder; restore the file that was there")
	}
	e := exit.New(exit.Failed, "%s: %w", doing, summary(err))
	if hint != "" {
		return e.WithHint("%s", hint)
	}
	return e
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

// summary keeps what a person needs of the CLI's output: the lines that begin with error.
func summary(err error) error {
	text := err.Error()
	if !strings.Contains(text, "\nstderr: ") && !strings.Contains(text, "\nstdout: ") {
		return err
	}
	var kept []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "stderr: "))
		if rest, ok := strings.CutPrefix(line, "error: "); ok {
			kept = append(kept, rest)
		}
	}
	if len(kept) == 0 {
		first, _, _ := strings.Cut(text, "\n")
		kept = []string{first}
	}
	return errors.New(strings.Join(kept, "; "))
}
