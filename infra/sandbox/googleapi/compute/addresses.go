package compute

import (
	"net/netip"

	api "google.golang.org/api/compute/v0.beta"

	"patag/infra/sandbox/addresses"
	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/store"
)

// addresses: an external one is a loopback address of the sandbox, on which its load balancer can listen.
func (s *Service) addresses() *kind {
	return &kind{
		collection: "addresses", kind: "compute#address", list: "compute#addressList", scopes: []string{"global", "regions"}, like: api.Address{},
		refs: []string{"network", "subnetwork"}, outputs: []string{"status", "users", "labelFingerprint"}, deletable: true, labelled: true,
		insert: insertAddress,
		remove: func(c *call, d googleapi.Doc) error {
			if users := d.Strings("users"); len(users) > 0 {
				return googleapi.InUse("The address resource '%s' is already being used by '%s'", c.path, Path(users[0]))
			}
			return addresses.Release(c.tx, "compute/"+c.path)
		},
		read: func(tx store.Tx, d googleapi.Doc) error {
			users, err := s.addressUsers(tx, d)
			d["status"] = "RESERVED"
			delete(d, "users") // a controller of a cluster that is gone may have left some in the document
			if len(users) > 0 {
				d["status"], d["users"] = "IN_USE", users
			}
			return err
		},
	}
}

func insertAddress(c *call, d googleapi.Doc) error {
	if err := checkLabels(d.StringMap("labels")); err != nil {
		return err
	}
	global := c.region() == ""
	if v := d.String("ipVersion"); v == "IPV6" {
		return googleapi.Unimplemented("The sandbox does not simulate IPv6: compute.addresses.insert with ipVersion IPV6.")
	}
	d.Default("addressType", "EXTERNAL")
	d["status"] = "RESERVED"
	switch d.String("addressType") {
	case "EXTERNAL":
		if d.Has("address") {
			return invalidField("resource.address", d.String("address"), "The address of an external resource cannot be chosen.")
		}
		if t := d.String("networkTier"); global && t != "" && t != "PREMIUM" {
			return invalidField("resource.networkTier", t, "Global addresses must be of the premium tier.")
		}
		d.Default("networkTier", "PREMIUM")
		if global {
			d.Default("ipVersion", "IPV4")
		}
		a, err := addresses.Allocate(c.tx, c.s.core.Settings(), "compute/"+c.path)
		if err != nil {
			return googleapi.PermissionDenied("Quota 'STATIC_ADDRESSES' exceeded: %v", err)
		}
		d["address"] = a.String()
		return nil
	case "INTERNAL":
		if global {
			return globalInternal(d)
		}
		return c.regionalInternal(d)
	}
	return invalidField("resource.addressType", d.String("addressType"), "Must be one of [EXTERNAL, INTERNAL].")
}

// globalInternal is a range for VPC peering or Private Service Connect: given, not picked.
func globalInternal(d googleapi.Doc) error {
	for _, f := range []string{"purpose", "network"} {
		if !d.Has(f) {
			return required("resource." + f)
		}
	}
	if !d.Has("address") {
		return googleapi.Unimplemented("The sandbox does not simulate the choice of a range: compute.globalAddresses.insert of an internal address needs resource.address.")
	}
	_, err := netip.ParseAddr(d.String("address"))
	if err != nil {
		return invalidField("resource.address", d.String("address"), "Must be an IPv4 address.")
	}
	return nil
}

// regionalInternal is an address of a subnetwork, picked from its end where machines do not come.
func (c *call) regionalInternal(d googleapi.Doc) error {
	d.Default("purpose", "GCE_ENDPOINT")
	d.Default("networkTier", "PREMIUM")
	if !d.Has("subnetwork") {
		return required("resource.subnetwork")
	}
	var sub googleapi.Doc
	if _, err := c.tx.Get("compute/"+Path(d.String("subnetwork")), &sub); err != nil {
		return err
	}
	p, err := netip.ParsePrefix(sub.String("ipCidrRange"))
	if err != nil {
		return err
	}
	taken := map[string]string{}
	docs, err := googleapi.Children(c.tx, "compute/projects/"+c.project()+"/regions/"+c.region()+"/addresses")
	if err != nil {
		return err
	}
	for _, o := range docs {
		if o.String("subnetwork") == d.String("subnetwork") {
			taken[o.String("address")] = o.String("name")
		}
	}
	if given := d.String("address"); given != "" {
		a, err := netip.ParseAddr(given)
		if err != nil || !p.Contains(a) {
			return invalidField("resource.address", given, "Requested internal IP is outside the subnetwork's range "+p.String()+".")
		}
		if other := taken[a.String()]; other != "" {
			return invalidField("resource.address", given, "Specified IP address is in-use: it is reserved as '"+other+"'.")
		}
		return nil
	}
	// The last two addresses of a range are Google's.
	last := lastAddr(p).Prev().Prev()
	for a := last; p.Contains(a) && a.Compare(p.Addr().Next()) > 0; a = a.Prev() {
		if taken[a.String()] == "" {
			d["address"] = a.String()
			return nil
		}
	}
	return googleapi.InvalidArgument("IP space of '%s' is exhausted.", Path(d.String("subnetwork")))
}

func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().As4()
	n := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	n |= 1<<(32-p.Bits()) - 1
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}

// addressUsers are the forwarding rules on an address and the routers that use it for NAT.
func (s *Service) addressUsers(tx store.Tx, d googleapi.Doc) ([]any, error) {
	path := Path(d.String("selfLink"))
	scope := "compute/" + path[:len(path)-len("/addresses/"+d.String("name"))]
	var users []any
	rules, err := googleapi.Children(tx, scope+"/forwardingRules")
	if err != nil {
		return nil, err
	}
	for _, r := range rules {
		if ip := r.String("IPAddress"); ip == d.String("address") || Path(ip) == path && ip != "" {
			users = append(users, r["selfLink"])
		}
	}
	routers, err := googleapi.Children(tx, scope+"/routers")
	for _, r := range routers {
		for _, n := range r.Docs("nats") {
			for _, ip := range n.Strings("natIps") {
				if Path(ip) == path {
					users = append(users, r["selfLink"])
				}
			}
		}
	}
	return users, err
}
