package filter

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

type node interface {
	match(doc map[string]any, d *Dialect) bool
}

type (
	conjunction []node
	disjunction []node
	negation    struct{ inner node }
	search      struct{ text string }
	predicate   struct{ fn func(map[string]any) bool }
	comparison  struct {
		path  []string
		op    string
		value value
		rank  []string
	}
)

func (n conjunction) match(doc map[string]any, d *Dialect) bool {
	for _, part := range n {
		if !part.match(doc, d) {
			return false
		}
	}
	return true
}

func (n disjunction) match(doc map[string]any, d *Dialect) bool {
	for _, part := range n {
		if part.match(doc, d) {
			return true
		}
	}
	return false
}

func (n negation) match(doc map[string]any, d *Dialect) bool { return !n.inner.match(doc, d) }

func (n predicate) match(doc map[string]any, _ *Dialect) bool { return n.fn(doc) }

func (n search) match(doc map[string]any, _ *Dialect) bool { return contains(doc, n.text) }

func contains(v any, lower string) bool {
	switch v := v.(type) {
	case string:
		return strings.Contains(strings.ToLower(v), lower)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64) == lower
	case bool:
		return strconv.FormatBool(v) == lower
	case []any:
		for _, e := range v {
			if contains(e, lower) {
				return true
			}
		}
	case map[string]any:
		for _, e := range v {
			if contains(e, lower) {
				return true
			}
		}
	}
	return false
}

// match holds if one of the field's values (a repeated field has several) satisfies the comparison. A missing
// field satisfies none, not even "!=", as Cloud Logging defines it.
func (n comparison) match(doc map[string]any, d *Dialect) bool {
	values := lookup(doc, n.path)
	if len(values) == 0 {
		def, ok := d.Defaults[strings.Join(n.path, ".")]
		if !ok {
			return false
		}
		values = []any{def}
	}
	negative := n.op == "!=" || n.op == "!~"
	for _, v := range values {
		if n.value.holds(v, n.op, n.rank, d.FoldCase) { // of the positive form
			return !negative
		}
	}
	return negative
}

// lookup gives the values at a path. Label keys may contain dots, so at each map the longest key that fits is also tried.
func lookup(v any, path []string) []any {
	if len(path) == 0 {
		if list, ok := v.([]any); ok {
			return list
		}
		if v == nil {
			return nil
		}
		return []any{v}
	}
	switch v := v.(type) {
	case []any:
		var all []any
		for _, e := range v {
			all = append(all, lookup(e, path)...)
		}
		return all
	case map[string]any:
		if child, ok := member(v, path[0]); ok {
			if found := lookup(child, path[1:]); len(found) > 0 {
				return found
			}
		}
		for n := len(path); n > 1; n-- {
			if child, ok := v[strings.Join(path[:n], ".")]; ok {
				return lookup(child, path[n:])
			}
		}
	}
	return nil
}

func member(m map[string]any, key string) (any, bool) {
	if v, ok := m[key]; ok {
		return v, true
	}
	if v, ok := m[camel(key)]; ok {
		return v, true
	}
	if key == "label" { // Cloud Monitoring accepts metric.label.x for metric.labels.x
		v, ok := m["labels"]
		return v, ok
	}
	return nil, false
}

// value is what a field is compared with. For the negative operators holds answers for their positive form.
type value interface {
	holds(v any, op string, rank []string, fold bool) bool
}

type (
	literal struct {
		text   string
		quoted bool
		re     *regexp.Regexp
	}
	callValue struct{ fn func(string) bool }
	valueAny  []value
	valueAll  []value
	valueNot  struct{ inner value }
)

func (g valueAny) holds(v any, op string, rank []string, fold bool) bool {
	return slices.ContainsFunc(g, func(x value) bool { return x.holds(v, op, rank, fold) })
}

func (g valueAll) holds(v any, op string, rank []string, fold bool) bool {
	return !slices.ContainsFunc(g, func(x value) bool { return !x.holds(v, op, rank, fold) })
}

func (g valueNot) holds(v any, op string, rank []string, fold bool) bool {
	return !g.inner.holds(v, op, rank, fold)
}

func (c callValue) holds(v any, _ string, _ []string, _ bool) bool {
	s, ok := v.(string)
	return ok && c.fn(s)
}

func (l literal) holds(v any, op string, rank []string, fold bool) bool {
	switch op {
	case "=~", "!~":
		s, ok := text(v)
		return ok && l.re.MatchString(s)
	case ":":
		return l.has(v, fold)
	}
	c, ok := l.compare(v, rank, fold)
	if !ok {
		return false
	}
	switch op {
	case "=", "!=":
		return c == 0
	case ">":
		return c > 0
	case ">=":
		return c >= 0
	case "<":
		return c < 0
	default:
		return c <= 0
	}
}

// has is the operator ":": presence for "*", a key of a map, else a part of the text.
func (l literal) has(v any, fold bool) bool {
	if l.text == "*" && !l.quoted {
		return true
	}
	if m, ok := v.(map[string]any); ok {
		_, ok := m[l.text]
		return ok
	}
	s, ok := text(v)
	if fold {
		return ok && strings.Contains(strings.ToLower(s), strings.ToLower(l.text))
	}
	return ok && strings.Contains(s, l.text)
}

// compare orders the field's value against the literal: by rank for enumerations, as numbers, durations or times where
// both sides are such, else as text.
func (l literal) compare(v any, rank []string, fold bool) (int, bool) {
	s, ok := text(v)
	if !ok {
		return 0, false
	}
	if rank != nil {
		a, b := slices.Index(rank, strings.ToUpper(s)), slices.Index(rank, strings.ToUpper(l.text))
		return cmp.Compare(a, b), a >= 0 && b >= 0
	}
	if a, err := strconv.ParseFloat(s, 64); err == nil {
		if b, err := strconv.ParseFloat(l.text, 64); err == nil {
			return cmp.Compare(a, b), true
		}
	}
	if a, err := time.Parse(time.RFC3339Nano, s); err == nil {
		if b, ok := parseTime(l.text); ok {
			return a.Compare(b), true
		}
	}
	if a, err := time.ParseDuration(s); err == nil {
		if b, err := time.ParseDuration(l.text); err == nil {
			return cmp.Compare(a, b), true
		}
	}
	if fold {
		return strings.Compare(strings.ToLower(s), strings.ToLower(l.text)), true
	}
	return strings.Compare(s, l.text), true
}

// parseTime reads a time as queries write it: RFC 3339, or a date.
func parseTime(s string) (time.Time, bool) {
	for _, form := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateOnly} {
		if t, err := time.Parse(form, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

func text(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	case bool:
		return strconv.FormatBool(v), true
	}
	return "", false
}

// Lookup gives the values at a dotted path of a document, more than one where a field on the way is repeated.
func Lookup(doc map[string]any, path string) []any { return lookup(doc, strings.Split(path, ".")) }
