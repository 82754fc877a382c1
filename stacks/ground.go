package stacks

import (
	"fmt"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"patag/infra/publicname"
	"patag/infra/secrets"
	"patag/stacks/config"
)

// ground is what a platform stands on: the foundation's outputs, or what stands in for them.
type ground struct {
	nodeAccount, tagAccount, backupAccount pulumi.StringInput
	reaperAccount                          pulumi.StringInput // nil where there is none
	backupBucket                           pulumi.StringInput
	channel                                pulumi.StringInput
	addressName, address                   pulumi.StringInput
	certificateName, host                  pulumi.StringInput
	secrets                                secrets.Values
}

// outputs answers an output of the foundation by name; secret ones only where there is a foundation stack.
type outputs func(name string) pulumi.StringOutput

// standOn finds the foundation. production takes name, address and secrets from it. A staging has its own: two
// clusters cannot hold one address, and who may see a staging must not learn production's keys.
func standOn(ctx *pulumi.Context, s *config.Settings) (*ground, error) {
	out, referred, err := foundationOutputs(ctx, s)
	if err != nil {
		return nil, err
	}
	g := &ground{
		nodeAccount: out(outNodeAccount), tagAccount: out(outTagAccount), backupAccount: out(outBackupAccount), channel: out(outChannel),
		backupBucket: out(outBackupBucket),
	}
	if f := s.Foundation; s.Kind == config.Production && s.ReaperSchedule != "" && (f == nil || f.ReaperServiceAccount != "") {
		g.reaperAccount = out(outReaperAccount)
	}
	if s.Kind == config.Staging {
		public, err := publicname.New(ctx, s.Stack, &publicname.Args{
			Host: pulumi.Sprintf("%s.staging.%s", strings.TrimPrefix(s.Stack, config.StagingPrefix), out(outDomain)), Zone: out(outDNSZone), Labels: ownLabels(ctx, s),
		})
		if err != nil {
			return nil, err
		}
		g.addressName, g.address, g.certificateName, g.host = public.AddressName, public.Address, public.CertificateName, public.Host
	} else {
		g.addressName, g.address, g.certificateName, g.host = out(outAddressName), out(outAddress), out(outCertificateName), out(outHost)
	}
	if s.Kind == config.Production && referred {
		g.secrets = secrets.Values{
			TagKey: out(outTagKey), MongoRootPassword: out(outMongoRootPassword), MongoAppPassword: out(outMongoAppPassword), MongoKeyfile: out(outMongoKeyfile),
		}
		return g, nil
	}
	own, err := secrets.New(ctx, s.Stack, &secrets.Args{Prefix: s.Stack, Given: givenSecrets(ctx), Labels: labels(ctx)})
	if err != nil {
		return nil, err
	}
	g.secrets = own.Values
	return g, nil
}

// foundationOutputs reads the foundation stack, or the values that the configuration gives instead (referred false).
func foundationOutputs(ctx *pulumi.Context, s *config.Settings) (out outputs, referred bool, err error) {
	if f := s.Foundation; f != nil {
		values := map[string]string{
			outAddressName: f.AddressName, outAddress: f.Address, outCertificateName: f.CertificateName, outHost: f.Host,
			outDomain: f.Domain, outDNSZone: f.DNSZone, outRepository: f.Repository, outNodeAccount: f.NodeServiceAccount,
			outTagAccount: f.TagServiceAccount, outBackupAccount: f.BackupServiceAccount, outReaperAccount: f.ReaperServiceAccount, outBackupBucket: f.BackupBucket, outChannel: f.NotificationChannel,
		}
		return func(name string) pulumi.StringOutput { return pulumi.String(values[name]).ToStringOutput() }, false, nil
	}
	name := s.FoundationStack
	if name == "" {
		name = fmt.Sprintf("%s/%s/foundation", ctx.Organization(), ctx.Project())
	}
	ref, err := pulumi.NewStackReference(ctx, name, nil)
	if err != nil {
		return nil, false, fmt.Errorf("refer to the foundation %s: %w; bring it up first, or give its values with patag:foundation", name, err)
	}
	return func(output string) pulumi.StringOutput {
		return ref.GetOutput(pulumi.String(output)).ApplyT(func(v any) (string, error) {
			text, ok := v.(string)
			if !ok || text == "" {
				return "", fmt.Errorf("the foundation %s has no output %s; bring it up with this version of the programs first", name, output)
			}
			return text, nil
		}).(pulumi.StringOutput)
	}, true, nil
}
