package compute

import (
	"encoding/json"
	"net/netip"
	"strings"

	api "google.golang.org/api/compute/v0.beta"

	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/store"
)

func (s *Service) subnetworks() *kind {
	return &kind{
		collection: "subnetworks", kind: "compute#subnetwork", list: "compute#subnetworkList", scopes: []string{"regions"}, like: api.Subnetwork{},
		refs:      []string{"network"},
		outputs:   []string{"gatewayAddress", "state", "internalIpv6Prefix", "ipv6CidrRange", "ipv6GceEndpoint"},
		immutable: []string{"network", "ipCidrRange", "purpose", "description"},
		deletable: true, fingerprinted: true, strict: true,
		insert: func(c *call, d googleapi.Doc) error {
			for _, f := range []string{"network", "ipCidrRange"} {
				if !d.Has(f) {
					return required("resource." + f)
				}
			}
			if p := d.String("purpose"); p != "" && p != "PRIVATE" {
				return googleapi.Unimplemented("The sandbox does not simulate compute.subnetworks.insert with purpose %s.", p)
			}
			if t := d.String("stackType"); t != "" && t != "IPV4_ONLY" {
				return googleapi.Unimplemented("The sandbox does not simulate IPv6: compute.subnetworks.insert with stackType %s.", t)
			}
			delete(d, "fingerprint")
			fillSubnetwork(d)
			return c.setRanges(googleapi.Doc{}, d)
		},
		patch: func(c *call, old, d googleapi.Doc) error {
			fillSubnetwork(d)
			return c.setRanges(old, d)
		},
		remove: func(c *call, d googleapi.Doc) error {
			for _, r := range rangesOf(d) {
				if err := dropRoutes(c.tx, d.String("network"), r.cidr); err != nil {
					return err
				}
			}
			return nil
		},
		verbs: map[string]func(*call, googleapi.Doc) (any, error){
			"POST expandIpCidrRange": expandRange,
			"POST setPrivateIpGoogleAccess": func(c *call, d googleapi.Doc) (any, error) {
				in, err := c.r.DecodeDoc(api.SubnetworksSetPrivateIpGoogleAccessRequest{})
				if err == nil {
					d["privateIpGoogleAccess"] = in.Bool("privateIpGoogleAccess")
				}
				return nil, err
			},
		},
	}
}

// fillSubnetwork adds what Google adds.
func fillSubnetwork(d googleapi.Doc) {
	if p, err := netip.ParsePrefix(d.String("ipCidrRange")); err == nil {
		d["gatewayAddress"] = p.Masked().Addr().Next().String()
	}
	d.Default("privateIpGoogleAccess", false)
	d.Default("privateIpv6GoogleAccess", "DISABLE_GOOGLE_ACCESS")
	d.Default("purpose", "PRIVATE")
	d.Default("stackType", "IPV4_ONLY")
	d.Default("allowSubnetCidrRoutesOverlap", false)
	if len(d.Docs("secondaryIpRanges")) == 0 {
		delete(d, "secondaryIpRanges")
	}
	if log := d.Doc("logConfig"); log != nil {
		if d.Bool("enableFlowLogs") && !log.Has("enable") {
			log["enable"] = true
		}
		if !log.Bool("enable") {
			d["logConfig"] = googleapi.Doc{"enable": false}
		} else {
			log.Default("aggregationInterval", "INTERVAL_5_SEC")
			log.Default("flowSampling", 0.5)
			log.Default("metadata", "INCLUDE_ALL_METADATA")
			log.Default("filterExpr", "true")
		}
		d["enableFlowLogs"] = log.Bool("enable")
	}
	if !d.Has("fingerprint") {
		d["fingerprint"] = googleapi.Fingerprint(d)
	}
}

type namedRange struct{ name, cidr, field string }

// rangesOf are all ranges of a subnetwork, the primary one first, with the field that holds each.
func rangesOf(d googleapi.Doc) []namedRange {
	var out []namedRange
	if cidr := d.String("ipCidrRange"); cidr != "" {
		out = append(out, namedRange{"", cidr, "resource.ipCidrRange"})
	}
	for _, r := range d.Docs("secondaryIpRanges") {
		out = append(out, namedRange{r.String("rangeName"), r.String("ipCidrRange"), "resource.secondaryIpRanges." + r.String("rangeName")})
	}
	return out
}

// parseCIDR takes a range as Google does: IPv4, written with its first address.
func parseCIDR(field, text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil || !p.Addr().Is4() {
		return p, invalidField(field, text, "Must be a valid CIDR address range, such as 10.0.0.0/16.")
	}
	if p.Masked() != p {
		return p, invalidField(field, text, "Invalid CIDR: its first address is "+p.Masked().String()+".")
	}
	return p, nil
}

