// Package workloadidentity lets a Kubernetes service account act as a Google one.
package workloadidentity

import (
	"errors"

	"github.com/pulumi/pulumi-gcp/sdk/v7/go/gcp/serviceaccount"
	corev1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/core/v1"
	metav1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/meta/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"patag/infra/kube"
)

// Args of an Account.
type Args struct {
	Target  *kube.Target
	Project pulumi.StringInput
	// Google is the e-mail of the Google service account.
	Google pulumi.StringInput
	// Name of the Kubernetes service account.
	Name string
}

// Account is the component.
type Account struct {
	pulumi.ResourceState

	// Name of the Kubernetes service account, for pods.
	Name pulumi.StringOutput `pulumi:"name"`
}

// New makes an Account.
func New(ctx *pulumi.Context, name string, args *Args, opts ...pulumi.ResourceOption) (*Account, error) {
	if args == nil || args.Project == nil || args.Google == nil || args.Name == "" {
		return nil, errors.New("workloadidentity: Target, Project, Google and Name are required")
	}
	if err := args.Target.Check("workloadidentity"); err != nil {
		return nil, err
	}
	a := &Account{}
	if err := ctx.RegisterComponentResource("patag:workloadidentity:Account", name, a, opts...); err != nil {
		return nil, err
	}
	account, err := corev1.NewServiceAccount(ctx, name, &corev1.ServiceAccountArgs{
		Metadata: &metav1.ObjectMetaArgs{
			Name: pulumi.String(args.Name), Namespace: args.Target.Namespace,
			Annotations: pulumi.StringMap{"iam.gke.io/gcp-service-account": args.Google},
		},
		// Google's token comes from the metadata server; none of ours calls the Kubernetes API.
		AutomountServiceAccountToken: pulumi.Bool(false),
	}, args.Target.In(a)...)
	if err != nil {
		return nil, err
	}
	if _, err := serviceaccount.NewIAMMember(ctx, name, &serviceaccount.IAMMemberArgs{
		ServiceAccountId: pulumi.Sprintf("projects/%s/serviceAccounts/%s", args.Project, args.Google),
		Role:             pulumi.String("roles/iam.workloadIdentityUser"),
		Member:           pulumi.Sprintf("serviceAccount:%s.svc.id.goog[%s/%s]", args.Project, args.Target.Namespace, args.Name),
	}, pulumi.Parent(a),
		// A project's identity pool exists once its first cluster does: before that, Google refuses the member.
		pulumi.DependsOn([]pulumi.Resource{args.Target.Cluster})); err != nil {
		return nil, err
	}
	a.Name = account.Metadata.Name().Elem()
	return a, ctx.RegisterResourceOutputs(a, pulumi.Map{"name": a.Name})
}
