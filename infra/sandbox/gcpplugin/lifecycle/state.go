package lifecycle

import (
	"patag/infra/sandbox/gcpplugin/description"
	"patag/infra/sandbox/gcpplugin/diff"
	"patag/infra/sandbox/gcpplugin/value"
	"patag/infra/sandbox/gcpplugin/wire"
)

// absorb makes the state from Google's answer, the inputs, and what was known before.
func (r *run) absorb(answer value.Map) {
	prior := r.prior()
	state := wire.Flatten(r.t, answer, prior, r.get("location"))
	for _, p := range r.t.Root.Children {
		if _, have := state[p.Name]; have || !p.Local {
			continue
		}
		if v, ok := r.state[p.Name]; ok && (p.Output || p.Computed) {
			state[p.Name] = v
		} else if s, ok := r.lookup(p.Name); ok && p.Kind == description.String && (p.Computed || p.Required) {
			// Parts of the resource's address: known from the id or the provider.
			state[p.Name] = s
		}
	}
	wire.Companions(r.t, answer, state, r.DefaultLabels)
	r.state = state
	r.settleID()
}

// settleID makes the id and what follows from other properties.
func (r *run) settleID() {
	for name, tpl := range r.t.Outputs {
		if s, err := tpl.Fill(r.lookup); err == nil {
			r.state[name] = s
		}
	}
	if id, err := r.t.ID.Fill(r.lookup); err == nil {
		r.id = id
	}
	r.state["id"] = r.id
}

// prior is what the answer may lack: the inputs, and what the server once filled in.
func (r *run) prior() value.Map {
	prior := value.Map{}
	for _, p := range r.t.Root.Children {
		if v, ok := r.in[p.Name]; ok {
			prior[p.Name] = v
		} else if v, ok := r.state[p.Name]; ok && (p.Output || p.Computed) {
			prior[p.Name] = v
		}
	}
	return prior
}

// Inputs takes out of a state what a program could have given: for an import, which has no program yet.
func Inputs(t *description.Type, state value.Map) value.Map { return inputsOf(t.Root, state) }

func inputsOf(parent *description.Property, state value.Map) value.Map {
	out := value.Map{}
	for _, p := range parent.Children {
		v, ok := state[p.Name]
		if !ok || p.Output || (value.Zero(v) && p.Kind != description.Object) {
			continue
		}
		switch v := v.(type) {
		case value.Map:
			if p.Kind == description.Object {
				out[p.Name] = inputsOf(p, v)
				continue
			}
		case []any:
			if p.Elem == description.Object {
				list := make([]any, 0, len(v))
				for _, e := range v {
					if m, ok := e.(value.Map); ok {
						list = append(list, inputsOf(p, m))
					}
				}
				out[p.Name] = list
				continue
			}
		}
		out[p.Name] = v
	}
	return out
}

// Refreshed are the inputs after a refresh: what the program gave, with the values that the resource has now.
// A value that only looks different (a name for a link) stays as the program wrote it.
func Refreshed(t *description.Type, inputs, state value.Map) value.Map {
	return refreshed(t.Root, inputs, state)
}

func refreshed(parent *description.Property, inputs, state value.Map) value.Map {
	out := value.Map{}
	for name, given := range inputs {
		p := parent.Child(name)
		now, ok := state[name]
		switch {
		case p == nil || p.Local || p.Kept:
			out[name] = given
		case !ok:
			if value.Zero(given) {
				out[name] = given
			}
		case diff.Same(p, now, given):
			out[name] = given
		default:
			out[name] = project(p, given, now)
		}
	}
	return out
}

// project takes the present value in the shape that was given.
func project(p *description.Property, given, now any) any {
	g, gok := given.(value.Map)
	n, nok := now.(value.Map)
	if p.Kind == description.Object && gok && nok {
		return refreshed(p, g, n)
	}
	gl, gok2 := given.([]any)
	nl, nok2 := now.([]any)
	if p.Elem == description.Object && gok2 && nok2 {
		out := make([]any, 0, len(nl))
		for i, e := range nl {
			m, _ := e.(value.Map)
			var shape value.Map
			if i < len(gl) {
				shape, _ = gl[i].(value.Map)
			}
			if shape == nil {
				out = append(out, inputsOf(p, m))
				continue
			}
			out = append(out, refreshed(p, shape, m))
		}
		return out
	}
	return now
}

// Preview is the state that a resource will have, as far as it is known: what Google will fill in is unknown.
// state is nil for a new resource.
func Preview(t *description.Type, in, state, defaultLabels value.Map) value.Map {
	out := preview(t.Root, in, state, state == nil)
	for _, name := range []string{"labels", "annotations"} {
		p := t.Root.Child(name)
		if p == nil || !p.Labels {
			continue
		}
		given, _ := in[name].(value.Map)
		own := wire.Labels(p, defaultLabels, given)
		if name == "labels" {
			out["pulumiLabels"] = own
		}
		if state == nil {
			out["effective"+string(name[0]-'a'+'A')+name[1:]] = own
		}
	}
	return out
}

func preview(parent *description.Property, in, state value.Map, fresh bool) value.Map {
	out := value.Map{}
	for _, p := range parent.Children {
		v, given := in[p.Name]
		old, had := state[p.Name]
		switch {
		case !given && (p.Output || p.Computed):
			if had && !fresh {
				out[p.Name] = old
			} else if fresh {
				out[p.Name] = value.Unknown{}
			}
		case !given:
		default:
			out[p.Name] = previewValue(p, v, old, fresh)
		}
	}
	return out
}

func previewValue(p *description.Property, v, old any, fresh bool) any {
	switch v := v.(type) {
	case value.Map:
		if p.Kind == description.Object {
			o, had := old.(value.Map)
			return preview(p, v, o, fresh || !had)
		}
	case []any:
		if p.Elem != description.Object {
			return v
		}
		olds, _ := old.([]any)
		list := make([]any, len(v))
		for i, e := range v {
			m, ok := e.(value.Map)
			if !ok {
				list[i] = e
				continue
			}
			var o value.Map
			had := false
			if i < len(olds) {
				o, had = olds[i].(value.Map)
			}
			list[i] = preview(p, m, o, fresh || !had)
		}
		return list
	}
	return v
}

// Secrets are the paths that the type itself makes secret.
func Secrets(t *description.Type) map[string]bool {
	out := map[string]bool{}
	var walk func(p *description.Property, list string)
	walk = func(parent *description.Property, list string) {
		for _, p := range parent.Children {
			at := list
			if at == "" && parent.Elem == description.Object {
				// A secret within a list makes the list secret.
				at = parent.Path
			}
			if p.Secret {
				if at != "" {
					out[at] = true
				} else {
					out[p.Path] = true
				}
			}
			walk(p, at)
		}
	}
	walk(t.Root, "")
	for _, name := range []string{"effectiveLabels", "pulumiLabels"} {
		if t.Root.Child(name) != nil {
			out[name] = true
		}
	}
	return out
}
