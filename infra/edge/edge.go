// Package edge is what stands between the internet and the tag servers: a Cloud Armor policy, the health check and
// draining of Google's load balancer (BackendConfig), the Service and the Ingress that GKE makes the load balancer of.
// Address and certificate come from outside: they outlive the cluster.
package edge

import (
	"encoding/json"
	"errors"
	"maps"
	"strconv"

	"github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes"
	"github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/apiextensions"
	corev1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/core/v1"
	networkingv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/networking/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"patag/infra/kube"
)

// Args of an Edge.
type Args struct {
	Target *kube.Target
	// Part is the part that serves, TargetPort its port for requests and for HealthPath.
	Part       string
	TargetPort int
	// Ready is there when the part serves: the load balancer comes after it, so that its first answer is one.
	Ready      pulumi.Resource
	HealthPath string
	// CountryHeader is set to the client's country, as Google knows it, whatever the client sent.
	CountryHeader string
	// RegionHeader is the same for the region within the country, such as USCA; "": none is set.
	RegionHeader string
	// AddressName and CertificateName name a global address and an SSL certificate of the project.
	AddressName     pulumi.StringInput
	CertificateName pulumi.StringInput
	// RequestsPerMinute of one client address above which it gets 429; 0: no limit.
	RequestsPerMinute int
	// LogSample is the share of requests that are logged.
	LogSample float64
}

func (a *Args) check() error {
	if a == nil || a.Part == "" || a.TargetPort == 0 || a.Ready == nil || a.HealthPath == "" || a.CountryHeader == "" || a.AddressName == nil || a.CertificateName == nil {
		return errors.New("edge: Part, TargetPort, Ready, HealthPath, CountryHeader, AddressName and CertificateName are required")
	}
	if a.RequestsPerMinute < 0 || a.LogSample < 0 || a.LogSample > 1 {
		return errors.New("edge: RequestsPerMinute must not be negative, LogSample 0 to 1")
	}
	return a.Target.Check("edge")
}

// Edge is the component.
type Edge struct {
	pulumi.ResourceState

	// Address is what the load balancer answers on.
	Address pulumi.StringOutput `pulumi:"address"`
}

// New makes an Edge.
func New(ctx *pulumi.Context, name string, args *Args, opts ...pulumi.ResourceOption) (*Edge, error) {
	if err := args.check(); err != nil {
		return nil, err
	}
	e := &Edge{}
	if err := ctx.RegisterComponentResource("patag:edge:Edge", name, e, opts...); err != nil {
		return nil, err
	}
	policy, err := securityPolicy(ctx, name, args, pulumi.Parent(e))
	if err != nil {
		return nil, err
	}
	backend, err := apiextensions.NewCustomResource(ctx, name, &apiextensions.CustomResourceArgs{
		ApiVersion:  pulumi.String("cloud.google.com/v1"),
		Kind:        pulumi.String("BackendConfig"),
		Metadata:    args.Target.Meta(args.Part, args.Part),
		OtherFields: kubernetes.UntypedArgs{"spec": backendConfig(args, policy.Name)},
	}, args.Target.In(e)...)
	if err != nil {
		return nil, err
	}
	service, err := e.service(ctx, name, args, backend)
	if err != nil {
		return nil, err
	}
	ingress, err := networkingv1.NewIngress(ctx, name, ingress(args), args.Target.In(e, pulumi.DependsOn([]pulumi.Resource{service, args.Ready}))...)
	if err != nil {
		return nil, err
	}
	e.Address = ingress.Status.LoadBalancer().Ingress().Index(pulumi.Int(0)).Ip().Elem()
	return e, ctx.RegisterResourceOutputs(e, pulumi.Map{"address": e.Address})
}

// backendConfig is the spec of the BackendConfig.
func backendConfig(args *Args, policy pulumi.StringInput) pulumi.Map {
	headers := pulumi.StringArray{pulumi.String(args.CountryHeader + ":{client_region}")}
	if args.RegionHeader != "" {
		headers = append(headers, pulumi.String(args.RegionHeader+":{client_region_subdivision}"))
	}
	return pulumi.Map{
		"timeoutSec":         pulumi.Int(10), // an ad that takes longer is no ad
		"connectionDraining": pulumi.Map{"drainingTimeoutSec": pulumi.Int(30)},
		"healthCheck": pulumi.Map{
			"type": pulumi.String("HTTP"), "requestPath": pulumi.String(args.HealthPath), "port": pulumi.Int(args.TargetPort),
			"checkIntervalSec": pulumi.Int(2), "timeoutSec": pulumi.Int(2), "healthyThreshold": pulumi.Int(1), "unhealthyThreshold": pulumi.Int(2),
		},
		"securityPolicy":       pulumi.Map{"name": policy},
		"customRequestHeaders": pulumi.Map{"headers": headers},
		"logging":              pulumi.Map{"enable": pulumi.Bool(args.LogSample > 0), "sampleRate": pulumi.Float64(args.LogSample)},
	}
}

// service has container-native endpoints (NEG): the load balancer reaches pods, not nodes.
func (e *Edge) service(ctx *pulumi.Context, name string, args *Args, backend pulumi.Resource) (*corev1.Service, error) {
	config, err := json.Marshal(map[string]string{"default": args.Part})
	if err != nil {
		return nil, err
	}
	meta := args.Target.ServiceMeta(args.Part, args.Part)
	maps.Copy(meta.Annotations.(pulumi.StringMap), pulumi.StringMap{
		"cloud.google.com/neg":            pulumi.String(`{"ingress":true}`),
		"cloud.google.com/backend-config": pulumi.String(config),
	})
	return corev1.NewService(ctx, name, &corev1.ServiceArgs{
		Metadata: meta,
		Spec: &corev1.ServiceSpecArgs{
			Type: pulumi.String("ClusterIP"), Selector: kube.Labels(args.Part),
			Ports: corev1.ServicePortArray{&corev1.ServicePortArgs{
				Name: pulumi.String("http"), Port: pulumi.Int(80), TargetPort: pulumi.String("http"), AppProtocol: pulumi.String("http"),
			}},
		},
	}, args.Target.In(e, pulumi.DependsOn([]pulumi.Resource{backend}))...)
}

// ingress sends everything to the tag servers, also what asks for the bare address: placements are told apart by the
// request, not by the host.
func ingress(args *Args) *networkingv1.IngressArgs {
	meta := args.Target.Meta(args.Part, args.Part)
	meta.Annotations = pulumi.StringMap{
		// The annotation, not ingressClassName: GKE's controller looks at this one.
		"kubernetes.io/ingress.class":                 pulumi.String("gce"),
		"kubernetes.io/ingress.global-static-ip-name": args.AddressName,
		"ingress.gcp.kubernetes.io/pre-shared-cert":   args.CertificateName,
		// Pages that are served over HTTP load their tags over HTTP.
		"kubernetes.io/ingress.allow-http": pulumi.String(strconv.FormatBool(true)),
	}
	return &networkingv1.IngressArgs{
		Metadata: meta,
		Spec: &networkingv1.IngressSpecArgs{DefaultBackend: &networkingv1.IngressBackendArgs{
			Service: &networkingv1.IngressServiceBackendArgs{Name: pulumi.String(args.Part), Port: &networkingv1.ServiceBackendPortArgs{Name: pulumi.String("http")}},
		}},
	}
}
