// Package publicname is how the world finds a service: a static address, a DNS name for it and a certificate for the
// name. Load balancers refer to both by name, so that they outlive any cluster.
package publicname

import (
	"errors"

	"github.com/pulumi/pulumi-gcp/sdk/v7/go/gcp/compute"
	"github.com/pulumi/pulumi-gcp/sdk/v7/go/gcp/dns"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// Args of a Name.
type Args struct {
	// Host is the full name without the last dot; it lies in the zone.
	Host pulumi.StringInput
	// Zone is the name of the zone in Cloud DNS.
	Zone   pulumi.StringInput
	Labels pulumi.StringMapInput
}

// Name is the component.
type Name struct {
	pulumi.ResourceState

	AddressName     pulumi.StringOutput `pulumi:"addressName"`
	Address         pulumi.StringOutput `pulumi:"address"`
	CertificateName pulumi.StringOutput `pulumi:"certificateName"`
	Host            pulumi.StringOutput `pulumi:"host"`
}

// New makes a Name. Address and certificate are auto-named: a certificate for another host is made before the old one
// goes, and an address in use cannot go at all.
func New(ctx *pulumi.Context, name string, args *Args, opts ...pulumi.ResourceOption) (*Name, error) {
	if args == nil || args.Host == nil || args.Zone == nil {
		return nil, errors.New("publicname: Host and Zone are required")
	}
	n := &Name{}
	if err := ctx.RegisterComponentResource("patag:publicname:Name", name, n, opts...); err != nil {
		return nil, err
	}
	address, err := compute.NewGlobalAddress(ctx, name, &compute.GlobalAddressArgs{
		AddressType: pulumi.String("EXTERNAL"), IpVersion: pulumi.String("IPV4"), Labels: args.Labels,
	}, pulumi.Parent(n))
	if err != nil {
		return nil, err
	}
	if _, err := dns.NewRecordSet(ctx, name, &dns.RecordSetArgs{
		ManagedZone: args.Zone,
		Name:        pulumi.Sprintf("%s.", args.Host),
		Type:        pulumi.String("A"),
		Ttl:         pulumi.Int(300), // short enough to move the service within minutes
		Rrdatas:     pulumi.StringArray{address.Address},
	}, pulumi.Parent(n)); err != nil {
		return nil, err
	}
	certificate, err := compute.NewManagedSslCertificate(ctx, name, &compute.ManagedSslCertificateArgs{
		Managed: &compute.ManagedSslCertificateManagedArgs{Domains: pulumi.StringArray{args.Host}},
	}, pulumi.Parent(n))
	if err != nil {
		return nil, err
	}
	n.AddressName, n.Address, n.CertificateName, n.Host = address.Name, address.Address, certificate.Name, args.Host.ToStringOutput()
	return n, ctx.RegisterResourceOutputs(n, pulumi.Map{
		"addressName": n.AddressName, "address": n.Address, "certificateName": n.CertificateName, "host": n.Host,
	})
}
