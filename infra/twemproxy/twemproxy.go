// Package twemproxy is the proxy between the applications and the Redis shards: two of it, stateless. It spreads keys
// over the shards and takes one that fails out of the ring until it is back: its keys count from zero on the others
// meanwhile, and service goes on.
package twemproxy

import (
	"errors"

	appsv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/apps/v1"
	corev1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/core/v1"
	metav1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/meta/v1"
	networkingv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/networking/v1"
	policyv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/policy/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"patag/infra/kube"
)

const (
	// Part names the pods and the Service.
	Part = "twemproxy"
	// Port of the proxy.
	Port = 22121
	// Replicas is two: one may fail or be replaced.
	Replicas = 2
	uid      = 65532
)

// Args of a Proxy.
type Args struct {
	Target *kube.Target
	Image  pulumi.StringInput
	// Servers are "address:port name".
	Servers pulumi.StringArrayInput
	// ServerPart and ServerPort are the pods behind the servers.
	ServerPart   string
	ServerPort   int
	NodeSelector pulumi.StringMapInput
}

// Proxy is the component.
type Proxy struct {
	pulumi.ResourceState

	// Address is host:port, for Redis clients within the cluster that carry the label kube.AccessRedis.
	Address pulumi.StringOutput `pulumi:"address"`
}

// New makes a Proxy.
func New(ctx *pulumi.Context, name string, args *Args, opts ...pulumi.ResourceOption) (*Proxy, error) {
	if args == nil || args.Image == nil || args.Servers == nil || args.ServerPart == "" || args.ServerPort == 0 || args.NodeSelector == nil {
		return nil, errors.New("twemproxy: Image, Servers, ServerPart, ServerPort and NodeSelector are required")
	}
	if err := args.Target.Check(Part); err != nil {
		return nil, err
	}
	p := &Proxy{}
	if err := ctx.RegisterComponentResource("patag:twemproxy:Proxy", name, p, opts...); err != nil {
		return nil, err
	}
	config, err := corev1.NewConfigMap(ctx, name, &corev1.ConfigMapArgs{
		Metadata: args.Target.AutoNamed(Part),
		Data:     pulumi.StringMap{"nutcracker.yml": args.Servers.ToStringArrayOutput().ApplyT(nutcracker).(pulumi.StringOutput)},
	}, args.Target.In(p)...)
	if err != nil {
		return nil, err
	}
	if _, err := corev1.NewService(ctx, name, &corev1.ServiceArgs{
		Metadata: args.Target.ServiceMeta(Part, Part),
		Spec: &corev1.ServiceSpecArgs{
			Type: pulumi.String("ClusterIP"), Selector: kube.Labels(Part),
			Ports: corev1.ServicePortArray{&corev1.ServicePortArgs{Name: pulumi.String("redis"), Port: pulumi.Int(Port), TargetPort: pulumi.String("redis")}},
		},
	}, args.Target.In(p)...); err != nil {
		return nil, err
	}
	if _, err := networkingv1.NewNetworkPolicy(ctx, name, args.Target.Policy(Part,
		networkingv1.NetworkPolicyIngressRuleArray{kube.FromHolders(kube.AccessRedis, Port)},
		networkingv1.NetworkPolicyEgressRuleArray{kube.ToPart(args.ServerPart, args.ServerPort)}), args.Target.In(p)...); err != nil {
		return nil, err
	}
	if _, err := policyv1.NewPodDisruptionBudget(ctx, name, &policyv1.PodDisruptionBudgetArgs{
		Metadata: args.Target.Meta(Part, Part),
		Spec:     &policyv1.PodDisruptionBudgetSpecArgs{MaxUnavailable: pulumi.Int(1), Selector: kube.Selector(Part)},
	}, args.Target.In(p)...); err != nil {
		return nil, err
	}
	if _, err := appsv1.NewDeployment(ctx, name, deployment(args, config.Metadata.Name()), args.Target.Running(p)...); err != nil {
		return nil, err
	}
	p.Address = pulumi.Sprintf("%s.%s.svc.cluster.local:%d", Part, args.Target.Namespace, Port)
	return p, ctx.RegisterResourceOutputs(p, pulumi.Map{"address": p.Address})
}

func deployment(args *Args, config pulumi.StringPtrInput) *appsv1.DeploymentArgs {
	container := &corev1.ContainerArgs{
		Name:            pulumi.String("nutcracker"),
		Image:           args.Image,
		Args:            pulumi.ToStringArray([]string{"--conf-file=/etc/nutcracker/nutcracker.yml", "--mbuf-size=512"}),
		Ports:           corev1.ContainerPortArray{&corev1.ContainerPortArgs{Name: pulumi.String("redis"), ContainerPort: pulumi.Int(Port)}},
		SecurityContext: kube.ContainerSecurity(),
		Resources:       kube.Resources(kube.Size{CPU: "50m", Memory: "32Mi", CPULimit: "500m", MemoryLimit: "96Mi"}),
		VolumeMounts:    corev1.VolumeMountArray{kube.Mount("config", "/etc/nutcracker", true)},
		StartupProbe:    kube.TCPProbe("redis", 1, 60),
		ReadinessProbe:  kube.TCPProbe("redis", 2, 2),
		LivenessProbe:   kube.TCPProbe("redis", 10, 3),
		// Clients of a proxy that goes are sent elsewhere before it does.
		Lifecycle: &corev1.LifecycleArgs{PreStop: &corev1.LifecycleHandlerArgs{Sleep: &corev1.SleepActionArgs{Seconds: pulumi.Int(5)}}},
	}
	return &appsv1.DeploymentArgs{
		Metadata: args.Target.Meta(Part, Part),
		Spec: &appsv1.DeploymentSpecArgs{
			Replicas: pulumi.Int(Replicas),
			Selector: kube.Selector(Part),
			Strategy: &appsv1.DeploymentStrategyArgs{
				Type:          pulumi.String("RollingUpdate"),
				RollingUpdate: &appsv1.RollingUpdateDeploymentArgs{MaxSurge: pulumi.Int(1), MaxUnavailable: pulumi.Int(0)},
			},
			Template: &corev1.PodTemplateSpecArgs{
				Metadata: &metav1.ObjectMetaArgs{Labels: kube.Labels(Part)},
				Spec: &corev1.PodSpecArgs{
					AutomountServiceAccountToken:  pulumi.Bool(false),
					EnableServiceLinks:            pulumi.Bool(false),
					SecurityContext:               kube.PodSecurity(uid),
					NodeSelector:                  args.NodeSelector,
					TopologySpreadConstraints:     kube.SpreadOverNodes(Part),
					TerminationGracePeriodSeconds: pulumi.Int(15),
					Containers:                    corev1.ContainerArray{container},
					Volumes: corev1.VolumeArray{&corev1.VolumeArgs{
						Name: pulumi.String("config"), ConfigMap: &corev1.ConfigMapVolumeSourceArgs{Name: config},
					}},
				},
			},
		},
	}
}
