package container

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"patag/infra/sandbox/cluster"
	"patag/infra/sandbox/googleapi"
)

// setVersion checks the version asked for and sets the one that runs.
func (s *Service) setVersion(d googleapi.Doc, spec *cluster.Cluster) error {
	for _, f := range []string{"initialClusterVersion", "currentMasterVersion"} {
		if err := s.checkVersion("Master", d.String(f)); err != nil {
			return err
		}
	}
	spec.Version = s.version
	d["initialClusterVersion"], d["currentMasterVersion"], d["currentNodeVersion"] = s.version, s.version, s.version
	return nil
}

// checkVersion takes what stands for the version that runs: nothing, "latest", "-", or a beginning of it.
func (s *Service) checkVersion(kind, v string) error {
	if v == "" || v == "-" || v == "latest" || v == s.version || strings.HasPrefix(s.version, v+".") || strings.HasPrefix(s.version, v+"-") {
		return nil
	}
	return googleapi.BadRequest("%s version %q is unsupported. The sandbox offers %q.", kind, v, s.version)
}

var channels = []string{"UNSPECIFIED", "RAPID", "REGULAR", "STABLE", "EXTENDED"}

var labelKey, labelValue = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,62}$`), regexp.MustCompile(`^[a-z0-9_-]{0,63}$`)

// checkRecord checks the settings that are kept but that nothing in the sandbox acts on.
func checkRecord(d googleapi.Doc) error {
	if c := d.String("releaseChannel", "channel"); c != "" && !slices.Contains(channels, c) {
		return googleapi.BadRequest("Invalid release channel %q: must be one of %s.", c, strings.Join(channels[1:], ", "))
	}
	for k, v := range d.StringMap("resourceLabels") {
		if !labelKey.MatchString(k) || !labelValue.MatchString(v) {
			return googleapi.BadRequest("Invalid resource label %q=%q: at most 63 lowercase letters, digits, '_' and '-'; keys start with a letter.", k, v)
		}
	}
	if p := d.String("networkConfig", "datapathProvider"); !slices.Contains([]string{"", "DATAPATH_PROVIDER_UNSPECIFIED", "LEGACY_DATAPATH", "ADVANCED_DATAPATH"}, p) {
		return googleapi.BadRequest("Invalid datapath provider %q: must be LEGACY_DATAPATH or ADVANCED_DATAPATH.", p)
	}
	if d.String("networkConfig", "datapathProvider") == "ADVANCED_DATAPATH" && d.Bool("networkPolicy", "enabled") {
		return googleapi.BadRequest("Enabling NetworkPolicy for clusters with DatapathProvider=ADVANCED_DATAPATH is not allowed. Network policy is always enabled with it.")
	}
	if n := d.Int("defaultMaxPodsConstraint", "maxPodsPerNode"); d.Has("defaultMaxPodsConstraint", "maxPodsPerNode") && (n < 8 || n > 256) {
		return googleapi.BadRequest("Invalid default_max_pods_constraint.max_pods_per_node %d: must be between 8 and 256.", n)
	}
	for i, b := range d.Docs("masterAuthorizedNetworksConfig", "cidrBlocks") {
		if _, err := pick(fmt.Sprintf("master_authorized_networks_config.cidr_blocks[%d].cidr_block", i), b.String("cidrBlock"), nil); err != nil || strings.HasPrefix(b.String("cidrBlock"), "/") {
			return googleapi.BadRequest("Invalid master authorized network %q: must be an IPv4 range written with its first address.", b.String("cidrBlock"))
		}
	}
	return checkMaintenance(d.Doc("maintenancePolicy"))
}

func checkMaintenance(p googleapi.Doc) error {
	w := p.Doc("window")
	if w.Has("recurringWindow") && w.Has("dailyMaintenanceWindow") {
		return googleapi.BadRequest("Only one of recurring_window and daily_maintenance_window can be specified.")
	}
	if r := w.Doc("recurringWindow"); r != nil {
		start, err := time.Parse(time.RFC3339, r.String("window", "startTime"))
		if err != nil {
			return googleapi.BadRequest("Invalid maintenance window start time %q.", r.String("window", "startTime"))
		}
		end, err := time.Parse(time.RFC3339, r.String("window", "endTime"))
		if err != nil || !end.After(start) {
			return googleapi.BadRequest("Invalid maintenance window end time %q: must be after the start time.", r.String("window", "endTime"))
		}
		if !strings.HasPrefix(r.String("recurrence"), "FREQ=") {
			return googleapi.BadRequest("Invalid maintenance window recurrence %q: must be an RFC 5545 RRULE such as FREQ=WEEKLY;BYDAY=SA,SU.", r.String("recurrence"))
		}
		if end.Sub(start) < 4*time.Hour {
			return googleapi.BadRequest("Error validating maintenance policy: maintenance window must be at least 4 hours long.")
		}
	}
	if day := w.Doc("dailyMaintenanceWindow"); day != nil {
		if _, err := time.Parse("15:04", day.String("startTime")); err != nil {
			return googleapi.BadRequest("Invalid daily maintenance window start time %q: must be HH:MM.", day.String("startTime"))
		}
		day["duration"] = "PT4H0M0S"
	}
	return nil
}

// setResourceVersion gives a maintenance policy the version that the next change must name.
func setResourceVersion(d googleapi.Doc) {
	p := d.Sub("maintenancePolicy")
	delete(p, "resourceVersion")
	raw := []byte{}
	if len(p.Doc("window")) > 0 {
		raw = fmt.Append(nil, googleapi.Fingerprint(p))
	}
	sum := sha256.Sum256(raw)
	p["resourceVersion"] = hex.EncodeToString(sum[:4])
}

// fillCluster adds to a cluster's document what Google adds. What nothing in the programs asks for, and what would
// show up in the official plugin as a difference, is left out; so is what later releases of GKE added.
func fillCluster(d googleapi.Doc, project string) {
	component := func(names ...any) map[string]any { return map[string]any{"enableComponents": names} }
	if d.String("loggingService") == "none" {
		d["loggingConfig"] = map[string]any{"componentConfig": map[string]any{}}
	} else {
		d["loggingService"] = "logging.googleapis.com/kubernetes"
		d.Sub("loggingConfig").Default("componentConfig", component("SYSTEM_COMPONENTS", "WORKLOADS"))
	}
	m := d.Sub("monitoringConfig")
	if d.String("monitoringService") == "none" {
		m["componentConfig"] = map[string]any{}
	} else {
		d["monitoringService"] = "monitoring.googleapis.com/kubernetes"
		m.Default("componentConfig", component("SYSTEM_COMPONENTS"))
	}
	m.Default("managedPrometheusConfig", map[string]any{"enabled": true})
	m.Default("advancedDatapathObservabilityConfig", map[string]any{})

	addons := d.Sub("addonsConfig")
	for name, v := range map[string]map[string]any{"httpLoadBalancing": {}, "horizontalPodAutoscaling": {}, "kubernetesDashboard": {"disabled": true},
		"networkPolicyConfig": {"disabled": true}, "gcePersistentDiskCsiDriverConfig": {"enabled": true}, "gcsFuseCsiDriverConfig": {}, "dnsCacheConfig": {}} {
		addons.Default(name, v)
	}
	if !d.Bool("networkPolicy", "enabled") {
		delete(d, "networkPolicy")
	}
	n := d.Sub("networkConfig")
	n.Default("defaultSnatStatus", map[string]any{})
	n.Default("serviceExternalIpsConfig", map[string]any{})
	if p := n.String("datapathProvider"); p == "DATAPATH_PROVIDER_UNSPECIFIED" {
		delete(n, "datapathProvider")
	}
	if !d.Bool("masterAuthorizedNetworksConfig", "enabled") {
		d["masterAuthorizedNetworksConfig"] = map[string]any{}
	}
	d.Sub("masterAuthorizedNetworksConfig").Default("gcpPublicCidrsAccessEnabled", !d.Bool("privateClusterConfig", "enablePrivateNodes"))
	d.Sub("privateClusterConfig").Default("masterGlobalAccessConfig", map[string]any{"enabled": false})
	d.Sub("masterAuth")["clientCertificateConfig"] = map[string]any{}
	d.Sub("autoscaling").Default("autoscalingProfile", "BALANCED")
	d.Sub("releaseChannel").Default("channel", "REGULAR")
	d.Sub("shieldedNodes").Default("enabled", true)
	d.Sub("nodePoolDefaults").Sub("nodeConfigDefaults").Default("loggingConfig", map[string]any{"variantConfig": map[string]any{"variant": "DEFAULT"}})
	d.Sub("defaultMaxPodsConstraint").Default("maxPodsPerNode", "110")
	d["nodeIpv4CidrSize"] = podBits(d.Int("defaultMaxPodsConstraint", "maxPodsPerNode"))
	d.Default("legacyAbac", map[string]any{})
	d["databaseEncryption"] = map[string]any{"state": "DECRYPTED", "currentState": "CURRENT_STATE_DECRYPTED"}
	d.Default("notificationConfig", map[string]any{"pubsub": map[string]any{}})
	d.Default("securityPostureConfig", map[string]any{"mode": "BASIC", "vulnerabilityMode": "VULNERABILITY_DISABLED"})
	d.Default("clusterTelemetry", map[string]any{"type": "ENABLED"})
	d.Default("protectConfig", map[string]any{"workloadConfig": map[string]any{"auditMode": "BASIC"}, "workloadVulnerabilityMode": "WORKLOAD_VULNERABILITY_MODE_UNSPECIFIED"})
	d["labelFingerprint"] = labelFingerprint(d)
	setResourceVersion(d)
	d["etag"] = googleapi.Fingerprint(d)
}

// takeEndpoints reads the newer form of the settings that privateClusterConfig and masterAuthorizedNetworksConfig hold.
func takeEndpoints(d googleapi.Doc) {
	ip := d.Doc("controlPlaneEndpointsConfig", "ipEndpointsConfig")
	delete(d, "controlPlaneEndpointsConfig")
	if a := ip.Doc("authorizedNetworksConfig"); a != nil && !d.Has("masterAuthorizedNetworksConfig") {
		d["masterAuthorizedNetworksConfig"] = map[string]any(a)
	}
	p := d.Sub("privateClusterConfig")
	if public, ok := ip.Get("enablePublicEndpoint").(bool); ok && !p.Has("enablePrivateEndpoint") {
		p["enablePrivateEndpoint"] = !public
	}
	if ip.Bool("globalAccess") {
		p.Sub("masterGlobalAccessConfig")["enabled"] = true
	}
	if d.Bool("networkConfig", "defaultEnablePrivateNodes") {
		p.Default("enablePrivateNodes", true)
	}
}

// fillEndpoints shows those settings in the newer form too, as Google does.
func fillEndpoints(d googleapi.Doc) {
	p := d.Doc("privateClusterConfig")
	ip := map[string]any{"enabled": true, "enablePublicEndpoint": !p.Bool("enablePrivateEndpoint"), "globalAccess": p.Bool("masterGlobalAccessConfig", "enabled"),
		"authorizedNetworksConfig": d["masterAuthorizedNetworksConfig"]}
	for _, f := range []string{"publicEndpoint", "privateEndpoint", "privateEndpointSubnetwork"} {
		if p.Has(f) {
			ip[f] = p[f]
		}
	}
	d["controlPlaneEndpointsConfig"] = map[string]any{"ipEndpointsConfig": ip, "dnsEndpointConfig": map[string]any{"allowExternalTraffic": false}}
	d.Sub("networkConfig")["defaultEnablePrivateNodes"] = p.Bool("enablePrivateNodes")
}

func labelFingerprint(d googleapi.Doc) string {
	if len(d.Doc("resourceLabels")) == 0 {
		return "a9dc16a7"
	}
	return hex.EncodeToString([]byte(googleapi.Fingerprint(d["resourceLabels"]))[:4])
}

// podBits is the prefix length of a node's pod range: room for twice the number of pods.
func podBits(maxPods int64) int {
	bits := 32
	for n := int64(1); n < 2*maxPods; n *= 2 {
		bits--
	}
	return bits
}
