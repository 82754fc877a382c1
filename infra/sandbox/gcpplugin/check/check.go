// Package check judges the inputs of a resource before anything is done with them: unknown names, missing and
// mistyped values, conflicts. It fills in defaults, the automatic name, and the provider's project and location.
package check

import (
	"fmt"
	"sort"
	"strconv"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"

	"patag/infra/sandbox/gcpplugin/description"
	"patag/infra/sandbox/gcpplugin/value"
)

// Place is where resources go that do not say so themselves.
type Place struct{ Project, Region, Zone string }

// Naming is how the engine wants names made.
type Naming struct {
	// Name is the resource's name in the program, Seed what the random part comes from.
	Name string
	Seed []byte
	// Proposed is the engine's own proposal; Fixed forbids to change it, Disabled forbids automatic names.
	Proposed        string
	Fixed, Disabled bool
}

// Failure is one thing that is wrong with the inputs.
type Failure struct{ Property, Reason string }

// Inputs checks news, which it changes in place: what remains is complete and of the right types. olds are the
// inputs of the last deployment, so that what was generated then stays.
func Inputs(t *description.Type, news *value.Tree, olds value.Tree, place Place, naming Naming) []Failure {
	c := &checker{t: t}
	c.object(t.Root, news.Map, "")
	news.Defaults = map[string]bool{}
	c.generate(news, olds, place, naming)
	c.defaults(t.Root, news.Map, news.Defaults)
	c.missing(t.Root, news.Map, "")
	c.conflicts(t.Root, news.Map)
	sort.Slice(c.failures, func(i, j int) bool { return c.failures[i].Property < c.failures[j].Property })
	return c.failures
}

type checker struct {
	t        *description.Type
	failures []Failure
}

func (c *checker) fail(path, format string, args ...any) {
	c.failures = append(c.failures, Failure{path, fmt.Sprintf(format, args...)})
}

func (c *checker) failed(path string) bool {
	for _, f := range c.failures {
		if f.Property == path {
			return true
		}
	}
	return false
}

func (c *checker) object(parent *description.Property, in value.Map, path string) {
	for name, v := range in {
		at := value.Join(path, name)
		p := parent.Child(name)
		switch {
		case p == nil:
			c.fail(at, "%s has no property %q%s", c.t.Token, at, suggest(parent, name))
		case v == nil:
			delete(in, name)
		case p.Output:
			c.fail(at, "%q of %s is set by Google and cannot be given", at, c.t.Token)
		case p.Unsupported:
			c.fail(at, "%q of %s is not supported any more: Google's API has no such field; leave it out", at, c.t.Token)
		default:
			in[name] = c.value(p, v, at)
		}
	}
}

// value checks and converts one value; what is wrong is reported and returned as it is.
func (c *checker) value(p *description.Property, v any, at string) any {
	if _, unknown := v.(value.Unknown); unknown {
		return v
	}
	switch p.Kind {
	case description.Object:
		// Some languages give a single object as a list of one.
		if list, ok := v.([]any); ok && len(list) == 1 {
			v = list[0]
		}
		m, ok := v.(value.Map)
		if !ok {
			return c.mistyped(p, v, at, "an object")
		}
		c.object(p, m, at)
		return m
	case description.List, description.Set:
		list, ok := v.([]any)
		if !ok {
			return c.mistyped(p, v, at, "a list")
		}
		for i, e := range list {
			list[i] = c.element(p, e, fmt.Sprintf("%s[%d]", at, i))
		}
		return list
	case description.Map:
		m, ok := v.(value.Map)
		if !ok {
			return c.mistyped(p, v, at, "a map")
		}
		for k, e := range m {
			m[k] = c.element(p, e, at+"."+k)
		}
		return m
	case description.Asset:
		switch v.(type) {
		case *resource.Asset, *resource.Archive:
			return v
		}
		return c.mistyped(p, v, at, "an asset or archive")
	}
	return c.scalar(p, p.Kind, v, at)
}

func (c *checker) element(p *description.Property, v any, at string) any {
	if _, unknown := v.(value.Unknown); unknown {
		return v
	}
	if p.Elem != description.Object {
		return c.scalar(p, p.Elem, v, at)
	}
	m, ok := v.(value.Map)
	if !ok {
		return c.mistyped(p, v, at, "an object")
	}
	c.object(p, m, at)
	return m
}

