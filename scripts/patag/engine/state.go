package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"patag/scripts/patag/exit"
)

// state is the part of a deployment that is read and edited here; everything else passes through untouched.
type state struct {
	fields map[string]json.RawMessage
	// read is the deployment as it was read.
	read json.RawMessage
	// Resources and Pending keep each entry's unknown fields.
	Resources []map[string]any
	Pending   []pending
}

type pending struct {
	Type     string         `json:"type"`
	Resource map[string]any `json:"resource"`
}

func parseState(deployment json.RawMessage) (*state, error) {
	st := &state{fields: map[string]json.RawMessage{}, read: deployment}
	if err := json.Unmarshal(deployment, &st.fields); err != nil {
		return nil, fmt.Errorf("read the stack's state: %w", err)
	}
	for key, into := range map[string]any{"resources": &st.Resources, "pending_operations": &st.Pending} {
		raw := st.fields[key]
		if len(raw) == 0 {
			continue
		}
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.UseNumber() // a number of the state must come back exactly as it was
		if err := dec.Decode(into); err != nil {
			return nil, fmt.Errorf("read the stack's state (%s): %w", key, err)
		}
	}
	return st, nil
}

func (st *state) encode() (json.RawMessage, error) {
	for key, value := range map[string]any{"resources": st.Resources, "pending_operations": st.Pending} {
		raw, err := json.Marshal(value)
		if err != nil {
			return nil, err
		}
		st.fields[key] = raw
	}
	return json.Marshal(st.fields)
}

func text(resource map[string]any, key string) string {
	s, _ := resource[key].(string)
	return s
}

func (s *Stack) load(ctx context.Context) (*state, error) {
	deployment, err := s.auto.Export(ctx)
	if err != nil {
		return nil, s.explain(ctx, "read the state of stack "+s.o.Stack, err, "")
	}
	return parseState(deployment.Deployment)
}

func (s *Stack) save(ctx context.Context, st *state) error {
	raw, err := st.encode()
	if err != nil {
		return err
	}
	// In this order: a run elsewhere writes its state before it gives its lock back.
	if err := s.free(ctx); err != nil {
		return err
	}
	deployment, err := s.auto.Export(ctx)
	if err != nil {
		return s.explain(ctx, "read the state of stack "+s.o.Stack, err, "")
	}
	if !bytes.Equal(deployment.Deployment, st.read) {
		return exit.New(exit.Locked, "the state of stack %s was changed by another run meanwhile", s.o.Stack).WithHint("the same command again begins with what is there now; nothing was changed")
	}
	deployment.Deployment = raw
	if err := s.auto.Import(ctx, deployment); err != nil {
		return s.explain(ctx, "write the state of stack "+s.o.Stack, err, "")
	}
	return nil
}

// free refuses while a run has the state, as one of another machine may have it in a shared backend: what it has not finished yet looks
// as if it had been killed.
func (s *Stack) free(ctx context.Context) error {
	if s.o.Locks == nil {
		return nil
	}
	locks, err := s.o.Locks(ctx)
	if err != nil {
		return err
	}
	if len(locks) > 0 {
		return errLocked(s.o.Stack, locks[0].by)
	}
	return nil
}

// Summary is what is known of a stack from its state alone.
type Summary struct {
	// Resources counts what the stack holds, without the stack itself and the providers.
	Resources int
	// Protected are the names of protected resources.
	Protected []string
	// Interrupted counts operations that a killed run left open.
	Interrupted int
	Outputs     map[string]any
	// IDs are the provider's IDs by type, of custom resources.
	IDs map[string][]string
}

// secretSignature marks an encrypted value in the state.
const secretSignature = "4dabf18193072939515e22adb298388d"

func (st *state) summary() Summary {
	sum := Summary{Outputs: map[string]any{}, IDs: map[string][]string{}, Interrupted: len(st.Pending)}
	for _, r := range st.Resources {
		kind := text(r, "type")
		if kind == "pulumi:pulumi:Stack" {
			outputs, _ := r["outputs"].(map[string]any)
			for k, v := range outputs {
				if m, ok := v.(map[string]any); ok && m[secretSignature] != nil {
					continue
				}
				sum.Outputs[k] = v
			}
			continue
		}
		if strings.HasPrefix(kind, "pulumi:providers:") {
			continue
		}
		if protect, _ := r["protect"].(bool); protect {
			sum.Protected = append(sum.Protected, urnName(text(r, "urn")))
		}
		if id := text(r, "id"); id != "" {
			sum.IDs[kind] = append(sum.IDs[kind], id)
		}
		sum.Resources++
	}
	return sum
}

// Summary reads the stack's state.
func (s *Stack) Summary(ctx context.Context) (Summary, error) {
	st, err := s.load(ctx)
	if err != nil {
		return Summary{}, err
	}
	return st.summary(), nil
}

// Unprotect takes the protection off every resource.
func (s *Stack) Unprotect(ctx context.Context) error {
	st, err := s.load(ctx)
	if err != nil {
		return err
	}
	changed := false
	for _, r := range st.Resources {
		if protect, _ := r["protect"].(bool); protect {
			delete(r, "protect")
			changed = true
		}
	}
	if !changed {
		return nil
	}
	return s.save(ctx, st)
}

func urnName(urn string) string {
	if i := strings.LastIndex(urn, "::"); i >= 0 {
		return urn[i+2:]
	}
	return urn
}

// urnType is the resource's own type, without those of its parents.
func urnType(urn string) string {
	parts := strings.SplitN(urn, "::", 4)
	if len(parts) < 4 {
		return ""
	}
	types := parts[2]
	return types[strings.LastIndexByte(types, '$')+1:]
}
