// Package registryrepo is the Artifact Registry repository that holds the images, and who may pull them.
package registryrepo

import (
	"errors"

	"github.com/pulumi/pulumi-gcp/sdk/v7/go/gcp/artifactregistry"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// Args of a Repository.
type Args struct {
	Project  pulumi.StringInput
	Location pulumi.StringInput
	ID       pulumi.StringInput
	// Reader is the IAM member that pulls: serviceAccount:<e-mail>.
	Reader pulumi.StringInput
	Labels pulumi.StringMapInput
}

// Repository is the component.
type Repository struct {
	pulumi.ResourceState

	// Base is what image names begin with: <location>-docker.pkg.dev/<project>/<id>.
	Base pulumi.StringOutput `pulumi:"base"`
}

// New makes a Repository.
func New(ctx *pulumi.Context, name string, args *Args, opts ...pulumi.ResourceOption) (*Repository, error) {
	if args == nil || args.Project == nil || args.Location == nil || args.ID == nil || args.Reader == nil {
		return nil, errors.New("registryrepo: Project, Location, ID and Reader are required")
	}
	r := &Repository{}
	if err := ctx.RegisterComponentResource("patag:registryrepo:Repository", name, r, opts...); err != nil {
		return nil, err
	}
	repo, err := artifactregistry.NewRepository(ctx, name, &artifactregistry.RepositoryArgs{
		Project:      args.Project.ToStringOutput().ToStringPtrOutput(),
		Location:     args.Location.ToStringOutput().ToStringPtrOutput(),
		RepositoryId: args.ID,
		Format:       pulumi.String("DOCKER"),
		Description:  pulumi.String("Images of the ad-tag platform, referred to by digest"),
		Labels:       args.Labels,
	}, pulumi.Parent(r))
	if err != nil {
		return nil, err
	}
	if _, err := artifactregistry.NewRepositoryIamMember(ctx, name+"-pull", &artifactregistry.RepositoryIamMemberArgs{
		Project:    args.Project.ToStringOutput().ToStringPtrOutput(),
		Location:   repo.Location.ToStringPtrOutput(),
		Repository: repo.RepositoryId,
		Role:       pulumi.String("roles/artifactregistry.reader"),
		Member:     args.Reader,
	}, pulumi.Parent(r)); err != nil {
		return nil, err
	}
	r.Base = pulumi.Sprintf("%s-docker.pkg.dev/%s/%s", repo.Location, args.Project, repo.RepositoryId)
	return r, ctx.RegisterResourceOutputs(r, pulumi.Map{"base": r.Base})
}
