package wire

import (
	"regexp"
	"sort"
	"strconv"
	"strings"

	"patag/infra/sandbox/gcpplugin/description"
	"patag/infra/sandbox/gcpplugin/value"
)

// Flatten makes Pulumi's properties of Google's JSON. prior is what was last known of the resource, its inputs
// or its state: it has what the answer does not (what is local or only sent).
func Flatten(t *description.Type, answer, prior value.Map, location string) value.Map {
	f := flattener{root: answer, location: location}
	out := f.object(t.Root, answer, prior)
	for _, p := range t.Root.Children {
		if p.Local && !p.Output {
			if v, ok := prior[p.Name]; ok {
				out[p.Name] = v
			}
		}
	}
	return out
}

type flattener struct {
	root     value.Map
	location string
}

func (f flattener) object(parent *description.Property, answer, prior value.Map) value.Map {
	out := value.Map{}
	for _, p := range parent.Children {
		last, had := prior[p.Name]
		if p.Local {
			if had && parent.Path != "" {
				out[p.Name] = last
			}
			continue
		}
		w, ok := value.Get(answer, p.API)
		if p.ReadAPI != "" {
			if r, found := value.Get(f.root, p.ReadAPI); found && r != "" {
				w, ok = r, true
			}
		}
		if p.Kept && p.Kind != description.Object {
			ok = false
		}
		var v any
		if ok && w != nil {
			v = f.value(p, w, last)
		}
		if v == nil && had && (p.Kept || value.Zero(last)) {
			// Google leaves out what is false, 0 or empty; a program that said so has it nevertheless.
			v = last
		}
		if v == nil && p.Assume != "" && p.HasDefault {
			v = p.Assume
		}
		if v != nil {
			out[p.Name] = v
		}
	}
	return out
}

func (f flattener) value(p *description.Property, w, prior any) any {
	switch p.Kind {
	case description.Object:
		m, ok := w.(value.Map)
		if !ok {
			return nil
		}
		if on, _ := m[p.Present].(bool); p.Present != "" && !on {
			return nil
		}
		last, _ := prior.(value.Map)
		out := f.object(p, m, last)
		if len(out) == 0 && p.Kept {
			return nil
		}
		return out
	case description.List, description.Set:
		return f.list(p, w, prior)
	case description.Map:
		return f.mapping(p, w, prior)
	}
	return f.scalar(p, p.Kind, w)
}

func (f flattener) list(p *description.Property, w, prior any) any {
	last, _ := prior.([]any)
	var items []any
	switch w := w.(type) {
	case []any:
		items = w
	case value.Map:
		switch {
		case p.Keyed != "":
			items = unkey(p, w, last)
		case p.Wrap:
			items = []any{w}
		}
	}
	out := make([]any, 0, len(items))
	for i, item := range items {
		if p.Zones && item == f.location {
			continue
		}
		if p.Elem != description.Object {
			if v := f.scalar(p, p.Elem, item); v != nil {
				out = append(out, v)
			}
			continue
		}
		m, ok := item.(value.Map)
		if !ok {
			continue
		}
		var prev value.Map
		if i < len(last) {
			prev, _ = last[i].(value.Map)
		}
		v := f.object(p, m, prev)
		if p.Keyed != "" {
			v[p.Keyed] = m[keyField]
		}
		out = append(out, v)
	}
	if p.Kind == description.Set {
		return inOrderOf(out, last)
	}
	if len(out) == 0 && len(last) == 0 {
		return nil
	}
	return out
}

// keyField carries the key of a map while it is turned into a list.
const keyField = "\x00key"

// unkey makes the list, in the order of the last one where it has the key, then by key.
func unkey(p *description.Property, m value.Map, last []any) []any {
	rank := map[string]int{}
	for i, e := range last {
		if e, ok := e.(value.Map); ok {
			key, _ := value.String(e[p.Keyed])
			rank[key] = i + 1
		}
	}
	names := make([]string, 0, len(m))
	for k := range m {
		names = append(names, k)
	}
	sort.Slice(names, func(i, j int) bool {
		a, b := rank[names[i]], rank[names[j]]
		if a != b && a > 0 && b > 0 {
			return a < b
		}
		if (a > 0) != (b > 0) {
			return a > 0
		}
		return names[i] < names[j]
	})
	var out []any
	for _, k := range names {
		e, ok := m[k].(value.Map)
		if !ok {
			e = value.Map{}
		}
		e = value.Copy(e).(value.Map)
		e[keyField] = k
		out = append(out, e)
	}
	return out
}

// inOrderOf keeps scalars of a set in the order that the program gave, so that the state does not change when
// Google answers in another order.
func inOrderOf(list, last []any) []any {
	rank := map[any]int{}
	for i, e := range last {
		if s, ok := value.String(e); ok {
			rank[s] = i + 1
		}
	}
	sort.SliceStable(list, func(i, j int) bool {
		si, iok := value.String(list[i])
		sj, jok := value.String(list[j])
		if !iok || !jok {
			return false
		}
		a, b := rank[si], rank[sj]
		return a > 0 && (b == 0 || a < b)
	})
	return list
}

func (f flattener) mapping(p *description.Property, w, prior any) any {
	m, ok := w.(value.Map)
	if !ok {
		return nil
	}
	last, _ := prior.(value.Map)
	out := value.Map{}
	for k, e := range m {
		if p.ListMap {
			if list, ok := e.([]any); ok && len(list) > 0 {
				e = list[0]
			}
		}
		if p.Labels {
			// The labels of others are not ours to show.
			if _, ours := last[k]; !ours {
				continue
			}
		}
		out[k] = f.scalar(p, p.Elem, e)
	}
	for _, k := range p.Without {
		delete(out, k)
	}
	if len(out) == 0 && len(last) == 0 {
		return nil
	}
	return out
}

var computeVersion = regexp.MustCompile(`/compute/[a-z0-9]+/projects/`)

func (f flattener) scalar(p *description.Property, kind description.Kind, w any) any {
	if p.Enum != nil {
		for name, b := range p.Enum {
			if b == w {
				return name
			}
		}
		return nil
	}
	if p.AsObject {
		_, ok := w.(value.Map)
		return ok
	}
	switch w := w.(type) {
	case string:
		switch kind {
		case description.Int, description.Float:
			n, err := strconv.ParseFloat(w, 64)
			if err != nil {
				return nil
			}
			return n
		case description.Bool:
			return w == "true"
		}
		if p.Last {
			return value.Last(w)
		}
		// Links are kept in the form of the stable API, whichever version answered.
		if strings.HasPrefix(w, "http") {
			return computeVersion.ReplaceAllString(w, "/compute/v1/projects/")
		}
		return w
	case float64:
		if kind == description.String {
			return strconv.FormatFloat(w, 'f', -1, 64)
		}
		return w
	case bool:
		if kind == description.String {
			return strconv.FormatBool(w)
		}
		return w
	case int64:
		return float64(w)
	}
	return nil
}

// Companions fills in the outputs beside labels and annotations.
func Companions(t *description.Type, answer, state, defaults value.Map) {
	for _, name := range []string{"labels", "annotations"} {
		p := t.Root.Child(name)
		if p == nil || !p.Labels {
			continue
		}
		effective, own := companions(name)
		all := value.Map{}
		if m, ok := value.Get(answer, p.API); ok {
			if m, ok := m.(value.Map); ok {
				for k, v := range m {
					all[k] = v
				}
			}
		}
		state[effective] = all
		if own != "" {
			given, _ := state[name].(value.Map)
			state[own] = Labels(p, defaults, given)
		}
	}
}
