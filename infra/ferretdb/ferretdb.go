// Package ferretdb is the Mongo store where no MongoDB can be had: one FerretDB on SQLite files on a disk. It has no
// authentication: the NetworkPolicy lets the pods with the label kube.AccessMongo in, and nobody else.
package ferretdb

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
	// Part names the pods and the Service. It is the name of package mongo's too: a cluster has one of them.
	Part = "mongo"
	// Port of the store.
	Port = 27017
	uid  = 65532
)

// Args of a Store.
type Args struct {
	Target *kube.Target
	Image  pulumi.StringInput
	// Database that the applications use.
	Database     string
	DiskGiB      int
	NodeSelector pulumi.StringMapInput
	// Protect refuses to delete or replace the store.
	Protect bool
}

// Store is the component.
type Store struct {
	pulumi.ResourceState

	// URI for the applications.
	URI pulumi.StringOutput
	// Ready is there when the store answers.
	Ready pulumi.Resource
}

// New makes a Store.
func New(ctx *pulumi.Context, name string, args *Args, opts ...pulumi.ResourceOption) (*Store, error) {
	if args == nil || args.Image == nil || args.Database == "" || args.DiskGiB < 1 || args.NodeSelector == nil {
		return nil, errors.New("ferretdb: Image, Database, DiskGiB and NodeSelector are required")
	}
	if err := args.Target.Check("ferretdb"); err != nil {
		return nil, err
	}
	s := &Store{}
	if err := ctx.RegisterComponentResource("patag:ferretdb:Store", name, s, opts...); err != nil {
		return nil, err
	}
	// A Service with an address, not a headless one: it stays the same when the pod moves, and clients need not look it up again.
	if _, err := corev1.NewService(ctx, name, &corev1.ServiceArgs{
		Metadata: args.Target.ServiceMeta(Part, Part),
		Spec: &corev1.ServiceSpecArgs{
			Type: pulumi.String("ClusterIP"), Selector: kube.Labels(Part),
			Ports: corev1.ServicePortArray{&corev1.ServicePortArgs{Name: pulumi.String("mongo"), Port: pulumi.Int(Port), TargetPort: pulumi.String("mongo")}},
		},
	}, args.Target.In(s)...); err != nil {
		return nil, err
	}
	if _, err := networkingv1.NewNetworkPolicy(ctx, name, args.Target.Policy(Part,
		networkingv1.NetworkPolicyIngressRuleArray{kube.FromHolders(kube.AccessMongo, Port)}, nil), args.Target.In(s)...); err != nil {
		return nil, err
	}
	var err error
	if s.Ready, err = appsv1.NewStatefulSet(ctx, name, statefulSet(args), args.Target.Running(s, pulumi.Protect(args.Protect))...); err != nil {
		return nil, err
	}
	s.URI = pulumi.ToSecret(pulumi.Sprintf("mongodb://%s.%s.svc.cluster.local:%d/%s", Part, args.Target.Namespace, Port, args.Database)).(pulumi.StringOutput)
	return s, ctx.RegisterResourceOutputs(s, pulumi.Map{})
}

func statefulSet(args *Args) *appsv1.StatefulSetArgs {
	container := &corev1.ContainerArgs{
		Name:  pulumi.String("ferretdb"),
		Image: args.Image,
		Env: corev1.EnvVarArray{
			&corev1.EnvVarArgs{Name: pulumi.String("FERRETDB_LISTEN"), Value: pulumi.String(fmt.Sprintf("0.0.0.0:%d", Port))},
			&corev1.EnvVarArgs{Name: pulumi.String("FERRETDB_DATA_DIR"), Value: pulumi.String("/data")},
			&corev1.EnvVarArgs{Name: pulumi.String("GOMEMLIMIT"), Value: pulumi.String("400MiB")},
		},
		Ports:           corev1.ContainerPortArray{&corev1.ContainerPortArgs{Name: pulumi.String("mongo"), ContainerPort: pulumi.Int(Port)}},
		SecurityContext: kube.ContainerSecurity(),
		Resources:       kube.Resources(kube.Size{CPU: "100m", Memory: "256Mi", CPULimit: "900m", MemoryLimit: "512Mi"}),
		VolumeMounts:    corev1.VolumeMountArray{kube.Mount("data", "/data", false), kube.Mount("tmp", "/tmp", false)},
		StartupProbe:    kube.TCPProbe("mongo", 1, 120),
		ReadinessProbe:  kube.TCPProbe("mongo", 2, 2),
		LivenessProbe:   kube.TCPProbe("mongo", 10, 3),
	}
	return &appsv1.StatefulSetArgs{
		Metadata: args.Target.Meta(Part, Part),
		Spec: &appsv1.StatefulSetSpecArgs{
			ServiceName: pulumi.String(Part),
			Replicas:    pulumi.Int(1), // SQLite has one writer
			// In order, Kubernetes would wait for ever for a pod of a bad revision before it makes one of a good.
			PodManagementPolicy: pulumi.String("Parallel"),
			Selector:            kube.Selector(Part),
			Template: &corev1.PodTemplateSpecArgs{
				Metadata: &metav1.ObjectMetaArgs{Labels: kube.Labels(Part)},
				Spec: &corev1.PodSpecArgs{
					AutomountServiceAccountToken:  pulumi.Bool(false),
					EnableServiceLinks:            pulumi.Bool(false),
					SecurityContext:               kube.PodSecurity(uid),
					NodeSelector:                  args.NodeSelector,
					TerminationGracePeriodSeconds: pulumi.Int(30),
					Containers:                    corev1.ContainerArray{container},
					Volumes:                       corev1.VolumeArray{kube.Scratch("tmp", "64Mi", false)},
				},
			},
			VolumeClaimTemplates: corev1.PersistentVolumeClaimTypeArray{kube.Claim("data", "standard-rwo", args.DiskGiB)},
		},
	}
}
