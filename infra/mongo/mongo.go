// Package mongo is the Mongo store of production: a MongoDB replica set of three members, of the official image, with
// authentication, and the Job that makes a replica set of them.
package mongo

import (
	"errors"
	"fmt"
	"strings"

	appsv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/apps/v1"
	corev1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/core/v1"
	networkingv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/networking/v1"
	policyv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/policy/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"patag/infra/kube"
)

const (
	// Part names the pods and the Service.
	Part = "mongo"
	// Port of the members.
	Port = 27017
	// Members is three: one may fail, and the others are still a majority.
	Members    = 3
	replicaSet = "rs0"
	rootUser   = "root"
	appUser    = "patag"
	// uid of the official image's user mongodb.
	uid = 999
)

// Args of a Store.
type Args struct {
	Target *kube.Target
	Image  pulumi.StringInput
	// Database that the applications use and their user lives in.
	Database     string
	DiskGiB      int
	NodeSelector pulumi.StringMapInput
	RootPassword pulumi.StringInput
	AppPassword  pulumi.StringInput // its characters must need no escaping in a URL
	Keyfile      pulumi.StringInput // base64 text
	// Protect refuses to delete or replace the members.
	Protect bool
}

func (a *Args) check() error {
	if a == nil || a.Image == nil || a.Database == "" || a.DiskGiB < 1 || a.NodeSelector == nil || a.RootPassword == nil || a.AppPassword == nil || a.Keyfile == nil {
		return errors.New("mongo: Image, Database, DiskGiB, NodeSelector, RootPassword, AppPassword and Keyfile are required")
	}
	return a.Target.Check(Part)
}

// Store is the component.
type Store struct {
	pulumi.ResourceState

	// URI for the applications, with their password: a secret.
	URI pulumi.StringOutput
	// Ready is there when the replica set has a primary and the applications' user.
	Ready pulumi.Resource
}

// New makes a Store.
func New(ctx *pulumi.Context, name string, args *Args, opts ...pulumi.ResourceOption) (*Store, error) {
	if err := args.check(); err != nil {
		return nil, err
	}
	s := &Store{}
	if err := ctx.RegisterComponentResource("patag:mongo:Store", name, s, opts...); err != nil {
		return nil, err
	}
	credentials, err := corev1.NewSecret(ctx, name, &corev1.SecretArgs{
		Metadata: args.Target.AutoNamed(Part),
		StringData: pulumi.StringMap{
			"root-password": args.RootPassword, "app-password": args.AppPassword, "keyfile": args.Keyfile,
		},
	}, args.Target.In(s)...)
	if err != nil {
		return nil, err
	}
	if err := s.surroundings(ctx, name, args); err != nil {
		return nil, err
	}
	members, err := appsv1.NewStatefulSet(ctx, name, statefulSet(args, credentials.Metadata.Name()),
		args.Target.Running(s, pulumi.Protect(args.Protect))...)
	if err != nil {
		return nil, err
	}
	s.Ready, err = s.initiate(ctx, name, args, credentials.Metadata.Name(), members)
	if err != nil {
		return nil, err
	}
	hosts := make([]string, Members)
	for i := range hosts {
		hosts[i] = host(i) + ".%[2]s.svc.cluster.local:" + fmt.Sprint(Port)
	}
	s.URI = pulumi.ToSecret(pulumi.Sprintf("mongodb://"+appUser+":%[1]s@"+strings.Join(hosts, ",")+"/%[3]s?replicaSet="+replicaSet+"&authSource=%[3]s&w=majority&retryWrites=true",
		args.AppPassword, args.Target.Namespace, args.Database)).(pulumi.StringOutput)
	return s, ctx.RegisterResourceOutputs(s, pulumi.Map{})
}

// host of a member within the namespace.
func host(member int) string { return fmt.Sprintf("%s-%d.%s", Part, member, Part) }

// surroundings are the Service that names the members, who may reach them, and how many may be away at a time.
func (s *Store) surroundings(ctx *pulumi.Context, name string, args *Args) error {
	if _, err := corev1.NewService(ctx, name, &corev1.ServiceArgs{
		Metadata: args.Target.ServiceMeta(Part, Part),
		Spec: &corev1.ServiceSpecArgs{
			ClusterIP: pulumi.String("None"),
			// Members must find each other to become ready.
			PublishNotReadyAddresses: pulumi.Bool(true),
			Selector:                 kube.Labels(Part),
			Ports:                    corev1.ServicePortArray{&corev1.ServicePortArgs{Name: pulumi.String("mongo"), Port: pulumi.Int(Port), TargetPort: pulumi.String("mongo")}},
		},
	}, args.Target.In(s)...); err != nil {
		return err
	}
	if _, err := networkingv1.NewNetworkPolicy(ctx, name, args.Target.Policy(Part,
		networkingv1.NetworkPolicyIngressRuleArray{kube.FromPart(Part, Port), kube.FromPart(initPart, Port), kube.FromHolders(kube.AccessMongo, Port)},
		networkingv1.NetworkPolicyEgressRuleArray{kube.ToPart(Part, Port), kube.ToDNS()}), args.Target.In(s)...); err != nil {
		return err
	}
	_, err := policyv1.NewPodDisruptionBudget(ctx, name, &policyv1.PodDisruptionBudgetArgs{
		Metadata: args.Target.Meta(Part, Part),
		Spec:     &policyv1.PodDisruptionBudgetSpecArgs{MaxUnavailable: pulumi.Int(1), Selector: kube.Selector(Part)},
	}, args.Target.In(s)...)
	return err
}
