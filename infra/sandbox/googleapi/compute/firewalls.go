package compute

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	api "google.golang.org/api/compute/v0.beta"

	"patag/infra/sandbox/googleapi"
)

// firewalls are kept, not enforced: the sandbox's nodes talk to nobody outside it, and policies inside a cluster are
// NetworkPolicies.
func (s *Service) firewalls() *kind {
	return &kind{
		collection: "firewalls", kind: "compute#firewall", list: "compute#firewallList", scopes: []string{"global"}, like: api.Firewall{},
		refs: []string{"network"}, immutable: []string{"network", "direction"}, deletable: true, update: true,
		insert: func(c *call, d googleapi.Doc) error {
			d.Default("network", Link("projects/"+c.project()+"/global/networks/default"))
			if err := c.resolve(d, true); err != nil {
				return err
			}
			return fillFirewall(d)
		},
		patch: func(_ *call, _, d googleapi.Doc) error { return fillFirewall(d) },
	}
}

var (
	protocolRE = regexp.MustCompile(`^(tcp|udp|icmp|esp|ah|sctp|ipip|all|\d{1,3})$`)
	portsRE    = regexp.MustCompile(`^(\d{1,5})(?:-(\d{1,5}))?$`)
)

func fillFirewall(d googleapi.Doc) error {
	allowed, denied := d.Docs("allowed"), d.Docs("denied")
	if len(allowed) == 0 {
		delete(d, "allowed")
	}
	if len(denied) == 0 {
		delete(d, "denied")
	}
	if (len(allowed) == 0) == (len(denied) == 0) {
		return invalidField("resource", "allowed, denied", "Exactly one of allowed and denied must be given.")
	}
	d.Default("direction", "INGRESS")
	d.Default("priority", 1000)
	d.Default("disabled", false)
	d.Sub("logConfig").Default("enable", false)
	if d.Bool("logConfig", "enable") {
		d.Sub("logConfig").Default("metadata", "INCLUDE_ALL_METADATA")
	}
	if p := d.Int("priority"); p < 0 || p > 65535 {
		return invalidField("resource.priority", p, "Must be between 0 and 65535.")
	}
	for i, r := range append(allowed, denied...) {
		protocol := strings.ToLower(r.String("IPProtocol"))
		if !protocolRE.MatchString(protocol) {
			return invalidField(fmt.Sprintf("resource.allowed[%d].IPProtocol", i), r.String("IPProtocol"), "Must be a protocol's name (tcp, udp, icmp, esp, ah, sctp, ipip, all) or number.")
		}
		r["IPProtocol"] = protocol
		ports := r.Strings("ports")
		if len(ports) == 0 {
			delete(r, "ports")
		} else if protocol != "tcp" && protocol != "udp" && protocol != "sctp" && protocol != "6" && protocol != "17" && protocol != "132" {
			return invalidField(fmt.Sprintf("resource.allowed[%d].ports[0]", i), ports[0], "Ports can be given for TCP, UDP and SCTP only.")
		}
		for j, port := range ports {
			m := portsRE.FindStringSubmatch(port)
			ok := m != nil
			if ok {
				low, _ := strconv.Atoi(m[1])
				high, err := strconv.Atoi(m[2])
				ok = low <= 65535 && (err != nil || high >= low && high <= 65535)
			}
			if !ok {
				return invalidField(fmt.Sprintf("resource.allowed[%d].ports[%d]", i, j), port, "Must be a port or a range of ports between 0 and 65535.")
			}
		}
	}
	for _, f := range []string{"sourceRanges", "destinationRanges", "sourceTags", "targetTags", "sourceServiceAccounts", "targetServiceAccounts"} {
		if len(d.Strings(f)) == 0 {
			delete(d, f)
		}
	}
	for _, f := range []string{"sourceRanges", "destinationRanges"} {
		for i, cidr := range d.Strings(f) {
			if !strings.Contains(cidr, "/") {
				cidr += "/32"
				d.Get(f).([]any)[i] = cidr
			}
			if _, err := parseCIDR(fmt.Sprintf("resource.%s[%d]", f, i), cidr); err != nil {
				return err
			}
		}
	}
	for _, f := range []string{"sourceTags", "targetTags"} {
		for i, tag := range d.Strings(f) {
			if !nameRE.MatchString(tag) {
				return invalidField(fmt.Sprintf("resource.%s[%d]", f, i), tag, nameText)
			}
		}
		for _, g := range []string{"sourceServiceAccounts", "targetServiceAccounts"} {
			if d.Has(f) && d.Has(g) {
				return invalidField("resource."+f, "", "Tags and service accounts cannot be used together.")
			}
		}
	}
	if d.String("direction") == "EGRESS" {
		for _, f := range []string{"sourceTags", "sourceServiceAccounts"} {
			if d.Has(f) {
				return invalidField("resource."+f, "", "Cannot be given for EGRESS.")
			}
		}
		d.Default("destinationRanges", []any{"0.0.0.0/0"})
	} else if !d.Has("sourceRanges") && !d.Has("sourceTags") && !d.Has("sourceServiceAccounts") {
		d["sourceRanges"] = []any{"0.0.0.0/0"}
	}
	return nil
}