// setRanges checks a subnetwork's ranges against each other and all others of its network, refuses the removal of one
// in use, and keeps the local routes in step.
func (c *call) setRanges(old, d googleapi.Doc) error {
	seen := map[string]bool{}
	var mine []netip.Prefix
	for _, r := range rangesOf(d) {
		p, err := parseCIDR(r.field, r.cidr)
		if err != nil {
			return err
		}
		if p.Bits() < 4 || p.Bits() > 29 {
			return invalidField(r.field, r.cidr, "The prefix length must be between 4 and 29.")
		}
		if r.field != "resource.ipCidrRange" {
			if !nameRE.MatchString(r.name) {
				return invalidField("resource.secondaryIpRanges.rangeName", r.name, nameText)
			}
			if seen[r.name] {
				return invalidField("resource.secondaryIpRanges.rangeName", r.name, "Secondary range names must be unique.")
			}
			seen[r.name] = true
		}
		for _, q := range mine {
			if p.Overlaps(q) {
				return googleapi.InvalidArgument("Invalid IPCidrRange: %s conflicts with existing range %s of the same subnetwork.", r.cidr, q)
			}
		}
		mine = append(mine, p)
	}
	err := eachSubnetwork(c.tx, c.project(), func(other googleapi.Doc) error {
		if other.String("network") != d.String("network") || other.String("selfLink") == d.String("selfLink") {
			return nil
		}
		for _, r := range rangesOf(other) {
			q, err := netip.ParsePrefix(r.cidr)
			if err != nil {
				return err
			}
			for _, p := range mine {
				if p.Overlaps(q) {
					return googleapi.InvalidArgument("Invalid IPCidrRange: %s conflicts with existing subnetwork '%s' in region '%s'.", p, other.String("name"), Base(other.String("region")))
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	had, has := map[string]bool{}, map[string]bool{}
	for _, r := range rangesOf(old) {
		had[r.cidr] = true
	}
	for _, r := range rangesOf(d) {
		has[r.cidr] = true
		if !had[r.cidr] {
			if err := addRoute(c, d.String("network"), r.cidr, localRoute(d.String("network"), r.cidr)); err != nil {
				return err
			}
		}
	}
	for _, r := range rangesOf(old) {
		if has[r.cidr] {
			continue
		}
		if user, err := rangeUser(c.tx, c.project(), d.String("selfLink"), r.name); err != nil {
			return err
		} else if user != "" {
			return googleapi.InUse("The secondary range '%s' of subnetwork '%s' is already being used by '%s'", r.name, c.path, user)
		}
		if err := dropRoutes(c.tx, d.String("network"), r.cidr); err != nil {
			return err
		}
	}
	return nil
}

// rangeUser is the path of a cluster that uses a secondary range.
func rangeUser(tx store.Tx, project, subnetwork, rangeName string) (string, error) {
	user := ""
	prefix := "container/projects/" + project + "/locations/"
	err := tx.List(prefix, func(key string, raw []byte) error {
		if parts := strings.Split(key[len(prefix):], "/"); len(parts) != 3 || parts[1] != "clusters" {
			return nil
		}
		var d googleapi.Doc
		if err := json.Unmarshal(raw, &d); err != nil {
			return err
		}
		policy := d.Doc("ipAllocationPolicy")
		if Link(d.String("networkConfig", "subnetwork")) == subnetwork && rangeName != "" &&
			(policy.String("clusterSecondaryRangeName") == rangeName || policy.String("servicesSecondaryRangeName") == rangeName) {
			user = strings.TrimPrefix(key, "container/")
		}
		return nil
	})
	return user, err
}

func expandRange(c *call, d googleapi.Doc) (any, error) {
	in, err := c.r.DecodeDoc(api.SubnetworksExpandIpCidrRangeRequest{})
	if err != nil {
		return nil, err
	}
	p, err := parseCIDR("resource.ipCidrRange", in.String("ipCidrRange"))
	if err != nil {
		return nil, err
	}
	was, err := netip.ParsePrefix(d.String("ipCidrRange"))
	if err != nil {
		return nil, err
	}
	if !p.Contains(was.Addr()) || p.Bits() >= was.Bits() {
		return nil, invalidField("resource.ipCidrRange", p, "The new range must contain the present one, "+was.String()+".")
	}
	old := d.Clone()
	d["ipCidrRange"] = p.String()
	// The gateway stays where the machines know it.
	return nil, c.setRanges(old, d)
}

// eachSubnetwork visits the subnetworks of a project.
func eachSubnetwork(tx store.Tx, project string, fn func(googleapi.Doc) error) error {
	prefix := "compute/projects/" + project + "/regions/"
	return tx.List(prefix, func(key string, raw []byte) error {
		if parts := strings.Split(key[len(prefix):], "/"); len(parts) != 3 || parts[1] != "subnetworks" {
			return nil
		}
		var d googleapi.Doc
		if err := json.Unmarshal(raw, &d); err != nil {
			return err
		}
		return fn(d)
	})
}
