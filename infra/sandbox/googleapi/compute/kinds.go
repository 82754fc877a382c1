package compute

import (
	"strings"

	api "google.golang.org/api/compute/v0.beta"

	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/store"
)

// kindNames are the kinds of documents by collection, for Materialise.
var kindNames = map[string]string{
	"networks": "compute#network", "subnetworks": "compute#subnetwork", "routes": "compute#route", "routers": "compute#router",
	"addresses": "compute#address", "firewalls": "compute#firewall", "securityPolicies": "compute#securityPolicy",
	"sslCertificates": "compute#sslCertificate", "sslPolicies": "compute#sslPolicy", "resourcePolicies": "compute#resourcePolicy",
	"instances": "compute#instance", "disks": "compute#disk", "instanceGroups": "compute#instanceGroup",
	"instanceGroupManagers": "compute#instanceGroupManager", "instanceTemplates": "compute#instanceTemplate",
	"networkEndpointGroups": "compute#networkEndpointGroup", "backendServices": "compute#backendService", "urlMaps": "compute#urlMap",
	"targetHttpProxies": "compute#targetHttpProxy", "targetHttpsProxies": "compute#targetHttpsProxy",
	"forwardingRules": "compute#forwardingRule", "healthChecks": "compute#healthCheck",
}

// allKinds is everything that is kept in the store. The first group can be made through the API; the second is what
// GKE makes: it can be read and deleted.
func (s *Service) allKinds() []*kind {
	return []*kind{
		s.networks(), s.subnetworks(), s.routes(), s.routers(), s.addresses(), s.firewalls(), s.securityPolicies(),
		s.sslCertificates(), s.sslPolicies(), s.resourcePolicies(), s.disks(),

		s.instances(), s.instanceGroups(), s.instanceGroupManagers(),
		{collection: "instanceTemplates", kind: "compute#instanceTemplate", list: "compute#instanceTemplateList", label: "instance_template",
			scopes: []string{"global"}, like: api.InstanceTemplate{}, deletable: true},
		s.networkEndpointGroups(),
		// GKE grows its groups itself: an autoscaler of Compute Engine exists for none of them, but gcloud asks.
		{collection: "autoscalers", kind: "compute#autoscaler", list: "compute#autoscalerList", scopes: []string{"zones", "regions"}, like: api.Autoscaler{}},
		{collection: "healthChecks", kind: "compute#healthCheck", list: "compute#healthCheckList", label: "health_check",
			scopes: []string{"global", "regions"}, like: api.HealthCheck{}, deletable: true},
		{collection: "backendServices", kind: "compute#backendService", list: "compute#backendServiceList", label: "backend_service",
			scopes: []string{"global", "regions"}, like: api.BackendService{}, deletable: true,
			refs: []string{"backends.group", "healthChecks", "securityPolicy", "network"}},
		{collection: "urlMaps", kind: "compute#urlMap", list: "compute#urlMapList", label: "url_map", scopes: []string{"global", "regions"},
			like: api.UrlMap{}, deletable: true, refs: []string{"defaultService", "pathMatchers.defaultService", "pathMatchers.pathRules.service", "pathMatchers.routeRules.service"}},
		{collection: "targetHttpProxies", kind: "compute#targetHttpProxy", list: "compute#targetHttpProxyList", label: "target_http_proxy",
			scopes: []string{"global", "regions"}, like: api.TargetHttpProxy{}, deletable: true, refs: []string{"urlMap"}},
		{collection: "targetHttpsProxies", kind: "compute#targetHttpsProxy", list: "compute#targetHttpsProxyList", label: "target_https_proxy",
			scopes: []string{"global", "regions"}, like: api.TargetHttpsProxy{}, deletable: true, refs: []string{"urlMap", "sslCertificates", "sslPolicy"}},
		{collection: "forwardingRules", kind: "compute#forwardingRule", list: "compute#forwardingRuleList", label: "forwarding_rule",
			scopes: []string{"global", "regions"}, like: api.ForwardingRule{}, deletable: true, labelled: true,
			refs: []string{"target", "backendService", "network", "subnetwork"}},
	}
}

