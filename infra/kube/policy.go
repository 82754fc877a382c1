package kube

import (
	metav1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/meta/v1"
	networkingv1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/networking/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

func metadataName(name string) *metav1.ObjectMetaArgs {
	return &metav1.ObjectMetaArgs{Name: pulumi.String(name)}
}

// The access labels: a pod that carries one may reach the part it names, and no other may. So the parts need not know
// each other's names.
const (
	AccessRedis = "patag/access-redis"
	AccessMongo = "patag/access-mongo"
	// AccessBidder is for who holds auctions.
	AccessBidder = "patag/access-bidder"
)

// WithAccess adds access labels to a pod's.
func WithAccess(labels pulumi.StringMap, access ...string) pulumi.StringMap {
	for _, a := range access {
		labels[a] = pulumi.String("true")
	}
	return labels
}

func ports(protocol string, numbers []int) networkingv1.NetworkPolicyPortArray {
	var out networkingv1.NetworkPolicyPortArray
	for _, n := range numbers {
		out = append(out, &networkingv1.NetworkPolicyPortArgs{Protocol: pulumi.String(protocol), Port: pulumi.Int(n)})
	}
	return out
}

func peer(labels pulumi.StringMap) networkingv1.NetworkPolicyPeerArray {
	return networkingv1.NetworkPolicyPeerArray{&networkingv1.NetworkPolicyPeerArgs{PodSelector: &metav1.LabelSelectorArgs{MatchLabels: labels}}}
}

// FromPart lets the pods of a part in.
func FromPart(part string, numbers ...int) *networkingv1.NetworkPolicyIngressRuleArgs {
	return &networkingv1.NetworkPolicyIngressRuleArgs{From: peer(pulumi.StringMap{"app.kubernetes.io/name": pulumi.String(part)}), Ports: ports("TCP", numbers)}
}

// FromHolders lets the pods with an access label in.
func FromHolders(access string, numbers ...int) *networkingv1.NetworkPolicyIngressRuleArgs {
	return &networkingv1.NetworkPolicyIngressRuleArgs{From: peer(pulumi.StringMap{access: pulumi.String("true")}), Ports: ports("TCP", numbers)}
}

// FromRanges lets address ranges in.
func FromRanges(ranges []string, numbers ...int) *networkingv1.NetworkPolicyIngressRuleArgs {
	var from networkingv1.NetworkPolicyPeerArray
	for _, r := range ranges {
		from = append(from, &networkingv1.NetworkPolicyPeerArgs{IpBlock: &networkingv1.IPBlockArgs{Cidr: pulumi.String(r)}})
	}
	return &networkingv1.NetworkPolicyIngressRuleArgs{From: from, Ports: ports("TCP", numbers)}
}

// ToPart lets connections to the pods of a part out.
func ToPart(part string, numbers ...int) *networkingv1.NetworkPolicyEgressRuleArgs {
	return &networkingv1.NetworkPolicyEgressRuleArgs{To: peer(pulumi.StringMap{"app.kubernetes.io/name": pulumi.String(part)}), Ports: ports("TCP", numbers)}
}

// ToDNS lets name look-ups out, to anywhere: on GKE they are answered by pods, by a cache on the node's own address or
// by the metadata server, depending on the cluster's DNS setting.
func ToDNS() *networkingv1.NetworkPolicyEgressRuleArgs {
	return &networkingv1.NetworkPolicyEgressRuleArgs{Ports: append(ports("UDP", []int{53}), ports("TCP", []int{53})...)}
}

// ToInternet lets connections to public addresses out: not to private ones, where nodes, pods, Services and the control plane are, nor
// to link-local ones, where the metadata server is. Carrier-grade and benchmarking ranges are used for pods by some.
func ToInternet(numbers ...int) *networkingv1.NetworkPolicyEgressRuleArgs {
	return &networkingv1.NetworkPolicyEgressRuleArgs{Ports: ports("TCP", numbers), To: networkingv1.NetworkPolicyPeerArray{
		&networkingv1.NetworkPolicyPeerArgs{IpBlock: &networkingv1.IPBlockArgs{Cidr: pulumi.String("0.0.0.0/0"), Except: pulumi.ToStringArray([]string{
			"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "198.18.0.0/15", "127.0.0.0/8",
		})}},
	}}
}

// ToGoogle lets connections to Google's APIs out, whose addresses change, and to the metadata server, which hands out tokens: at
// its own address, and at the one where GKE's proxy for it listens when Dataplane V2 is off.
func ToGoogle() networkingv1.NetworkPolicyEgressRuleArray {
	to := func(cidr string, numbers ...int) *networkingv1.NetworkPolicyEgressRuleArgs {
		return &networkingv1.NetworkPolicyEgressRuleArgs{Ports: ports("TCP", numbers), To: networkingv1.NetworkPolicyPeerArray{
			&networkingv1.NetworkPolicyPeerArgs{IpBlock: &networkingv1.IPBlockArgs{Cidr: pulumi.String(cidr)}},
		}}
	}
	return networkingv1.NetworkPolicyEgressRuleArray{to("0.0.0.0/0", 443), to("169.254.169.254/32", 80), to("169.254.169.252/32", 988)}
}

// Policy is the NetworkPolicy of a part: what comes in and goes out beside it is refused. A nil list allows nothing.
func (t *Target) Policy(part string, in networkingv1.NetworkPolicyIngressRuleArray, out networkingv1.NetworkPolicyEgressRuleArray) *networkingv1.NetworkPolicyArgs {
	spec := &networkingv1.NetworkPolicySpecArgs{
		PodSelector: Selector(part),
		PolicyTypes: pulumi.ToStringArray([]string{"Ingress", "Egress"}),
	}
	if len(in) > 0 {
		spec.Ingress = in
	}
	if len(out) > 0 {
		spec.Egress = out
	}
	return &networkingv1.NetworkPolicyArgs{Metadata: t.Meta(part, part), Spec: spec}
}
