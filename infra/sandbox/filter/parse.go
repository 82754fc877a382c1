package filter

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

type parser struct {
	text string
	at   int
	d    Dialect
}

func (p *parser) errorf(format string, args ...any) error {
	return &Error{p.at, fmt.Sprintf(format, args...)}
}

func (p *parser) end() bool { return p.at >= len(p.text) }

// rest is the beginning of what has not been read, for messages.
func (p *parser) rest() string {
	r := p.text[p.at:]
	if len(r) > 20 {
		r = strings.ToValidUTF8(r[:20], "") + "…"
	}
	return r
}

// space skips white space and comments ("-- to the end of the line").
func (p *parser) space() {
	for !p.end() {
		if strings.HasPrefix(p.text[p.at:], "--") {
			n := strings.IndexByte(p.text[p.at:], '\n')
			if n < 0 {
				p.at = len(p.text)
				return
			}
			p.at += n
			continue
		}
		r, n := utf8.DecodeRuneInString(p.text[p.at:])
		if !unicode.IsSpace(r) {
			return
		}
		p.at += n
	}
}

// keyword reads one of the operators AND, OR, NOT, which are upper case by definition.
func (p *parser) keyword(word string) bool {
	r := p.text[p.at:]
	if !strings.HasPrefix(r, word) || (len(r) > len(word) && wordByte(r[len(word)])) {
		return false
	}
	p.at += len(word)
	p.space()
	return true
}

func (p *parser) symbol(s string) bool {
	if !strings.HasPrefix(p.text[p.at:], s) {
		return false
	}
	p.at += len(s)
	p.space()
	return true
}

// all is a conjunction; AND may be left out. OR binds more strongly, as Google defines it.
func (p *parser) all(depth int) (node, error) {
	if depth > maxDepth {
		return nil, p.errorf("nested more than %d deep", maxDepth)
	}
	var parts conjunction
	for {
		part, err := p.any(depth)
		if err != nil {
			return nil, err
		}
		parts = append(parts, part)
		if p.keyword("AND") {
			continue
		}
		if p.end() || p.text[p.at] == ')' {
			break
		}
	}
	if len(parts) == 1 {
		return parts[0], nil
	}
	return parts, nil
}

func (p *parser) any(depth int) (node, error) {
	var parts disjunction
	for {
		part, err := p.unary(depth)
		if err != nil {
			return nil, err
		}
		parts = append(parts, part)
		if !p.keyword("OR") {
			break
		}
	}
	if len(parts) == 1 {
		return parts[0], nil
	}
	return parts, nil
}

func (p *parser) unary(depth int) (node, error) {
	if p.keyword("NOT") || p.symbol("-") {
		if depth > maxDepth {
			return nil, p.errorf("nested more than %d deep", maxDepth)
		}
		inner, err := p.unary(depth + 1)
		if err != nil {
			return nil, err
		}
		return negation{inner}, nil
	}
	return p.primary(depth)
}

func (p *parser) primary(depth int) (node, error) {
	if p.end() {
		return nil, p.errorf("ends where a comparison is expected")
	}
	if p.symbol("(") {
		inner, err := p.all(depth + 1)
		if err != nil {
			return nil, err
		}
		if !p.symbol(")") {
			return nil, p.errorf("a closing parenthesis is missing")
		}
		return inner, nil
	}
	start := p.at
	path, quoted, err := p.path()
	if err != nil {
		return nil, err
	}
	if !p.end() && p.text[p.at] == '(' && !quoted {
		return p.call(strings.Join(path, "."), start)
	}
	p.space()
	op := p.operator()
	if op == "" {
		if !p.d.Text {
			p.at = start
			return nil, p.errorf("%q is not a comparison (field, operator, value); text search is not supported here", p.rest())
		}
		return search{strings.ToLower(strings.Join(path, "."))}, nil
	}
	if err := p.field(path, start); err != nil {
		return nil, err
	}
	v, err := p.value(op, depth)
	if err != nil {
		return nil, err
	}
	return comparison{path: path, op: op, value: v, rank: p.d.Enums[strings.Join(path, ".")]}, nil
}

// field normalises the first element of a path to camelCase and refuses a field that the documents do not have.
func (p *parser) field(path []string, start int) error {
	path[0] = camel(path[0])
	if p.d.Fields != nil && !p.d.Fields[path[0]] {
		p.at = start
		return p.errorf("field not found: %q", strings.Join(path, "."))
	}
	return nil
}

// path reads a dotted field name; its elements may be quoted. quoted tells whether the first one was.
func (p *parser) path() (path []string, quoted bool, err error) {
	for {
		if !p.end() && (p.text[p.at] == '"' || p.text[p.at] == '\'') {
			quoted = quoted || len(path) == 0
			s, err := p.quoted()
			if err != nil {
				return nil, false, err
			}
			path = append(path, s)
		} else {
			start := p.at
			for !p.end() && wordByte(p.text[p.at]) && p.text[p.at] != '.' {
				p.at++
			}
			if p.at == start {
				return nil, false, p.errorf("unexpected %q", p.rest())
			}
			path = append(path, p.text[start:p.at])
		}
		if p.end() || p.text[p.at] != '.' {
			return path, quoted, nil
		}
		p.at++
	}
}

var operators = []string{"!=", ">=", "<=", "=~", "!~", "=", ">", "<", ":"}

