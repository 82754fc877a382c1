package stacks

import (
	"slices"
	"strconv"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"patag/infra/cluster"
	"patag/infra/edge"
	"patag/infra/kube"
	"patag/infra/monitoring"
	"patag/infra/namespace"
	"patag/infra/network"
	"patag/infra/nodepool"
	"patag/infra/tagserver"
	"patag/infra/workloadidentity"
	"patag/stacks/config"
)

// The two pools, by role.
const (
	poolStandard = "standard"
	poolHighCPU  = "high-cpu"
)

const (
	adPath   = "/v1/ad?placement="
	demoPath = "/demo"
)

// platform is production, and staging: the same, with staging's defaults.
func platform(ctx *pulumi.Context, s *config.Settings) error {
	demo, err := readCatalogue(ctx, s) // a file that is not there is found out before anything is registered
	if err != nil {
		return err
	}
	g, err := standOn(ctx, s)
	if err != nil {
		return err
	}
	c, target, err := kubernetesCluster(ctx, s, g)
	if err != nil {
		return err
	}
	data, err := dataTier(ctx, s, g, target, demo)
	if err != nil {
		return err
	}
	tags, err := serve(ctx, s, g, target, data)
	if err != nil {
		return err
	}
	if _, err := edge.New(ctx, "edge", &edge.Args{
		Target: target, Part: tagserver.Part, TargetPort: tagserver.Port, Ready: tags.Ready, HealthPath: "/healthz", CountryHeader: tagserver.CountryHeader, RegionHeader: tagserver.RegionHeader,
		AddressName: g.addressName, CertificateName: g.certificateName, RequestsPerMinute: s.RequestLimit, LogSample: s.RequestLog,
	}); err != nil {
		return err
	}
	if s.Monitoring {
		if _, err := monitoring.New(ctx, s.Stack, &monitoring.Args{
			Project: pulumi.String(s.Project), Title: "patag " + s.Stack, Address: g.address, Path: adPath + s.DemoPlacement, Channel: g.channel,
		}); err != nil {
			return err
		}
	}
	if err := reap(ctx, s, g, target); err != nil {
		return err
	}
	export(ctx, s, g, c)
	return nil
}

// kubernetesCluster is the network, the cluster, its pools and the namespace in it.
func kubernetesCluster(ctx *pulumi.Context, s *config.Settings, g *ground) (*cluster.Cluster, *kube.Target, error) {
	nodeTag := pulumi.String(s.Stack + "-node")
	net, err := network.New(ctx, s.Stack, &network.Args{
		Region: pulumi.String(s.Region), NodeRange: pulumi.String(s.Ranges.Nodes), PodRange: pulumi.String(s.Ranges.Pods),
		ServiceRange: pulumi.String(s.Ranges.Services), NodeTag: nodeTag, ServingPort: pulumi.String(strconv.Itoa(tagserver.Port)),
	})
	if err != nil {
		return nil, nil, err
	}
	c, err := cluster.New(ctx, s.Stack, &cluster.Args{
		Project: pulumi.String(s.Project), Location: pulumi.String(s.Location), NodeZones: otherZones(s),
		NetworkID: net.NetworkID, Subnetwork: net.SubnetworkID,
		PodRangeName: pulumi.String(network.PodRangeName), ServiceRangeName: pulumi.String(network.ServiceRangeName),
		MasterRange: pulumi.String(s.Ranges.Master), AuthorizedNetworks: s.Authorized,
		ReleaseChannel: pulumi.String(s.ReleaseChannel), NodeServiceAccount: g.nodeAccount, Labels: ownLabels(ctx, s),
	})
	if err != nil {
		return nil, nil, err
	}
	target := &kube.Target{Provider: c.Provider, Cluster: c.GKE, Ready: []pulumi.Resource{net.NAT}}
	for _, pool := range []struct {
		role      string
		shape     config.Pool
		dedicated bool
	}{{poolStandard, s.Standard, false}, {poolHighCPU, s.HighCPU, true}} {
		made, err := nodepool.New(ctx, pool.role, &nodepool.Args{
			Cluster: c.Name, Within: c.GKE, Location: c.Location, Role: pool.role,
			MachineType: pulumi.String(pool.shape.MachineType), Min: pool.shape.Min, Max: pool.shape.Max, Spot: pool.shape.Spot, Dedicated: pool.dedicated, Asleep: s.Asleep,
			DiskSizeGB: s.DiskSizeGB, DiskType: pulumi.String(s.DiskType), ServiceAccount: g.nodeAccount, NodeTag: nodeTag,
		})
		if err != nil {
			return nil, nil, err
		}
		target.Ready = append(target.Ready, made.NodePool)
	}
	ns, err := namespace.New(ctx, "platform", &namespace.Args{Target: target, Name: s.Namespace, Protect: s.ProtectData})
	if err != nil {
		return nil, nil, err
	}
	target.Namespace = ns.Name
	target.Ready = append(target.Ready, ns.Policy)
	return c, target, nil
}

