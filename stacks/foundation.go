package stacks

import (
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"patag/infra/backupstore"
	"patag/infra/dnszone"
	"patag/infra/identity"
	"patag/infra/oncall"
	"patag/infra/projectservices"
	"patag/infra/publicname"
	"patag/infra/registryrepo"
	"patag/infra/secrets"
	"patag/stacks/config"
)

// Names of the foundation's outputs, which other stacks read.
const (
	outAddressName       = "addressName"
	outAddress           = "address"
	outCertificateName   = "certificateName"
	outHost              = "host"
	outDomain            = "domain"
	outDNSZone           = "dnsZone"
	outNameServers       = "nameServers"
	outRepository        = "repository"
	outNodeAccount       = "nodeServiceAccount"
	outTagAccount        = "tagServiceAccount"
	outBackupAccount     = "backupServiceAccount"
	outReaperAccount     = "reaperServiceAccount"
	outBackupBucket      = "backupBucket"
	outChannel           = "notificationChannel"
	outTagKey            = "tagKey"
	outMongoRootPassword = "mongoRootPassword"
	outMongoAppPassword  = "mongoAppPassword"
	outMongoKeyfile      = "mongoKeyfile"
)

// foundation is what outlives clusters. All of it is protected.
func foundation(ctx *pulumi.Context, s *config.Settings) error {
	const name = "patag"
	project, marks := pulumi.String(s.Project), labels(ctx)
	protect := pulumi.Protect(true)

	services, err := projectservices.New(ctx, name, &projectservices.Args{Project: project}, protect)
	if err != nil {
		return err
	}
	opts := []pulumi.ResourceOption{protect, after(services.Enabled)}

	accounts, err := identity.New(ctx, name, &identity.Args{Project: project, Prefix: name}, opts...)
	if err != nil {
		return err
	}
	backups, err := backupstore.New(ctx, name+"-backup", &backupstore.Args{
		Location: pulumi.String(s.BackupLocation), RetentionDays: s.BackupRetentionDays, VersionDays: s.BackupVersionDays,
		Writer: identity.Member(accounts.Backup), Labels: marks,
	}, opts...)
	if err != nil {
		return err
	}
	repository, err := registryrepo.New(ctx, name, &registryrepo.Args{
		Project: project, Location: pulumi.String(s.Region), ID: pulumi.String(s.Repository), Reader: identity.Member(accounts.Nodes), Labels: marks,
	}, opts...)
	if err != nil {
		return err
	}
	zone, err := dnszone.New(ctx, name, &dnszone.Args{Domain: pulumi.String(s.Domain), Labels: marks}, opts...)
	if err != nil {
		return err
	}
	public, err := publicname.New(ctx, name, &publicname.Args{
		Host: pulumi.String(s.HostLabel + "." + s.Domain), Zone: zone.Name, Labels: marks,
	}, opts...)
	if err != nil {
		return err
	}
	channel, err := oncall.New(ctx, name, &oncall.Args{Email: pulumi.String(s.AlertEmail)}, opts...)
	if err != nil {
		return err
	}
	kept, err := secrets.New(ctx, name, &secrets.Args{Prefix: name, Given: givenSecrets(ctx), Labels: marks}, opts...)
	if err != nil {
		return err
	}

	for output, value := range map[string]pulumi.Input{
		outAddressName: public.AddressName, outAddress: public.Address, outCertificateName: public.CertificateName, outHost: public.Host,
		outDomain: pulumi.String(s.Domain), outDNSZone: zone.Name, outNameServers: zone.NameServers,
		outRepository:  repository.Base,
		outNodeAccount: accounts.Nodes, outTagAccount: accounts.Tag, outBackupAccount: accounts.Backup, outReaperAccount: accounts.Reaper,
		outBackupBucket: backups.Bucket, outChannel: channel.Name,
		outTagKey: kept.Values.TagKey, outMongoRootPassword: kept.Values.MongoRootPassword,
		outMongoAppPassword: kept.Values.MongoAppPassword, outMongoKeyfile: kept.Values.MongoKeyfile,
	} {
		ctx.Export(output, value)
	}
	return nil
}

// after makes everything in a component wait for resources; DependsOn would hold back the component alone.
func after(resources []pulumi.Resource) pulumi.ResourceOption {
	return pulumi.Transformations([]pulumi.ResourceTransformation{func(args *pulumi.ResourceTransformationArgs) *pulumi.ResourceTransformationResult {
		return &pulumi.ResourceTransformationResult{Props: args.Props, Opts: append(args.Opts, pulumi.DependsOn(resources))}
	}})
}
