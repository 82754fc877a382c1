// Package filter reads the query language that Cloud Logging, Cloud Monitoring and the list calls of most Google
// APIs share: comparisons (`severity>=ERROR`), AND, OR, NOT, parentheses, text search and a few functions. A
// Dialect says what one API allows. Parse refuses what it cannot honour and names it, so a filter never silently
// matches more or less than it would at Google. It knows nothing of where the documents come from.
package filter

import (
	"fmt"
	"strings"
	"time"
)

// Dialect is what one API's filters may contain.
type Dialect struct {
	// Fields are the allowed first elements of a field's path, in camelCase; nil allows any.
	Fields map[string]bool
	// FoldCase makes string comparison ignore case, as Cloud Logging does.
	FoldCase bool
	// Text allows a bare word or string, which matches any document that contains it in some value.
	Text bool
	// Enums gives the values of enumerated fields in their order, by the field's path.
	Enums map[string][]string
	// Defaults are the values of fields that every document has even when JSON leaves them out.
	Defaults map[string]any
	// Calls are the functions that stand for a whole comparison, like log_id("x").
	Calls map[string]func(args []string) (func(doc map[string]any) bool, error)
	// ValueCalls are the functions that stand for a value, like starts_with("x").
	ValueCalls map[string]func(args []string) (func(value string) bool, error)
}

// Filter is a parsed filter. The zero Filter matches everything.
type Filter struct {
	root node
	d    Dialect
}

// maxLength is Cloud Logging's limit on a query, maxDepth ours on its nesting.
const maxLength, maxDepth = 20000, 64

// Error is a filter that cannot be honoured: what about it and where.
type Error struct {
	Offset int
	Reason string
}

func (e *Error) Error() string { return fmt.Sprintf("filter, position %d: %s", e.Offset+1, e.Reason) }

// Parse reads a filter. Empty text matches everything. The error is an *Error.
func Parse(text string, d Dialect) (Filter, error) {
	if len(text) > maxLength {
		return Filter{}, &Error{maxLength, fmt.Sprintf("longer than %d characters", maxLength)}
	}
	p := &parser{text: text, d: d}
	p.space()
	if p.end() {
		return Filter{d: d}, nil
	}
	root, err := p.all(0)
	if err != nil {
		return Filter{}, err
	}
	if !p.end() {
		return Filter{}, p.errorf("unexpected %q", p.rest())
	}
	return Filter{root, d}, nil
}

// Match tells whether the document, as decoded by encoding/json, satisfies the filter.
func (f Filter) Match(doc map[string]any) bool {
	return f.root == nil || f.root.match(doc, &f.d)
}

// TimeRange gives the bounds that the filter puts on a timestamp field in its outermost conjunction; a zero time is no
// bound. It may be wider than the filter, never narrower, so it serves to skip what cannot match.
func (f Filter) TimeRange(field string) (from, to time.Time) {
	for _, c := range conjuncts(f.root) {
		if strings.Join(c.path, ".") != field {
			continue
		}
		lit, ok := c.value.(literal)
		if !ok {
			continue
		}
		t, err := time.Parse(time.RFC3339Nano, lit.text)
		if err != nil {
			continue
		}
		switch c.op {
		case ">", ">=":
			if t.After(from) {
				from = t
			}
		case "<", "<=":
			if to.IsZero() || t.Before(to) {
				to = t
			}
		case "=":
			from, to = t, t
		}
	}
	return from, to
}

// Equal gives the value that the filter's outermost conjunction demands of a field, if it does.
func (f Filter) Equal(field string) (string, bool) {
	for _, c := range conjuncts(f.root) {
		if lit, ok := c.value.(literal); ok && c.op == "=" && strings.Join(c.path, ".") == field {
			return lit.text, true
		}
	}
	return "", false
}

func conjuncts(n node) []comparison {
	switch n := n.(type) {
	case comparison:
		return []comparison{n}
	case conjunction:
		var all []comparison
		for _, part := range n {
			all = append(all, conjuncts(part)...)
		}
		return all
	}
	return nil
}
