package mongo

import (
	"fmt"

	appsv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/apps/v1"
	corev1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/core/v1"
	metav1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/meta/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"patag/infra/kube"
)

// startMember hands over to the official image's entrypoint. That makes the root user in an empty data folder when it
// is told one, and a replica set takes in only empty members beside its first: so only member 0 is told.
const startMember = `set -eu
if [ "${HOSTNAME##*-}" = 0 ]; then
  export MONGO_INITDB_ROOT_USERNAME=` + rootUser + `
  export MONGO_INITDB_ROOT_PASSWORD_FILE=/run/credentials/root-password
fi
exec docker-entrypoint.sh mongod --replSet ` + replicaSet + ` --bind_ip_all --keyFile /run/keyfile/keyfile --wiredTigerCacheSizeGB 0.25
`

// copyKeyfile, because mongod refuses a keyfile that its group may read, and a mounted Secret is made so by fsGroup.
const copyKeyfile = `set -eu
umask 0377
cp /run/credentials/keyfile /run/keyfile/keyfile.new
mv -f /run/keyfile/keyfile.new /run/keyfile/keyfile
`

func credentialsVolume(secret pulumi.StringPtrInput, keys ...string) *corev1.VolumeArgs {
	items := corev1.KeyToPathArray{}
	for _, key := range keys {
		items = append(items, &corev1.KeyToPathArgs{Key: pulumi.String(key), Path: pulumi.String(key)})
	}
	return &corev1.VolumeArgs{Name: pulumi.String("credentials"), Secret: &corev1.SecretVolumeSourceArgs{
		SecretName: secret, DefaultMode: pulumi.Int(0o440), Items: items,
	}}
}

func shell(name string, image pulumi.StringInput, script string, size kube.Size, mounts corev1.VolumeMountArray) *corev1.ContainerArgs {
	return &corev1.ContainerArgs{
		Name:            pulumi.String(name),
		Image:           image,
		Command:         pulumi.ToStringArray([]string{"/bin/bash", "-c", script}),
		SecurityContext: kube.ContainerSecurity(),
		Resources:       kube.Resources(size),
		VolumeMounts:    mounts,
	}
}

func statefulSet(args *Args, secret pulumi.StringPtrInput) *appsv1.StatefulSetArgs {
	mongod := shell("mongod", args.Image, startMember, kube.Size{CPU: "150m", Memory: "512Mi", CPULimit: "900m", MemoryLimit: "1Gi"},
		corev1.VolumeMountArray{
			kube.Mount("data", "/data/db", false), kube.Mount("configdb", "/data/configdb", false), kube.Mount("tmp", "/tmp", false),
			kube.Mount("keyfile", "/run/keyfile", true), kube.Mount("credentials", "/run/credentials", true),
		})
	mongod.Ports = corev1.ContainerPortArray{&corev1.ContainerPortArgs{Name: pulumi.String("mongo"), ContainerPort: pulumi.Int(Port)}}
	// A member is ready when it listens, before it is in a replica set: the Job that makes one waits for this.
	mongod.StartupProbe = kube.TCPProbe("mongo", 2, 300)
	mongod.ReadinessProbe = kube.TCPProbe("mongo", 2, 2)
	mongod.LivenessProbe = kube.ExecProbe(20, 3, "mongosh", "--quiet", "--eval", "db.adminCommand('ping').ok")
	mongod.LivenessProbe.(*corev1.ProbeArgs).TimeoutSeconds = pulumi.Int(10)
	mongod.Env = corev1.EnvVarArray{&corev1.EnvVarArgs{Name: pulumi.String("HOME"), Value: pulumi.String("/tmp")}} // mongosh writes there
	keyfile := shell("keyfile", args.Image, copyKeyfile, kube.Size{CPU: "10m", Memory: "16Mi", CPULimit: "100m", MemoryLimit: "64Mi"},
		corev1.VolumeMountArray{kube.Mount("keyfile", "/run/keyfile", false), kube.Mount("credentials", "/run/credentials", true)})
	return &appsv1.StatefulSetArgs{
		Metadata: args.Target.Meta(Part, Part),
		Spec: &appsv1.StatefulSetSpecArgs{
			ServiceName:         pulumi.String(Part),
			Replicas:            pulumi.Int(Members),
			PodManagementPolicy: pulumi.String("Parallel"), // none is primary yet; later, the disruption budget and the rollout go one by one
			Selector:            kube.Selector(Part),
			Template: &corev1.PodTemplateSpecArgs{
				Metadata: &metav1.ObjectMetaArgs{Labels: kube.Labels(Part)},
				Spec: &corev1.PodSpecArgs{
					AutomountServiceAccountToken:  pulumi.Bool(false),
					EnableServiceLinks:            pulumi.Bool(false),
					SecurityContext:               kube.PodSecurity(uid),
					NodeSelector:                  args.NodeSelector,
					TopologySpreadConstraints:     kube.SpreadOverNodes(Part),
					TerminationGracePeriodSeconds: pulumi.Int(60), // a primary steps down and flushes
					InitContainers:                corev1.ContainerArray{keyfile},
					Containers:                    corev1.ContainerArray{mongod},
					Volumes: corev1.VolumeArray{
						credentialsVolume(secret, "root-password", "keyfile"), kube.Scratch("keyfile", "1Mi", true),
						kube.Scratch("configdb", "16Mi", false), kube.Scratch("tmp", "128Mi", false),
					},
				},
			},
			VolumeClaimTemplates: corev1.PersistentVolumeClaimTypeArray{kube.Claim("data", "standard-rwo", args.DiskGiB)},
		},
	}
}

// memberList is the members as rs.initiate takes them.
func memberList(namespace string) string {
	list := ""
	for i := range Members {
		if i > 0 {
			list += ", "
		}
		list += fmt.Sprintf("{_id: %d, host: %q}", i, fmt.Sprintf("%s.%s.svc.cluster.local:%d", host(i), namespace, Port))
	}
	return list
}
