// Package tagserver is the tag servers: a Deployment on the high-cpu pool that grows and shrinks with its load.
package tagserver

import (
	"errors"

	appsv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/apps/v1"
	autoscalingv2 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/autoscaling/v2"
	corev1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/core/v1"
	networkingv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/networking/v1"
	policyv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/policy/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"patag/infra/kube"
)

const (
	// Part names the pods.
	Part = "tag"
	// Port serves ads, and /healthz for load balancers. AdminPort serves health and metrics to the cluster only.
	Port      = 8080
	AdminPort = 9090
	// CountryHeader is where the servers look for the country of the client; load balancers set it.
	CountryHeader = "X-Client-Geo-Country"
	// RegionHeader is the same for its region.
	RegionHeader = "X-Client-Geo-Region"
	uid          = 65532
)

// Upstream is a part that the servers connect to.
type Upstream struct {
	Part string
	Port int
}

// Args of a Server.
type Args struct {
	Target         *kube.Target
	Image          pulumi.StringInput
	ServiceAccount pulumi.StringInput
	// MongoURI and Key are secrets. Key signs tokens.
	MongoURI     pulumi.StringInput
	Key          pulumi.StringInput
	RedisAddress pulumi.StringInput // host:port
	// Upstreams are the pods behind MongoURI and RedisAddress.
	Upstreams []Upstream
	// Empty says that the store has no catalogue yet: servers are ready only with one, so the engine does not wait for them.
	Empty bool
	// LoadBalancers are the ranges that requests come from.
	LoadBalancers []string
	Min, Max      int
	// CPUTarget in per cent of the request.
	CPUTarget    int
	NodeSelector pulumi.StringMapInput
	// Nodes is how many NodeSelector selects at least.
	Nodes int
	// Tolerate is the key and value of the pool's taint.
	TolerateKey, TolerateValue string
	// Canary is the image of one server more, to be compared with the others; nil: there is none. Live sends it traffic.
	Canary pulumi.StringInput
	Live   bool
}

func (a *Args) check() error {
	if a == nil || a.Image == nil || a.ServiceAccount == nil || a.MongoURI == nil || a.Key == nil || a.RedisAddress == nil || len(a.Upstreams) == 0 ||
		len(a.LoadBalancers) == 0 || a.NodeSelector == nil || a.TolerateKey == "" || a.TolerateValue == "" {
		return errors.New("tagserver: every argument is required")
	}
	if a.Nodes < 1 || a.Min < 1 || a.Max < a.Min || a.CPUTarget < 1 || a.CPUTarget > 100 {
		return errors.New("tagserver: Nodes and Min must be at least 1, Max at least Min, CPUTarget 1 to 100")
	}
	if a.Live && a.Canary == nil {
		return errors.New("tagserver: there is no Canary to be Live")
	}
	return a.Target.Check(Part)
}

// Server is the component.
type Server struct {
	pulumi.ResourceState

	// Ready is there when the servers have a catalogue and answer; of an empty store, when they are asked for.
	Ready pulumi.Resource
}

// New makes a Server.
func New(ctx *pulumi.Context, name string, args *Args, opts ...pulumi.ResourceOption) (*Server, error) {
	if err := args.check(); err != nil {
		return nil, err
	}
	s := &Server{}
	if err := ctx.RegisterComponentResource("patag:tagserver:Server", name, s, opts...); err != nil {
		return nil, err
	}
	secret, err := corev1.NewSecret(ctx, name, &corev1.SecretArgs{
		Metadata: args.Target.AutoNamed(Part), StringData: pulumi.StringMap{"mongo-uri": args.MongoURI, "key": args.Key},
	}, args.Target.In(s)...)
	if err != nil {
		return nil, err
	}
	out := networkingv1.NetworkPolicyEgressRuleArray{kube.ToDNS(), kube.ToInternet(443)} // demand sources are asked over TLS
	for _, up := range args.Upstreams {
		out = append(out, kube.ToPart(up.Part, up.Port))
	}
	if _, err := networkingv1.NewNetworkPolicy(ctx, name, args.Target.Policy(Part,
		networkingv1.NetworkPolicyIngressRuleArray{kube.FromRanges(args.LoadBalancers, Port)}, out), args.Target.In(s)...); err != nil {
		return nil, err
	}
	if s.Ready, err = appsv1.NewDeployment(ctx, name, deployment(args, secret.Metadata.Name()), args.Target.Running(s)...); err != nil {
		return nil, err
	}
	if err := s.scaling(ctx, name, args); err != nil {
		return nil, err
	}
	if args.Canary != nil {
		if err := s.canary(ctx, name, args, secret, out); err != nil {
			return nil, err
		}
	}
	return s, ctx.RegisterResourceOutputs(s, pulumi.Map{})
}

// scaling is how many there are and how many may be away at a time.
func (s *Server) scaling(ctx *pulumi.Context, name string, args *Args) error {
	if _, err := policyv1.NewPodDisruptionBudget(ctx, name, &policyv1.PodDisruptionBudgetArgs{
		Metadata: args.Target.Meta(Part, Part),
		Spec:     &policyv1.PodDisruptionBudgetSpecArgs{MaxUnavailable: pulumi.Int(1), Selector: kube.Selector(Part)},
	}, args.Target.In(s)...); err != nil {
		return err
	}
	_, err := autoscalingv2.NewHorizontalPodAutoscaler(ctx, name, &autoscalingv2.HorizontalPodAutoscalerArgs{
		Metadata: args.Target.Meta(Part, Part),
		Spec: &autoscalingv2.HorizontalPodAutoscalerSpecArgs{
			ScaleTargetRef: &autoscalingv2.CrossVersionObjectReferenceArgs{ApiVersion: pulumi.String("apps/v1"), Kind: pulumi.String("Deployment"), Name: pulumi.String(Part)},
			MinReplicas:    pulumi.Int(args.Min),
			MaxReplicas:    pulumi.Int(args.Max),
			Metrics: autoscalingv2.MetricSpecArray{&autoscalingv2.MetricSpecArgs{
				Type: pulumi.String("Resource"),
				Resource: &autoscalingv2.ResourceMetricSourceArgs{
					Name:   pulumi.String("cpu"),
					Target: &autoscalingv2.MetricTargetArgs{Type: pulumi.String("Utilization"), AverageUtilization: pulumi.Int(args.CPUTarget)},
				},
			}},
			Behavior: &autoscalingv2.HorizontalPodAutoscalerBehaviorArgs{
				// Traffic of ads comes back within minutes: giving servers up is slow, adding them is not.
				ScaleDown: &autoscalingv2.HPAScalingRulesArgs{StabilizationWindowSeconds: pulumi.Int(300)},
			},
		},
	}, args.Target.In(s)...)
	return err
}
