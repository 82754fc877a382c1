// Package wire turns Pulumi's properties into Google's JSON and back, as the description of a type says.
package wire

import (
	"fmt"
	"strconv"
	"strings"

	"patag/infra/sandbox/gcpplugin/description"
	"patag/infra/sandbox/gcpplugin/value"
)

// Expander makes Google's JSON.
type Expander struct {
	// Project, Region and Location are the resource's; names of other resources are completed with them.
	Project, Region, Location string
	// DefaultLabels are the provider's, put on every resource that has labels.
	DefaultLabels value.Map
	// State is that of the existing resource, nil at creation. What the server filled in is sent back with
	// the object that it is part of, or it would be reset.
	State value.Map
}

// Object makes the JSON of a whole resource.
func (e Expander) Object(t *description.Type, in value.Map) (value.Map, error) {
	return e.object(t.Root, in, e.State, true)
}

// Property makes the JSON of one property, named by its dotted path. An absent property gives what clears it.
func (e Expander) Property(t *description.Type, path string, in value.Map) (any, error) {
	p := t.Root.Find(path)
	v, ok := value.Get(in, path)
	prior, _ := value.Get(e.State, path)
	if !ok && p.Computed && prior != nil {
		v, ok = prior, true
	}
	if !ok {
		if p.Labels {
			return e.labels(p, nil), nil
		}
		return cleared(p), nil
	}
	return e.value(p, v, prior)
}

// cleared is what Google takes for "not set any more".
func cleared(p *description.Property) any {
	switch p.Kind {
	case description.Object:
		if p.Present != "" {
			return value.Map{p.Present: false}
		}
		return nil
	case description.List, description.Set:
		if p.Keyed != "" {
			return value.Map{}
		}
		return []any{}
	case description.Map:
		return value.Map{}
	case description.Bool:
		if p.AsObject {
			return nil
		}
		return false
	case description.Int, description.Float:
		if p.Int64 {
			return "0"
		}
		return 0
	}
	if p.Enum != nil {
		return nil
	}
	return ""
}

func (e Expander) object(parent *description.Property, in, state value.Map, root bool) (value.Map, error) {
	out := value.Map{}
	for _, p := range parent.Children {
		if p.Local || p.ReadOnly && e.State == nil || (p.Output && !p.Echo) {
			continue
		}
		v, given := in[p.Name]
		prior := state[p.Name]
		if !given && e.State != nil && prior != nil && (p.Echo || p.Computed && !root) {
			v, given = prior, true
		}
		if !given && p.Labels && root {
			if l := e.labels(p, nil); len(l) > 0 {
				value.Set(out, p.API, l)
			}
			continue
		}
		// An empty text is no value for an enumeration, and no different from none elsewhere.
		if !given || v == "" {
			continue
		}
		w, err := e.value(p, v, prior)
		if err != nil {
			return nil, err
		}
		if w != nil {
			value.Set(out, p.API, w)
		}
	}
	if parent.Present != "" {
		value.Set(out, parent.Present, true)
	}
	return out, nil
}

func (e Expander) value(p *description.Property, v, prior any) (any, error) {
	if value.HasUnknown(v) {
		return nil, fmt.Errorf("the value of %q is not known yet", p.Path)
	}
	switch p.Kind {
	case description.Object:
		m, ok := v.(value.Map)
		if !ok {
			return nil, fmt.Errorf("%q is not an object", p.Path)
		}
		state, _ := prior.(value.Map)
		return e.object(p, m, state, false)
	case description.List, description.Set:
		return e.list(p, v, prior)
	case description.Map:
		m, ok := v.(value.Map)
		if !ok {
			return nil, fmt.Errorf("%q is not a map", p.Path)
		}
		if p.Labels {
			return e.labels(p, m), nil
		}
		out := make(value.Map, len(m))
		for k, el := range m {
			out[k] = el
			if p.ListMap {
				out[k] = []any{el}
			}
		}
		return out, nil
	}
	return e.scalar(p, p.Kind, v)
}

