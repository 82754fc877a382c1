package policy

import (
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sigs.k8s.io/yaml"
)

var gateway = netip.MustParseAddr("10.0.0.1")

func pod(ns, name, ip string, labels map[string]string, ports ...corev1.ContainerPort) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name, Labels: labels}}
	p.Spec.NodeName, p.Status.PodIP = "n", ip
	p.Spec.Containers = []corev1.Container{{Ports: ports}}
	return p
}

// world is two namespaces: shop with web and redis, other with a client.
func world(t *testing.T, policies ...string) snapshot {
	t.Helper()
	s := snapshot{
		gateway: gateway,
		pods: []*corev1.Pod{
			pod("shop", "web", "10.4.0.2", map[string]string{"app": "web"}, corev1.ContainerPort{Name: "http", ContainerPort: 8080}),
			pod("shop", "redis", "10.4.0.3", map[string]string{"app": "redis"}, corev1.ContainerPort{Name: "redis", ContainerPort: 6379}),
			pod("other", "client", "10.4.1.2", map[string]string{"app": "web"}),
		},
	}
	for _, n := range []string{"shop", "other", "kube-system"} {
		s.namespaces = append(s.namespaces, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: n, Labels: map[string]string{"kubernetes.io/metadata.name": n}}})
	}
	for _, text := range policies {
		np := &networkingv1.NetworkPolicy{}
		if err := yaml.UnmarshalStrict([]byte("metadata: {namespace: shop, name: x}\nspec: "+text), np); err != nil {
			t.Fatal(err)
		}
		s.policies = append(s.policies, np)
	}
	return s
}

// allowed judges one packet by the compiled rules, as the table does.
func allowed(rules []podRules, from, to, protocol string, port uint16) bool {
	src, dst := netip.MustParseAddr(from), netip.MustParseAddr(to)
	permits := func(list *[]allow, peer netip.Addr) bool {
		if list == nil {
			return true
		}
		for _, a := range *list {
			if a.protocol != "" && a.protocol != protocol || a.from != 0 && (port < a.from || port > a.to) {
				continue
			}
			hit := a.any || a.block.IsValid() && a.block.Contains(peer)
			for _, e := range a.except {
				hit = hit && !e.Contains(peer)
			}
			for _, x := range a.addresses {
				hit = hit || x == peer
			}
			if hit {
				return true
			}
		}
		return false
	}
	for _, r := range rules {
		if r.ip == src && !permits(r.egress, dst) || r.ip == dst && !permits(r.ingress, src) {
			return false
		}
	}
	return true
}

