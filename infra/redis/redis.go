// Package redis is three Redis servers, the shards that twemproxy spreads keys over. They hold counters and short-lived
// state only: each writes an append-only file and has a disk, so that a restart loses a second at most, and none has a
// replica, so that a lost disk costs a third of the counters. They have no password (twemproxy could pass one on, the
// applications' client cannot be told it by address alone): the NetworkPolicy lets twemproxy in and nobody else.
package redis

import (
	"errors"
	"fmt"
	"strconv"

	appsv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/apps/v1"
	corev1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/core/v1"
	metav1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/meta/v1"
	networkingv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/networking/v1"
	policyv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/policy/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"patag/infra/kube"
)

const (
	// Part names the pods.
	Part = "redis"
	// Port of the servers.
	Port = 6379
	// Shards is how many there are. Another number moves a part of all keys.
	Shards = 3
	uid    = 65532
)

// Args of a Redis.
type Args struct {
	Target *kube.Target
	Image  pulumi.StringInput
	// MemoryMiB is for data, per server.
	MemoryMiB int
	DiskGiB   int
	// Client is the part that may connect.
	Client string
	// NodeSelector of the pods.
	NodeSelector pulumi.StringMapInput
}

// Redis is the component.
type Redis struct {
	pulumi.ResourceState

	// Servers are "address:port name", in the order of the shards. The addresses are those of a Service per shard: they
	// survive the pods, and a resolver is not needed to reach them.
	Servers pulumi.StringArrayOutput `pulumi:"servers"`
}

// New makes a Redis.
func New(ctx *pulumi.Context, name string, args *Args, opts ...pulumi.ResourceOption) (*Redis, error) {
	if args == nil || args.Image == nil || args.Client == "" || args.NodeSelector == nil || args.MemoryMiB < 1 || args.DiskGiB < 1 {
		return nil, errors.New("redis: Image, MemoryMiB, DiskGiB, Client and NodeSelector are required")
	}
	if err := args.Target.Check(Part); err != nil {
		return nil, err
	}
	r := &Redis{}
	if err := ctx.RegisterComponentResource("patag:redis:Redis", name, r, opts...); err != nil {
		return nil, err
	}
	if err := r.services(ctx, name, args); err != nil {
		return nil, err
	}
	if _, err := networkingv1.NewNetworkPolicy(ctx, name, args.Target.Policy(Part,
		networkingv1.NetworkPolicyIngressRuleArray{kube.FromPart(args.Client, Port)}, nil), args.Target.In(r)...); err != nil {
		return nil, err
	}
	if _, err := policyv1.NewPodDisruptionBudget(ctx, name, &policyv1.PodDisruptionBudgetArgs{
		Metadata: args.Target.Meta(Part, Part),
		Spec:     &policyv1.PodDisruptionBudgetSpecArgs{MaxUnavailable: pulumi.Int(1), Selector: kube.Selector(Part)},
	}, args.Target.In(r)...); err != nil {
		return nil, err
	}
	if _, err := appsv1.NewStatefulSet(ctx, name, statefulSet(args), args.Target.Running(r)...); err != nil {
		return nil, err
	}
	return r, ctx.RegisterResourceOutputs(r, pulumi.Map{"servers": r.Servers})
}

func (r *Redis) services(ctx *pulumi.Context, name string, args *Args) error {
	port := corev1.ServicePortArray{&corev1.ServicePortArgs{Name: pulumi.String("redis"), Port: pulumi.Int(Port), TargetPort: pulumi.String("redis")}}
	if _, err := corev1.NewService(ctx, name, &corev1.ServiceArgs{
		Metadata: args.Target.ServiceMeta(Part, Part),
		Spec:     &corev1.ServiceSpecArgs{ClusterIP: pulumi.String("None"), Selector: kube.Labels(Part), Ports: port},
	}, args.Target.In(r)...); err != nil {
		return err
	}
	servers := pulumi.StringArray{}
	for i := range Shards {
		pod := fmt.Sprintf("%s-%d", Part, i)
		service, err := corev1.NewService(ctx, name+"-"+strconv.Itoa(i), &corev1.ServiceArgs{
			Metadata: args.Target.ServiceMeta(pod, Part),
			Spec: &corev1.ServiceSpecArgs{
				Type:     pulumi.String("ClusterIP"),
				Selector: pulumi.StringMap{"statefulset.kubernetes.io/pod-name": pulumi.String(pod)},
				Ports:    port,
			},
		}, args.Target.In(r)...)
		if err != nil {
			return err
		}
		servers = append(servers, pulumi.Sprintf("%s:%d %s", service.Spec.ClusterIP().Elem(), Port, pod))
	}
	r.Servers = servers.ToStringArrayOutput()
	return nil
}

func statefulSet(args *Args) *appsv1.StatefulSetArgs {
	// A rewrite of the append-only file copies what changes meanwhile: at worst everything.
	limit := fmt.Sprintf("%dMi", 2*args.MemoryMiB+64)
	container := &corev1.ContainerArgs{
		Name:  pulumi.String("redis"),
		Image: args.Image,
		Args: pulumi.ToStringArray([]string{
			"--port", strconv.Itoa(Port), "--dir", "/data",
			"--appendonly", "yes", "--appendfsync", "everysec", "--save", "",
			"--maxmemory", fmt.Sprintf("%dmb", args.MemoryMiB),
			"--maxmemory-policy", "allkeys-lru", // the oldest counters go before a write is refused
			"--protected-mode", "no", "--tcp-keepalive", "60",
		}),
		Ports:           corev1.ContainerPortArray{&corev1.ContainerPortArgs{Name: pulumi.String("redis"), ContainerPort: pulumi.Int(Port)}},
		SecurityContext: kube.ContainerSecurity(),
		Resources:       kube.Resources(kube.Size{CPU: "100m", Memory: fmt.Sprintf("%dMi", args.MemoryMiB+32), CPULimit: "500m", MemoryLimit: limit}),
		VolumeMounts:    corev1.VolumeMountArray{kube.Mount("data", "/data", false)},
		// -e: while it loads its file, Redis answers with an error, and that must not count as an answer.
		StartupProbe:   kube.ExecProbe(1, 600, "redis-cli", "-e", "ping"),
		ReadinessProbe: kube.TCPProbe("redis", 2, 2),
		LivenessProbe:  kube.ExecProbe(10, 3, "redis-cli", "ping"),
	}
	return &appsv1.StatefulSetArgs{
		Metadata: args.Target.Meta(Part, Part),
		Spec: &appsv1.StatefulSetSpecArgs{
			ServiceName:         pulumi.String(Part),
			Replicas:            pulumi.Int(Shards),
			PodManagementPolicy: pulumi.String("Parallel"), // the shards do not know each other
			Selector:            kube.Selector(Part),
			Template: &corev1.PodTemplateSpecArgs{
				Metadata: &metav1.ObjectMetaArgs{Labels: kube.Labels(Part)},
				Spec: &corev1.PodSpecArgs{
					AutomountServiceAccountToken:  pulumi.Bool(false),
					EnableServiceLinks:            pulumi.Bool(false),
					SecurityContext:               kube.PodSecurity(uid),
					NodeSelector:                  args.NodeSelector,
					TopologySpreadConstraints:     kube.SpreadOverNodes(Part),
					TerminationGracePeriodSeconds: pulumi.Int(30),
					Containers:                    corev1.ContainerArray{container},
				},
			},
			VolumeClaimTemplates: corev1.PersistentVolumeClaimTypeArray{kube.Claim("data", "standard-rwo", args.DiskGiB)},
		},
	}
}
