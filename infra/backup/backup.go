// Package backup copies the Mongo store into the bucket of backups on a schedule, and fills a new database from one of them before
// anything uses it.
package backup

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
	// Part names the pods and the CronJob, of which `patag backup` makes a Job.
	Part = "backup"
	uid  = 65532
)

// Args of a Backup.
type Args struct {
	Target *kube.Target
	Image  pulumi.StringInput
	// ServiceAccount of Kubernetes that may write to the bucket.
	ServiceAccount pulumi.StringInput
	// Stack whose backups these are, and the bucket they go to.
	Stack  string
	Bucket pulumi.StringInput
	// MongoURI is a secret, and names the database.
	MongoURI pulumi.StringInput
	// StorePart and StorePort are the pods behind the URI, StoreReady what must be there first.
	StorePart  string
	StorePort  int
	StoreReady pulumi.Resource
	// Schedule in cron's form, UTC; empty takes backups only when told.
	Schedule string
	// Restore fills Database from a backup; nil leaves it as it is.
	Restore      *Restore
	NodeSelector pulumi.StringMapInput
}

// Restore says which backup a database is made from.
type Restore struct {
	Stack, ID, Database string
	// Mask replaces personal data by pseudonyms.
	Mask bool
}

func (a *Args) check() error {
	if a == nil || a.Image == nil || a.ServiceAccount == nil || a.Stack == "" || a.Bucket == nil || a.MongoURI == nil || a.StorePart == "" ||
		a.StorePort == 0 || a.StoreReady == nil || a.NodeSelector == nil {
		return errors.New("backup: Image, ServiceAccount, Stack, Bucket, MongoURI, StorePart, StorePort, StoreReady and NodeSelector are required")
	}
	if r := a.Restore; r != nil && (r.Stack == "" || r.ID == "" || r.Database == "") {
		return errors.New("backup: a Restore needs Stack, ID and Database")
	}
	return a.Target.Check(Part)
}

// Backup is the component.
type Backup struct {
	pulumi.ResourceState

	// Restored is there when the database is filled and compared; nil when there is nothing to restore.
	Restored pulumi.Resource
}

// never is a schedule for a CronJob that is only ever run by hand: it is suspended too.
const never = "0 0 1 1 *"

// New makes a Backup.
func New(ctx *pulumi.Context, name string, args *Args, opts ...pulumi.ResourceOption) (*Backup, error) {
	if err := args.check(); err != nil {
		return nil, err
	}
	b := &Backup{}
	if err := ctx.RegisterComponentResource("patag:backup:Backup", name, b, opts...); err != nil {
		return nil, err
	}
	uri, err := corev1.NewSecret(ctx, name, &corev1.SecretArgs{
		Metadata: args.Target.AutoNamed(Part), StringData: pulumi.StringMap{"uri": args.MongoURI},
	}, args.Target.In(b)...)
	if err != nil {
		return nil, err
	}
	policy, err := networkingv1.NewNetworkPolicy(ctx, name, args.Target.Policy(Part, nil, append(networkingv1.NetworkPolicyEgressRuleArray{
		kube.ToPart(args.StorePart, args.StorePort), kube.ToDNS(),
	}, kube.ToGoogle()...)), args.Target.In(b)...)
	if err != nil {
		return nil, err
	}
	schedule, suspend := args.Schedule, false
	if schedule == "" {
		schedule, suspend = never, true
	}
	if _, err := batchv1.NewCronJob(ctx, name, &batchv1.CronJobArgs{
		Metadata: args.Target.Meta(Part, Part),
		Spec: &batchv1.CronJobSpecArgs{
			Schedule: pulumi.String(schedule), TimeZone: pulumi.String("Etc/UTC"), Suspend: pulumi.Bool(suspend),
			// A backup that takes longer than the schedule's step is not doubled, and a missed one is made up for within an hour.
			ConcurrencyPolicy: pulumi.String("Forbid"), StartingDeadlineSeconds: pulumi.Int(3600),
			SuccessfulJobsHistoryLimit: pulumi.Int(3), FailedJobsHistoryLimit: pulumi.Int(3),
			JobTemplate: &batchv1.JobTemplateSpecArgs{
				Metadata: &metav1.ObjectMetaArgs{Labels: kube.Labels(Part)},
				Spec:     job(args, uri.Metadata.Name(), "dump"),
			},
		},
	}, args.Target.In(b, pulumi.DependsOn([]pulumi.Resource{policy}))...); err != nil {
		return nil, err
	}
	if r := args.Restore; r != nil {
		command := []string{"restore", "--from", r.Stack, "--id", r.ID, "--into", r.Database}
		if r.Mask {
			command = append(command, "--mask")
		}
		meta := args.Target.Meta("", Part)
		// A Job cannot change: another backup or another image is another Job. Run again it finds its work done.
		meta.Name = args.Image.ToStringOutput().ApplyT(func(image string) string {
			return fmt.Sprintf("restore-%x", sha256.Sum256(fmt.Append(nil, image, command)))[:16]
		}).(pulumi.StringOutput)
		b.Restored, err = batchv1.NewJob(ctx, name+"-restore", &batchv1.JobArgs{Metadata: meta, Spec: job(args, uri.Metadata.Name(), command...)},
			args.Target.Running(b, pulumi.DependsOn([]pulumi.Resource{args.StoreReady, policy}))...)
		if err != nil {
			return nil, err
		}
	}
	return b, ctx.RegisterResourceOutputs(b, pulumi.Map{})
}

