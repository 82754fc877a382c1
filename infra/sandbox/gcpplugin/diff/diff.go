// Package diff tells what a new set of inputs changes in an existing resource, and whether that can be done in
// place. It answers as Google's provider does: what only the server sets is not compared, what the server fills
// in is not compared when the program says nothing, zero and absent are the same, sets have no order.
package diff

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"patag/infra/sandbox/gcpplugin/description"
	"patag/infra/sandbox/gcpplugin/value"
)

// Kind of a change.
type Kind int

// What happens to a property.
const (
	Update Kind = iota
	Add
	Delete
)

// Change is one property that differs.
type Change struct {
	// Path is Pulumi's (with [0] and quoted keys), Property the dotted path of the description.
	Path, Property string
	Kind           Kind
	Replace        bool
}

// Compare lists the changes from the state of a resource to the new inputs, in the order of the properties.
// A path in ignore, or below one, does not count.
func Compare(t *description.Type, state, news value.Map, ignore []string) []Change {
	d := &differ{}
	d.object(t.Root, state, news, "")
	d.labels(t, state, news)
	kept := d.changes[:0]
	for _, c := range d.changes {
		if !ignored(c.Path, ignore) {
			kept = append(kept, c)
		}
	}
	return kept
}

func ignored(path string, ignore []string) bool {
	for _, prefix := range ignore {
		if rest, ok := strings.CutPrefix(path, prefix); ok && (rest == "" || rest[0] == '.' || rest[0] == '[') {
			return true
		}
		// A change of a whole set or list counts as one of its elements.
		if rest, ok := strings.CutPrefix(prefix, path); ok && rest != "" && (rest[0] == '.' || rest[0] == '[') {
			return true
		}
		if star, _, ok := strings.Cut(prefix, "[*]"); ok && (path == star || strings.HasPrefix(path, star+"[")) {
			return true
		}
	}
	return false
}

type differ struct{ changes []Change }

func (d *differ) add(p *description.Property, path string, kind Kind, replace bool) {
	d.changes = append(d.changes, Change{Path: path, Property: p.Path, Kind: kind, Replace: replace})
}

func (d *differ) object(parent *description.Property, old, new value.Map, path string) {
	for _, p := range parent.Children {
		if p.Output {
			continue
		}
		at := Join(path, p.Name)
		nv, given := new[p.Name]
		ov := old[p.Name]
		switch {
		case !given && (p.Computed || value.Zero(ov) || p.Assume != "" && ov == p.Assume):
		case !given:
			d.add(p, at, Delete, replaces(p, ov))
		default:
			d.value(p, ov, nv, at)
		}
	}
}

func (d *differ) value(p *description.Property, ov, nv any, at string) {
	if _, unknown := nv.(value.Unknown); unknown {
		kind := Update
		if ov == nil {
			kind = Add
		}
		d.add(p, at, kind, p.Replace || replaces(p, ov))
		return
	}
	if ov == nil {
		if p.Assume != "" && nv == p.Assume {
			return
		}
		// An empty object switches something on; an empty anything else says nothing.
		if p.Kind != description.Object && value.Zero(nv) {
			return
		}
		d.add(p, at, Add, replaces(p, nv))
		return
	}
	switch p.Kind {
	case description.Object:
		o, ook := ov.(value.Map)
		n, nok := nv.(value.Map)
		if !ook || !nok {
			d.add(p, at, Update, p.Replace)
			return
		}
		d.object(p, o, n, at)
	case description.List:
		d.list(p, ov, nv, at)
	case description.Set:
		d.set(p, ov, nv, at)
	case description.Map:
		d.mapping(p, ov, nv, at)
	default:
		if !Equal(p, p.Kind, ov, nv) {
			d.add(p, at, Update, p.Replace || (p.Shrink && !contains(nv, ov)))
		}
	}
}

func (d *differ) list(p *description.Property, ov, nv any, at string) {
	o, ook := ov.([]any)
	n, nok := nv.([]any)
	if !ook || !nok {
		d.add(p, at, Update, p.Replace)
		return
	}
	for i := range max(len(o), len(n)) {
		elem := fmt.Sprintf("%s[%d]", at, i)
		switch {
		case i >= len(n):
			d.add(p, elem, Delete, replaces(p, o[i]))
		case i >= len(o):
			d.add(p, elem, Add, replaces(p, n[i]))
		default:
			d.elementOf(p, o[i], n[i], elem)
		}
	}
}

