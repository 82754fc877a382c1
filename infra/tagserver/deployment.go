package tagserver

import (
	"fmt"

	appsv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/apps/v1"
	corev1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/core/v1"
	metav1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/meta/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"patag/infra/kube"
)

const (
	stateDir = "/var/lib/tag"
	keyDir   = "/run/patag"
	// drainSeconds is how long a server that was told to go says that it is not ready and still takes requests, until no
	// load balancer sends any: Google's take an endpoint out within about ten. The server does this itself on SIGTERM,
	// so there is no preStop hook.
	drainSeconds = 15
	// stateGiB is the size of the journal's volume: an hour of events at 2,000 a second, several times over.
	stateGiB = 4
)

func deployment(args *Args, secret pulumi.StringPtrInput) *appsv1.DeploymentArgs {
	meta := args.Target.Meta(Part, Part)
	if args.Empty {
		meta.Annotations = pulumi.StringMap{skipAwait: pulumi.String("true")}
	}
	return &appsv1.DeploymentArgs{
		Metadata: meta,
		Spec: &appsv1.DeploymentSpecArgs{
			// No Replicas: the autoscaler owns them.
			Selector: kube.Selector(Part),
			Strategy: rolling(),
			// A node may have to come first.
			ProgressDeadlineSeconds: pulumi.Int(300),
			Template:                podTemplate(args, secret, args.Image, kube.Labels(Part)),
		},
	}
}

// skipAwait keeps the engine from waiting until a workload is ready.
const skipAwait = "pulumi.com/skipAwait"

// rolling replaces pods one by one, a new one before an old one.
func rolling() *appsv1.DeploymentStrategyArgs {
	return &appsv1.DeploymentStrategyArgs{
		Type:          pulumi.String("RollingUpdate"),
		RollingUpdate: &appsv1.RollingUpdateDeploymentArgs{MaxSurge: pulumi.Int(1), MaxUnavailable: pulumi.Int(0)},
	}
}

func podTemplate(args *Args, secret pulumi.StringPtrInput, image pulumi.StringInput, labels pulumi.StringMap) *corev1.PodTemplateSpecArgs {
	return &corev1.PodTemplateSpecArgs{
		Metadata: &metav1.ObjectMetaArgs{Labels: kube.WithAccess(labels, kube.AccessRedis, kube.AccessMongo, kube.AccessBidder)},
		Spec: &corev1.PodSpecArgs{
			ServiceAccountName:           args.ServiceAccount.ToStringOutput().ToStringPtrOutput(),
			AutomountServiceAccountToken: pulumi.Bool(false),
			EnableServiceLinks:           pulumi.Bool(false),
			SecurityContext:              kube.PodSecurity(uid),
			NodeSelector:                 args.NodeSelector,
			Tolerations: corev1.TolerationArray{&corev1.TolerationArgs{
				Key: pulumi.String(args.TolerateKey), Operator: pulumi.String("Equal"), Value: pulumi.String(args.TolerateValue), Effect: pulumi.String("NoSchedule"),
			}},
			// Never all on one node while the pool may have two. To wait for the second costs no capacity meanwhile: one
			// server may use nearly all of a node.
			TopologySpreadConstraints: kube.ApartOnNodes(Part, args.Nodes),
			// The drain, then the requests in flight and the journal's last batch.
			TerminationGracePeriodSeconds: pulumi.Int(drainSeconds + 45),
			Containers:                    corev1.ContainerArray{container(args, secret, image)},
			Volumes: corev1.VolumeArray{
				// The journal survives the process, not the pod: a pod that ends hands it over to Mongo first. On the
				// node's disk, so that an outage of Mongo may take hours.
				kube.Scratch("state", fmt.Sprintf("%dGi", stateGiB), false),
				kube.Scratch("tmp", "64Mi", false),
				&corev1.VolumeArgs{Name: pulumi.String("key"), Secret: &corev1.SecretVolumeSourceArgs{
					SecretName: secret, DefaultMode: pulumi.Int(0o440),
					Items: corev1.KeyToPathArray{&corev1.KeyToPathArgs{Key: pulumi.String("key"), Path: pulumi.String("key")}},
				}},
			},
		},
	}
}

func container(args *Args, secret pulumi.StringPtrInput, image pulumi.StringInput) *corev1.ContainerArgs {
	value := func(name string, v pulumi.StringInput) *corev1.EnvVarArgs {
		return &corev1.EnvVarArgs{Name: pulumi.String(name), Value: v.ToStringOutput().ToStringPtrOutput()}
	}
	port := func(name string, number int) *corev1.ContainerPortArgs {
		return &corev1.ContainerPortArgs{Name: pulumi.String(name), ContainerPort: pulumi.Int(number)}
	}
	return &corev1.ContainerArgs{
		Name:  pulumi.String(Part),
		Image: image,
		Args:  pulumi.StringArray{pulumi.String("serve")},
		Env: corev1.EnvVarArray{
			value("TAG_LISTEN", pulumi.String(fmt.Sprintf(":%d", Port))),
			value("TAG_ADMIN_LISTEN", pulumi.String(fmt.Sprintf(":%d", AdminPort))),
			&corev1.EnvVarArgs{Name: pulumi.String("TAG_MONGO_URI"), ValueFrom: &corev1.EnvVarSourceArgs{
				SecretKeyRef: &corev1.SecretKeySelectorArgs{Name: secret, Key: pulumi.String("mongo-uri")},
			}},
			value("TAG_REDIS_ADDR", args.RedisAddress),
			value("TAG_JOURNAL_DIR", pulumi.String(stateDir+"/journal")),
			value("TAG_JOURNAL_BYTES", pulumi.String(fmt.Sprint((stateGiB-1)<<30))), // the last good catalogue lies there too
			value("TAG_DRAIN_PERIOD", pulumi.String(fmt.Sprintf("%ds", drainSeconds))),
			value("TAG_COUNTRY_HEADER", pulumi.String(CountryHeader)),
			value("TAG_REGION_HEADER", pulumi.String(RegionHeader)),
			value("TAG_FORWARDED_FOR", pulumi.String("2")), // Google's load balancer appends the client's address and its own
			value("TAG_KEY_FILE", pulumi.String(keyDir+"/key")),
			value("GOMEMLIMIT", pulumi.String("320MiB")), // below the limit: collect rather than be killed
		},
		Ports:           corev1.ContainerPortArray{port("http", Port), port("admin", AdminPort)},
		SecurityContext: kube.ContainerSecurity(),
		// Two fit on a n1-highcpu-2 beside the system's own pods.
		Resources:      kube.Resources(kube.Size{CPU: "500m", Memory: "256Mi", CPULimit: "1800m", MemoryLimit: "400Mi"}),
		VolumeMounts:   corev1.VolumeMountArray{kube.Mount("state", stateDir, false), kube.Mount("tmp", "/tmp", false), kube.Mount("key", keyDir, true)},
		StartupProbe:   kube.HTTPProbe("admin", "/livez", 1, 60),
		ReadinessProbe: kube.HTTPProbe("admin", "/readyz", 1, 2),
		LivenessProbe:  kube.HTTPProbe("admin", "/livez", 5, 3),
	}
}
