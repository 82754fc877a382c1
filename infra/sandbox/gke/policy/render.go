package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
)

const tableName = "patag-policy"

// render writes the rules of one node's pods as a script for nft that replaces the whole table. Pods with the same rules
// share a chain. The hook on forwarding sees traffic between pods, and to and from other machines, after services were
// translated and before addresses are hidden; the one on input sees what pods send to their own node.
func render(pods []podRules) string {
	var b strings.Builder
	fmt.Fprintf(&b, "table ip %[1]s\ndelete table ip %[1]s\n", tableName)
	if len(pods) == 0 {
		return b.String()
	}
	chains := map[string]string{}
	var order, self, ingress, egress []string
	chain := func(direction, field string, rules []allow) string {
		text := chainText(field, rules)
		sum := sha256.Sum256([]byte(direction + text))
		name := direction + "-" + hex.EncodeToString(sum[:6])
		if _, ok := chains[name]; !ok {
			chains[name] = text
			order = append(order, name)
		}
		return name
	}
	for _, p := range pods {
		self = append(self, fmt.Sprintf("%[1]s . %[1]s", p.ip))
		if p.ingress != nil {
			ingress = append(ingress, fmt.Sprintf("%s : jump %s", p.ip, chain("in", "saddr", *p.ingress)))
		}
		if p.egress != nil {
			egress = append(egress, fmt.Sprintf("%s : jump %s", p.ip, chain("out", "daddr", *p.egress)))
		}
	}
	fmt.Fprintf(&b, "table ip %s {\n", tableName)
	for _, name := range order {
		fmt.Fprintf(&b, "\tchain %s {\n%s\t}\n", name, chains[name])
	}
	writeMap(&b, "ingress", ingress)
	writeMap(&b, "egress", egress)
	fmt.Fprintf(&b, "\tset self {\n\t\ttype ipv4_addr . ipv4_addr\n\t\telements = { %s }\n\t}\n", strings.Join(self, ", "))
	// A pod may always reach itself, through a service too.
	b.WriteString("\tchain forward {\n\t\ttype filter hook forward priority filter; policy accept;\n\t\tct state established,related accept\n" +
		"\t\tip saddr . ip daddr @self accept\n\t\tip saddr vmap @egress\n\t\tip daddr vmap @ingress\n\t}\n")
	b.WriteString("\tchain input {\n\t\ttype filter hook input priority filter; policy accept;\n\t\tct state established,related accept\n" +
		"\t\tip saddr vmap @egress\n\t}\n}\n")
	return b.String()
}

func writeMap(b *strings.Builder, name string, elements []string) {
	fmt.Fprintf(b, "\tmap %s {\n\t\ttype ipv4_addr : verdict\n", name)
	if len(elements) > 0 {
		fmt.Fprintf(b, "\t\telements = { %s }\n", strings.Join(elements, ", "))
	}
	b.WriteString("\t}\n")
}

// chainText lets what is allowed return to the hook's chain, and drops the rest.
func chainText(field string, rules []allow) string {
	var b strings.Builder
	written := map[string]bool{}
	for _, a := range rules {
		line := matchText(field, a)
		if line == "" && !a.any {
			continue
		}
		line = "\t\t" + strings.TrimSpace(line+" return") + "\n"
		if !written[line] {
			written[line] = true
			b.WriteString(line)
		}
	}
	b.WriteString("\t\tdrop\n")
	return b.String()
}

func matchText(field string, a allow) string {
	var parts []string
	switch {
	case a.any:
	case len(a.addresses) > 0:
		parts = append(parts, fmt.Sprintf("ip %s { %s }", field, join(a.addresses)))
	case a.block.IsValid():
		// The range of all addresses needs no match; nft refuses one of length 0.
		if a.block.Bits() > 0 {
			parts = append(parts, fmt.Sprintf("ip %s %s", field, a.block))
		}
		for _, e := range a.except {
			parts = append(parts, fmt.Sprintf("ip %s != %s", field, e))
		}
		if len(parts) == 0 && a.protocol == "" {
			return "meta nfproto ipv4"
		}
	default:
		return ""
	}
	switch {
	case a.protocol == "":
	case a.from == 0:
		parts = append(parts, "meta l4proto "+a.protocol)
	case a.from == a.to:
		parts = append(parts, fmt.Sprintf("%s dport %d", a.protocol, a.from))
	default:
		parts = append(parts, fmt.Sprintf("%s dport %d-%d", a.protocol, a.from, a.to))
	}
	return strings.Join(parts, " ")
}

// join lists addresses once each: nft refuses a set with the same element twice.
func join(addresses []netip.Addr) string {
	seen := map[netip.Addr]bool{}
	var parts []string
	for _, a := range addresses {
		if !seen[a] {
			seen[a] = true
			parts = append(parts, a.String())
		}
	}
	return strings.Join(parts, ", ")
}
