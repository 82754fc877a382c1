package policy

import (
	"net/netip"
	"sort"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// snapshot is what policies are worked out from.
type snapshot struct {
	pods       []*corev1.Pod
	namespaces []*corev1.Namespace
	policies   []*networkingv1.NetworkPolicy
	// gateway is where cluster DNS, Google's load balancers and Google's APIs are in the sandbox.
	gateway netip.Addr
}

// podRules is what one pod may do. A nil list means that the direction is not restricted.
type podRules struct {
	ip              netip.Addr
	ingress, egress *[]allow
}

// allow is one kind of traffic that is allowed.
type allow struct {
	// addresses are single peers; block with except is a range of them. If both are empty, any peer is meant.
	addresses []netip.Addr
	block     netip.Prefix
	except    []netip.Prefix
	any       bool
	// protocol is tcp, udp or sctp; empty means any, with any port. A from of 0 means any port.
	protocol string
	from, to uint16
}

// peer is a pod as others see it.
type peer struct {
	namespace string
	labels    labels.Set
	ip        netip.Addr
	ports     map[string]namedPort // by protocol/name
}

type namedPort struct {
	protocol string
	number   uint16
}

type compiler struct {
	snapshot
	namespaceLabels map[string]labels.Set
	peers           []peer
}

// compile works out the rules of all restricted pods, by node.
func compile(s snapshot) map[string][]podRules {
	c := &compiler{snapshot: s, namespaceLabels: map[string]labels.Set{}}
	for _, n := range s.namespaces {
		c.namespaceLabels[n.Name] = n.Labels
	}
	// Cluster DNS is no pod here, but policies mean the one that GKE has.
	c.peers = append(c.peers, peer{namespace: "kube-system", labels: labels.Set{"k8s-app": "kube-dns"}, ip: s.gateway,
		ports: map[string]namedPort{"udp/dns": {"udp", 53}, "tcp/dns-tcp": {"tcp", 53}}})
	subjects := []*corev1.Pod{}
	for _, p := range s.pods {
		if ip, ok := podIP(p); ok {
			c.peers = append(c.peers, peer{p.Namespace, p.Labels, ip, portsOf(p)})
			subjects = append(subjects, p)
		}
	}
	byNode := map[string][]podRules{}
	for _, p := range subjects {
		if r, restricted := c.rulesOf(p); restricted {
			byNode[p.Spec.NodeName] = append(byNode[p.Spec.NodeName], r)
		}
	}
	for _, rules := range byNode {
		sort.Slice(rules, func(i, j int) bool { return rules[i].ip.Less(rules[j].ip) })
	}
	return byNode
}

// podIP is the address of a pod that policies apply to: one with a network of its own that has not ended.
func podIP(p *corev1.Pod) (netip.Addr, bool) {
	if p.Spec.HostNetwork || p.Spec.NodeName == "" || p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
		return netip.Addr{}, false
	}
	ip, err := netip.ParseAddr(p.Status.PodIP)
	return ip, err == nil && ip.Is4()
}

func portsOf(p *corev1.Pod) map[string]namedPort {
	ports := map[string]namedPort{}
	add := func(list []corev1.Container) {
		for _, ctr := range list {
			for _, port := range ctr.Ports {
				if port.Name != "" {
					proto := protocolOf(&port.Protocol)
					ports[proto+"/"+port.Name] = namedPort{proto, uint16(port.ContainerPort)}
				}
			}
		}
	}
	add(p.Spec.Containers)
	add(p.Spec.InitContainers)
	return ports
}

func protocolOf(p *corev1.Protocol) string {
	switch {
	case p != nil && *p == corev1.ProtocolUDP:
		return "udp"
	case p != nil && *p == corev1.ProtocolSCTP:
		return "sctp"
	}
	return "tcp"
}

func (c *compiler) rulesOf(p *corev1.Pod) (podRules, bool) {
	ip, _ := podIP(p)
	r := podRules{ip: ip}
	own := portsOf(p)
	for _, np := range c.policies {
		if np.Namespace != p.Namespace || !matches(&np.Spec.PodSelector, p.Labels) {
			continue
		}
		ingress, egress := directions(np)
		if ingress {
			if r.ingress == nil {
				r.ingress = &[]allow{}
			}
			for _, rule := range np.Spec.Ingress {
				*r.ingress = append(*r.ingress, c.allows(np.Namespace, rule.From, rule.Ports, own, googleIngress)...)
			}
		}
		if egress {
			if r.egress == nil {
				r.egress = &[]allow{}
			}
			for _, rule := range np.Spec.Egress {
				*r.egress = append(*r.egress, c.allows(np.Namespace, rule.To, rule.Ports, nil, googleEgress)...)
			}
		}
	}
	return r, r.ingress != nil || r.egress != nil
}

