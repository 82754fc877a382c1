// Package cluster is a private GKE cluster without node pools (package nodepool makes those) and the Kubernetes
// provider that reaches it.
package cluster

import (
	"errors"

	"github.com/pulumi/pulumi-gcp/sdk/v7/go/gcp/container"
	"github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// Args of a Cluster.
type Args struct {
	Project    pulumi.StringInput
	Location   pulumi.StringInput // a zone or a region
	NodeZones  pulumi.StringArrayInput
	NetworkID  pulumi.StringInput
	Subnetwork pulumi.StringInput
	// PodRangeName and ServiceRangeName name secondary ranges of the subnetwork.
	PodRangeName     pulumi.StringInput
	ServiceRangeName pulumi.StringInput
	MasterRange      pulumi.StringInput // a /28
	// AuthorizedNetworks are the ranges that may reach the public endpoint.
	AuthorizedNetworks []string
	ReleaseChannel     pulumi.StringInput
	// NodeServiceAccount is the e-mail of the account that nodes run as.
	NodeServiceAccount pulumi.StringInput
	Labels             pulumi.StringMapInput
}

func (a *Args) check() error {
	if a == nil || a.Project == nil || a.Location == nil || a.NodeZones == nil || a.NetworkID == nil || a.Subnetwork == nil || a.PodRangeName == nil ||
		a.ServiceRangeName == nil || a.MasterRange == nil || len(a.AuthorizedNetworks) == 0 || a.ReleaseChannel == nil || a.NodeServiceAccount == nil {
		return errors.New("cluster: every argument but Labels is required")
	}
	return nil
}

// Cluster is the component.
type Cluster struct {
	pulumi.ResourceState

	Name     pulumi.StringOutput `pulumi:"name"`
	Location pulumi.StringOutput `pulumi:"location"`
	// Endpoint is the address of the Kubernetes API, without scheme.
	Endpoint pulumi.StringOutput `pulumi:"endpoint"`

	// GKE is the cluster itself: what lies in it is deleted with it.
	GKE *container.Cluster
	// Provider reaches the cluster's Kubernetes API.
	Provider *kubernetes.Provider
}

// New makes a Cluster.
func New(ctx *pulumi.Context, name string, args *Args, opts ...pulumi.ResourceOption) (*Cluster, error) {
	if err := args.check(); err != nil {
		return nil, err
	}
	c := &Cluster{}
	if err := ctx.RegisterComponentResource("patag:cluster:Cluster", name, c, opts...); err != nil {
		return nil, err
	}
	var err error
	c.GKE, err = container.NewCluster(ctx, name, clusterArgs(args), pulumi.Parent(c),
		// The machine of the pool that is deleted right after creation: GKE answers with another pool's later.
		pulumi.IgnoreChanges([]string{"nodeConfig"}),
		pulumi.Timeouts(&pulumi.CustomTimeouts{Create: "40m", Update: "60m", Delete: "40m"}))
	if err != nil {
		return nil, err
	}
	c.Provider, err = kubernetes.NewProvider(ctx, name, &kubernetes.ProviderArgs{
		Kubeconfig: kubeconfig(c.GKE),
		// The auto-named cluster's name changes when the cluster is replaced, and only then: its objects are then made
		// anew, while a changed endpoint or certificate leaves them alone.
		ClusterIdentifier:     c.GKE.Name,
		EnableServerSideApply: pulumi.Bool(true),
	}, pulumi.Parent(c))
	if err != nil {
		return nil, err
	}
	c.Name, c.Location, c.Endpoint = c.GKE.Name, c.GKE.Location, c.GKE.Endpoint
	return c, ctx.RegisterResourceOutputs(c, pulumi.Map{"name": c.Name, "location": c.Location, "endpoint": c.Endpoint})
}

func clusterArgs(args *Args) *container.ClusterArgs {
	authorized := container.ClusterMasterAuthorizedNetworksConfigCidrBlockArray{}
	for _, block := range args.AuthorizedNetworks {
		authorized = append(authorized, &container.ClusterMasterAuthorizedNetworksConfigCidrBlockArgs{CidrBlock: pulumi.String(block), DisplayName: pulumi.String(block)})
	}
	return &container.ClusterArgs{
		Location:      args.Location.ToStringOutput().ToStringPtrOutput(),
		NodeLocations: args.NodeZones,
		// The API wants a pool at creation. It is deleted at once; those that stay are resources of their own.
		InitialNodeCount:      pulumi.Int(1),
		RemoveDefaultNodePool: pulumi.Bool(true),
		NodeConfig: &container.ClusterNodeConfigArgs{
			// Not the default account: projects rightly disable it.
			ServiceAccount: args.NodeServiceAccount.ToStringOutput().ToStringPtrOutput(),
			OauthScopes:    pulumi.StringArray{pulumi.String("https://www.googleapis.com/auth/cloud-platform")},
		},
		// On purpose: a rebuild must not be refused. What must not be lost is protected by Pulumi or lies in foundation.
		DeletionProtection: pulumi.Bool(false),

		Network:        args.NetworkID.ToStringOutput().ToStringPtrOutput(),
		Subnetwork:     args.Subnetwork.ToStringOutput().ToStringPtrOutput(),
		NetworkingMode: pulumi.String("VPC_NATIVE"),
		IpAllocationPolicy: &container.ClusterIpAllocationPolicyArgs{
			ClusterSecondaryRangeName:  args.PodRangeName.ToStringOutput().ToStringPtrOutput(),
			ServicesSecondaryRangeName: args.ServiceRangeName.ToStringOutput().ToStringPtrOutput(),
		},
		PrivateClusterConfig: &container.ClusterPrivateClusterConfigArgs{
			EnablePrivateNodes:    pulumi.Bool(true),
			EnablePrivateEndpoint: pulumi.Bool(false), // operators and CI come from outside; see AuthorizedNetworks
			MasterIpv4CidrBlock:   args.MasterRange.ToStringOutput().ToStringPtrOutput(),
		},
		MasterAuthorizedNetworksConfig: &container.ClusterMasterAuthorizedNetworksConfigArgs{CidrBlocks: authorized},
		MasterAuth: &container.ClusterMasterAuthArgs{
			ClientCertificateConfig: &container.ClusterMasterAuthClientCertificateConfigArgs{IssueClientCertificate: pulumi.Bool(false)},
		},
		DatapathProvider: pulumi.String("ADVANCED_DATAPATH"), // Dataplane V2: without it NetworkPolicies do nothing

		ReleaseChannel:         &container.ClusterReleaseChannelArgs{Channel: args.ReleaseChannel},
		WorkloadIdentityConfig: &container.ClusterWorkloadIdentityConfigArgs{WorkloadPool: pulumi.Sprintf("%s.svc.id.goog", args.Project)},
		EnableShieldedNodes:    pulumi.Bool(true),
		AddonsConfig: &container.ClusterAddonsConfigArgs{
			HttpLoadBalancing:        &container.ClusterAddonsConfigHttpLoadBalancingArgs{Disabled: pulumi.Bool(false)},
			HorizontalPodAutoscaling: &container.ClusterAddonsConfigHorizontalPodAutoscalingArgs{Disabled: pulumi.Bool(false)},
			GcePersistentDiskCsiDriverConfig: &container.ClusterAddonsConfigGcePersistentDiskCsiDriverConfigArgs{
				Enabled: pulumi.Bool(true),
			},
		},
		LoggingConfig: &container.ClusterLoggingConfigArgs{
			EnableComponents: pulumi.ToStringArray([]string{"SYSTEM_COMPONENTS", "WORKLOADS"}),
		},
		MonitoringConfig: &container.ClusterMonitoringConfigArgs{
			EnableComponents:  pulumi.ToStringArray([]string{"SYSTEM_COMPONENTS"}),
			ManagedPrometheus: &container.ClusterMonitoringConfigManagedPrometheusArgs{Enabled: pulumi.Bool(true)},
		},
		MaintenancePolicy: &container.ClusterMaintenancePolicyArgs{
			// Monday to Thursday before dawn in Europe: the least traffic, and people at work the same day. GKE asks for
			// 48 hours in 32 days at least; this is more than 70.
			RecurringWindow: &container.ClusterMaintenancePolicyRecurringWindowArgs{
				StartTime:  pulumi.String("2024-01-01T01:00:00Z"),
				EndTime:    pulumi.String("2024-01-01T05:00:00Z"),
				Recurrence: pulumi.String("FREQ=WEEKLY;BYDAY=MO,TU,WE,TH"),
			},
		},
		ResourceLabels: args.Labels,
	}
}
