package tagserver

import (
	appsv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/apps/v1"
	corev1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/core/v1"
	metav1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/meta/v1"
	networkingv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/networking/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"patag/infra/kube"
)

const (
	// CanaryPart names the canary's Deployment, and its pods while they are dark: no Service selects them.
	CanaryPart = Part + "-canary"
	// ComponentLabel has the value CanaryComponent on the canary's pods, dark or live.
	ComponentLabel  = "app.kubernetes.io/component"
	CanaryComponent = "canary"
)

// canary is one more server of another image, in all else like the others. Dark, nobody reaches it but through the API server;
// live, its pod is named as the others are, and thus one of the Service's.
func (s *Server) canary(ctx *pulumi.Context, name string, args *Args, secret *corev1.Secret, out networkingv1.NetworkPolicyEgressRuleArray) error {
	part := CanaryPart
	if args.Live {
		part = Part
	}
	labels := kube.Labels(part)
	labels[ComponentLabel] = pulumi.String(CanaryComponent)
	policy, err := networkingv1.NewNetworkPolicy(ctx, name+"-canary", args.Target.Policy(CanaryPart, nil, out), args.Target.In(s)...)
	if err != nil {
		return err
	}
	meta := args.Target.Meta(CanaryPart, CanaryPart)
	meta.Annotations = pulumi.StringMap{
		// Whoever deploys waits, and knows sooner than the engine's ten minutes what is wrong.
		skipAwait:                              pulumi.String("true"),
		"pulumi.com/deletionPropagationPolicy": pulumi.String("background"),
	}
	_, err = appsv1.NewDeployment(ctx, name+"-canary", &appsv1.DeploymentArgs{
		Metadata: meta,
		Spec: &appsv1.DeploymentSpecArgs{
			Replicas: pulumi.Int(1),
			// Not the name, which changes when the canary goes live: a selector cannot.
			Selector: &metav1.LabelSelectorArgs{MatchLabels: pulumi.StringMap{
				ComponentLabel: pulumi.String(CanaryComponent), "app.kubernetes.io/part-of": pulumi.String("patag"),
			}},
			Strategy: rolling(),
			Template: podTemplate(args, secret.Metadata.Name(), args.Canary, labels),
		},
	}, args.Target.Running(s, pulumi.DependsOn([]pulumi.Resource{policy}))...)
	return err
}
