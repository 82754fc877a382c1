package edge

import (
	"github.com/pulumi/pulumi-gcp/sdk/v7/go/gcp/compute"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// securityPolicy is the Cloud Armor policy: a limit per client address, then everyone.
func securityPolicy(ctx *pulumi.Context, name string, args *Args, opts ...pulumi.ResourceOption) (*compute.SecurityPolicy, error) {
	everyone := &compute.SecurityPolicyRuleMatchArgs{
		VersionedExpr: pulumi.String("SRC_IPS_V1"),
		Config:        &compute.SecurityPolicyRuleMatchConfigArgs{SrcIpRanges: pulumi.StringArray{pulumi.String("*")}},
	}
	rules := compute.SecurityPolicyRuleTypeArray{}
	if args.RequestsPerMinute > 0 {
		rules = append(rules, &compute.SecurityPolicyRuleTypeArgs{
			Priority: pulumi.Int(1000), Action: pulumi.String("throttle"), Match: everyone, Description: pulumi.String("Floods from one address"),
			RateLimitOptions: &compute.SecurityPolicyRuleRateLimitOptionsArgs{
				ConformAction: pulumi.String("allow"), ExceedAction: pulumi.String("deny(429)"), EnforceOnKey: pulumi.String("IP"),
				RateLimitThreshold: &compute.SecurityPolicyRuleRateLimitOptionsRateLimitThresholdArgs{
					Count: pulumi.Int(args.RequestsPerMinute), IntervalSec: pulumi.Int(60),
				},
			},
		})
	}
	// The default rule: every policy has one at the lowest priority.
	rules = append(rules, &compute.SecurityPolicyRuleTypeArgs{
		Priority: pulumi.Int(2147483647), Action: pulumi.String("allow"), Match: everyone, Description: pulumi.String("Ads are for everyone"),
	})
	return compute.NewSecurityPolicy(ctx, name, &compute.SecurityPolicyArgs{
		Description: pulumi.String("Requests for ads"), Type: pulumi.String("CLOUD_ARMOR"), Rules: rules,
	}, opts...)
}
