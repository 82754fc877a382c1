package compute

import (
	"context"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"

	api "google.golang.org/api/compute/v0.beta"

	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/machine"
)

// regions that the sandbox offers, a part of Google's, with Google's zones.
var regions = []struct {
	name, cidr string // cidr is the range of the region's subnetwork in a network of auto mode
	zones      []string
}{
	{"europe-west1", "10.132.0.0/20", []string{"europe-west1-b", "europe-west1-c", "europe-west1-d"}},
	{"europe-west3", "10.156.0.0/20", []string{"europe-west3-a", "europe-west3-b", "europe-west3-c"}},
	{"europe-west4", "10.164.0.0/20", []string{"europe-west4-a", "europe-west4-b", "europe-west4-c"}},
	{"us-central1", "10.128.0.0/20", []string{"us-central1-a", "us-central1-b", "us-central1-c", "us-central1-f"}},
}

// Zones are the zones of a region; none if there is no such region.
func Zones(region string) []string {
	for _, r := range regions {
		if r.name == region {
			return r.zones
		}
	}
	return nil
}

// RegionOf is the region of a zone; false if there is no such zone.
func RegionOf(zone string) (string, bool) {
	for _, r := range regions {
		if slices.Contains(r.zones, zone) {
			return r.name, true
		}
	}
	return "", false
}

// scopeNames are all places of a kind of scope, as aggregated lists name them.
func scopeNames(scope string) []string {
	if scope == "global" {
		return []string{"global"}
	}
	var names []string
	for _, r := range regions {
		if scope == "regions" {
			names = append(names, "regions/"+r.name)
			continue
		}
		for _, z := range r.zones {
			names = append(names, "zones/"+z)
		}
	}
	return names
}

// checkPlace refuses a call in a region or zone that does not exist.
func (s *Service) checkPlace(r *googleapi.Request) error {
	if region := r.Var("region"); region != "" && Zones(region) == nil {
		return unknownPlace("region", region, "projects/"+r.Var("project")+"/regions/"+region)
	}
	if zone := r.Var("zone"); zone != "" {
		if _, ok := RegionOf(zone); !ok {
			return unknownPlace("zone", zone, "projects/"+r.Var("project")+"/zones/"+zone)
		}
	}
	return nil
}

func unknownPlace(field, name, path string) error {
	if !nameRE.MatchString(name) {
		return invalidField(field, name, "Must be a match of regex '[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?'")
	}
	return googleapi.InvalidArgument("Invalid value for field '%s': '%s'. Unknown %s.", field, path, field)
}

// fixedID is an id for what exists from the beginning.
func fixedID(path string) string {
	h := fnv.New64a()
	h.Write([]byte(path))
	return strconv.FormatUint(1000+h.Sum64()%9000, 10)
}

const epoch = "1969-12-31T16:00:00.000-08:00"

func regionDoc(project, name string) googleapi.Doc {
	path := "projects/" + project + "/regions/" + name
	var zones []any
	for _, z := range Zones(name) {
		zones = append(zones, Link("projects/"+project+"/zones/"+z))
	}
	var quotas []any
	for _, q := range []struct {
		metric string
		limit  int
	}{{"CPUS", 72}, {"PREEMPTIBLE_CPUS", 72}, {"IN_USE_ADDRESSES", 64}, {"STATIC_ADDRESSES", 64}, {"DISKS_TOTAL_GB", 81920}, {"SSD_TOTAL_GB", 8192}, {"INSTANCES", 720}} {
		quotas = append(quotas, googleapi.Doc{"metric": q.metric, "limit": q.limit, "usage": 0})
	}
	return googleapi.Doc{"kind": "compute#region", "id": fixedID("regions/" + name), "name": name, "description": name, "creationTimestamp": epoch,
		"status": "UP", "selfLink": Link(path), "zones": zones, "quotas": quotas, "supportsPzs": false}
}

func zoneDoc(project, name string) googleapi.Doc {
	region, _ := RegionOf(name)
	return googleapi.Doc{"kind": "compute#zone", "id": fixedID("zones/" + name), "name": name, "description": name, "creationTimestamp": epoch,
		"status": "UP", "region": Link("projects/" + project + "/regions/" + region), "selfLink": Link("projects/" + project + "/zones/" + name),
		"availableCpuPlatforms": []any{"Intel Broadwell", "Intel Skylake", "Intel Cascade Lake"}, "supportsPzs": false}
}

func machineTypeDoc(project, zone string, t machine.Type) googleapi.Doc {
	return googleapi.Doc{"kind": "compute#machineType", "id": fixedID("machineTypes/" + t.Name), "name": t.Name, "description": t.Description, "creationTimestamp": epoch,
		"guestCpus": t.VCPU, "memoryMb": t.MemoryMiB, "imageSpaceGb": 0, "maximumPersistentDisks": 128, "maximumPersistentDisksSizeGb": "263168",
		"isSharedCpu": t.SharedCore(), "zone": zone, "selfLink": Link("projects/" + project + "/zones/" + zone + "/machineTypes/" + t.Name), "architecture": "X86_64"}
}

