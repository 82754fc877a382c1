// Package projectservices switches on the Google APIs that the stacks of a project use.
package projectservices

import (
	"errors"
	"strings"

	"github.com/pulumi/pulumi-gcp/sdk/v7/go/gcp/projects"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// Names of the APIs, by the stacks that use them: foundation, then production and staging.
func Names() []string {
	return []string{
		"artifactregistry.googleapis.com", "dns.googleapis.com", "iam.googleapis.com", "iamcredentials.googleapis.com",
		"cloudresourcemanager.googleapis.com", "secretmanager.googleapis.com", "storage.googleapis.com",
		"compute.googleapis.com", "container.googleapis.com", "logging.googleapis.com", "monitoring.googleapis.com",
	}
}

// Args of Services.
type Args struct {
	Project pulumi.StringInput
}

// Services is the component.
type Services struct {
	pulumi.ResourceState

	// Enabled are the switched-on APIs; what calls one depends on it.
	Enabled []pulumi.Resource
}

// New switches the APIs on.
func New(ctx *pulumi.Context, name string, args *Args, opts ...pulumi.ResourceOption) (*Services, error) {
	if args == nil || args.Project == nil {
		return nil, errors.New("projectservices: Project is required")
	}
	s := &Services{}
	if err := ctx.RegisterComponentResource("patag:projectservices:Services", name, s, opts...); err != nil {
		return nil, err
	}
	for _, api := range Names() {
		short, _, _ := strings.Cut(api, ".")
		service, err := projects.NewService(ctx, name+"-"+short, &projects.ServiceArgs{
			Project: args.Project.ToStringOutput().ToStringPtrOutput(),
			Service: pulumi.String(api),
			// Others in the project may use it, and switching it off deletes what they made with it.
			DisableOnDestroy: pulumi.Bool(false),
		}, pulumi.Parent(s))
		if err != nil {
			return nil, err
		}
		s.Enabled = append(s.Enabled, service)
	}
	return s, ctx.RegisterResourceOutputs(s, pulumi.Map{})
}
