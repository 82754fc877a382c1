// Package nodepool is one autoscaled pool of nodes. A pool is a resource of its own and auto-named, so that one with
// another machine type is made before the old one goes.
package nodepool

import (
	"errors"

	"github.com/pulumi/pulumi-gcp/sdk/v7/go/gcp/container"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// Label is on every node and says which pool it is of (by role: the pool's own name changes when it is replaced). A
// pool with a taint has it under the same key.
const Label = "patag/pool"

// Args of a Pool. Sizes are per zone.
type Args struct {
	Cluster pulumi.StringInput // the cluster's name
	// Within is the cluster as a resource: the pool goes when it goes.
	Within   pulumi.Resource
	Location pulumi.StringInput // the cluster's location
	// Role is the value of Label: what the pool is for.
	Role        string
	MachineType pulumi.StringInput
	// Min is the initial size too.
	Min, Max int
	Spot     bool
	// Asleep is no nodes at all, and no autoscaler that would make some for the pods that wait.
	Asleep bool
	// Dedicated keeps away pods that do not tolerate the taint Label=Role:NoSchedule.
	Dedicated      bool
	DiskSizeGB     int
	DiskType       pulumi.StringInput
	ServiceAccount pulumi.StringInput
	NodeTag        pulumi.StringInput
}

func (a *Args) check() error {
	if a == nil || a.Cluster == nil || a.Within == nil || a.Location == nil || a.Role == "" || a.MachineType == nil || a.DiskType == nil || a.ServiceAccount == nil || a.NodeTag == nil {
		return errors.New("nodepool: Cluster, Within, Location, Role, MachineType, DiskType, ServiceAccount and NodeTag are required")
	}
	if a.Min < 1 || a.Max < a.Min || a.DiskSizeGB < 10 {
		return errors.New("nodepool: Min must be at least 1, Max at least Min and DiskSizeGB at least 10")
	}
	return nil
}

// Pool is the component.
type Pool struct {
	pulumi.ResourceState

	Name pulumi.StringOutput `pulumi:"name"`

	// NodePool is the pool itself.
	NodePool *container.NodePool
}

// New makes a Pool.
func New(ctx *pulumi.Context, name string, args *Args, opts ...pulumi.ResourceOption) (*Pool, error) {
	if err := args.check(); err != nil {
		return nil, err
	}
	p := &Pool{}
	if err := ctx.RegisterComponentResource("patag:nodepool:Pool", name, p, opts...); err != nil {
		return nil, err
	}
	var taints container.NodePoolNodeConfigTaintArray
	if args.Dedicated {
		taints = container.NodePoolNodeConfigTaintArray{&container.NodePoolNodeConfigTaintArgs{
			Key: pulumi.String(Label), Value: pulumi.String(args.Role), Effect: pulumi.String("NO_SCHEDULE"),
		}}
	}
	node := &container.NodePoolNodeConfigArgs{
		MachineType:    args.MachineType.ToStringOutput().ToStringPtrOutput(),
		DiskSizeGb:     pulumi.Int(args.DiskSizeGB),
		DiskType:       args.DiskType.ToStringOutput().ToStringPtrOutput(),
		ImageType:      pulumi.String("COS_CONTAINERD"),
		Spot:           pulumi.Bool(args.Spot),
		ServiceAccount: args.ServiceAccount.ToStringOutput().ToStringPtrOutput(),
		// The scope for everything, because what nodes may do is said by the account's roles.
		OauthScopes: pulumi.StringArray{pulumi.String("https://www.googleapis.com/auth/cloud-platform")},
		Labels:      pulumi.StringMap{Label: pulumi.String(args.Role)},
		Tags:        pulumi.StringArray{args.NodeTag},
		ShieldedInstanceConfig: &container.NodePoolNodeConfigShieldedInstanceConfigArgs{
			EnableSecureBoot: pulumi.Bool(true), EnableIntegrityMonitoring: pulumi.Bool(true),
		},
		// Pods see the Workload Identity of their service account, never the node's.
		WorkloadMetadataConfig: &container.NodePoolNodeConfigWorkloadMetadataConfigArgs{Mode: pulumi.String("GKE_METADATA")},
		Metadata:               pulumi.StringMap{"disable-legacy-endpoints": pulumi.String("true")},
	}
	if taints != nil { // a nil array is not an absent one to Pulumi
		node.Taints = taints
	}
	pool := &container.NodePoolArgs{
		Cluster:          args.Cluster,
		Location:         args.Location.ToStringOutput().ToStringPtrOutput(),
		InitialNodeCount: pulumi.Int(args.Min),
		Management:       &container.NodePoolManagementArgs{AutoRepair: pulumi.Bool(true), AutoUpgrade: pulumi.Bool(true)},
		UpgradeSettings:  &container.NodePoolUpgradeSettingsArgs{MaxSurge: pulumi.Int(1), MaxUnavailable: pulumi.Int(0)},
		NodeConfig:       node,
	}
	// Never both: a count that the program holds and an autoscaler would take turns in changing the pool.
	if args.Asleep {
		pool.NodeCount = pulumi.Int(0)
	} else {
		pool.Autoscaling = &container.NodePoolAutoscalingArgs{MinNodeCount: pulumi.Int(args.Min), MaxNodeCount: pulumi.Int(args.Max)}
	}
	var err error
	p.NodePool, err = container.NewNodePool(ctx, name, pool, pulumi.Parent(p), pulumi.DeletedWith(args.Within),
		// It follows Min, and a change of it would replace the pool; the autoscaler sees to Min.
		pulumi.IgnoreChanges([]string{"initialNodeCount"}),
		pulumi.Timeouts(&pulumi.CustomTimeouts{Create: "40m", Update: "60m", Delete: "40m"}))
	if err != nil {
		return nil, err
	}
	p.Name = p.NodePool.Name
	return p, ctx.RegisterResourceOutputs(p, pulumi.Map{"name": p.Name})
}
