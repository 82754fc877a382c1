// Package identity is the Google service accounts of the platform, each with the least that it needs: nodes, tag
// servers, the backup job and the reaper.
package identity

import (
	"errors"
	"strings"

	"github.com/pulumi/pulumi-gcp/sdk/v7/go/gcp/projects"
	"github.com/pulumi/pulumi-gcp/sdk/v7/go/gcp/serviceaccount"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// nodeRoles are what GKE asks for on a node's account: to write logs and metrics. Pulling images is granted on the
// repository, by its own component. Source: "Harden your cluster's security", least privilege service accounts.
func nodeRoles() []string {
	return []string{"roles/logging.logWriter", "roles/monitoring.metricWriter", "roles/monitoring.viewer", "roles/stackdriver.resourceMetadata.writer"}
}

// Args of Accounts.
type Args struct {
	Project pulumi.StringInput
	// Prefix of the account ids, at most 20 characters.
	Prefix string
}

// Accounts is the component. Its outputs are the accounts' e-mail addresses.
type Accounts struct {
	pulumi.ResourceState

	Nodes  pulumi.StringOutput `pulumi:"nodes"`
	Tag    pulumi.StringOutput `pulumi:"tag"`
	Backup pulumi.StringOutput `pulumi:"backup"`
	Reaper pulumi.StringOutput `pulumi:"reaper"`
}

// New makes the Accounts.
func New(ctx *pulumi.Context, name string, args *Args, opts ...pulumi.ResourceOption) (*Accounts, error) {
	if args == nil || args.Project == nil || args.Prefix == "" || len(args.Prefix) > 20 {
		return nil, errors.New("identity: Project and a Prefix of at most 20 characters are required")
	}
	a := &Accounts{}
	if err := ctx.RegisterComponentResource("patag:identity:Accounts", name, a, opts...); err != nil {
		return nil, err
	}
	for _, account := range []struct {
		short, description string
		email              *pulumi.StringOutput
	}{
		{"nodes", "Nodes of the clusters: write logs and metrics, pull images", &a.Nodes},
		// No role today: an identity of its own, so that what it may do is granted to it and not to the nodes.
		{"tag", "Tag servers", &a.Tag},
		{"backup", "Backup job: writes and reads backups", &a.Backup},
		{"reaper", "Reaper: deletes clusters of stagings whose time is over", &a.Reaper},
	} {
		made, err := serviceaccount.NewAccount(ctx, name+"-"+account.short, &serviceaccount.AccountArgs{
			Project:     args.Project.ToStringOutput().ToStringPtrOutput(),
			AccountId:   pulumi.String(args.Prefix + "-" + account.short),
			DisplayName: pulumi.String(args.Prefix + " " + account.short),
			Description: pulumi.String(account.description),
		}, pulumi.Parent(a))
		if err != nil {
			return nil, err
		}
		*account.email = made.Email
	}
	for _, role := range nodeRoles() {
		short := role[strings.LastIndexAny(role, "/")+1:]
		if _, err := projects.NewIAMMember(ctx, name+"-nodes-"+short, &projects.IAMMemberArgs{
			Project: args.Project, Role: pulumi.String(role), Member: Member(a.Nodes),
		}, pulumi.Parent(a)); err != nil {
			return nil, err
		}
	}
	if err := reaperRoles(ctx, a, name, args.Project); err != nil {
		return nil, err
	}
	return a, ctx.RegisterResourceOutputs(a, pulumi.Map{"nodes": a.Nodes, "tag": a.Tag, "backup": a.Backup, "reaper": a.Reaper})
}

// reaperRoles: it may look at all clusters, and delete those whose name begins as a staging's. No production is among them, whatever
// the reaper is told.
func reaperRoles(ctx *pulumi.Context, a *Accounts, name string, project pulumi.StringInput) error {
	if _, err := projects.NewIAMMember(ctx, name+"-reaper-clusterViewer", &projects.IAMMemberArgs{
		Project: project, Role: pulumi.String("roles/container.clusterViewer"), Member: Member(a.Reaper),
	}, pulumi.Parent(a)); err != nil {
		return err
	}
	_, err := projects.NewIAMMember(ctx, name+"-reaper-clusterAdmin", &projects.IAMMemberArgs{
		Project: project, Role: pulumi.String("roles/container.clusterAdmin"), Member: Member(a.Reaper),
		Condition: &projects.IAMMemberConditionArgs{
			Title:       pulumi.String("stagings-only"),
			Description: pulumi.String("Clusters whose name begins with staging-, and the operations on them"),
			Expression:  pulumi.String(`resource.name.extract("/clusters/{name}").startsWith("staging-") || resource.name.extract("/operations/{name}") != ""`),
		},
	}, pulumi.Parent(a))
	return err
}

// Member is the IAM member of an account, by e-mail.
func Member(email pulumi.StringInput) pulumi.StringOutput {
	return pulumi.Sprintf("serviceAccount:%s", email)
}
