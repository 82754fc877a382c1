package description

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// Template is text with variables: "projects/{project}/secrets/{secretId}". {%x} escapes the slashes of x,
// {/x} is what follows the last slash of x, {-} (in a pattern) is anything.
type Template struct {
	source string
	parts  []part
	// pattern matches what the template makes, for finding the variables in an id.
	pattern *regexp.Regexp
	names   []string
	// whole: the one variable of an id may be a path ("{name}" for projects/p/alertPolicies/1).
	whole bool
}

type part struct {
	text, name   string
	escape, last bool
}

// ParseTemplate reads a template.
func ParseTemplate(s string) (*Template, error) { return parseTemplate(s, false) }

func parseTemplate(s string, whole bool) (*Template, error) {
	t := &Template{source: s, whole: whole}
	rest := s
	for rest != "" {
		open := strings.IndexByte(rest, '{')
		if open < 0 {
			t.parts = append(t.parts, part{text: rest})
			break
		}
		if open > 0 {
			t.parts = append(t.parts, part{text: rest[:open]})
		}
		end := strings.IndexByte(rest, '}')
		if end < open {
			return nil, fmt.Errorf("template %q: a brace is not closed", s)
		}
		p := part{name: rest[open+1 : end]}
		if strings.HasPrefix(p.name, "%") {
			p.name, p.escape = p.name[1:], true
		} else if strings.HasPrefix(p.name, "/") {
			p.name, p.last = p.name[1:], true
		}
		if p.name == "" || strings.ContainsAny(p.name, "{ ") {
			return nil, fmt.Errorf("template %q: bad variable %q", s, p.name)
		}
		t.parts = append(t.parts, p)
		rest = rest[end+1:]
	}
	return t, t.compile()
}

func (t *Template) compile() error {
	var b strings.Builder
	b.WriteString("^")
	for i, p := range t.parts {
		if p.name == "" {
			b.WriteString(regexp.QuoteMeta(p.text))
			continue
		}
		if p.name != "-" {
			t.names = append(t.names, p.name)
		}
		b.WriteString("(" + t.charset(p.name, i == len(t.parts)-1) + ")")
		if p.name == "-" {
			t.names = append(t.names, "-")
		}
	}
	b.WriteString("$")
	re, err := regexp.Compile(b.String())
	t.pattern = re
	return err
}

// charset says what a variable may hold in an id; roles and members have slashes of their own.
func (t *Template) charset(name string, last bool) string {
	switch {
	case name == "role":
		return `roles/[^/ ]+|(?:projects|organizations)/[^/ ]+/roles/[^/ ]+`
	case name == "member":
		return `[^ ]+`
	case name == "serviceAccountId":
		return `projects/[^/ ]+/serviceAccounts/[^/ ]+`
	case t.whole && len(t.parts) == 1:
		return `.+`
	case last && strings.Contains(t.source, " "):
		return `.+`
	}
	return `[^/ ]+`
}

// String is the source.
func (t *Template) String() string { return t.source }

// Names are the variables.
func (t *Template) Names() []string {
	var out []string
	for _, p := range t.parts {
		if p.name != "" {
			out = append(out, p.name)
		}
	}
	return out
}

// Fill puts the values in, as they are.
func (t *Template) Fill(lookup func(string) (string, bool)) (string, error) {
	return t.fill(lookup, false)
}

// FillPath puts the values in, escaped for a URL.
func (t *Template) FillPath(lookup func(string) (string, bool)) (string, error) {
	return t.fill(lookup, true)
}

func (t *Template) fill(lookup func(string) (string, bool), path bool) (string, error) {
	var b strings.Builder
	for _, p := range t.parts {
		if p.name == "" {
			b.WriteString(p.text)
			continue
		}
		v, ok := lookup(p.name)
		if !ok || v == "" {
			return "", fmt.Errorf("%q is needed for %q and is not known", p.name, t.source)
		}
		switch {
		case p.last:
			v = v[strings.LastIndexByte(v, '/')+1:]
		case path && p.escape:
			v = url.PathEscape(v)
		case path && p.name != "self":
			v = escapeParts(v)
		}
		b.WriteString(v)
	}
	return b.String(), nil
}

// escapeParts escapes everything but slashes: a variable may hold a path ("projects/p/secrets/s").
func escapeParts(v string) string {
	parts := strings.Split(v, "/")
	for i, p := range parts {
		// Google's paths have colons and at-signs in their names, which need no escape within a path.
		parts[i] = strings.NewReplacer("%3A", ":", "%40", "@").Replace(url.PathEscape(p))
	}
	return strings.Join(parts, "/")
}

// Match finds the variables in s.
func (t *Template) Match(s string) (map[string]string, bool) {
	m := t.pattern.FindStringSubmatch(s)
	if m == nil {
		return nil, false
	}
	vars := make(map[string]string, len(t.names))
	for i, name := range t.names {
		if name != "-" {
			vars[name] = m[i+1]
		}
	}
	return vars, true
}