func (d *differ) elementOf(p *description.Property, ov, nv any, at string) {
	o, ook := ov.(value.Map)
	n, nok := nv.(value.Map)
	if p.Elem == description.Object && ook && nok {
		d.object(p, o, n, at)
		return
	}
	if !Equal(p, p.Elem, ov, nv) {
		d.add(p, at, Update, p.Replace)
	}
}

// set compares without order. One change stands for the whole set: an element that differs cannot be told from
// one that went and another that came.
func (d *differ) set(p *description.Property, ov, nv any, at string) {
	o, ook := ov.([]any)
	n, nok := nv.([]any)
	if !ook || !nok {
		d.add(p, at, Update, p.Replace)
		return
	}
	gone, come := unmatched(p, o, n)
	if len(gone)+len(come) == 0 {
		return
	}
	replace := p.Replace
	for _, e := range append(gone, come...) {
		replace = replace || replaces(p, e)
	}
	d.add(p, at, Update, replace)
}

func unmatched(p *description.Property, o, n []any) (gone, come []any) {
	used := make([]bool, len(o))
next:
	for _, ne := range n {
		for i, oe := range o {
			if !used[i] && SameElement(p, oe, ne) {
				used[i] = true
				continue next
			}
		}
		come = append(come, ne)
	}
	for i, oe := range o {
		if !used[i] {
			gone = append(gone, oe)
		}
	}
	return gone, come
}

// SameElement tells whether a new element of a list means what the old one says.
func SameElement(p *description.Property, ov, nv any) bool {
	probe := &differ{}
	probe.elementOf(p, ov, nv, "")
	return len(probe.changes) == 0
}

func (d *differ) mapping(p *description.Property, ov, nv any, at string) {
	o, ook := ov.(value.Map)
	n, nok := nv.(value.Map)
	if !ook || !nok {
		d.add(p, at, Update, p.Replace)
		return
	}
	for _, k := range keys(o, n) {
		elem := Join(at, k)
		oe, had := o[k]
		ne, has := n[k]
		switch {
		case !has:
			d.add(p, elem, Delete, p.Replace)
		case !had:
			d.add(p, elem, Add, p.Replace)
		case !Equal(p, p.Elem, oe, ne):
			d.add(p, elem, Update, p.Replace)
		}
	}
}

// labels finds changes of the provider's default labels, which no input shows.
func (d *differ) labels(t *description.Type, state, news value.Map) {
	want, ok := news["pulumiLabels"].(value.Map)
	p := t.Root.Child("labels")
	if !ok || p == nil || !p.Labels {
		return
	}
	for _, c := range d.changes {
		if c.Property == p.Path {
			return
		}
	}
	have, _ := state["pulumiLabels"].(value.Map)
	for _, k := range keys(have, want) {
		if have[k] != want[k] {
			d.add(p, "labels", Update, false)
			return
		}
	}
}

// replaces tells whether setting or removing v as a whole needs a new resource: the property says so, or one
// of those given in v does.
func replaces(p *description.Property, v any) bool {
	if p.Replace {
		return true
	}
	switch v := v.(type) {
	case value.Map:
		if p.Kind == description.Map {
			return false
		}
		for name, e := range v {
			if c := p.Child(name); c != nil && !c.Output && !value.Zero(e) && replaces(c, e) {
				return true
			}
		}
	case []any:
		for _, e := range v {
			if replaces(p, e) {
				return true
			}
		}
	}
	return false
}

func contains(outer, inner any) bool {
	o, err1 := netip.ParsePrefix(fmt.Sprint(outer))
	i, err2 := netip.ParsePrefix(fmt.Sprint(inner))
	return err1 == nil && err2 == nil && o.Bits() <= i.Bits() && o.Contains(i.Addr())
}

var simpleKey = regexp.MustCompile(`^[A-Za-z_$][A-Za-z0-9_$]*$`)

// Join appends a name to a property path, quoted where it must be.
func Join(path, name string) string {
	if !simpleKey.MatchString(name) {
		return path + "[" + strconv.Quote(name) + "]"
	}
	return value.Join(path, name)
}

// Same tells whether a new value means what the old one says.
func Same(p *description.Property, old, new any) bool {
	probe := &differ{}
	probe.value(p, old, new, p.Name)
	return len(probe.changes) == 0
}
