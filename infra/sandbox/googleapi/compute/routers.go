package compute

import (
	"fmt"

	api "google.golang.org/api/compute/v0.beta"

	"patag/infra/sandbox/googleapi"
)

func (s *Service) routers() *kind {
	return &kind{
		collection: "routers", kind: "compute#router", list: "compute#routerList", scopes: []string{"regions"}, like: api.Router{},
		refs:      []string{"network", "nats.subnetworks.name", "nats.natIps", "nats.drainNatIps"},
		immutable: []string{"network", "encryptedInterconnectRouter"},
		deletable: true, update: true,
		insert: func(_ *call, d googleapi.Doc) error {
			if !d.Has("network") {
				return required("resource.network")
			}
			return fillRouter(d)
		},
		patch: func(_ *call, _, d googleapi.Doc) error { return fillRouter(d) },
		verbs: map[string]func(*call, googleapi.Doc) (any, error){
			"GET getRouterStatus": func(_ *call, d googleapi.Doc) (any, error) {
				var nats []any
				for _, n := range d.Docs("nats") {
					nats = append(nats, googleapi.Doc{"name": n["name"], "minExtraNatIpsNeeded": 0, "numVmEndpointsWithNatMappings": 0})
				}
				return googleapi.Doc{"kind": "compute#routerStatusResponse", "result": googleapi.Doc{"network": d["network"], "natStatus": nats}}, nil
			},
		},
	}
}

// fillRouter checks a router and its NATs and adds what Google adds.
func fillRouter(d googleapi.Doc) error {
	if bgp := d.Doc("bgp"); bgp != nil {
		bgp.Default("advertiseMode", "DEFAULT")
		bgp.Default("keepaliveInterval", 20)
		if asn := bgp.Int("asn"); !(asn >= 64512 && asn <= 65534 || asn >= 4200000000 && asn <= 4294967294 || asn == 16550) {
			return invalidField("resource.bgp.asn", asn, "Must be a private ASN (64512-65534, 4200000000-4294967294) or 16550.")
		}
	}
	if len(d.Docs("interfaces"))+len(d.Docs("bgpPeers")) > 0 {
		return googleapi.Unimplemented("The sandbox does not simulate compute.routers with interfaces and BGP peers.")
	}
	nats := d.Docs("nats")
	if len(nats) == 0 {
		delete(d, "nats")
	}
	seen, all := map[string]bool{}, ""
	for i, n := range nats {
		at := fmt.Sprintf("resource.nats[%d]", i)
		name := n.String("name")
		switch {
		case name == "":
			return required(at + ".name")
		case !nameRE.MatchString(name):
			return invalidField(at+".name", name, nameText)
		case seen[name]:
			return invalidField(at+".name", name, "NAT names must be unique in a router.")
		}
		seen[name] = true
		ranges := n.String("sourceSubnetworkIpRangesToNat")
		switch ranges {
		case "ALL_SUBNETWORKS_ALL_IP_RANGES", "ALL_SUBNETWORKS_ALL_PRIMARY_IP_RANGES":
			if all != "" {
				return invalidField(at+".sourceSubnetworkIpRangesToNat", ranges, fmt.Sprintf("NAT '%s' already covers all subnetworks.", all))
			}
			if len(n.Docs("subnetworks")) > 0 {
				return invalidField(at+".subnetworks", "", "Must be empty when all subnetworks are covered.")
			}
			all = name
		case "LIST_OF_SUBNETWORKS":
			if len(n.Docs("subnetworks")) == 0 {
				return required(at + ".subnetworks")
			}
		case "":
			return required(at + ".sourceSubnetworkIpRangesToNat")
		default:
			return invalidField(at+".sourceSubnetworkIpRangesToNat", ranges, "Must be one of [ALL_SUBNETWORKS_ALL_IP_RANGES, ALL_SUBNETWORKS_ALL_PRIMARY_IP_RANGES, LIST_OF_SUBNETWORKS].")
		}
		n.Default("type", "PUBLIC")
		if len(n.Strings("natIps")) > 0 {
			n.Default("natIpAllocateOption", "MANUAL_ONLY")
			if n.String("natIpAllocateOption") != "MANUAL_ONLY" {
				return invalidField(at+".natIps", "", "Addresses can be given with MANUAL_ONLY only.")
			}
		} else if n.String("type") == "PUBLIC" && n.String("natIpAllocateOption") != "AUTO_ONLY" {
			return invalidField(at+".natIpAllocateOption", n.String("natIpAllocateOption"), "Must be AUTO_ONLY when no addresses are given.")
		}
		n.Default("endpointTypes", []any{"ENDPOINT_TYPE_VM"})
		n.Default("enableEndpointIndependentMapping", false)
		n.Default("enableDynamicPortAllocation", false)
		n.Default("autoNetworkTier", "PREMIUM")
		for f, seconds := range map[string]int{"icmpIdleTimeoutSec": 30, "udpIdleTimeoutSec": 30, "tcpTransitoryIdleTimeoutSec": 30, "tcpEstablishedIdleTimeoutSec": 1200, "tcpTimeWaitTimeoutSec": 120} {
			n.Default(f, seconds)
		}
		if log := n.Doc("logConfig"); log != nil {
			log.Default("enable", false)
			log.Default("filter", "ALL")
		}
	}
	return nil
}
