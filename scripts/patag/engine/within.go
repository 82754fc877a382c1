package engine

import (
	"context"
	"slices"
	"strings"
)

// ForgetWithin takes a resource type and everything that lives in resources of it out of the state, without asking any provider:
// the thing itself, what is deleted with it, providers that point into it and what they made. It is for a cluster that is
// gone, or is deleted by other means; protection does not hold it up. It answers how many were forgotten.
func (s *Stack) ForgetWithin(ctx context.Context, kind string) (int, error) {
	st, err := s.load(ctx)
	if err != nil {
		return 0, err
	}
	n := st.forgetWithin(kind)
	if n == 0 {
		return 0, nil
	}
	return n, s.save(ctx, st)
}

func (st *state) forgetWithin(kind string) int {
	gone := map[string]bool{}
	isGone := func(r map[string]any) bool {
		if custom, _ := r["custom"].(bool); !custom {
			return false // a component costs nothing and is adopted by what comes next
		}
		if text(r, "type") == kind || gone[text(r, "deletedWith")] || gone[text(r, "parent")] {
			return true
		}
		provider := text(r, "provider")
		if i := strings.LastIndex(provider, "::"); i > 0 && gone[provider[:i]] {
			return true
		}
		return strings.HasPrefix(text(r, "type"), "pulumi:providers:kubernetes") && slices.ContainsFunc(names(r["dependencies"]), func(d string) bool { return gone[d] })
	}
	// Until nothing more follows: what a provider made comes after the provider, what is deleted with a thing after it, but the
	// order is not to be counted on after replacements.
	for grew := true; grew; {
		grew = false
		for _, r := range st.Resources {
			if urn := text(r, "urn"); !gone[urn] && isGone(r) {
				gone[urn], grew = true, true
			}
		}
	}
	before := len(st.Resources)
	st.Resources = slices.DeleteFunc(st.Resources, func(r map[string]any) bool { return gone[text(r, "urn")] })
	for _, r := range st.Resources {
		unlink(r, gone)
	}
	st.Pending = slices.DeleteFunc(st.Pending, func(p pending) bool { return gone[text(p.Resource, "urn")] })
	return before - len(st.Resources)
}

// unlink takes references to forgotten resources out of one that stays; the engine refuses a state with loose ends.
func unlink(r map[string]any, gone map[string]bool) {
	keep := func(v any) any {
		left := slices.DeleteFunc(names(v), func(d string) bool { return gone[d] })
		return left
	}
	if r["dependencies"] != nil {
		r["dependencies"] = keep(r["dependencies"])
	}
	if by, ok := r["propertyDependencies"].(map[string]any); ok {
		for property := range by {
			by[property] = keep(by[property])
		}
	}
	if gone[text(r, "deletedWith")] {
		delete(r, "deletedWith")
	}
}

func names(v any) []string {
	list, _ := v.([]any)
	out := []string{}
	for _, e := range list {
		if s, ok := e.(string); ok {
			out = append(out, s)
		}
	}
	return out
}