func (s *Service) disks() *kind {
	return &kind{collection: "disks", kind: "compute#disk", list: "compute#diskList", scopes: []string{"zones"}, like: api.Disk{}, deletable: true, labelled: true,
		refs: []string{"resourcePolicies"},
		remove: func(c *call, d googleapi.Doc) error {
			if users := d.Strings("users"); len(users) > 0 {
				return googleapi.InUse("The disk resource '%s' is already being used by '%s'", c.path, Path(users[0]))
			}
			return nil
		}}
}

// networkEndpointGroups keep their endpoints in a document below their own key: {"items": [{"networkEndpoint": …}]}.
func (s *Service) networkEndpointGroups() *kind {
	endpoints := func(tx store.Tx, path string) (googleapi.Doc, error) {
		list := googleapi.Doc{}
		_, err := tx.Get("compute/"+path+"/endpoints", &list)
		return list, err
	}
	return &kind{collection: "networkEndpointGroups", kind: "compute#networkEndpointGroup", list: "compute#networkEndpointGroupList", label: "network_endpoint_group",
		scopes: []string{"zones"}, like: api.NetworkEndpointGroup{}, deletable: true, refs: []string{"network", "subnetwork"},
		read: func(tx store.Tx, d googleapi.Doc) error {
			list, err := endpoints(tx, Path(d.String("selfLink")))
			d["size"] = len(list.Docs("items"))
			return err
		},
		remove: func(c *call, _ googleapi.Doc) error { return c.tx.Delete("compute/" + c.path + "/endpoints") },
		verbs: map[string]func(*call, googleapi.Doc) (any, error){
			"POST listNetworkEndpoints": func(c *call, d googleapi.Doc) (any, error) {
				list, err := endpoints(c.tx, c.path)
				list["kind"] = "compute#networkEndpointGroupsListNetworkEndpoints"
				list["id"] = c.path + "/listNetworkEndpoints"
				return list, err
			},
		}}
}

// PutEndpoints sets the endpoints of a network endpoint group.
func PutEndpoints(tx store.Tx, groupPath string, endpoints []googleapi.Doc) error {
	items := []any{}
	for _, e := range endpoints {
		items = append(items, googleapi.Doc{"networkEndpoint": e})
	}
	return tx.Put("compute/"+groupPath+"/endpoints", googleapi.Doc{"items": items})
}

func (s *Service) resourcePolicies() *kind {
	return &kind{collection: "resourcePolicies", kind: "compute#resourcePolicy", list: "compute#resourcePolicyList", label: "resource_policy",
		scopes: []string{"regions"}, like: api.ResourcePolicy{}, outputs: []string{"status", "resourceStatus"}, deletable: true,
		immutable: []string{"groupPlacementPolicy", "diskConsistencyGroupPolicy"},
		insert: func(c *call, d googleapi.Doc) error {
			var has []string
			for _, f := range []string{"snapshotSchedulePolicy", "groupPlacementPolicy", "instanceSchedulePolicy", "diskConsistencyGroupPolicy"} {
				if d.Has(f) {
					has = append(has, f)
				}
			}
			if len(has) > 1 {
				return invalidField("resource", strings.Join(has, ", "), "Exactly one policy must be given.")
			}
			if len(has) == 0 {
				return required("resource.snapshotSchedulePolicy")
			}
			if p := d.Doc("snapshotSchedulePolicy"); p != nil {
				if !p.Has("schedule") {
					return required("resource.snapshotSchedulePolicy.schedule")
				}
				if r := p.Doc("retentionPolicy"); r != nil {
					r.Default("onSourceDiskDelete", "KEEP_AUTO_SNAPSHOTS")
				}
				fillSchedule(p.Doc("schedule"))
			}
			d["status"] = "READY"
			return nil
		},
		patch: func(_ *call, _, d googleapi.Doc) error {
			fillSchedule(d.Doc("snapshotSchedulePolicy", "schedule"))
			return nil
		}}
}

// fillSchedule adds the durations that Google gives to snapshot schedules.
func fillSchedule(schedule googleapi.Doc) {
	for name, duration := range map[string]string{"dailySchedule": "PT14400S", "hourlySchedule": "PT14400S"} {
		if s := schedule.Doc(name); s != nil {
			s.Default("duration", duration)
		}
	}
	for _, day := range schedule.Docs("weeklySchedule", "dayOfWeeks") {
		day.Default("duration", "PT14400S")
	}
}
