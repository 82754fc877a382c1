// Package catalogue loads a catalogue file into the Mongo store: once for each version of the file.
package catalogue

import (
	"crypto/sha256"
	"errors"
	"fmt"

	batchv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/batch/v1"
	corev1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/core/v1"
	metav1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/meta/v1"
	networkingv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/networking/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"patag/infra/kube"
)

const (
	// Part names the pods.
	Part = "catalogue"
	// MaxBytes is what a ConfigMap holds, less a little for the rest of it.
	MaxBytes = 1000 << 10
	uid      = 65532
)

// Args of an Import.
type Args struct {
	Target *kube.Target
	// Image of the tag server, whose sub-command imports.
	Image pulumi.StringInput
	// Content of the catalogue file.
	Content string
	// MongoURI is a secret.
	MongoURI pulumi.StringInput
	// StorePart and StorePort are the pods behind the URI, StoreReady what must be there first.
	StorePart    string
	StorePort    int
	StoreReady   pulumi.Resource
	NodeSelector pulumi.StringMapInput
}

func (a *Args) check() error {
	if a == nil || a.Image == nil || a.MongoURI == nil || a.StorePart == "" || a.StorePort == 0 || a.StoreReady == nil || a.NodeSelector == nil {
		return errors.New("catalogue: Image, MongoURI, StorePart, StorePort, StoreReady and NodeSelector are required")
	}
	if a.Content == "" || len(a.Content) > MaxBytes {
		return fmt.Errorf("catalogue: the file has %d bytes; it travels in a ConfigMap, so it must have 1 to %d: import a larger one with `tag catalogue import`", len(a.Content), MaxBytes)
	}
	return a.Target.Check(Part)
}

// Import is the component.
type Import struct {
	pulumi.ResourceState

	// Done is there when the catalogue is in the store.
	Done pulumi.Resource
}

// New makes an Import.
func New(ctx *pulumi.Context, name string, args *Args, opts ...pulumi.ResourceOption) (*Import, error) {
	if err := args.check(); err != nil {
		return nil, err
	}
	i := &Import{}
	if err := ctx.RegisterComponentResource("patag:catalogue:Import", name, i, opts...); err != nil {
		return nil, err
	}
	file, err := corev1.NewConfigMap(ctx, name, &corev1.ConfigMapArgs{
		Metadata: args.Target.AutoNamed(Part), Data: pulumi.StringMap{"catalogue.json": pulumi.String(args.Content)},
	}, args.Target.In(i)...)
	if err != nil {
		return nil, err
	}
	uri, err := corev1.NewSecret(ctx, name, &corev1.SecretArgs{
		Metadata: args.Target.AutoNamed(Part), StringData: pulumi.StringMap{"uri": args.MongoURI},
	}, args.Target.In(i)...)
	if err != nil {
		return nil, err
	}
	policy, err := networkingv1.NewNetworkPolicy(ctx, name, args.Target.Policy(Part, nil,
		networkingv1.NetworkPolicyEgressRuleArray{kube.ToPart(args.StorePart, args.StorePort), kube.ToDNS()}), args.Target.In(i)...)
	if err != nil {
		return nil, err
	}
	i.Done, err = batchv1.NewJob(ctx, name, job(args, file.Metadata.Name(), uri.Metadata.Name()),
		args.Target.Running(i, pulumi.DependsOn([]pulumi.Resource{args.StoreReady, policy}))...)
	if err != nil {
		return nil, err
	}
	return i, ctx.RegisterResourceOutputs(i, pulumi.Map{})
}

func job(args *Args, file, uri pulumi.StringPtrInput) *batchv1.JobArgs {
	meta := args.Target.Meta("", Part)
	// A Job cannot change: another file or another image is another Job.
	meta.Name = args.Image.ToStringOutput().ApplyT(func(image string) string {
		return fmt.Sprintf("%s-%x", Part, sha256.Sum256([]byte(image+"\n"+args.Content)))[:len(Part)+9]
	}).(pulumi.StringOutput)
	container := &corev1.ContainerArgs{
		Name:  pulumi.String("import"),
		Image: args.Image,
		Args:  pulumi.ToStringArray([]string{"catalogue", "import", "/catalogue/catalogue.json"}),
		// By environment rather than by flag: a password does not belong in a list of processes.
		Env: corev1.EnvVarArray{&corev1.EnvVarArgs{Name: pulumi.String("TAG_MONGO_URI"), ValueFrom: &corev1.EnvVarSourceArgs{
			SecretKeyRef: &corev1.SecretKeySelectorArgs{Name: uri, Key: pulumi.String("uri")},
		}}},
		SecurityContext: kube.ContainerSecurity(),
		Resources:       kube.Resources(kube.Size{CPU: "50m", Memory: "64Mi", CPULimit: "500m", MemoryLimit: "256Mi"}),
		VolumeMounts:    corev1.VolumeMountArray{kube.Mount("catalogue", "/catalogue", true), kube.Mount("tmp", "/tmp", false)},
	}
	return &batchv1.JobArgs{
		Metadata: meta,
		Spec: &batchv1.JobSpecArgs{
			BackoffLimit:          pulumi.Int(6),
			ActiveDeadlineSeconds: pulumi.Int(600),
			Template: &corev1.PodTemplateSpecArgs{
				Metadata: &metav1.ObjectMetaArgs{Labels: kube.WithAccess(kube.Labels(Part), kube.AccessMongo)},
				Spec: &corev1.PodSpecArgs{
					RestartPolicy:                pulumi.String("OnFailure"),
					AutomountServiceAccountToken: pulumi.Bool(false),
					EnableServiceLinks:           pulumi.Bool(false),
					SecurityContext:              kube.PodSecurity(uid),
					NodeSelector:                 args.NodeSelector,
					Containers:                   corev1.ContainerArray{container},
					Volumes: corev1.VolumeArray{
						kube.Scratch("tmp", "16Mi", false),
						&corev1.VolumeArgs{Name: pulumi.String("catalogue"), ConfigMap: &corev1.ConfigMapVolumeSourceArgs{Name: file}},
					},
				},
			},
		},
	}
}