func TestPolicies(t *testing.T) {
	const web, redis, client, outside = "10.4.0.2", "10.4.0.3", "10.4.1.2", "203.0.113.9"
	type packet struct {
		from, to, protocol string
		port               uint16
		want               bool
	}
	for _, c := range []struct {
		name     string
		policies []string
		packets  []packet
	}{
		{"none", nil, []packet{{client, redis, "tcp", 6379, true}, {web, outside, "tcp", 443, true}}},
		{"deny all ingress", []string{`{podSelector: {}, policyTypes: [Ingress]}`},
			[]packet{{web, redis, "tcp", 6379, false}, {client, web, "tcp", 8080, false}, {web, client, "tcp", 80, true}}},
		{"deny all", []string{`{podSelector: {}, policyTypes: [Ingress, Egress]}`},
			[]packet{{web, outside, "tcp", 443, false}, {web, gateway.String(), "udp", 53, false}, {client, outside, "tcp", 1, true}}},
		{"from pods of the namespace, to a port", []string{`{podSelector: {matchLabels: {app: redis}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: 6379}]}]}`},
			[]packet{{web, redis, "tcp", 6379, true}, {web, redis, "tcp", 6380, false}, {web, redis, "udp", 6379, false}, {client, redis, "tcp", 6379, false}, {client, web, "tcp", 8080, true}}},
		{"from pods of another namespace", []string{`{podSelector: {matchLabels: {app: redis}}, ingress: [{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: other}}, podSelector: {matchLabels: {app: web}}}]}]}`},
			[]packet{{client, redis, "tcp", 1, true}, {web, redis, "tcp", 1, false}}},
		{"two policies add up", []string{`{podSelector: {matchLabels: {app: redis}}, policyTypes: [Ingress]}`, `{podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}`},
			[]packet{{web, redis, "tcp", 1, true}, {client, redis, "tcp", 1, false}}},
		{"named port", []string{`{podSelector: {matchLabels: {app: web}}, ingress: [{ports: [{port: http}]}]}`},
			[]packet{{outside, web, "tcp", 8080, true}, {outside, web, "tcp", 80, false}}},
		{"named port for egress", []string{`{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{to: [{podSelector: {}}], ports: [{port: redis}]}]}`},
			[]packet{{web, redis, "tcp", 6379, true}, {web, redis, "tcp", 6380, false}, {web, outside, "tcp", 6379, false}}},
		{"range of ports", []string{`{podSelector: {matchLabels: {app: web}}, ingress: [{ports: [{port: 8000, endPort: 8090}]}]}`},
			[]packet{{outside, web, "tcp", 8080, true}, {outside, web, "tcp", 8091, false}}},
		{"block with exception", []string{`{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 203.0.113.0/24, except: [203.0.113.128/25]}}]}]}`},
			[]packet{{web, outside, "tcp", 443, true}, {web, "203.0.113.200", "tcp", 443, false}, {web, gateway.String(), "tcp", 443, false}}},
		{"Google's load balancer is the gateway", []string{`{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{ipBlock: {cidr: 35.191.0.0/16}}, {ipBlock: {cidr: 130.211.0.0/22}}], ports: [{port: 8080}]}]}`},
			[]packet{{gateway.String(), web, "tcp", 8080, true}, {gateway.String(), web, "tcp", 80, false}, {client, web, "tcp", 8080, false}}},
		{"the world without private networks is Google's APIs too", []string{`{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0, except: [10.0.0.0/8]}}], ports: [{port: 443}]}]}`},
			[]packet{{web, gateway.String(), "tcp", 443, true}, {web, gateway.String(), "tcp", 5000, false}, {web, redis, "tcp", 443, false}, {web, outside, "tcp", 443, true}}},
		{"cluster DNS", []string{`{podSelector: {}, policyTypes: [Egress], egress: [{to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}, podSelector: {matchLabels: {k8s-app: kube-dns}}}], ports: [{port: 53, protocol: UDP}]}]}`},
			[]packet{{web, gateway.String(), "udp", 53, true}, {web, gateway.String(), "tcp", 443, false}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			rules := compile(world(t, c.policies...))["n"]
			for _, p := range c.packets {
				if got := allowed(rules, p.from, p.to, p.protocol, p.port); got != p.want {
					t.Errorf("%s → %s %s/%d: %v, want %v", p.from, p.to, p.protocol, p.port, got, p.want)
				}
			}
			loads(t, render(rules))
		})
	}
}

// loads lets nft check the table; where it cannot, the traffic tests of the engine do.
func loads(t *testing.T, table string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Log("NOT TESTED: nft checks tables for root only")
		return
	}
	cmd := exec.Command("unshare", "--net", "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(table + table) // the second replaces the first
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("nft refuses the table: %v\n%s\n%s", err, out, table)
	}
}

func TestPodsThatAreNotSubject(t *testing.T) {
	s := world(t, `{podSelector: {}, policyTypes: [Ingress]}`)
	s.pods[0].Spec.HostNetwork = true
	s.pods[1].Status.Phase = corev1.PodSucceeded
	if rules := compile(s); len(rules) != 0 {
		t.Errorf("rules for pods without a network of their own: %v", rules)
	}
}
