package armor

import (
	"fmt"
	"net/netip"
	"net/textproto"
	"regexp"
	"strings"
)

// The rules language is a part of CEL. Evaluated here: origin.ip, request.method, request.path, request.query,
// request.scheme, request.headers['name'], string literals, ==, !=, &&, ||, !, parentheses, inIpRange(), has(), and the
// methods lower, upper, startsWith, endsWith, contains and matches. Not: preconfigured WAF rules, region codes, threat lists, tokens.

type boolean func(*Request) bool

func (b boolean) matches(q *Request) bool { return b(q) }

type text func(*Request) string

func canonical(name string) string { return textproto.CanonicalMIMEHeaderKey(name) }

func firstOf(list string) string {
	first, _, _ := strings.Cut(list, ",")
	return strings.TrimSpace(first)
}

type parser struct {
	tokens []string
	at     int
	depth  int
}

// maxDepth bounds the recursion; Google limits a rule to 2048 characters anyway.
const maxDepth = 64

var lexer = regexp.MustCompile(`^(?:\s+|&&|\|\||==|!=|[!()\[\].,]|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[A-Za-z_][A-Za-z0-9_]*|[0-9]+)`)

func parseExpression(source string) (matcher, error) {
	p := &parser{}
	for rest := source; rest != ""; {
		token := lexer.FindString(rest)
		if token == "" {
			return nil, fmt.Errorf("the expression is not understood at %q", rest)
		}
		if strings.TrimSpace(token) != "" {
			p.tokens = append(p.tokens, token)
		}
		rest = rest[len(token):]
	}
	b, err := p.or()
	if err != nil {
		return nil, err
	}
	if p.at < len(p.tokens) {
		return nil, fmt.Errorf("the expression is not understood at %q", p.peek())
	}
	return b, nil
}

func (p *parser) peek() string {
	if p.at < len(p.tokens) {
		return p.tokens[p.at]
	}
	return ""
}

func (p *parser) accept(token string) bool {
	if p.peek() != token {
		return false
	}
	p.at++
	return true
}

func (p *parser) expect(token string) error {
	if !p.accept(token) {
		return fmt.Errorf("the expression has %q where %q is expected", p.peek(), token)
	}
	return nil
}

func (p *parser) or() (boolean, error) {
	left, err := p.and()
	for err == nil && p.accept("||") {
		l := left
		var right boolean
		if right, err = p.and(); err == nil {
			left = func(q *Request) bool { return l(q) || right(q) }
		}
	}
	return left, err
}

func (p *parser) and() (boolean, error) {
	left, err := p.not()
	for err == nil && p.accept("&&") {
		l := left
		var right boolean
		if right, err = p.not(); err == nil {
			left = func(q *Request) bool { return l(q) && right(q) }
		}
	}
	return left, err
}

func (p *parser) not() (boolean, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, fmt.Errorf("the expression is nested too deeply")
	}
	defer func() { p.depth-- }()
	switch {
	case p.accept("!"):
		inner, err := p.not()
		if err != nil {
			return nil, err
		}
		return func(q *Request) bool { return !inner(q) }, nil
	case p.accept("("):
		inner, err := p.or()
		if err != nil {
			return nil, err
		}
		return inner, p.expect(")")
	case p.accept("true"):
		return func(*Request) bool { return true }, nil
	case p.accept("false"):
		return func(*Request) bool { return false }, nil
	case p.accept("inIpRange"):
		return p.inRange()
	case p.accept("has"):
		if err := p.expect("("); err != nil {
			return nil, err
		}
		value, err := p.value()
		if err != nil {
			return nil, err
		}
		return func(q *Request) bool { return value(q) != "" }, p.expect(")")
	}
	return p.comparison()
}