// directions tells what a policy restricts; the API server fills the types in, but not in old objects.
func directions(np *networkingv1.NetworkPolicy) (ingress, egress bool) {
	if len(np.Spec.PolicyTypes) == 0 {
		return true, len(np.Spec.Egress) > 0
	}
	for _, t := range np.Spec.PolicyTypes {
		ingress = ingress || t == networkingv1.PolicyTypeIngress
		egress = egress || t == networkingv1.PolicyTypeEgress
	}
	return ingress, egress
}

func matches(s *metav1.LabelSelector, l labels.Set) bool {
	sel, err := metav1.LabelSelectorAsSelector(s)
	return err == nil && sel.Matches(l)
}

// allows is the product of a rule's peers and ports. own holds the named ports of the restricted pod for ingress; for egress
// it is nil, and names are looked up in each peer.
func (c *compiler) allows(namespace string, from []networkingv1.NetworkPolicyPeer, ports []networkingv1.NetworkPolicyPort, own map[string]namedPort, google []netip.Prefix) []allow {
	var out []allow
	for _, a := range c.ranges(from, google) {
		out = append(out, withPorts(a, ports, own)...)
	}
	selected := c.selected(namespace, from)
	if len(selected) == 0 && len(from) > 0 {
		return out
	}
	var addresses []netip.Addr
	for _, p := range selected {
		addresses = append(addresses, p.ip)
	}
	whole := allow{addresses: addresses, any: len(from) == 0}
	out = append(out, withPorts(whole, ports, own)...)
	if own != nil {
		return out
	}
	// Egress to a named port: each peer has its own number for it.
	peers := selected
	if len(from) == 0 {
		peers = c.peers
	}
	for _, port := range ports {
		if port.Port == nil || port.Port.Type != intstr.String {
			continue
		}
		for _, p := range peers {
			if n, ok := p.ports[protocolOf(port.Protocol)+"/"+port.Port.StrVal]; ok {
				out = append(out, allow{addresses: []netip.Addr{p.ip}, protocol: n.protocol, from: n.number, to: n.number})
			}
		}
	}
	return out
}

// ranges are the blocks of addresses among peers, and the gateway for those that have Google's ranges in them.
func (c *compiler) ranges(from []networkingv1.NetworkPolicyPeer, google []netip.Prefix) []allow {
	var out []allow
	for _, f := range from {
		if f.IPBlock == nil {
			continue
		}
		block, err := netip.ParsePrefix(f.IPBlock.CIDR)
		if err != nil || !block.Addr().Is4() {
			continue // IPv6: there is none in the sandbox
		}
		a := allow{block: block.Masked()}
		for _, e := range f.IPBlock.Except {
			if p, err := netip.ParsePrefix(e); err == nil {
				a.except = append(a.except, p.Masked())
			}
		}
		out = append(out, a)
		if meansGoogle(a, google) {
			out = append(out, allow{addresses: []netip.Addr{c.gateway}})
		}
	}
	return out
}

// meansGoogle tells whether a block has, or lies in, one of Google's ranges and does not except it.
func meansGoogle(a allow, google []netip.Prefix) bool {
	for _, g := range google {
		if !a.block.Overlaps(g) {
			continue
		}
		excepted := false
		for _, e := range a.except {
			excepted = excepted || e.Bits() <= g.Bits() && e.Contains(g.Addr())
		}
		if !excepted {
			return true
		}
	}
	return false
}

// selected are the pods that peers select.
func (c *compiler) selected(namespace string, from []networkingv1.NetworkPolicyPeer) []peer {
	var out []peer
	for _, p := range c.peers {
		for _, f := range from {
			if f.IPBlock != nil {
				continue
			}
			inNamespace := p.namespace == namespace
			if f.NamespaceSelector != nil {
				l, known := c.namespaceLabels[p.namespace]
				inNamespace = known && matches(f.NamespaceSelector, l)
			}
			if inNamespace && (f.PodSelector == nil || matches(f.PodSelector, p.labels)) {
				out = append(out, p)
				break
			}
		}
	}
	return out
}

// withPorts multiplies an allow with ports; own resolves names (nil resolves none).
func withPorts(a allow, ports []networkingv1.NetworkPolicyPort, own map[string]namedPort) []allow {
	if len(ports) == 0 {
		return []allow{a}
	}
	var out []allow
	for _, p := range ports {
		b := a
		b.protocol = protocolOf(p.Protocol)
		switch {
		case p.Port == nil:
		case p.Port.Type == intstr.String:
			n, ok := own[b.protocol+"/"+p.Port.StrVal]
			if !ok {
				continue
			}
			b.from, b.to = n.number, n.number
		default:
			b.from, b.to = uint16(p.Port.IntVal), uint16(p.Port.IntVal)
			if p.EndPort != nil {
				b.to = uint16(*p.EndPort)
			}
		}
		out = append(out, b)
	}
	return out
}
