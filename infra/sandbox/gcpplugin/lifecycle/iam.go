package lifecycle

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"patag/infra/sandbox/gcpplugin/diff"
	"patag/infra/sandbox/gcpplugin/google"
	"patag/infra/sandbox/gcpplugin/value"
)

// iamMember is one member of one role in the policy of another resource. A policy is read, changed and written
// whole; its etag makes a write fail when somebody else was quicker, and then all is done again.
type iamMember struct{}

const policyTries = 12

func (s iamMember) create(ctx context.Context, r *run) error {
	return s.edit(ctx, r, func(policy value.Map) bool {
		binding := s.binding(r, policy)
		if binding == nil {
			binding = value.Map{"role": r.in["role"]}
			if c, ok := r.in["condition"]; ok {
				binding["condition"] = c
				policy["version"] = 3
			}
			list, _ := policy["bindings"].([]any)
			policy["bindings"] = append(list, binding)
		}
		members, _ := binding["members"].([]any)
		if indexOf(members, r.in["member"]) >= 0 {
			return false
		}
		binding["members"] = append(members, r.in["member"])
		return true
	})
}

func (s iamMember) delete(ctx context.Context, r *run) error {
	return gone(s.edit(ctx, r, func(policy value.Map) bool {
		binding := s.binding(r, policy)
		if binding == nil {
			return false
		}
		members, _ := binding["members"].([]any)
		i := indexOf(members, s.given(r, "member"))
		if i < 0 {
			return false
		}
		members = append(members[:i:i], members[i+1:]...)
		binding["members"] = members
		if len(members) == 0 {
			list, _ := policy["bindings"].([]any)
			kept := []any{}
			for _, b := range list {
				if m, _ := b.(value.Map); m["role"] != binding["role"] || !sameCondition(m["condition"], binding["condition"]) {
					kept = append(kept, b)
				}
			}
			policy["bindings"] = kept
		}
		return true
	}))
}

func (s iamMember) read(ctx context.Context, r *run) (bool, error) {
	policy, err := s.policy(ctx, r)
	if google.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	binding := s.binding(r, policy)
	if binding == nil {
		return false, nil
	}
	members, _ := binding["members"].([]any)
	if indexOf(members, s.given(r, "member")) < 0 {
		return false, nil
	}
	state := value.Map{}
	for _, p := range r.t.Root.Children {
		if v := s.given(r, p.Name); v != nil && !p.Output {
			state[p.Name] = v
		} else if v, ok := r.lookup(p.Name); ok && !p.Output {
			state[p.Name] = v
		}
	}
	// The etag is the whole policy's: it changes with every other member. As long as this one stands, it is not
	// news, and the first one is kept.
	if old, ok := r.state["etag"]; ok {
		state["etag"] = old
	} else if etag, ok := policy["etag"]; ok {
		state["etag"] = etag
	}
	r.state = state
	r.settleID()
	return true, nil
}

func (iamMember) update(context.Context, *run, []diff.Change) error {
	return fmt.Errorf("a member of a policy cannot be changed in place")
}

// given is an input, or part of the state or id.
func (iamMember) given(r *run, name string) any {
	if v, ok := r.in[name]; ok {
		return v
	}
	if v, ok := r.state[name]; ok {
		return v
	}
	if v, ok := r.vars[name]; ok {
		return v
	}
	return nil
}

func (s iamMember) policy(ctx context.Context, r *run) (value.Map, error) {
	return r.send(ctx, r.t.IAM.Get, nil, r.t.IAM.Get.Body, nil)
}

// binding finds the binding of the role under the same condition.
func (s iamMember) binding(r *run, policy value.Map) value.Map {
	list, _ := policy["bindings"].([]any)
	for _, b := range list {
		m, _ := b.(value.Map)
		if m["role"] == s.given(r, "role") && sameCondition(m["condition"], s.given(r, "condition")) {
			return m
		}
	}
	return nil
}

func sameCondition(a, b any) bool {
	am, _ := a.(value.Map)
	bm, _ := b.(value.Map)
	for _, f := range []string{"title", "description", "expression"} {
		as, _ := am[f].(string)
		bs, _ := bm[f].(string)
		if as != bs {
			return false
		}
	}
	return true
}

func (s iamMember) edit(ctx context.Context, r *run, change func(policy value.Map) bool) error {
	path, err := r.path(r.t.IAM.Set.Path)
	if err != nil {
		return err
	}
	unlock, err := r.lock(ctx, r.t.Service+" "+path)
	if err != nil {
		return err
	}
	defer unlock()
	for try := 1; ; try++ {
		policy, err := s.policy(ctx, r)
		if err != nil {
			return fmt.Errorf("read the policy: %w", err)
		}
		if !change(policy) {
			return nil
		}
		delete(policy, "kind")
		var body any = policy
		if r.t.IAM.Wrapped {
			body = value.Map{"policy": policy}
		}
		_, err = r.do(ctx, r.t.IAM.Set.Method, path, body)
		if err == nil || !google.IsConflict(err) || try == policyTries {
			return err
		}
		pause := time.Duration(try) * 100 * time.Millisecond
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause + rand.N(pause)):
		}
	}
}

func indexOf(list []any, v any) int {
	for i, e := range list {
		if e == v {
			return i
		}
	}
	return -1
}