// otherZones are the cluster's node locations as the API wants them: for a zonal cluster those beside its own zone.
func otherZones(s *config.Settings) pulumi.StringArray {
	zones := pulumi.StringArray{}
	for _, zone := range s.NodeZones {
		if !s.Zonal() || zone != s.Location {
			zones = append(zones, pulumi.String(zone))
		}
	}
	return zones
}

// onPool selects the nodes of a pool.
func onPool(role string) pulumi.StringMap {
	return pulumi.StringMap{nodepool.Label: pulumi.String(role)}
}

// serve is the tag servers and the account that they run as.
func serve(ctx *pulumi.Context, s *config.Settings, g *ground, target *kube.Target, data *dataServices) (*tagserver.Server, error) {
	account, err := workloadidentity.New(ctx, "tag", &workloadidentity.Args{
		Target: target, Project: pulumi.String(s.Project), Google: g.tagAccount, Name: "tag",
	})
	if err != nil {
		return nil, err
	}
	if data.restored != nil {
		// No tag server reads a database that is being filled.
		after := *target
		after.Ready = append(slices.Clone(target.Ready), data.restored)
		target = &after
	}
	var canary pulumi.StringInput
	if s.CanaryImage != "" {
		canary = pulumi.String(s.CanaryImage)
	}
	return tagserver.New(ctx, "tag", &tagserver.Args{
		Canary: canary, Live: s.CanaryLive,
		Target: target, Image: pulumi.String(s.Images.Tag), ServiceAccount: account.Name,
		MongoURI: data.mongoURI, Key: g.secrets.TagKey, RedisAddress: data.redisAddress, Upstreams: data.upstreams,
		Empty: s.Catalogue == config.CatalogueLater, LoadBalancers: network.GoogleRanges(), Min: s.TagMin, Max: s.TagMax, CPUTarget: s.TagCPUTarget,
		Nodes:        s.HighCPU.Min * len(s.NodeZones),
		NodeSelector: onPool(poolHighCPU), TolerateKey: nodepool.Label, TolerateValue: poolHighCPU,
	})
}

// export says where the platform is. No credential and no kubeconfig is among it.
func export(ctx *pulumi.Context, s *config.Settings, g *ground, c *cluster.Cluster) {
	base := pulumi.Sprintf("http://%s", g.address)
	if s.PublicURL == "host" {
		base = pulumi.Sprintf("https://%s", g.host)
	}
	for output, value := range map[string]pulumi.Input{
		"clusterName":     c.Name,
		"clusterLocation": c.Location,
		"namespace":       pulumi.String(s.Namespace),
		"address":         g.address,
		"host":            g.host,
		"adURL":           pulumi.Sprintf("%s%s%s", base, adPath, s.DemoPlacement),
		"demoURL":         pulumi.Sprintf("%s%s", base, demoPath),
		"clusterURL":      pulumi.Sprintf("https://%s", c.Endpoint),
		"engine":          pulumi.String(s.Engine),
		"database":        pulumi.String(s.Database),
	} {
		ctx.Export(output, value)
	}
	if s.Kind == config.Staging {
		ctx.Export("owner", pulumi.String(s.Owner))
		ctx.Export("asleep", pulumi.Bool(s.Asleep))
		if !s.ExpiresAt.IsZero() {
			ctx.Export("expiresAt", pulumi.String(s.ExpiresAt.Format(time.RFC3339)))
		}
	}
}
