// Package reaper runs the reaper hourly: it deletes the clusters of stagings whose time is over. It must not know stacks or state.
package reaper

import (
	"errors"

	batchv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/batch/v1"
	corev1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/core/v1"
	metav1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/meta/v1"
	networkingv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/networking/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"patag/infra/kube"
)

const (
	// Part names the pods and the CronJob.
	Part = "reaper"
	uid  = 65532
)

// Args of a Reaper.
type Args struct {
	Target *kube.Target
	Image  pulumi.StringInput
	// ServiceAccount of Kubernetes whose Google account may list and delete the clusters of Project.
	ServiceAccount pulumi.StringInput
	Project        pulumi.StringInput
	// Schedule in cron's form, UTC.
	Schedule     string
	NodeSelector pulumi.StringMapInput
}

// Reaper is the component.
type Reaper struct {
	pulumi.ResourceState
}

// New makes a Reaper.
func New(ctx *pulumi.Context, name string, args *Args, opts ...pulumi.ResourceOption) (*Reaper, error) {
	if args == nil || args.Image == nil || args.ServiceAccount == nil || args.Project == nil || args.Schedule == "" || args.NodeSelector == nil {
		return nil, errors.New("reaper: Image, ServiceAccount, Project, Schedule and NodeSelector are required")
	}
	if err := args.Target.Check(Part); err != nil {
		return nil, err
	}
	r := &Reaper{}
	if err := ctx.RegisterComponentResource("patag:reaper:Reaper", name, r, opts...); err != nil {
		return nil, err
	}
	policy, err := networkingv1.NewNetworkPolicy(ctx, name, args.Target.Policy(Part, nil, append(networkingv1.NetworkPolicyEgressRuleArray{kube.ToDNS()}, kube.ToGoogle()...)), args.Target.In(r)...)
	if err != nil {
		return nil, err
	}
	if _, err := batchv1.NewCronJob(ctx, name, &batchv1.CronJobArgs{
		Metadata: args.Target.Meta(Part, Part),
		Spec: &batchv1.CronJobSpecArgs{
			Schedule: pulumi.String(args.Schedule), TimeZone: pulumi.String("Etc/UTC"),
			// The next hour makes good what this one missed.
			ConcurrencyPolicy: pulumi.String("Forbid"), StartingDeadlineSeconds: pulumi.Int(1800),
			SuccessfulJobsHistoryLimit: pulumi.Int(3), FailedJobsHistoryLimit: pulumi.Int(3),
			JobTemplate: &batchv1.JobTemplateSpecArgs{
				Metadata: &metav1.ObjectMetaArgs{Labels: kube.Labels(Part)},
				Spec: &batchv1.JobSpecArgs{
					BackoffLimit: pulumi.Int(1), ActiveDeadlineSeconds: pulumi.Int(3000), TtlSecondsAfterFinished: pulumi.Int(86400),
					Template: &corev1.PodTemplateSpecArgs{
						Metadata: &metav1.ObjectMetaArgs{Labels: kube.Labels(Part)},
						Spec:     pod(args),
					},
				},
			},
		},
	}, args.Target.In(r, pulumi.DependsOn([]pulumi.Resource{policy}))...); err != nil {
		return nil, err
	}
	return r, ctx.RegisterResourceOutputs(r, pulumi.Map{})
}

func pod(args *Args) *corev1.PodSpecArgs {
	return &corev1.PodSpecArgs{
		RestartPolicy:                pulumi.String("Never"),
		ServiceAccountName:           args.ServiceAccount,
		AutomountServiceAccountToken: pulumi.Bool(false),
		EnableServiceLinks:           pulumi.Bool(false),
		SecurityContext:              kube.PodSecurity(uid),
		NodeSelector:                 args.NodeSelector,
		Containers: corev1.ContainerArray{&corev1.ContainerArgs{
			Name: pulumi.String(Part), Image: args.Image,
			Env:             corev1.EnvVarArray{&corev1.EnvVarArgs{Name: pulumi.String("REAPER_PROJECT"), Value: args.Project}},
			SecurityContext: kube.ContainerSecurity(),
			Resources:       kube.Resources(kube.Size{CPU: "10m", Memory: "32Mi", CPULimit: "500m", MemoryLimit: "128Mi"}),
		}},
	}
}