func (e Expander) list(p *description.Property, v, prior any) (any, error) {
	list, ok := v.([]any)
	if !ok {
		return nil, fmt.Errorf("%q is not a list", p.Path)
	}
	priors, _ := prior.([]any)
	out := make([]any, 0, len(list))
	keyed := value.Map{}
	for i, el := range list {
		if p.Elem != description.Object {
			w, err := e.scalar(p, p.Elem, el)
			if err != nil {
				return nil, err
			}
			out = append(out, w)
			continue
		}
		m, ok := el.(value.Map)
		if !ok {
			return nil, fmt.Errorf("%q holds something that is not an object", p.Path)
		}
		var state value.Map
		// The elements of a set cannot be told by their place.
		if p.Kind == description.List && i < len(priors) {
			state, _ = priors[i].(value.Map)
		}
		w, err := e.object(p, m, state, false)
		if err != nil {
			return nil, err
		}
		if p.Keyed != "" {
			key, _ := value.String(m[p.Keyed])
			keyed[key] = w
		}
		out = append(out, w)
	}
	switch {
	case p.Keyed != "":
		return keyed, nil
	case p.Wrap && len(out) == 0:
		return nil, nil
	case p.Wrap:
		return out[0], nil
	case p.Zones && strings.Count(e.Location, "-") == 2:
		return append(out, e.Location), nil
	}
	return out, nil
}

func (e Expander) scalar(p *description.Property, kind description.Kind, v any) (any, error) {
	switch v := v.(type) {
	case string:
		if p.Enum != nil {
			if b, ok := p.Enum[v]; ok {
				return b, nil
			}
			return nil, nil
		}
		if p.Link != "" {
			return e.link(p.Link, v), nil
		}
		return v, nil
	case bool:
		if p.AsObject {
			if !v {
				return nil, nil
			}
			return value.Map{}, nil
		}
		return v, nil
	case float64:
		if kind != description.Int {
			return v, nil
		}
		if p.Int64 {
			return strconv.FormatInt(int64(v), 10), nil
		}
		return int64(v), nil
	}
	return nil, fmt.Errorf("%q has a value of an unexpected kind (%T)", p.Path, v)
}

// link completes a name or partial path: Google wants projects/p/global/networks/n.
func (e Expander) link(collection, v string) string {
	if i := strings.Index(v, "projects/"); i >= 0 {
		return v[i:]
	}
	collection = strings.ReplaceAll(collection, "{region}", e.Region)
	switch strings.Count(v, "/") {
	case 0:
		return "projects/" + e.Project + "/" + collection + "/" + v
	default:
		return "projects/" + e.Project + "/" + strings.TrimPrefix(v, "/")
	}
}

// labels are those given, the provider's, and those that others have put on the resource.
func (e Expander) labels(p *description.Property, given value.Map) value.Map {
	out := value.Map{}
	effective, own := companions(p.Name)
	mine, _ := e.State[own].(value.Map)
	if own == "" {
		mine, _ = e.State[p.Name].(value.Map)
	}
	theirs, _ := e.State[effective].(value.Map)
	for k, v := range theirs {
		if _, ok := mine[k]; !ok {
			out[k] = v
		}
	}
	for k, v := range Labels(p, e.DefaultLabels, given) {
		out[k] = v
	}
	return out
}

// Labels are the labels that this plugin puts on a resource: the provider's default ones and those given.
func Labels(p *description.Property, defaults, given value.Map) value.Map {
	out := value.Map{}
	if _, own := companions(p.Name); own != "" {
		for k, v := range defaults {
			out[k] = v
		}
	}
	for k, v := range given {
		out[k] = v
	}
	return out
}

// companions are the outputs beside labels: all that are on the resource, and those that are ours.
func companions(name string) (effective, own string) {
	if name == "labels" {
		return "effectiveLabels", "pulumiLabels"
	}
	return "effective" + strings.ToUpper(name[:1]) + name[1:], ""
}