// job runs one verb of the backup program.
func job(args *Args, uri pulumi.StringPtrInput, command ...string) *batchv1.JobSpecArgs {
	env := func(name string, value pulumi.StringInput) *corev1.EnvVarArgs {
		return &corev1.EnvVarArgs{Name: pulumi.String(name), Value: value}
	}
	return &batchv1.JobSpecArgs{
		BackoffLimit: pulumi.Int(4), ActiveDeadlineSeconds: pulumi.Int(3600), TtlSecondsAfterFinished: ttl(command),
		Template: &corev1.PodTemplateSpecArgs{
			Metadata: &metav1.ObjectMetaArgs{Labels: kube.WithAccess(kube.Labels(Part), kube.AccessMongo)},
			Spec: &corev1.PodSpecArgs{
				RestartPolicy:                pulumi.String("OnFailure"),
				ServiceAccountName:           args.ServiceAccount,
				AutomountServiceAccountToken: pulumi.Bool(false),
				EnableServiceLinks:           pulumi.Bool(false),
				SecurityContext:              kube.PodSecurity(uid),
				NodeSelector:                 args.NodeSelector,
				Containers: corev1.ContainerArray{&corev1.ContainerArgs{
					Name: pulumi.String(Part), Image: args.Image, Args: pulumi.ToStringArray(command),
					Env: corev1.EnvVarArray{
						// By environment rather than by flag: a password does not belong in a list of processes.
						&corev1.EnvVarArgs{Name: pulumi.String("BACKUP_MONGO_URI"), ValueFrom: &corev1.EnvVarSourceArgs{
							SecretKeyRef: &corev1.SecretKeySelectorArgs{Name: uri, Key: pulumi.String("uri")},
						}},
						env("BACKUP_BUCKET", pulumi.Sprintf("gs://%s", args.Bucket)), env("BACKUP_STACK", pulumi.String(args.Stack)),
					},
					SecurityContext: kube.ContainerSecurity(),
					Resources:       kube.Resources(kube.Size{CPU: "50m", Memory: "64Mi", CPULimit: "1", MemoryLimit: "384Mi"}),
					VolumeMounts:    corev1.VolumeMountArray{kube.Mount("tmp", "/tmp", false)},
				}},
				Volumes: corev1.VolumeArray{kube.Scratch("tmp", "16Mi", false)},
			},
		},
	}
}

// ttl removes finished dumps after a day; the Job that restored belongs to the program, which would see it missing.
func ttl(command []string) pulumi.IntPtrInput {
	if command[0] == "dump" {
		return pulumi.Int(86400)
	}
	return nil
}