func (s *Service) registerPlaces() {
	const project = "projects/{project}"
	s.handle("GET", project, func(_ context.Context, r *googleapi.Request) (any, error) { return s.projectDoc(r.Var("project")), nil })
	s.handle("GET", project+"/regions", func(_ context.Context, r *googleapi.Request) (any, error) {
		var docs []googleapi.Doc
		for _, x := range regions {
			docs = append(docs, regionDoc(r.Var("project"), x.name))
		}
		return s.answerList(r, api.Region{}, "compute#regionList", docs)
	})
	s.handle("GET", project+"/regions/{region}", func(_ context.Context, r *googleapi.Request) (any, error) {
		if Zones(r.Var("region")) == nil {
			return nil, notFound(restPath(r))
		}
		return regionDoc(r.Var("project"), r.Var("region")), nil
	})
	s.handle("GET", project+"/zones", func(_ context.Context, r *googleapi.Request) (any, error) {
		var docs []googleapi.Doc
		for _, name := range scopeNames("zones") {
			docs = append(docs, zoneDoc(r.Var("project"), strings.TrimPrefix(name, "zones/")))
		}
		return s.answerList(r, api.Zone{}, "compute#zoneList", docs)
	})
	s.handle("GET", project+"/zones/{zone}", func(_ context.Context, r *googleapi.Request) (any, error) {
		if _, ok := RegionOf(r.Var("zone")); !ok {
			return nil, notFound(restPath(r))
		}
		return zoneDoc(r.Var("project"), r.Var("zone")), nil
	})
	types := func(project, zone string) (docs []googleapi.Doc) {
		for _, t := range machine.All() {
			docs = append(docs, machineTypeDoc(project, zone, t))
		}
		return docs
	}
	s.handle("GET", project+"/zones/{zone}/machineTypes", func(_ context.Context, r *googleapi.Request) (any, error) {
		if err := s.checkPlace(r); err != nil {
			return nil, err
		}
		return s.answerList(r, api.MachineType{}, "compute#machineTypeList", types(r.Var("project"), r.Var("zone")))
	})
	s.handle("GET", project+"/zones/{zone}/machineTypes/{name}", func(_ context.Context, r *googleapi.Request) (any, error) {
		if err := s.checkPlace(r); err != nil {
			return nil, err
		}
		t, err := machine.Lookup(r.Var("name"))
		if err != nil {
			return nil, notFound(restPath(r))
		}
		return machineTypeDoc(r.Var("project"), r.Var("zone"), t), nil
	})
	s.handle("GET", project+"/aggregated/machineTypes", func(_ context.Context, r *googleapi.Request) (any, error) {
		byScope := map[string][]googleapi.Doc{}
		for _, name := range scopeNames("zones") {
			byScope[name] = types(r.Var("project"), strings.TrimPrefix(name, "zones/"))
		}
		return answerAggregated(r, "machineTypes", api.MachineType{}, "compute#machineTypeAggregatedList", []string{"zones"}, byScope)
	})
	diskTypes := map[string]string{"pd-standard": "Standard Persistent Disk", "pd-balanced": "Balanced Persistent Disk", "pd-ssd": "SSD Persistent Disk"}
	diskType := func(r *googleapi.Request, name string) googleapi.Doc {
		zone := "projects/" + r.Var("project") + "/zones/" + r.Var("zone")
		return googleapi.Doc{"kind": "compute#diskType", "id": fixedID(name), "name": name, "description": diskTypes[name], "creationTimestamp": epoch,
			"validDiskSize": "10GB-65536GB", "zone": Link(zone), "selfLink": Link(zone + "/diskTypes/" + name), "defaultDiskSizeGb": "100"}
	}
	s.handle("GET", project+"/zones/{zone}/diskTypes", func(_ context.Context, r *googleapi.Request) (any, error) {
		if err := s.checkPlace(r); err != nil {
			return nil, err
		}
		docs := []googleapi.Doc{diskType(r, "pd-balanced"), diskType(r, "pd-ssd"), diskType(r, "pd-standard")}
		return s.answerList(r, api.DiskType{}, "compute#diskTypeList", docs)
	})
	s.handle("GET", project+"/zones/{zone}/diskTypes/{name}", func(_ context.Context, r *googleapi.Request) (any, error) {
		if diskTypes[r.Var("name")] == "" || s.checkPlace(r) != nil {
			return nil, notFound(restPath(r))
		}
		return diskType(r, r.Var("name")), nil
	})
}

func (s *Service) projectDoc(project string) googleapi.Doc {
	var quotas []any
	for _, q := range []struct {
		metric string
		limit  int
	}{{"NETWORKS", 15}, {"FIREWALLS", 200}, {"SUBNETWORKS", 275}, {"ROUTERS", 20}, {"STATIC_ADDRESSES", 64}, {"SSL_CERTIFICATES", 100}, {"SECURITY_POLICIES", 10}} {
		quotas = append(quotas, googleapi.Doc{"metric": q.metric, "limit": q.limit, "usage": 0})
	}
	return googleapi.Doc{"kind": "compute#project", "id": googleapi.ProjectNumber(project), "name": project, "creationTimestamp": epoch,
		"selfLink": Link("projects/" + project), "defaultServiceAccount": googleapi.DefaultServiceAccount(project), "xpnProjectStatus": "UNSPECIFIED_XPN_PROJECT_STATUS",
		"defaultNetworkTier": "PREMIUM", "vmDnsSetting": "ZONAL_ONLY", "quotas": quotas,
		"commonInstanceMetadata": googleapi.Doc{"kind": "compute#metadata", "fingerprint": googleapi.Fingerprint(project)}}
}