func (p *parser) inRange() (boolean, error) {
	for _, token := range []string{"(", "origin", ".", "ip", ","} {
		if err := p.expect(token); err != nil {
			return nil, err
		}
	}
	s, err := p.literal()
	if err != nil {
		return nil, err
	}
	prefix, err := parsePrefix(s)
	if err != nil {
		return nil, err
	}
	return func(q *Request) bool { return prefix.Contains(q.IP) }, p.expect(")")
}

// comparison is a value with methods, and == or != another, or a method that answers yes or no.
func (p *parser) comparison() (boolean, error) {
	value, err := p.value()
	if err != nil {
		return nil, err
	}
	for p.accept(".") {
		method := p.peek()
		p.at++
		if err := p.expect("("); err != nil {
			return nil, err
		}
		switch method {
		case "lower", "upper":
			inner, change := value, strings.ToLower
			if method == "upper" {
				change = strings.ToUpper
			}
			value = func(q *Request) string { return change(inner(q)) }
			if err := p.expect(")"); err != nil {
				return nil, err
			}
		case "startsWith", "endsWith", "contains", "matches":
			argument, err := p.literal()
			if err != nil {
				return nil, err
			}
			test, err := stringTest(method, argument)
			if err != nil {
				return nil, err
			}
			return func(q *Request) bool { return test(value(q)) }, p.expect(")")
		default:
			return nil, fmt.Errorf("the method %q is not simulated", method)
		}
	}
	equal := p.accept("==")
	if !equal && !p.accept("!=") {
		return nil, fmt.Errorf("the expression has %q where a comparison is expected", p.peek())
	}
	other, err := p.literal()
	if err != nil {
		return nil, err
	}
	return func(q *Request) bool { return (value(q) == other) == equal }, nil
}

func stringTest(method, argument string) (func(string) bool, error) {
	switch method {
	case "startsWith":
		return func(s string) bool { return strings.HasPrefix(s, argument) }, nil
	case "endsWith":
		return func(s string) bool { return strings.HasSuffix(s, argument) }, nil
	case "contains":
		return func(s string) bool { return strings.Contains(s, argument) }, nil
	}
	re, err := regexp.Compile(argument)
	if err != nil {
		return nil, fmt.Errorf("the regular expression %q: %w", argument, err)
	}
	return re.MatchString, nil
}

func (p *parser) value() (text, error) {
	if t := p.peek(); t != "" && (t[0] == '"' || t[0] == '\'') {
		s, err := p.literal()
		return func(*Request) string { return s }, err
	}
	root := p.peek()
	p.at++
	if root != "request" && root != "origin" {
		return nil, fmt.Errorf("%q is not simulated", root)
	}
	if err := p.expect("."); err != nil {
		return nil, err
	}
	attribute := root + "." + p.peek()
	p.at++
	switch attribute {
	case "origin.ip":
		return func(q *Request) string { return addrText(q.IP) }, nil
	case "request.method":
		return func(q *Request) string { return q.Method }, nil
	case "request.path":
		return func(q *Request) string { return q.Path }, nil
	case "request.query":
		return func(q *Request) string { return q.Query }, nil
	case "request.scheme":
		return func(q *Request) string { return q.Scheme }, nil
	case "request.headers":
		if err := p.expect("["); err != nil {
			return nil, err
		}
		name, err := p.literal()
		if err != nil {
			return nil, err
		}
		name = canonical(name)
		return func(q *Request) string { return q.Header(name) }, p.expect("]")
	}
	return nil, fmt.Errorf("the attribute %s is not simulated", attribute)
}

func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

var escapes = strings.NewReplacer(`\\`, `\`, `\"`, `"`, `\'`, `'`, `\n`, "\n", `\t`, "\t")

func (p *parser) literal() (string, error) {
	t := p.peek()
	if len(t) < 2 || t[0] != '"' && t[0] != '\'' {
		return "", fmt.Errorf("the expression has %q where a string is expected", t)
	}
	p.at++
	return escapes.Replace(t[1 : len(t)-1]), nil
}
