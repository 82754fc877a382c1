package engine

import (
	"context"
	"fmt"
	"maps"
	"os"
	"strings"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/auto/events"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optrefresh"

	"patag/scripts/patag/exit"
)

// Recover makes the state true again after a run that was killed. The engine notes each operation before it begins;
// what is still noted was interrupted. Something that was being created may or may not exist now: where its ID
// follows from its inputs it is taken into the state, and a refresh of these resources alone then finds out, and
// drops what is not there. What was being updated or deleted is refreshed likewise.
//
// It returns the summary of the state that it leaves.
func (s *Stack) Recover(ctx context.Context) (Summary, error) {
	note, err := readNote(s.o.Dir)
	if err != nil {
		return Summary{}, err
	}
	// Reading a local state costs nothing; to ask the CLI takes half a second of every run.
	if sum, ok, err := Peek(ctx, s.o); err == nil && ok && sum.Interrupted == 0 && note.empty() {
		return sum, nil
	}
	if err := s.o.patiently(ctx, 10*time.Second, func() error { return s.free(ctx) }); err != nil {
		return Summary{}, err
	}
	st, err := s.load(ctx)
	if err != nil {
		return Summary{}, err
	}
	switch {
	case len(st.Pending) > 0:
		s.o.Progress.Line(" ! the last run of %s was killed while %s", s.o.Stack, openOperations(st.Pending))
		note.add(st.settle(s.o.Progress.Line))
		// Noted first: the state takes the guesses for facts, and this may be interrupted, too.
		if err := note.write(s.o.Dir); err != nil {
			return Summary{}, err
		}
		if err := s.save(ctx, st); err != nil {
			return Summary{}, err
		}
	case note.empty():
		return st.summary(), nil
	default:
		s.o.Progress.Line(" ! the last run of %s was interrupted while it looked at what a killed one had left", s.o.Stack)
	}
	adopted, targets := note.in(st)
	// Before the refresh: what it reads must be what there is in the end, such as the endpoint of a cluster.
	if err := s.finish(ctx, st, adopted); err != nil {
		return Summary{}, err
	}
	if len(targets) > 0 {
		if err := s.refresh(ctx, targets); err != nil {
			if ctx.Err() != nil {
				return Summary{}, err
			}
			if len(adopted) == 0 {
				return Summary{}, err
			}
			// An ID that the provider cannot even read: forget the guesses, the run below says what is in its way.
			s.o.Progress.Line(" ! cannot find out what exists: %v", err)
			if err := s.forget(ctx, adopted); err != nil {
				return Summary{}, err
			}
		}
	}
	if err := note.end(s.o.Dir); err != nil {
		return Summary{}, err
	}
	return s.Summary(ctx)
}

// Adopted is a resource whose creation was cut off; it may exist or not.
type Adopted struct {
	Type, ID string
	Inputs   map[string]any
}

// finish hands what was adopted to the one who knows what else belongs to its creation.
func (s *Stack) finish(ctx context.Context, st *state, adopted map[string]bool) error {
	for _, r := range st.Resources {
		if waits, _ := r["delete"].(bool); waits || !adopted[key(r)] || s.o.Adopted == nil {
			continue
		}
		inputs, _ := r["inputs"].(map[string]any)
		if err := s.o.Adopted(ctx, Adopted{Type: text(r, "type"), ID: text(r, "id"), Inputs: inputs}); err != nil {
			if ctx.Err() != nil {
				return exit.New(exit.Interrupted, "finish %s: interrupted", describe(text(r, "urn"))).WithHint("the next `patag up` goes on")
			}
			return exit.New(exit.Failed, "finish %s, whose creation was cut off: %w", describe(text(r, "urn")), err)
		}
	}
	return nil
}

func openOperations(ops []pending) string {
	var parts []string
	for i, op := range ops {
		if i == 3 {
			parts = append(parts, fmt.Sprintf("%d more", len(ops)-i))
			break
		}
		parts = append(parts, op.Type+" "+describe(text(op.Resource, "urn")))
	}
	return strings.Join(parts, ", ")
}

