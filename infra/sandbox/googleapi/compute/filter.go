package compute

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"patag/infra/sandbox/googleapi"
)

// filter tells whether a resource is wanted.
type filter func(googleapi.Doc) bool

// parseFilter reads Compute Engine's list filter: comparisons of a field with a value (=, !=, :, <, >, <=, >=, and
// the older eq and ne with a regular expression), joined by AND, OR, NOT, nothing, and parentheses.
func parseFilter(text string, like any) (filter, error) {
	if strings.TrimSpace(text) == "" {
		return func(googleapi.Doc) bool { return true }, nil
	}
	var p filterParser
	var f filter
	if utf8.ValidString(text) {
		p = filterParser{tokens: filterTokens(text), like: like}
		f = p.or()
	}
	if f == nil || p.bad || p.at < len(p.tokens) {
		return nil, googleapi.InvalidArgument("Invalid value for field 'filter': '%s'. Invalid list filter expression.", text)
	}
	return f, nil
}

type filterToken struct {
	text   string
	quoted bool
}

var tokenPattern = regexp.MustCompile(`^(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|(!=|<=|>=|[=:<>()])|([^\s=:<>()!"']+)|(\S))`)

func filterTokens(text string) []filterToken {
	var tokens []filterToken
	for text = strings.TrimSpace(text); text != ""; text = strings.TrimSpace(text) {
		m := tokenPattern.FindStringSubmatch(text)
		switch {
		case strings.HasPrefix(text, `"`) && len(m[0]) > 1:
			tokens = append(tokens, filterToken{unescape(m[1]), true})
		case strings.HasPrefix(text, `'`) && len(m[0]) > 1:
			tokens = append(tokens, filterToken{unescape(m[2]), true})
		default:
			tokens = append(tokens, filterToken{m[0], false})
		}
		text = text[len(m[0]):]
	}
	return tokens
}

// unescape takes the backslash from quotes and backslashes only: \b and the like belong to a regular expression.
func unescape(s string) string {
	return strings.NewReplacer(`\"`, `"`, `\'`, `'`, `\\`, `\`).Replace(s)
}

type filterParser struct {
	tokens []filterToken
	at     int
	depth  int
	bad    bool
	like   any
}

func (p *filterParser) peek() filterToken {
	if p.at < len(p.tokens) {
		return p.tokens[p.at]
	}
	return filterToken{}
}

func (p *filterParser) take(text string) bool {
	if t := p.peek(); !t.quoted && t.text == text && p.at < len(p.tokens) {
		p.at++
		return true
	}
	return false
}

func (p *filterParser) or() filter {
	f := p.and()
	for p.take("OR") {
		g, h := f, p.and()
		f = func(d googleapi.Doc) bool { return g(d) || h(d) }
	}
	return f
}

func (p *filterParser) and() filter {
	f := p.unary()
	for !p.bad && p.at < len(p.tokens) {
		if t := p.peek(); !t.quoted && (t.text == "OR" || t.text == ")") {
			break
		}
		p.take("AND")
		g, h := f, p.unary()
		f = func(d googleapi.Doc) bool { return g(d) && h(d) }
	}
	return f
}

func (p *filterParser) unary() filter {
	if p.depth++; p.depth > 100 {
		p.bad = true
	}
	defer func() { p.depth-- }()
	no := func(googleapi.Doc) bool { return false }
	if p.bad {
		return no
	}
	if t := p.peek(); !t.quoted && len(t.text) > 1 && t.text[0] == '-' {
		p.tokens[p.at].text = t.text[1:]
		f := p.unary()
		return func(d googleapi.Doc) bool { return !f(d) }
	}
	if p.take("NOT") || p.take("-") {
		f := p.unary()
		return func(d googleapi.Doc) bool { return !f(d) }
	}
	if p.take("(") {
		f := p.or()
		if !p.take(")") {
			p.bad = true
		}
		return f
	}
	if p.at+3 > len(p.tokens) {
		p.bad = true
		return no
	}
	name, op, value := p.tokens[p.at], p.tokens[p.at+1], p.tokens[p.at+2]
	p.at += 3
	// A bare value goes on over ':' and '/', as in selfLink=https://…
	for !value.quoted && p.at < len(p.tokens) && !p.tokens[p.at].quoted && p.tokens[p.at].text == ":" && p.at+1 < len(p.tokens) {
		value.text += ":" + p.tokens[p.at+1].text
		p.at += 2
	}
	path := strings.Split(name.text, ".")
	if op.quoted || !googleapi.HasField(p.like, path...) || !value.quoted && strings.ContainsAny(value.text, "()=<>!") {
		p.bad = true
		return no
	}
	return p.comparison(path, op.text, value.text)
}

func (p *filterParser) comparison(path []string, op, want string) filter {
	switch op {
	case "eq", "ne":
		re, err := regexp.Compile("^(?:" + want + ")$")
		if err != nil {
			p.bad = true
			return func(googleapi.Doc) bool { return false }
		}
		equal := func(d googleapi.Doc) bool { return slices.ContainsFunc(values(d, path), re.MatchString) }
		if op == "ne" {
			return func(d googleapi.Doc) bool { return !equal(d) }
		}
		return equal
	case "=", "!=":
		if path := Path(want); path != "" && strings.HasPrefix(want, "http") {
			want = Link(path) // links are kept in one version and asked for in any
		}
		re := wildcard(want)
		equal := func(d googleapi.Doc) bool { return slices.ContainsFunc(values(d, path), re.MatchString) }
		if op == "!=" {
			return func(d googleapi.Doc) bool { return !equal(d) }
		}
		return equal
	case ":":
		if want == "*" {
			return func(d googleapi.Doc) bool { return len(values(d, path)) > 0 }
		}
		return func(d googleapi.Doc) bool {
			return slices.ContainsFunc(values(d, path), func(v string) bool {
				return strings.Contains(strings.ToLower(v), strings.ToLower(strings.Trim(want, "*")))
			})
		}
	case "<", ">", "<=", ">=":
		return func(d googleapi.Doc) bool {
			return slices.ContainsFunc(values(d, path), func(v string) bool {
				c := strings.Compare(v, want)
				if x, err := strconv.ParseFloat(v, 64); err == nil {
					if y, err := strconv.ParseFloat(want, 64); err == nil {
						c = map[bool]int{true: -1, false: 1}[x < y]
						if x == y {
							c = 0
						}
					}
				}
				return op == "<" && c < 0 || op == ">" && c > 0 || op == "<=" && c <= 0 || op == ">=" && c >= 0
			})
		}
	}
	p.bad = true
	return func(googleapi.Doc) bool { return false }
}

func wildcard(s string) *regexp.Regexp {
	return regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(s), `\*`, ".*") + "$")
}

// values are all values at a path, through lists, as text. A boolean that is not there is false, as in Google's
// messages.
func values(d googleapi.Doc, path []string) []string {
	var out []string
	var visit func(v any, path []string)
	visit = func(v any, path []string) {
		switch x := v.(type) {
		case nil:
		case []any:
			for _, e := range x {
				visit(e, path)
			}
		case googleapi.Doc:
			visit(map[string]any(x), path)
		case map[string]any:
			if len(path) > 0 {
				visit(x[path[0]], path[1:])
			}
		case string:
			if len(path) == 0 {
				out = append(out, x)
			}
		case bool:
			if len(path) == 0 {
				out = append(out, strconv.FormatBool(x))
			}
		case float64:
			if len(path) == 0 {
				out = append(out, strconv.FormatFloat(x, 'f', -1, 64))
			}
		}
	}
	visit(map[string]any(d), path)
	return out
}
