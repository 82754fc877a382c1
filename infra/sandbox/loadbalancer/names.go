package loadbalancer

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// names makes the names that GKE's ingress controller gives to what it makes in Compute Engine, so that what looks
// for them by name (a sweep of leftovers, a person) finds them the same way in both clouds.
type names struct {
	// uid stands for the cluster: eight hexadecimal digits from the UID of its namespace kube-system.
	uid    string
	system string // that UID
}

func newNames(kubeSystemUID string) names {
	return names{uid: hash(kubeSystemUID, 8), system: kubeSystemUID}
}

func hash(s string, n int) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])[:n]
}

// maxName is Compute Engine's limit.
const maxName = 63

// frontend is the name of a part of one Ingress's load balancer; part is fr, fs (forwarding rules), tp, ts (target
// proxies), um, rm (URL maps: routing, redirect).
func (n names) frontend(part, namespace, name string) string {
	suffix := hash(n.system+";"+namespace+";"+name, 8)
	fixed := len("k8s2----") + len(part) + len(n.uid) + len(suffix) + 1
	parts := trimEvenly(maxName-fixed, namespace, name)
	return fmt.Sprintf("k8s2-%s-%s-%s-%s-%s", part, n.uid, parts[0], parts[1], suffix)
}

// backend is the name of the backend service, health check and network endpoint groups of a Service's port.
func (n names) backend(namespace, service, port string) string {
	suffix := hash(strings.Join([]string{n.system, namespace, service, port}, ";"), 8)
	fixed := len("k8s1-----") + len(n.uid) + len(suffix)
	parts := trimEvenly(maxName-fixed, namespace, service, port)
	return fmt.Sprintf("k8s1-%s-%s-%s-%s-%s", n.uid, parts[0], parts[1], parts[2], suffix)
}

// certificate is the name of the certificate made of a TLS secret.
func (n names) certificate(namespace, name, content string) string {
	return fmt.Sprintf("k8s2-cr-%s-%s-%s", n.uid, hash(namespace+"/"+name, 16), hash(content, 16))
}

// firewall is the name of the rule that lets Google's health checks and front ends reach the pods.
func (n names) firewall() string { return "k8s-fw-l7--" + n.uid }

// trimEvenly shortens the parts until they fit, always the longest.
func trimEvenly(budget int, parts ...string) []string {
	for {
		total, longest := 0, 0
		for i, p := range parts {
			total += len(p)
			if len(p) > len(parts[longest]) {
				longest = i
			}
		}
		if total <= budget || len(parts[longest]) == 0 {
			return parts
		}
		parts[longest] = parts[longest][:len(parts[longest])-1]
	}
}
