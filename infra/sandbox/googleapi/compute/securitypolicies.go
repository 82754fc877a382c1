package compute

import (
	"fmt"
	"slices"
	"sort"
	"strconv"

	api "google.golang.org/api/compute/v0.beta"

	"patag/infra/sandbox/googleapi"
)

const defaultRule = 2147483647

func (s *Service) securityPolicies() *kind {
	return &kind{
		collection: "securityPolicies", kind: "compute#securityPolicy", list: "compute#securityPolicyList", label: "security_policy",
		scopes: []string{"global"}, like: api.SecurityPolicy{}, deletable: true, fingerprinted: true, labelled: true,
		outputs: []string{"associations", "parent", "shortName", "displayName", "ruleTupleCount"}, immutable: []string{"type"},
		insert: func(_ *call, d googleapi.Doc) error {
			delete(d, "fingerprint")
			d.Default("type", "CLOUD_ARMOR")
			if t := d.String("type"); t != "CLOUD_ARMOR" && t != "CLOUD_ARMOR_EDGE" {
				return googleapi.Unimplemented("The sandbox does not simulate compute.securityPolicies.insert of type %s.", t)
			}
			rules := d.Docs("rules")
			if !slices.ContainsFunc(rules, func(r googleapi.Doc) bool { return r.Int("priority") == defaultRule }) {
				rules = append(rules, googleapi.Doc{"priority": defaultRule, "action": "allow", "description": "default rule",
					"match": map[string]any{"versionedExpr": "SRC_IPS_V1", "config": map[string]any{"srcIpRanges": []any{"*"}}}})
			}
			return setRules(d, rules)
		},
		patch: func(_ *call, _, d googleapi.Doc) error { return setRules(d, d.Docs("rules")) },
		verbs: map[string]func(*call, googleapi.Doc) (any, error){
			"POST addRule": func(c *call, d googleapi.Doc) (any, error) {
				rule, err := c.r.DecodeDoc(api.SecurityPolicyRule{})
				if err != nil {
					return nil, err
				}
				rule.DropNulls()
				for _, r := range d.Docs("rules") {
					if r.Int("priority") == rule.Int("priority") {
						return nil, invalidField("resource.priority", rule.Int("priority"), "Cannot have rules with the same priorities.")
					}
				}
				return nil, setRules(d, append(d.Docs("rules"), rule))
			},
			"POST patchRule": func(c *call, d googleapi.Doc) (any, error) {
				rules, i, err := c.rule(d)
				if err != nil {
					return nil, err
				}
				patch, err := c.r.DecodeDoc(api.SecurityPolicyRule{})
				if err != nil {
					return nil, err
				}
				if patch.Has("priority") && patch.Int("priority") != rules[i].Int("priority") {
					return nil, invalidField("resource.priority", patch.Int("priority"), "The priority of a rule cannot be changed.")
				}
				if mask := c.r.Query("updateMask"); mask != "" {
					err = rules[i].ApplyMask(patch, mask)
				} else {
					rules[i].Merge(patch)
				}
				if err != nil {
					return nil, err
				}
				return nil, setRules(d, rules)
			},
			"POST removeRule": func(c *call, d googleapi.Doc) (any, error) {
				rules, i, err := c.rule(d)
				if err != nil {
					return nil, err
				}
				if rules[i].Int("priority") == defaultRule {
					return nil, googleapi.InvalidArgument("Invalid value for field 'priority': '%d'. The default rule cannot be removed.", defaultRule)
				}
				return nil, setRules(d, slices.Delete(rules, i, i+1))
			},
			"GET getRule": func(c *call, d googleapi.Doc) (any, error) {
				rules, i, err := c.rule(d)
				if err != nil {
					return nil, err
				}
				return rules[i], nil
			},
		},
	}
}

// rule finds the rule that the query names by its priority.
func (c *call) rule(d googleapi.Doc) ([]googleapi.Doc, int, error) {
	text := c.r.Query("priority")
	priority, err := strconv.ParseInt(text, 10, 32)
	if err != nil && text != "" {
		return nil, 0, invalidField("priority", text, "Must be an integer.")
	}
	rules := d.Docs("rules")
	i := slices.IndexFunc(rules, func(r googleapi.Doc) bool { return r.Int("priority") == priority })
	if i < 0 {
		return nil, 0, invalidField("priority", priority, fmt.Sprintf("The security policy '%s' does not contain a rule at this priority.", d.String("name")))
	}
	return rules, i, nil
}

var ruleActions = []string{"allow", "deny(403)", "deny(404)", "deny(502)", "deny(429)", "rate_based_ban", "redirect", "throttle"}

func setRules(d googleapi.Doc, rules []googleapi.Doc) error {
	sort.SliceStable(rules, func(i, j int) bool { return rules[i].Int("priority") < rules[j].Int("priority") })
	out := []any{}
	last := int64(-1)
	for i, r := range rules {
		at := fmt.Sprintf("resource.rules[%d]", i)
		p := r.Int("priority")
		switch {
		case p < 0:
			return invalidField(at+".priority", p, "Must be between 0 and 2147483647.")
		case p == last:
			return invalidField(at+".priority", p, "Cannot have rules with the same priorities.")
		case r.String("action") == "":
			return required(at + ".action")
		case r.String("action") == "deny":
			r["action"] = "deny(403)"
		}
		last = p
		if a := r.String("action"); !slices.Contains(ruleActions, a) {
			return invalidField(at+".action", a, fmt.Sprintf("Must be one of %v.", ruleActions))
		}
		match := r.Doc("match")
		switch {
		case match == nil:
			return required(at + ".match")
		case match.Has("expr") == match.Has("versionedExpr"):
			return invalidField(at+".match", "", "Exactly one of expr and versionedExpr must be given.")
		case match.Has("versionedExpr"):
			if len(match.Strings("config", "srcIpRanges")) == 0 {
				return required(at + ".match.config.srcIpRanges")
			}
			for j, cidr := range match.Strings("config", "srcIpRanges") {
				if _, err := parseCIDR(fmt.Sprintf("%s.match.config.srcIpRanges[%d]", at, j), cidr); cidr != "*" && err != nil {
					return err
				}
			}
			if len(match.Strings("config", "srcIpRanges")) > 10 {
				return invalidField(at+".match.config.srcIpRanges", "", "At most 10 ranges can be given.")
			}
		case match.String("expr", "expression") == "":
			return required(at + ".match.expr.expression")
		}
		if a := r.String("action"); (a == "throttle" || a == "rate_based_ban") != r.Has("rateLimitOptions") {
			return invalidField(at+".rateLimitOptions", "", "Must be given for throttle and rate_based_ban, and for these only.")
		}
		r["kind"] = "compute#securityPolicyRule"
		r.Default("preview", false)
		r.Default("description", "")
		r["priority"] = p
		out = append(out, map[string]any(r))
	}
	d["rules"] = out
	return nil
}
