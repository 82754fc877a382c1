package mongo

import (
	"crypto/sha256"
	"fmt"
	"strings"

	batchv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/batch/v1"
	corev1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/core/v1"
	metav1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/meta/v1"
	networkingv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/networking/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"patag/infra/kube"
)

const initPart = "mongo-init"

// initiateScript makes the members a replica set and the applications' user, and does nothing where that is done. It
// talks to member 0 first, where alone the root user exists until the others have copied it, then to the primary,
// which need not be member 0 for ever.
const initiateScript = `
const fs = require("fs");
const secret = name => fs.readFileSync("/run/credentials/" + name, "utf8").trim();
const root = encodeURIComponent(secret("root-password"));
const members = [MEMBERS];
const first = connect("mongodb://ROOTUSER:" + root + "@" + members[0].host + "/admin?directConnection=true");
try {
  const status = first.adminCommand({replSetGetStatus: 1});
  if (status.ok !== 1) throw status;
} catch (e) {
  if (e.codeName !== "NotYetInitialized" && e.code !== 94) throw e;
  const made = first.adminCommand({replSetInitiate: {_id: "REPLICASET", members: members}});
  if (made.ok !== 1) throw new Error("replSetInitiate: " + JSON.stringify(made));
  print("initiated the replica set");
}
const set = connect("mongodb://ROOTUSER:" + root + "@" + members.map(m => m.host).join(",") + "/admin?replicaSet=REPLICASET&serverSelectionTimeoutMS=60000");
const app = set.getSiblingDB("DATABASE");
const roles = [{role: "readWrite", db: "DATABASE"}];
if (app.getUser("APPUSER") === null) {
  app.createUser({user: "APPUSER", pwd: secret("app-password"), roles: roles});
  print("made the user APPUSER");
} else {
  app.updateUser("APPUSER", {pwd: secret("app-password"), roles: roles});
}
`

func renderInitiate(namespace, database string) string {
	return strings.NewReplacer("MEMBERS", memberList(namespace), "ROOTUSER", rootUser, "REPLICASET", replicaSet,
		"DATABASE", database, "APPUSER", appUser).Replace(initiateScript)
}

// initiate is the Job that runs the script. It is another Job when script or credentials change.
func (s *Store) initiate(ctx *pulumi.Context, name string, args *Args, secret pulumi.StringPtrInput, members pulumi.Resource) (pulumi.Resource, error) {
	script := args.Target.Namespace.ToStringOutput().ApplyT(func(namespace string) string { return renderInitiate(namespace, args.Database) }).(pulumi.StringOutput)
	config, err := corev1.NewConfigMap(ctx, name+"-init", &corev1.ConfigMapArgs{
		Metadata: args.Target.AutoNamed(initPart), Data: pulumi.StringMap{"initiate.js": script},
	}, args.Target.In(s)...)
	if err != nil {
		return nil, err
	}
	if _, err := networkingv1.NewNetworkPolicy(ctx, name+"-init", args.Target.Policy(initPart, nil,
		networkingv1.NetworkPolicyEgressRuleArray{kube.ToPart(Part, Port), kube.ToDNS()}), args.Target.In(s)...); err != nil {
		return nil, err
	}
	container := shell("initiate", args.Image, "exec mongosh --quiet --nodb /run/scripts/initiate.js",
		kube.Size{CPU: "50m", Memory: "128Mi", CPULimit: "500m", MemoryLimit: "256Mi"},
		corev1.VolumeMountArray{kube.Mount("scripts", "/run/scripts", true), kube.Mount("credentials", "/run/credentials", true), kube.Mount("tmp", "/tmp", false)})
	container.Env = corev1.EnvVarArray{&corev1.EnvVarArgs{Name: pulumi.String("HOME"), Value: pulumi.String("/tmp")}}
	meta := args.Target.Meta("", initPart)
	meta.Name = pulumi.All(script, secret, args.Image).ApplyT(func(in []any) string {
		return fmt.Sprintf("%s-%x", initPart, sha256.Sum256([]byte(fmt.Sprintf("%q %v %q", in[0], deref(in[1]), in[2]))))[:len(initPart)+9]
	}).(pulumi.StringOutput)
	return batchv1.NewJob(ctx, name+"-init", &batchv1.JobArgs{
		Metadata: meta,
		Spec: &batchv1.JobSpecArgs{
			BackoffLimit:          pulumi.Int(10),
			ActiveDeadlineSeconds: pulumi.Int(900),
			Template: &corev1.PodTemplateSpecArgs{
				Metadata: &metav1.ObjectMetaArgs{Labels: kube.Labels(initPart)},
				Spec: &corev1.PodSpecArgs{
					RestartPolicy:                pulumi.String("OnFailure"),
					AutomountServiceAccountToken: pulumi.Bool(false),
					EnableServiceLinks:           pulumi.Bool(false),
					SecurityContext:              kube.PodSecurity(uid),
					NodeSelector:                 args.NodeSelector,
					Containers:                   corev1.ContainerArray{container},
					Volumes: corev1.VolumeArray{
						credentialsVolume(secret, "root-password", "app-password"), kube.Scratch("tmp", "64Mi", false),
						&corev1.VolumeArgs{Name: pulumi.String("scripts"), ConfigMap: &corev1.ConfigMapVolumeSourceArgs{Name: config.Metadata.Name()}},
					},
				},
			},
		},
	}, args.Target.Running(s, pulumi.DependsOn([]pulumi.Resource{members}))...)
}

// deref turns the optional string that an output of a *string resolves to into a string.
func deref(v any) string {
	switch s := v.(type) {
	case *string:
		if s != nil {
			return *s
		}
	case string:
		return s
	}
	return ""
}
