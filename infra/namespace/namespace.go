// Package namespace is the Kubernetes namespace of the platform: Pod Security restricted enforced, and a NetworkPolicy
// that refuses all traffic which no other policy allows.
package namespace

import (
	"errors"

	corev1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/core/v1"
	metav1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/meta/v1"
	networkingv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/networking/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"patag/infra/kube"
)

// Args of a Namespace.
type Args struct {
	// Target without Namespace.
	Target *kube.Target
	Name   string
	// Protect refuses to delete or replace the namespace: its disks would go with it.
	Protect bool
}

// Namespace is the component.
type Namespace struct {
	pulumi.ResourceState

	Name pulumi.StringOutput `pulumi:"name"`
	// Policy is the refusal; pods that start before it would be open for a moment.
	Policy pulumi.Resource
}

// New makes a Namespace.
func New(ctx *pulumi.Context, name string, args *Args, opts ...pulumi.ResourceOption) (*Namespace, error) {
	if args == nil || args.Name == "" || args.Target == nil || args.Target.Provider == nil || args.Target.Cluster == nil {
		return nil, errors.New("namespace: Name and a Target with Provider and Cluster are required")
	}
	n := &Namespace{}
	if err := ctx.RegisterComponentResource("patag:namespace:Namespace", name, n, opts...); err != nil {
		return nil, err
	}
	ns, err := corev1.NewNamespace(ctx, name, &corev1.NamespaceArgs{Metadata: &metav1.ObjectMetaArgs{
		Name: pulumi.String(args.Name),
		Labels: pulumi.StringMap{
			"app.kubernetes.io/part-of":                  pulumi.String("patag"),
			"pod-security.kubernetes.io/enforce":         pulumi.String("restricted"),
			"pod-security.kubernetes.io/enforce-version": pulumi.String("latest"),
			"pod-security.kubernetes.io/warn":            pulumi.String("restricted"),
		},
	}}, args.Target.In(n, pulumi.Protect(args.Protect))...)
	if err != nil {
		return nil, err
	}
	n.Name = ns.Metadata.Name().Elem()
	n.Policy, err = networkingv1.NewNetworkPolicy(ctx, name+"-deny", &networkingv1.NetworkPolicyArgs{
		Metadata: &metav1.ObjectMetaArgs{Name: pulumi.String("deny"), Namespace: n.Name},
		Spec: &networkingv1.NetworkPolicySpecArgs{
			PodSelector: &metav1.LabelSelectorArgs{}, // every pod
			PolicyTypes: pulumi.ToStringArray([]string{"Ingress", "Egress"}),
		},
	}, args.Target.In(n)...)
	if err != nil {
		return nil, err
	}
	return n, ctx.RegisterResourceOutputs(n, pulumi.Map{"name": n.Name})
}
