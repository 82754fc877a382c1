// Package bidder is the demo bidder: one demand source to try auctions with, in stagings. It keeps nothing, and is reached by who holds
// auctions only. It is a sub-command of the tag server's image.
package bidder

import (
	"errors"
	"fmt"

	appsv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/apps/v1"
	corev1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/core/v1"
	metav1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/meta/v1"
	networkingv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/networking/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"patag/infra/kube"
)

const (
	// Part names the pods and the Service.
	Part = "bidder"
	// Port takes bid requests and notices.
	Port = 8080
	uid  = 65532
)

// Endpoint is where a bidder in a namespace takes bid requests. It is known before there is one, for the catalogue.
func Endpoint(namespace string) string {
	return fmt.Sprintf("http://%s.%s.svc.cluster.local:%d/openrtb2", Part, namespace, Port)
}

// Args of a Bidder.
type Args struct {
	Target *kube.Target
	// Image of the tag server.
	Image        pulumi.StringInput
	NodeSelector pulumi.StringMapInput
}

// Bidder is the component.
type Bidder struct {
	pulumi.ResourceState
}

// New makes a Bidder.
func New(ctx *pulumi.Context, name string, args *Args, opts ...pulumi.ResourceOption) (*Bidder, error) {
	if args == nil || args.Image == nil || args.NodeSelector == nil {
		return nil, errors.New("bidder: Image and NodeSelector are required")
	}
	if err := args.Target.Check(Part); err != nil {
		return nil, err
	}
	b := &Bidder{}
	if err := ctx.RegisterComponentResource("patag:bidder:Bidder", name, b, opts...); err != nil {
		return nil, err
	}
	if _, err := corev1.NewService(ctx, name, &corev1.ServiceArgs{
		Metadata: args.Target.ServiceMeta(Part, Part),
		Spec: &corev1.ServiceSpecArgs{
			Type: pulumi.String("ClusterIP"), Selector: kube.Labels(Part),
			Ports: corev1.ServicePortArray{&corev1.ServicePortArgs{Name: pulumi.String("http"), Port: pulumi.Int(Port), TargetPort: pulumi.String("http")}},
		},
	}, args.Target.In(b)...); err != nil {
		return nil, err
	}
	// It answers, and asks nobody.
	if _, err := networkingv1.NewNetworkPolicy(ctx, name, args.Target.Policy(Part,
		networkingv1.NetworkPolicyIngressRuleArray{kube.FromHolders(kube.AccessBidder, Port)}, nil), args.Target.In(b)...); err != nil {
		return nil, err
	}
	if _, err := appsv1.NewDeployment(ctx, name, deployment(args), args.Target.Running(b)...); err != nil {
		return nil, err
	}
	return b, ctx.RegisterResourceOutputs(b, pulumi.Map{})
}

func deployment(args *Args) *appsv1.DeploymentArgs {
	container := &corev1.ContainerArgs{
		Name:  pulumi.String(Part),
		Image: args.Image,
		// Like a bidder of the same region: within 30 ms, and not always.
		Args:            pulumi.ToStringArray([]string{"bidder", fmt.Sprintf("--listen=:%d", Port), "--latency=5ms", "--jitter=25ms", "--fill=0.9"}),
		Ports:           corev1.ContainerPortArray{&corev1.ContainerPortArgs{Name: pulumi.String("http"), ContainerPort: pulumi.Int(Port)}},
		SecurityContext: kube.ContainerSecurity(),
		Resources:       kube.Resources(kube.Size{CPU: "20m", Memory: "32Mi", CPULimit: "500m", MemoryLimit: "128Mi"}),
		StartupProbe:    kube.HTTPProbe("http", "/livez", 1, 60),
		ReadinessProbe:  kube.HTTPProbe("http", "/readyz", 2, 2),
		LivenessProbe:   kube.HTTPProbe("http", "/livez", 10, 3),
	}
	return &appsv1.DeploymentArgs{
		Metadata: args.Target.Meta(Part, Part),
		Spec: &appsv1.DeploymentSpecArgs{
			Replicas: pulumi.Int(1),
			Selector: kube.Selector(Part),
			Template: &corev1.PodTemplateSpecArgs{
				Metadata: &metav1.ObjectMetaArgs{Labels: kube.Labels(Part)},
				Spec: &corev1.PodSpecArgs{
					AutomountServiceAccountToken:  pulumi.Bool(false),
					EnableServiceLinks:            pulumi.Bool(false),
					SecurityContext:               kube.PodSecurity(uid),
					NodeSelector:                  args.NodeSelector,
					TerminationGracePeriodSeconds: pulumi.Int(10),
					Containers:                    corev1.ContainerArray{container},
				},
			},
		},
	}
}
