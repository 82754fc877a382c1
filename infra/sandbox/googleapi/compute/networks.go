package compute

import (
	"fmt"
	"strings"

	api "google.golang.org/api/compute/v0.beta"

	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/store"
)

func (s *Service) networks() *kind {
	return &kind{
		collection: "networks", kind: "compute#network", list: "compute#networkList", scopes: []string{"global"}, like: api.Network{},
		outputs:   []string{"gatewayIPv4", "subnetworks", "peerings", "firewallPolicy"},
		immutable: []string{"autoCreateSubnetworks", "enableUlaInternalIpv6", "internalIpv6Range", "description"},
		deletable: true,
		insert:    insertNetwork,
		patch: func(_ *call, old, d googleapi.Doc) error {
			return checkNetwork(d)
		},
		remove: removeNetwork,
		read: func(tx store.Tx, d googleapi.Doc) error {
			links, err := subnetworksOf(tx, Path(d.String("selfLink")))
			if len(links) > 0 {
				d["subnetworks"] = links
			}
			return err
		},
		verbs: map[string]func(*call, googleapi.Doc) (any, error){
			"POST switchToCustomMode": func(c *call, d googleapi.Doc) (any, error) {
				d["autoCreateSubnetworks"] = false
				return nil, nil
			},
		},
	}
}

func checkNetwork(d googleapi.Doc) error {
	if mode := d.String("routingConfig", "routingMode"); mode != "REGIONAL" && mode != "GLOBAL" {
		return invalidField("resource.routingConfig.routingMode", mode, "Must be one of [GLOBAL, REGIONAL].")
	}
	if mtu := d.Int("mtu"); mtu < 1300 || mtu > 8896 {
		return invalidField("resource.mtu", mtu, "Must be between 1300 and 8896.")
	}
	return nil
}

func insertNetwork(c *call, d googleapi.Doc) error {
	if d.Has("IPv4Range") {
		return invalidField("resource.IPv4Range", d.String("IPv4Range"), "Legacy networks can no longer be created.")
	}
	if !d.Has("autoCreateSubnetworks") {
		return required("resource.autoCreateSubnetworks")
	}
	if d.Bool("enableUlaInternalIpv6") {
		return googleapi.Unimplemented("The sandbox does not simulate IPv6: compute.networks.insert with enableUlaInternalIpv6.")
	}
	d.Sub("routingConfig").Default("routingMode", "REGIONAL")
	d.Default("mtu", 1460)
	d.Default("networkFirewallPolicyEnforcementOrder", "AFTER_CLASSIC_FIREWALL")
	d["selfLinkWithId"] = Link("projects/" + c.project() + "/global/networks/" + d.String("id"))
	if err := checkNetwork(d.Clone()); err != nil {
		return err
	}
	if err := addRoute(c, d.String("selfLink"), "0.0.0.0/0", googleapi.Doc{
		"description": "Default route to the Internet.", "priority": 1000,
		"nextHopGateway": Link("projects/" + c.project() + "/global/gateways/default-internet-gateway"),
	}); err != nil {
		return err
	}
	if !d.Bool("autoCreateSubnetworks") {
		return nil
	}
	for _, r := range regions {
		path := "projects/" + c.project() + "/regions/" + r.name + "/subnetworks/" + d.String("name")
		if c.tx.Has("compute/" + path) {
			return googleapi.AlreadyExists("The resource '%s' already exists", path)
		}
		sub := googleapi.Doc{"network": d["selfLink"], "ipCidrRange": r.cidr}
		if err := stamp(c.tx, c.s.core, sub, "compute#subnetwork", path); err != nil {
			return err
		}
		fillSubnetwork(sub)
		if err := c.tx.Put("compute/"+path, sub); err != nil {
			return err
		}
		if err := addRoute(c, d.String("selfLink"), r.cidr, localRoute(d.String("selfLink"), r.cidr)); err != nil {
			return err
		}
	}
	return nil
}

func localRoute(network, cidr string) googleapi.Doc {
	return googleapi.Doc{"description": fmt.Sprintf("Default local route to the subnetwork %s.", cidr), "priority": 0, "nextHopNetwork": network}
}

// addRoute makes a route as Google makes them on its own account.
func addRoute(c *call, network, destination string, d googleapi.Doc) error {
	n, err := c.tx.Next()
	if err != nil {
		return err
	}
	d["network"], d["destRange"] = network, destination
	return Materialise(c.tx, c.s.core, fmt.Sprintf("projects/%s/global/routes/default-route-r-%016x", c.project(), n*2654435761), d)
}

// dropRoutes removes the routes of a network to a destination, or all of them.
func dropRoutes(tx store.Tx, network, destination string) error {
	routes, err := googleapi.Children(tx, "compute/projects/"+strings.Split(Path(network), "/")[1]+"/global/routes")
	if err != nil {
		return err
	}
	for _, r := range routes {
		if r.String("network") == network && (destination == "" || r.String("destRange") == destination && r.Has("nextHopNetwork")) {
			if err := Remove(tx, Path(r.String("selfLink"))); err != nil {
				return err
			}
		}
	}
	return nil
}

func removeNetwork(c *call, d googleapi.Doc) error {
	if d.Bool("autoCreateSubnetworks") {
		for _, link := range d.Strings("subnetworks") {
			path := Path(link)
			if user, err := c.s.user(c.tx, path); err != nil {
				return err
			} else if user != "" {
				return googleapi.InUse("The subnetwork resource '%s' is already being used by '%s'", path, user)
			}
			if err := Remove(c.tx, path); err != nil {
				return err
			}
		}
	}
	// Routes do not hold a network: they go with it. If it is held by something else, the transaction is void.
	return dropRoutes(c.tx, d.String("selfLink"), "")
}

// subnetworksOf lists the links of a network's subnetworks.
func subnetworksOf(tx store.Tx, networkPath string) ([]any, error) {
	var links []any
	err := eachSubnetwork(tx, strings.Split(networkPath, "/")[1], func(d googleapi.Doc) error {
		if d.String("network") == Link(networkPath) {
			links = append(links, d["selfLink"])
		}
		return nil
	})
	return links, err
}

func (s *Service) routes() *kind {
	return &kind{
		collection: "routes", kind: "compute#route", list: "compute#routeList", scopes: []string{"global"}, like: api.Route{},
		refs: []string{"network"}, outputs: []string{"nextHopNetwork", "warnings", "routeType", "routeStatus"}, deletable: true,
		insert: func(_ *call, d googleapi.Doc) error {
			for _, f := range []string{"network", "destRange"} {
				if !d.Has(f) {
					return required("resource." + f)
				}
			}
			gateway := d.String("nextHopGateway")
			if !strings.HasSuffix(gateway, "global/gateways/default-internet-gateway") {
				return googleapi.Unimplemented("The sandbox does not simulate compute.routes.insert with another next hop than the default Internet gateway.")
			}
			if _, err := parseCIDR("resource.destRange", d.String("destRange")); err != nil {
				return err
			}
			d["nextHopGateway"] = Link(Path(gateway))
			d.Default("priority", 1000)
			return nil
		},
		remove: func(c *call, d googleapi.Doc) error {
			if d.Has("nextHopNetwork") {
				return googleapi.InvalidArgument("The local route '%s' cannot be deleted: it goes with its subnetwork.", c.path)
			}
			return nil
		},
	}
}
