// Package dnszone is the public DNS zone of the service's domain.
package dnszone

import (
	"errors"

	"github.com/pulumi/pulumi-gcp/sdk/v7/go/gcp/dns"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// Args of a Zone.
type Args struct {
	// Domain without the last dot.
	Domain pulumi.StringInput
	Labels pulumi.StringMapInput
}

// Zone is the component.
type Zone struct {
	pulumi.ResourceState

	// Name of the zone in Cloud DNS.
	Name pulumi.StringOutput `pulumi:"name"`
	// NameServers are what the parent domain must delegate to.
	NameServers pulumi.StringArrayOutput `pulumi:"nameServers"`
}

// New makes a Zone.
func New(ctx *pulumi.Context, name string, args *Args, opts ...pulumi.ResourceOption) (*Zone, error) {
	if args == nil || args.Domain == nil {
		return nil, errors.New("dnszone: Domain is required")
	}
	z := &Zone{}
	if err := ctx.RegisterComponentResource("patag:dnszone:Zone", name, z, opts...); err != nil {
		return nil, err
	}
	zone, err := dns.NewManagedZone(ctx, name, &dns.ManagedZoneArgs{
		DnsName:     pulumi.Sprintf("%s.", args.Domain),
		Description: pulumi.String("Names of the ad-tag platform"),
		Visibility:  pulumi.String("public"),
		// Records of stagings that were not taken down would be lost with it.
		ForceDestroy: pulumi.Bool(false),
		Labels:       args.Labels,
	}, pulumi.Parent(z))
	if err != nil {
		return nil, err
	}
	z.Name, z.NameServers = zone.Name, zone.NameServers
	return z, ctx.RegisterResourceOutputs(z, pulumi.Map{"name": z.Name, "nameServers": z.NameServers})
}