// scalar converts between text, numbers and booleans where the text leaves no doubt.
func (c *checker) scalar(p *description.Property, kind description.Kind, v any, at string) any {
	if _, unknown := v.(value.Unknown); unknown {
		return v
	}
	switch kind {
	case description.String:
		switch v := v.(type) {
		case string:
			return v
		case bool:
			return strconv.FormatBool(v)
		case float64:
			return strconv.FormatFloat(v, 'f', -1, 64)
		}
		return c.mistyped(p, v, at, "text")
	case description.Bool:
		switch v := v.(type) {
		case bool:
			return v
		case string:
			if b, err := strconv.ParseBool(v); err == nil {
				return b
			}
		}
		return c.mistyped(p, v, at, "true or false")
	default:
		n, ok := v.(float64)
		if s, isText := v.(string); isText {
			parsed, err := strconv.ParseFloat(s, 64)
			n, ok = parsed, err == nil
		}
		if !ok {
			return c.mistyped(p, v, at, "a number")
		}
		if kind == description.Int && n != float64(int64(n)) {
			return c.mistyped(p, v, at, "a whole number")
		}
		return n
	}
}

func (c *checker) mistyped(p *description.Property, v any, at, want string) any {
	what := describe(v)
	if p.Secret {
		what = "the given value (secret)"
	}
	c.fail(at, "%q of %s must be %s, not %s", at, c.t.Token, want, what)
	return v
}

func describe(v any) string {
	switch v := v.(type) {
	case string:
		return "the text " + strconv.Quote(v)
	case float64:
		return "the number " + strconv.FormatFloat(v, 'f', -1, 64)
	case bool:
		return strconv.FormatBool(v)
	case []any:
		return "a list"
	case value.Map:
		return "an object"
	}
	return fmt.Sprintf("a %T", v)
}

// defaults fills in the defaults, also of the objects that are given.
func (c *checker) defaults(parent *description.Property, in value.Map, filled map[string]bool) {
	for _, p := range parent.Children {
		v, given := in[p.Name]
		if !given {
			if p.HasDefault && !c.excluded(p, in) {
				in[p.Name] = p.Default
				if filled != nil {
					filled[p.Name] = true
				}
			}
			continue
		}
		switch v := v.(type) {
		case value.Map:
			if p.Kind == description.Object {
				c.defaults(p, v, nil)
			}
		case []any:
			for _, e := range v {
				if m, ok := e.(value.Map); ok {
					c.defaults(p, m, nil)
				}
			}
		}
	}
}

// excluded: a default is not wanted beside a property that it conflicts with.
func (c *checker) excluded(p *description.Property, siblings value.Map) bool {
	dir := strings.TrimSuffix(p.Path, p.Name)
	for _, other := range p.Conflicts {
		if name, ok := strings.CutPrefix(other, dir); ok {
			if _, given := siblings[name]; given {
				return true
			}
		}
	}
	return false
}

func (c *checker) missing(parent *description.Property, in value.Map, path string) {
	for _, p := range parent.Children {
		at := value.Join(path, p.Name)
		v, given := in[p.Name]
		if !given {
			if p.Required && !c.failed(at) {
				c.fail(at, "%s needs the property %q", c.t.Token, at)
			}
			continue
		}
		switch v := v.(type) {
		case value.Map:
			if p.Kind == description.Object {
				c.missing(p, v, at)
			}
		case []any:
			for i, e := range v {
				if m, ok := e.(value.Map); ok && p.Elem == description.Object {
					c.missing(p, m, fmt.Sprintf("%s[%d]", at, i))
				}
			}
		}
	}
}

// conflicts compares what is given with what excludes it. false, 0 and "" exclude nothing.
func (c *checker) conflicts(root *description.Property, in value.Map) {
	reported := map[string]bool{}
	var walk func(parent *description.Property, m value.Map)
	walk = func(parent *description.Property, m value.Map) {
		for _, p := range parent.Children {
			v, given := m[p.Name]
			if !given || value.Zero(v) {
				continue
			}
			for _, other := range p.Conflicts {
				if ov, ok := value.Get(in, other); ok && !value.Zero(ov) && !reported[other+" "+p.Path] {
					reported[p.Path+" "+other] = true
					c.fail(p.Path, "%q of %s cannot be given together with %q", p.Path, c.t.Token, other)
				}
			}
			if nested, ok := v.(value.Map); ok && p.Kind == description.Object {
				walk(p, nested)
			}
		}
	}
	walk(root, in)
}
