package policy

import (
	"context"
	"fmt"

	"github.com/blang/semver"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi/policyx"
)

// Analyzer is the name under which patag serves the rules to Pulumi's engine: what `--policy-pack` names.
const Analyzer = "pulumi-analyzer-patag"

// Serve is the analyzer: it prints its port and serves until the engine, which started it, ends it.
func Serve() error { return policyx.Main(Pack) }

// Pack is the rules as a policy pack, for the stack of ctx. Every rule is mandatory.
func Pack(ctx *pulumi.Context) (policyx.PolicyPack, error) {
	stack := stackOf(ctx)
	var policies []policyx.Policy
	for _, rule := range Rules() {
		policies = append(policies, policyx.NewResourceValidationPolicy(rule.Name, policyx.ResourceValidationPolicyArgs{
			Description: rule.Description, EnforcementLevel: policyx.EnforcementLevelMandatory,
			ValidateResource: func(_ context.Context, args policyx.ResourceValidationArgs) error {
				r := args.Resource
				for _, f := range rule.check(stack, Resource{
					Type: r.Type, Name: r.Name, Protect: r.Options.Protect, Inputs: resource.ToResourcePropertyMap(r.Properties),
				}) {
					args.Manager.ReportViolation(fmt.Sprintf("%s; %s", f.why, f.do), r.URN)
				}
				return nil
			},
		}))
	}
	return policyx.NewPolicyPack("patag", semver.MustParse("1.0.0"), policyx.EnforcementLevelMandatory, policies)
}