func (p *parser) operator() string {
	for _, op := range operators {
		if p.symbol(op) {
			return op
		}
	}
	return ""
}

func (p *parser) quoted() (string, error) {
	start, quote := p.at, p.text[p.at]
	var b strings.Builder
	for p.at++; !p.end(); p.at++ {
		switch c := p.text[p.at]; {
		case c == quote:
			p.at++
			return b.String(), nil
		case c == '\\' && p.at+1 < len(p.text):
			p.at++
			switch e := p.text[p.at]; e {
			case 'n':
				b.WriteByte('\n')
			case 't':
				b.WriteByte('\t')
			case '"', '\'', '\\':
				b.WriteByte(e)
			default: // kept: regular expressions are written with one backslash
				b.WriteByte('\\')
				b.WriteByte(e)
			}
		default:
			b.WriteByte(c)
		}
	}
	p.at = start
	return "", p.errorf("a closing quote is missing")
}

// args reads "(" value, … ")" with literal values.
func (p *parser) args(name string) ([]string, error) {
	p.symbol("(")
	var args []string
	for !p.symbol(")") {
		if len(args) > 0 && !p.symbol(",") {
			return nil, p.errorf("in the arguments of %s: a comma or closing parenthesis is missing", name)
		}
		s, err := p.word()
		if err != nil {
			return nil, err
		}
		args = append(args, s)
		p.space()
	}
	return args, nil
}

func (p *parser) call(name string, start int) (node, error) {
	make := p.d.Calls[strings.ToLower(name)] // function names ignore case
	if make == nil {
		p.at = start
		return nil, p.errorf("function %q is not supported", name)
	}
	args, err := p.args(name)
	if err != nil {
		return nil, err
	}
	match, err := make(args)
	if err != nil {
		p.at = start
		return nil, p.errorf("%s: %v", name, err)
	}
	return predicate{match}, nil
}

// word reads a literal: quoted, or plain up to white space, a parenthesis or a comma.
func (p *parser) word() (string, error) {
	if !p.end() && (p.text[p.at] == '"' || p.text[p.at] == '\'') {
		return p.quoted()
	}
	start := p.at
	for !p.end() && valueByte(p.text[p.at]) {
		p.at++
	}
	if p.at == start {
		return "", p.errorf("a value is expected at %q", p.rest())
	}
	return p.text[start:p.at], nil
}

// value reads what a field is compared with: a literal, a function, or literals joined by AND, OR and NOT in parentheses.
func (p *parser) value(op string, depth int) (value, error) {
	if depth > maxDepth {
		return nil, p.errorf("nested more than %d deep", maxDepth)
	}
	if p.symbol("(") {
		return p.group(op, depth+1)
	}
	start := p.at
	isQuoted := !p.end() && (p.text[p.at] == '"' || p.text[p.at] == '\'')
	text, err := p.word()
	if err != nil {
		return nil, err
	}
	if !isQuoted && !p.end() && p.text[p.at] == '(' {
		make := p.d.ValueCalls[text]
		if make == nil {
			p.at = start
			return nil, p.errorf("function %q is not supported", text)
		}
		if op != "=" && op != "!=" {
			return nil, p.errorf("function %q cannot be used with %q", text, op)
		}
		args, err := p.args(text)
		if err != nil {
			return nil, err
		}
		match, err := make(args)
		if err != nil {
			p.at = start
			return nil, p.errorf("%s: %v", text, err)
		}
		return callValue{match}, nil
	}
	p.space()
	lit := literal{text: text, quoted: isQuoted}
	if op == "=~" || op == "!~" {
		if lit.re, err = regexp.Compile(text); err != nil {
			p.at = start
			return nil, p.errorf("%v", err)
		}
	}
	return lit, nil
}

func (p *parser) group(op string, depth int) (value, error) {
	var all valueAll
	for {
		var some valueAny
		for {
			negated := p.keyword("NOT") || p.symbol("-")
			v, err := p.value(op, depth)
			if err != nil {
				return nil, err
			}
			if negated {
				v = valueNot{v}
			}
			some = append(some, v)
			if !p.keyword("OR") {
				break
			}
		}
		all = append(all, some)
		if p.keyword("AND") {
			continue
		}
		if p.symbol(")") {
			return all, nil
		}
		if p.end() {
			return nil, p.errorf("a closing parenthesis is missing")
		}
	}
}

func wordByte(c byte) bool {
	return c == '_' || c == '.' || c == '/' || c == '-' || c == '*' || c == '@' || c == '%' || c == '[' || c == ']' || c >= 0x80 ||
		'0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func valueByte(c byte) bool { return wordByte(c) || c == ':' || c == '+' }

// camel turns a proto field name into its JSON name: json_payload becomes jsonPayload.
func camel(s string) string {
	if !strings.Contains(s, "_") {
		return s
	}
	parts := strings.Split(s, "_")
	for i, part := range parts {
		if i > 0 && part != "" {
			parts[i] = strings.ToUpper(part[:1]) + part[1:]
		}
	}
	return strings.Join(parts, "")
}

// Camel turns each element of a dotted proto path into its JSON name.
func Camel(path string) string {
	parts := strings.Split(path, ".")
	for i, p := range parts {
		parts[i] = camel(p)
	}
	return strings.Join(parts, ".")
}
