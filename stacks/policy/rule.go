package policy

import (
	"fmt"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"

	"patag/stacks/config"
)

// Stack is what the rules must know of the stack.
type Stack struct {
	Name string
	Kind config.Kind
	// ProtectData is what the stack's config says of patag:protectData.
	ProtectData bool
}

// Resource is one that a program registers.
type Resource struct {
	Type, Name string
	Protect    bool
	// Inputs with the marks of secrets and of values that are not known yet.
	Inputs resource.PropertyMap
}

// Rule is one thing that is refused.
type Rule struct {
	Name string
	// Description is a sentence that says what the rule wants.
	Description string
	check       func(Stack, Resource) []finding
}

// finding is what a rule has against a resource.
type finding struct {
	why, do string
}

func because(do, why string, args ...any) []finding {
	return []finding{{fmt.Sprintf(why, args...), do}}
}

// Violation of a rule by a resource.
type Violation struct {
	Rule     string `json:"rule"`
	Resource string `json:"resource"`
	Why      string `json:"why"`
	Do       string `json:"do"`
}

// String is one line: resource, rule, why, what to do.
func (v Violation) String() string {
	return fmt.Sprintf("%s: %s: %s; %s", v.Resource, v.Rule, v.Why, v.Do)
}

// Rules are all of them.
func Rules() []Rule {
	return []Rule{
		{"no-public-buckets", "No bucket or object can be read or written by everybody.", publicBuckets},
		{"no-service-account-keys", "No key of a service account exists; programs speak through Workload Identity.", accountKeys},
		{"no-public-nodes", "No machine has an address of the internet.", publicNodes},
		{"staging-on-spot", "Every machine of a staging is a spot machine.", stagingOnSpot},
		{"staging-expires", "Every cluster of a staging says whose it is and until when.", stagingExpires},
		{"requests-and-limits", "Every container says what it needs and where it ends: CPU and memory.", requestsAndLimits},
		{"images-by-digest", "Every image is named by its digest.", imagesByDigest},
		{"protected-stays-protected", "The foundation, and what holds production's data, is protected.", protection},
		{"no-plain-secrets", "What is secret is marked so, or it would lie readable in the state.", plainSecrets},
	}
}

// Check holds a resource to all rules.
func Check(stack Stack, r Resource) []Violation {
	var found []Violation
	for _, rule := range Rules() {
		for _, f := range rule.check(stack, r) {
			found = append(found, Violation{Rule: rule.Name, Resource: fmt.Sprintf("%s %q", r.Type, r.Name), Why: f.why, Do: f.do})
		}
	}
	return found
}

// Refused is the error of a program that breaks rules.
type Refused []Violation

func (r Refused) Error() string {
	lines := make([]string, 0, len(r)+1)
	many := "1 rule is"
	if len(r) != 1 {
		many = fmt.Sprintf("%d rules are", len(r))
	}
	lines = append(lines, many+" broken")
	for _, v := range r {
		lines = append(lines, v.String())
	}
	return strings.Join(lines, "\n  ")
}
