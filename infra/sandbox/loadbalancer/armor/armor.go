// Package armor evaluates Cloud Armor security policies: it takes a policy as Compute Engine has it (JSON) and tells
// for a request what the policy does with it. Source ranges, rate limits and a part of the rules language are
// evaluated; a rule that is not is left out, never guessed at, and reported by Compile, so that the request falls
// through to the rules after it. It knows nothing of HTTP servers.
package armor

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Request is what rules look at. Header is called with a name in canonical form and returns the first value.
type Request struct {
	IP     netip.Addr
	Method string
	Path   string
	Query  string
	Scheme string
	Header func(name string) string
}

// Verdict is what a policy does with a request.
type Verdict struct {
	// Status is 0 to let the request pass, else the HTTP status to answer with.
	Status int
	// Location is where a redirect goes.
	Location string
	// Policy, Priority and Action name the rule, Outcome is ACCEPT, DENY or REDIRECT: for the log.
	Policy   string
	Priority int64
	Action   string
	Outcome  string
	// Preview is the rule that would have decided were it not in preview mode.
	Preview *Verdict
	// Detail is the log's statusDetails of a refusal.
	Detail string
}

// Policy is compiled once and safe for concurrent use.
type Policy struct {
	name  string
	rules []*rule
}

type rule struct {
	priority int64
	action   string
	preview  bool
	match    matcher
	deny     int
	redirect string
	limit    *limiter
}

type matcher interface{ matches(*Request) bool }

// policyJSON is the part of Compute Engine's SecurityPolicy that is used.
type policyJSON struct {
	Name  string     `json:"name"`
	Rules []ruleJSON `json:"rules"`
}

type ruleJSON struct {
	Priority int64  `json:"priority"`
	Action   string `json:"action"`
	Preview  bool   `json:"preview"`
	Match    struct {
		VersionedExpr string `json:"versionedExpr"`
		Config        struct {
			SrcIPRanges []string `json:"srcIpRanges"`
		} `json:"config"`
		Expr struct {
			Expression string `json:"expression"`
		} `json:"expr"`
	} `json:"match"`
	RateLimit *rateLimitJSON `json:"rateLimitOptions"`
	// HeaderAction changes requests; not simulated.
	HeaderAction json.RawMessage `json:"headerAction"`
	Redirect     *struct {
		Type   string `json:"type"`
		Target string `json:"target"`
	} `json:"redirectOptions"`
}

// Compile reads a policy. unsupported has one sentence for each rule that cannot be evaluated.
func Compile(document []byte) (p *Policy, unsupported []string, err error) {
	var doc policyJSON
	if err := json.Unmarshal(document, &doc); err != nil {
		return nil, nil, fmt.Errorf("read the security policy: %w", err)
	}
	p = &Policy{name: doc.Name}
	for _, r := range doc.Rules {
		compiled, err := r.compile()
		if err != nil {
			unsupported = append(unsupported, fmt.Sprintf("rule %d of security policy %q is not evaluated: %v", r.Priority, doc.Name, err))
			continue
		}
		p.rules = append(p.rules, compiled)
	}
	slices.SortStableFunc(p.rules, func(a, b *rule) int { return int(a.priority - b.priority) })
	return p, unsupported, nil
}

func (r ruleJSON) compile() (*rule, error) {
	out := &rule{priority: r.Priority, action: r.Action, preview: r.Preview}
	if len(r.HeaderAction) > 0 && string(r.HeaderAction) != "null" {
		return nil, fmt.Errorf("its headerAction is not simulated")
	}
	var err error
	switch {
	case r.Match.Expr.Expression != "":
		out.match, err = parseExpression(r.Match.Expr.Expression)
	case r.Match.VersionedExpr == "SRC_IPS_V1" || r.Match.VersionedExpr == "" && len(r.Match.Config.SrcIPRanges) > 0:
		out.match, err = parseRanges(r.Match.Config.SrcIPRanges)
	default:
		err = fmt.Errorf("its match is neither source ranges nor an expression")
	}
	if err != nil {
		return nil, err
	}
	switch {
	case r.Action == "allow":
	case strings.HasPrefix(r.Action, "deny"):
		out.deny, err = denyStatus(r.Action)
	case r.Action == "redirect":
		if r.Redirect == nil || r.Redirect.Type != "EXTERNAL_302" {
			return nil, fmt.Errorf("only redirects of type EXTERNAL_302 are simulated")
		}
		out.redirect = r.Redirect.Target
	case r.Action == "throttle" || r.Action == "rate_based_ban":
		out.limit, err = newLimiter(r.Action, r.RateLimit)
	default:
		err = fmt.Errorf("the action %q is not known", r.Action)
	}
	return out, err
}

func denyStatus(action string) (int, error) {
	code := strings.TrimSuffix(strings.TrimPrefix(action, "deny("), ")")
	if code == "deny" || code == "status" {
		return 403, nil
	}
	n, err := strconv.Atoi(code)
	if err != nil || n != 403 && n != 404 && n != 429 && n != 502 {
		return 0, fmt.Errorf("the action %q is not deny(403), deny(404) or deny(502)", action)
	}
	return n, nil
}

type ranges struct {
	all  bool
	nets []netip.Prefix
}

func parseRanges(list []string) (matcher, error) {
	var r ranges
	for _, s := range list {
		if s == "*" {
			r.all = true
			continue
		}
		p, err := parsePrefix(s)
		if err != nil {
			return nil, err
		}
		r.nets = append(r.nets, p)
	}
	return r, nil
}

func parsePrefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, fmt.Errorf("%q is not an address range", s)
	}
	return p.Masked(), nil
}

func (r ranges) matches(q *Request) bool {
	if r.all {
		return true
	}
	for _, n := range r.nets {
		if n.Contains(q.IP) {
			return true
		}
	}
	return false
}

// Name is the policy's.
func (p *Policy) Name() string { return p.name }

// Evaluate finds the first rule that matches; a policy without one lets the request pass (Google's policies always
// end with a default rule).
func (p *Policy) Evaluate(q *Request, now time.Time) Verdict {
	var preview *Verdict
	for _, r := range p.rules {
		if !r.match.matches(q) {
			continue
		}
		v := r.decide(q, now)
		v.Policy = p.name
		if r.preview {
			if preview == nil {
				preview = &v
			}
			continue
		}
		v.Preview = preview
		return v
	}
	return Verdict{Policy: p.name, Action: "ALLOW", Outcome: "ACCEPT", Preview: preview}
}

func (r *rule) decide(q *Request, now time.Time) Verdict {
	v := Verdict{Priority: r.priority, Action: "ALLOW", Outcome: "ACCEPT"}
	switch {
	case r.deny != 0:
		v.Action, v.Outcome, v.Status, v.Detail = "DENY", "DENY", r.deny, "denied_by_security_policy"
	case r.redirect != "":
		v.Action, v.Outcome, v.Status, v.Location, v.Detail = "REDIRECT", "REDIRECT", 302, r.redirect, "redirected_by_security_policy"
	case r.limit != nil:
		v.Action = strings.ToUpper(r.action)
		if status := r.limit.take(q, now); status != 0 {
			v.Outcome, v.Status, v.Detail = "DENY", status, "denied_by_security_policy"
		}
	}
	return v
}