// key tells apart two resources of one URN, one of which waits for deletion.
func key(r map[string]any) string { return text(r, "urn") + " " + text(r, "id") }

// settle empties the list of pending operations. It returns which resources were added to the state on suspicion,
// and the URNs to refresh.
func (st *state) settle(say func(string, ...any)) (adopted map[string]bool, targets []string) {
	adopted = map[string]bool{}
	present := map[string]bool{}
	for _, r := range st.Resources {
		present[text(r, "urn")] = true
	}
	for _, op := range st.Pending {
		urn, kind := text(op.Resource, "urn"), text(op.Resource, "type")
		if op.Type != "creating" && op.Type != "importing" {
			if present[urn] && !strings.HasPrefix(kind, "pulumi:providers:") {
				targets = append(targets, urn)
			}
			continue
		}
		if custom, _ := op.Resource["custom"].(bool); !custom || isHarmless(kind) {
			continue
		}
		if present[urn] && strings.HasPrefix(kind, "kubernetes:") {
			// The replacement of an object that still stands. The run applies it again under the same name; were this one noted for
			// deletion, the new one would be deleted with it.
			continue
		}
		inputs, _ := op.Resource["inputs"].(map[string]any)
		id, ok := guessID(kind, inputs, st.providerDefaults(text(op.Resource, "provider")))
		if !ok {
			say(" ! %s may exist without being known: if it does, delete it by hand; the run makes a new one", describe(urn))
			continue
		}
		found := maps.Clone(op.Resource)
		found["id"] = id
		if found["outputs"] == nil {
			found["outputs"] = inputs
		}
		if present[urn] {
			// The replacement of a resource that still stands: the run makes another, and deletes this one.
			found["delete"] = true
		} else {
			targets = append(targets, urn)
			present[urn] = true
		}
		st.Resources = append(st.Resources, found)
		adopted[key(found)] = true
	}
	st.Pending = nil
	return adopted, targets
}

// providerDefaults are the project, region and zone of the provider resource that a reference ("urn::id") names.
func (st *state) providerDefaults(ref string) map[string]string {
	out := map[string]string{}
	i := strings.LastIndex(ref, "::")
	if i < 0 {
		return out
	}
	for _, r := range st.Resources {
		if text(r, "urn") != ref[:i] {
			continue
		}
		inputs, _ := r["inputs"].(map[string]any)
		for _, name := range []string{"project", "region", "zone"} {
			if v, ok := inputs[name].(string); ok {
				out[name] = v
			}
		}
	}
	return out
}

// Refresh brings the state up to date with what is really there.
func (s *Stack) Refresh(ctx context.Context) error { return s.refresh(ctx, nil) }

func (s *Stack) refresh(ctx context.Context, targets []string) error {
	_, err := s.run(ctx, "check", true, func(ctx context.Context, log *os.File, ch chan events.EngineEvent) (map[string]any, error) {
		_, err := s.auto.Refresh(ctx, optrefresh.Target(targets), optrefresh.EventStreams(ch), optrefresh.ProgressStreams(log),
			optrefresh.ErrorProgressStreams(log), optrefresh.SuppressProgress(), optrefresh.Color("never"))
		return nil, err
	})
	return err
}

// forget takes out again what settle put in and no refresh confirmed.
func (s *Stack) forget(ctx context.Context, adopted map[string]bool) error {
	st, err := s.load(ctx)
	if err != nil {
		return err
	}
	kept := st.Resources[:0]
	for _, r := range st.Resources {
		if !adopted[key(r)] {
			kept = append(kept, r)
		}
	}
	st.Resources, st.Pending = kept, nil
	if err := s.save(ctx, st); err != nil {
		return exit.New(exit.Failed, "take unconfirmed resources out of the state of %s: %w", s.o.Stack, err)
	}
	return nil
}
