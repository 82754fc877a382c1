package lifecycle

import (
	"context"
	"fmt"
	"strings"

	"patag/infra/sandbox/gcpplugin/description"
	"patag/infra/sandbox/gcpplugin/diff"
	"patag/infra/sandbox/gcpplugin/value"
)

// fillBody fills in a body template. In it "$" is the body that would be sent without a template, "$a.b" the
// JSON of a property, "$a+b" that of two, merged, "$.x.y" a field of the resource as it is now; other text may
// have {variables}.
func (r *run) fillBody(ctx context.Context, tpl any, body value.Map) (any, error) {
	switch tpl := tpl.(type) {
	case map[string]any:
		out := value.Map{}
		for k, v := range tpl {
			filled, err := r.fillBody(ctx, v, body)
			if err != nil {
				return nil, err
			}
			if filled != nil {
				out[k] = filled
			}
		}
		return out, nil
	case string:
		return r.fillText(ctx, tpl, body)
	}
	return tpl, nil
}

func (r *run) fillText(ctx context.Context, tpl string, body value.Map) (any, error) {
	expr, ok := strings.CutPrefix(tpl, "$")
	switch {
	case !ok:
		t, err := description.ParseTemplate(tpl)
		if err != nil {
			return nil, err
		}
		return t.Fill(r.lookup)
	case expr == "":
		return body, nil
	case expr[0] == '.':
		current, err := r.current(ctx)
		if err != nil {
			return nil, err
		}
		v, _ := value.Get(current, expr[1:])
		return v, nil
	}
	var merged any
	for _, path := range strings.Split(expr, "+") {
		if r.t.Root.Find(path) == nil {
			return nil, fmt.Errorf("the description names no property %q", path)
		}
		v, err := r.expander(r.state).Property(r.t, path, r.in)
		if err != nil {
			return nil, err
		}
		have, ok1 := merged.(value.Map)
		add, ok2 := v.(value.Map)
		if ok1 && ok2 {
			value.Merge(have, add)
		} else if v != nil {
			merged = v
		}
	}
	return merged, nil
}

// sync brings a list to the wanted state element by element, told apart by a key.
func (r *run) sync(ctx context.Context, s description.Sync, property string) error {
	p := r.t.Root.Find(property)
	old, _ := r.state[property].([]any)
	want, _ := r.in[property].([]any)
	oldBy := byKey(old, s.Key)
	wantBy := byKey(want, s.Key)
	for key, e := range wantBy {
		call := s.Add
		if have, exists := oldBy[key]; exists {
			if diff.SameElement(p, have, e) {
				continue
			}
			call = s.Change
		}
		one := value.Map{property: []any{e}}
		v, err := r.expander(nil).Property(r.t, property, one)
		if err != nil {
			return err
		}
		list, _ := v.([]any)
		body, _ := list[0].(value.Map)
		if err := r.keyedCall(ctx, call, s.Key, key, body); err != nil {
			return err
		}
	}
	for key := range oldBy {
		if _, wanted := wantBy[key]; !wanted {
			if err := r.keyedCall(ctx, s.Remove, s.Key, key, nil); err != nil {
				return gone(err)
			}
		}
	}
	return nil
}

func (r *run) keyedCall(ctx context.Context, c description.Call, name, key string, body value.Map) error {
	path, err := c.Path.FillPath(func(v string) (string, bool) {
		if v == "key" {
			return key, true
		}
		return r.lookup(v)
	})
	if err != nil {
		return err
	}
	if err := r.order(ctx, c.Method, path, body); err != nil {
		return fmt.Errorf("element with %s %s: %w", name, key, err)
	}
	return nil
}

func byKey(list []any, key string) map[string]value.Map {
	out := map[string]value.Map{}
	for _, e := range list {
		if m, ok := e.(value.Map); ok {
			s, _ := value.String(m[key])
			out[s] = m
		}
	}
	return out
}
