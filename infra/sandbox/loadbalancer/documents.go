package loadbalancer

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"patag/infra/sandbox/loadbalancer/proxy"
)

// The documents are what GKE's controller creates, as a GET of Google's answers it. What every resource has
// (kind, id, selfLink …) is filled in by Materialise.

func description(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings only
	}
	return string(raw)
}

// frontend wants the resources of one Ingress.
func (b *books) frontend(d *desired, address string, services map[string]*service) {
	r := b.run
	n := r.view.names
	about := description(map[string]string{"kubernetes.io/ingress-name": d.namespace + "/" + d.name})
	at := func(collection, part string) string {
		return r.path("global/" + collection + "/" + n.frontend(part, d.namespace, d.name))
	}
	urlMap := at("urlMaps", "um")
	b.want[urlMap] = b.urlMapDocument(d, services)
	rule := func(part, target, portRange string) {
		b.want[at("forwardingRules", part)] = map[string]any{
			"IPAddress": address, "IPProtocol": "TCP", "portRange": portRange, "target": link(target), "description": about,
			"loadBalancingScheme": "EXTERNAL", "networkTier": "PREMIUM", "ipVersion": "IPV4", "fingerprint": "",
		}
	}
	if d.http {
		target := urlMap
		if d.redirect != 0 {
			target = at("urlMaps", "rm")
			b.want[target] = map[string]any{"description": about, "defaultUrlRedirect": map[string]any{
				"httpsRedirect": true, "redirectResponseCode": redirectName(d.redirect), "stripQuery": false}}
		}
		proxyPath := at("targetHttpProxies", "tp")
		b.want[proxyPath] = map[string]any{"description": about, "urlMap": link(target)}
		rule("fr", proxyPath, "80-80")
	}
	if d.https {
		var certs []any
		for _, c := range d.certificates {
			certs = append(certs, link(c.path))
			if c.document != nil {
				doc := map[string]any{"description": about + " " + clusterMark(n.uid)}
				for k, v := range c.document {
					doc[k] = v
				}
				b.want[c.path] = doc
			}
		}
		proxyPath := at("targetHttpsProxies", "ts")
		doc := map[string]any{"description": about, "urlMap": link(urlMap), "sslCertificates": certs, "quicOverride": "NONE"}
		if d.sslPolicy != "" {
			doc["sslPolicy"] = link(d.sslPolicy)
		}
		b.want[proxyPath] = doc
		rule("fs", proxyPath, "443-443")
	}
}

func redirectName(status int) string {
	return map[int]string{301: "MOVED_PERMANENTLY_DEFAULT", 302: "FOUND", 303: "SEE_OTHER", 307: "TEMPORARY_REDIRECT", 308: "PERMANENT_REDIRECT"}[status]
}

func (b *books) urlMapDocument(d *desired, services map[string]*service) map[string]any {
	r := b.run
	backend := func(key string) string {
		if s := services[key]; s != nil {
			return link(r.path("global/backendServices/" + s.spec.Name))
		}
		return link(b.defaultBackend())
	}
	doc := map[string]any{"description": description(map[string]string{"kubernetes.io/ingress-name": d.namespace + "/" + d.name}), "defaultService": backend(d.fallback)}
	var hosts, matchers []any
	for _, h := range d.hosts {
		if len(h.paths) == 0 {
			continue
		}
		host := h.host
		if host == "" {
			host = "*"
		}
		matcher := "host" + hash(host, 32)
		var rules []any
		for _, p := range h.paths {
			rules = append(rules, map[string]any{"paths": []string{p.path}, "service": backend(p.backend)})
		}
		hosts = append(hosts, map[string]any{"hosts": []string{host}, "pathMatcher": matcher})
		matchers = append(matchers, map[string]any{"name": matcher, "defaultService": backend(d.fallback), "pathRules": rules})
	}
	if len(hosts) > 0 {
		doc["hostRules"], doc["pathMatchers"] = hosts, matchers
	}
	return doc
}

// defaultBackend wants the backend service of the cluster's default-http-backend, which answers 404.
func (b *books) defaultBackend() string {
	r := b.run
	path := r.path("global/backendServices/" + r.view.names.backend("kube-system", "default-http-backend", "80"))
	b.want[path] = backendDocument("kube-system/default-http-backend", 80, proxy.BackendSpec{Protocol: "HTTP", LogRate: 1}, "")
	return path
}

func backendDocument(name string, port int32, spec proxy.BackendSpec, policy string) map[string]any {
	timeout := int(spec.Timeout.Seconds())
	if timeout == 0 {
		timeout = 30
	}
	doc := map[string]any{
		"description": description(map[string]any{"kubernetes.io/service-name": name, "kubernetes.io/service-port": strconv.Itoa(int(port)), "x-features": []string{"NEG"}}),
		"protocol":    spec.Protocol, "timeoutSec": timeout, "loadBalancingScheme": "EXTERNAL", "sessionAffinity": "NONE", "affinityCookieTtlSec": 0,
		"enableCDN": false, "connectionDraining": map[string]any{"drainingTimeoutSec": int(spec.Drain.Seconds())},
		"logConfig": map[string]any{"enable": spec.LogRate > 0, "sampleRate": spec.LogRate}, "fingerprint": "",
	}
	for field, list := range map[string][]proxy.Header{"customRequestHeaders": spec.RequestHeaders, "customResponseHeaders": spec.ResponseHeaders} {
		var out []any
		for _, h := range list {
			out = append(out, h.Name+":"+h.Value)
		}
		if out != nil {
			doc[field] = out
		}
	}
	if policy != "" {
		doc["securityPolicy"] = link(policy)
	}
	return doc
}

