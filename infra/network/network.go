// Package network is the ground that a cluster stands on: a VPC with one subnetwork (secondary ranges for pods and
// Services), a router with NAT for nodes without public addresses, and the firewall. It knows nothing of the cluster
// but the network tag of its nodes.
package network

import (
	"errors"

	"github.com/pulumi/pulumi-gcp/sdk/v7/go/gcp/compute"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// Names of the secondary ranges.
const (
	PodRangeName     = "pods"
	ServiceRangeName = "services"
)

// GoogleRanges is where Google's load balancers and their health checks come from.
// Source: "Firewall rules" of the Cloud Load Balancing documentation.
func GoogleRanges() []string { return []string{"35.191.0.0/16", "130.211.0.0/22"} }

// Args of a Network.
type Args struct {
	Region       pulumi.StringInput
	NodeRange    pulumi.StringInput // CIDR
	PodRange     pulumi.StringInput // CIDR
	ServiceRange pulumi.StringInput // CIDR
	// NodeTag is the network tag of the nodes that the firewall rules are for.
	NodeTag pulumi.StringInput
	// ServingPort is the pods' port that Google's load balancers reach.
	ServingPort pulumi.StringInput
}

func (a *Args) check() error {
	if a == nil || a.Region == nil || a.NodeRange == nil || a.PodRange == nil || a.ServiceRange == nil || a.NodeTag == nil || a.ServingPort == nil {
		return errors.New("network: Region, NodeRange, PodRange, ServiceRange, NodeTag and ServingPort are required")
	}
	return nil
}

// Network is the component.
type Network struct {
	pulumi.ResourceState

	NetworkID    pulumi.StringOutput `pulumi:"networkId"`
	SubnetworkID pulumi.StringOutput `pulumi:"subnetworkId"`
	// NAT is what nodes need before they can pull an image from outside Google.
	NAT *compute.RouterNat
}

// New makes a Network. Its parts are auto-named, so that a replacement can stand beside what it replaces.
func New(ctx *pulumi.Context, name string, args *Args, opts ...pulumi.ResourceOption) (*Network, error) {
	if err := args.check(); err != nil {
		return nil, err
	}
	n := &Network{}
	if err := ctx.RegisterComponentResource("patag:network:Network", name, n, opts...); err != nil {
		return nil, err
	}
	child := pulumi.Parent(n)

	vpc, err := compute.NewNetwork(ctx, name, &compute.NetworkArgs{
		AutoCreateSubnetworks: pulumi.Bool(false),
		RoutingMode:           pulumi.String("REGIONAL"),
	}, child)
	if err != nil {
		return nil, err
	}
	subnet, err := compute.NewSubnetwork(ctx, name, &compute.SubnetworkArgs{
		Network:     vpc.ID(),
		Region:      args.Region.ToStringOutput().ToStringPtrOutput(),
		IpCidrRange: args.NodeRange,
		SecondaryIpRanges: compute.SubnetworkSecondaryIpRangeArray{
			&compute.SubnetworkSecondaryIpRangeArgs{RangeName: pulumi.String(PodRangeName), IpCidrRange: args.PodRange},
			&compute.SubnetworkSecondaryIpRangeArgs{RangeName: pulumi.String(ServiceRangeName), IpCidrRange: args.ServiceRange},
		},
		// Nodes have no public address: without this they could not reach Google's APIs but through NAT.
		PrivateIpGoogleAccess: pulumi.Bool(true),
	}, child)
	if err != nil {
		return nil, err
	}
	if err := n.egress(ctx, name, args, vpc, child); err != nil {
		return nil, err
	}
	if err := firewall(ctx, name, args, vpc, child); err != nil {
		return nil, err
	}
	n.NetworkID, n.SubnetworkID = vpc.ID().ToStringOutput(), subnet.ID().ToStringOutput()
	return n, ctx.RegisterResourceOutputs(n, pulumi.Map{"networkId": n.NetworkID, "subnetworkId": n.SubnetworkID})
}

// egress is the way out of nodes without public addresses.
func (n *Network) egress(ctx *pulumi.Context, name string, args *Args, vpc *compute.Network, child pulumi.ResourceOption) error {
	router, err := compute.NewRouter(ctx, name, &compute.RouterArgs{
		Network: vpc.ID(),
		Region:  args.Region.ToStringOutput().ToStringPtrOutput(),
	}, child)
	if err != nil {
		return err
	}
	n.NAT, err = compute.NewRouterNat(ctx, name, &compute.RouterNatArgs{
		Router:                        router.Name,
		Region:                        args.Region.ToStringOutput().ToStringPtrOutput(),
		NatIpAllocateOption:           pulumi.String("AUTO_ONLY"),
		SourceSubnetworkIpRangesToNat: pulumi.String("ALL_SUBNETWORKS_ALL_IP_RANGES"),
		LogConfig: &compute.RouterNatLogConfigArgs{
			Enable: pulumi.Bool(true),
			Filter: pulumi.String("ERRORS_ONLY"), // a connection that found no port is worth a line, the others are not
		},
	}, child)
	return err
}

// firewall lets in what serves and refuses the rest. GKE adds its own rules, at priority 1000, for what goes on within
// the cluster and for the control plane.
func firewall(ctx *pulumi.Context, name string, args *Args, vpc *compute.Network, child pulumi.ResourceOption) error {
	_, err := compute.NewFirewall(ctx, name+"-load-balancer", &compute.FirewallArgs{
		Network:      vpc.ID(),
		Description:  pulumi.String("Google's load balancers and health checks reach the tag servers"),
		Direction:    pulumi.String("INGRESS"),
		Priority:     pulumi.Int(1000),
		SourceRanges: pulumi.ToStringArray(GoogleRanges()),
		TargetTags:   pulumi.StringArray{args.NodeTag},
		Allows: compute.FirewallAllowArray{
			&compute.FirewallAllowArgs{Protocol: pulumi.String("tcp"), Ports: pulumi.StringArray{args.ServingPort}},
		},
	}, child)
	if err != nil {
		return err
	}
	_, err = compute.NewFirewall(ctx, name+"-deny", &compute.FirewallArgs{
		Network:      vpc.ID(),
		Description:  pulumi.String("Nothing else comes in; said as a rule, so that what is refused is logged"),
		Direction:    pulumi.String("INGRESS"),
		Priority:     pulumi.Int(65000),
		SourceRanges: pulumi.StringArray{pulumi.String("0.0.0.0/0")},
		Denies:       compute.FirewallDenyArray{&compute.FirewallDenyArgs{Protocol: pulumi.String("all")}},
		LogConfig:    &compute.FirewallLogConfigArgs{Metadata: pulumi.String("EXCLUDE_ALL_METADATA")},
	}, child)
	return err
}