// backend wants the backend service of a Service's port, its health check and a network endpoint group per zone.
func (b *books) backend(s *service) {
	r := b.run
	check := r.path("global/healthChecks/" + s.spec.Name)
	h := s.spec.Health
	detail := map[string]any{"requestPath": h.Path, "proxyHeader": "NONE", "portSpecification": "USE_SERVING_PORT"}
	if h.Port != 0 {
		detail["port"], detail["portSpecification"] = h.Port, "USE_FIXED_PORT"
	}
	if h.Host != "" {
		detail["host"] = h.Host
	}
	field := map[string]string{"HTTP": "httpHealthCheck", "HTTPS": "httpsHealthCheck", "HTTP2": "http2HealthCheck", "TCP": "tcpHealthCheck", "SSL": "sslHealthCheck"}[h.Type]
	b.want[check] = map[string]any{"type": h.Type, field: detail, "checkIntervalSec": int(h.Interval.Seconds()), "timeoutSec": int(h.Timeout.Seconds()),
		"healthyThreshold": h.Healthy, "unhealthyThreshold": h.Unhealthy, "logConfig": map[string]any{"enable": false},
		"description": "Kubernetes L7 health check generated for service " + s.namespace + "/" + s.name + " port " + strconv.Itoa(int(s.port))}

	network, subnetwork := b.networks()
	about := description(map[string]string{"cluster-uid": r.view.names.system, "namespace": s.namespace, "service-name": s.name, "port": strconv.Itoa(int(s.port))})
	var groups []any
	for _, zone := range r.cluster.Spec.Zones {
		path := r.path("zones/" + zone + "/networkEndpointGroups/" + s.spec.Name)
		doc := map[string]any{"networkEndpointType": "GCE_VM_IP_PORT", "description": about, "size": 0}
		if network != "" {
			doc["network"] = network
		}
		if subnetwork != "" {
			doc["subnetwork"] = subnetwork
		}
		b.want[path] = doc
		items := []any{}
		for _, e := range s.endpoints {
			if e.zone != zone {
				continue
			}
			items = append(items, map[string]any{"networkEndpoint": map[string]any{"ipAddress": e.address, "port": e.port, "instance": e.node}})
		}
		slices.SortFunc(items, func(x, y any) int {
			at := func(v any) string {
				e := v.(map[string]any)["networkEndpoint"].(map[string]any)
				return fmt.Sprint(e["ipAddress"], " ", e["port"])
			}
			if at(x) < at(y) {
				return -1
			}
			return 1
		})
		b.negs[path] = items
		groups = append(groups, map[string]any{"group": link(path), "balancingMode": "RATE", "maxRatePerEndpoint": 1, "capacityScaler": 1})
	}
	doc := backendDocument(s.namespace+"/"+s.name, s.port, s.spec, s.policy)
	doc["healthChecks"], doc["backends"] = []any{link(check)}, groups
	b.want[r.path("global/backendServices/"+s.spec.Name)] = doc
}

// networks are the links of the cluster's network and subnetwork, as its own resource has them.
func (b *books) networks() (network, subnetwork string) {
	spec := b.run.cluster.Spec
	var doc struct {
		Network, Subnetwork string
		NetworkConfig       struct{ Network, Subnetwork string }
	}
	key := "container/projects/" + spec.Project + "/locations/" + spec.Location + "/clusters/" + spec.Name
	if found, err := b.tx.Get(key, &doc); err != nil || !found {
		return "", ""
	}
	full := func(long, short, collection string) string {
		if long != "" {
			return link(long)
		}
		if short != "" {
			return link("projects/" + spec.Project + "/" + collection + "/" + short)
		}
		return ""
	}
	region := spec.Location
	if len(spec.Zones) > 0 && len(spec.Zones[0]) > 2 {
		region = spec.Zones[0][:len(spec.Zones[0])-2]
	}
	return full(doc.NetworkConfig.Network, doc.Network, "global/networks"), full(doc.NetworkConfig.Subnetwork, doc.Subnetwork, "regions/"+region+"/subnetworks")
}

// shared wants what all load balancers of the cluster have in common: the firewall rule for Google's front ends.
func (b *books) shared() {
	network, _ := b.networks()
	if network == "" {
		return
	}
	ports := map[string]bool{}
	for _, items := range b.negs {
		for _, e := range items {
			ports[fmt.Sprint(e.(map[string]any)["networkEndpoint"].(map[string]any)["port"])] = true
		}
	}
	list := []string{"30000-32767"}
	for p := range ports {
		list = append(list, p)
	}
	slices.Sort(list)
	b.want[b.run.path("global/firewalls/"+b.run.view.names.firewall())] = map[string]any{
		"description": "GCE L7 firewall rule", "network": network, "direction": "INGRESS", "priority": 1000, "disabled": false,
		"sourceRanges": []string{"130.211.0.0/22", "35.191.0.0/16"}, "allowed": []any{map[string]any{"IPProtocol": "tcp", "ports": list}},
		"logConfig": map[string]any{"enable": false}}
}
