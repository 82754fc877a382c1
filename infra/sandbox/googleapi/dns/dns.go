// Package dns is Cloud DNS: managed zones with their NS and SOA records, record sets, and changes to them. It keeps and answers what the
// API is told; it serves no DNS queries.
package dns

import (
	"context"
	"hash/fnv"
	"regexp"
	"strconv"
	"strings"

	api "google.golang.org/api/dns/v1beta2"

	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/store"
)

type server struct{ core *googleapi.Core }

// Register serves Cloud DNS, versions v1 and v1beta2, whose resources in use are the same.
func Register(core *googleapi.Core) {
	s := &server{core}
	svc := core.Service("dns")
	for _, base := range []string{"dns/{version=v1|v1beta2}/projects/{project}", "{version=v1|v1beta2}/projects/{project}"} {
		zones := base + "/managedZones"
		zone := zones + "/{zone}"
		svc.Handle("GET", base, s.project)
		svc.Handle("POST", zones, s.createZone)
		svc.Handle("GET", zones, s.listZones)
		svc.Handle("GET", zone, s.getZone)
		svc.Handle("PATCH", zone, s.changeZone(true))
		svc.Handle("PUT", zone, s.changeZone(false))
		svc.Handle("DELETE", zone, s.deleteZone)
		svc.Handle("POST", zone+"/changes", s.createChange)
		svc.Handle("GET", zone+"/changes", s.listChanges)
		svc.Handle("GET", zone+"/changes/{change}", s.getChange)
		svc.Handle("GET", zone+"/rrsets", s.listRecords)
		svc.Handle("POST", zone+"/rrsets", s.createRecord)
		svc.Handle("GET", zone+"/rrsets/{name}/{type}", s.getRecord)
		svc.Handle("PATCH", zone+"/rrsets/{name}/{type}", s.patchRecord)
		svc.Handle("DELETE", zone+"/rrsets/{name}/{type}", s.deleteRecord)
	}
}

func (s *server) projectOf(r *googleapi.Request) (string, error) {
	id, ok := s.core.Project(r.Var("project"))
	if !ok {
		return "", googleapi.PermissionDenied("Forbidden: project %s.", r.Var("project"))
	}
	return id, nil
}

func (s *server) project(_ context.Context, r *googleapi.Request) (any, error) {
	id, err := s.projectOf(r)
	if err != nil {
		return nil, err
	}
	return googleapi.Doc{"kind": "dns#project", "id": id, "number": googleapi.ProjectNumber(id), "quota": googleapi.Doc{"kind": "dns#quota", "managedZones": 10000,
		"resourceRecordsPerRrset": 100, "rrsetAdditionsPerChange": 1000, "rrsetDeletionsPerChange": 1000, "rrsetsPerManagedZone": 10000, "totalRrdataSizePerChange": 100000}}, nil
}

func zonesKey(project string) string { return "dns/projects/" + project + "/managedZones" }

func zoneKey(project, zone string) string { return zonesKey(project) + "/" + zone }

// number is an id of 19 digits or less, as Google's zones have.
func number(seed string) string {
	h := fnv.New64a()
	h.Write([]byte(seed))
	return strconv.FormatUint(h.Sum64()>>1, 10)
}

var (
	zoneName = regexp.MustCompile(`^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$`)
	label    = `[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?`
	domain   = regexp.MustCompile(`^(\*\.)?(` + label + `\.)+$`)
)

func invalid(field string, value any) error {
	return googleapi.InvalidArgument("Invalid value for '%s': '%v'", field, value)
}

// fillZone checks a zone and fills in what Google fills in.
func fillZone(z googleapi.Doc) error {
	z["kind"] = "dns#managedZone"
	z.Default("visibility", "public")
	z.Default("description", "")
	if v := z.String("visibility"); v != "public" && v != "private" {
		return invalid("entity.managedZone.visibility", v)
	}
	for _, f := range []string{"forwardingConfig", "peeringConfig", "serviceDirectoryConfig", "reverseLookupConfig", "privateVisibilityConfig"} {
		if z.Has(f) && z["visibility"] != "private" {
			return googleapi.InvalidArgument("Invalid value for 'entity.managedZone.%s': it is for private zones only.", f)
		}
	}
	z.Sub("cloudLoggingConfig")["kind"] = "dns#managedZoneCloudLoggingConfig"
	if c := z.Doc("dnssecConfig"); c != nil {
		c["kind"] = "dns#managedZoneDnsSecConfig"
		c.Default("state", "off")
		if c["state"] != "off" {
			c.Default("nonExistence", "nsec3")
			if !c.Has("defaultKeySpecs") {
				c["defaultKeySpecs"] = []any{
					map[string]any{"kind": "dns#dnsKeySpec", "keyType": "keySigning", "algorithm": "rsasha256", "keyLength": 2048},
					map[string]any{"kind": "dns#dnsKeySpec", "keyType": "zoneSigning", "algorithm": "rsasha256", "keyLength": 1024},
				}
			}
		}
	}
	if c := z.Doc("privateVisibilityConfig"); c != nil {
		c["kind"] = "dns#managedZonePrivateVisibilityConfig"
		for _, n := range c.Docs("networks") {
			n["kind"] = "dns#managedZonePrivateVisibilityConfigNetwork"
		}
	}
	if l := z.Doc("labels"); l != nil && len(l) == 0 {
		z.Drop("labels")
	}
	return nil
}

func (s *server) createZone(_ context.Context, r *googleapi.Request) (any, error) {
	z, err := r.DecodeDoc(api.ManagedZone{})
	if err != nil {
		return nil, err
	}
	project, err := s.projectOf(r)
	if err != nil {
		return nil, err
	}
	z.DropNulls()
	z.Drop("id", "creationTime", "nameServers", "kind")
	name, dnsName := z.String("name"), strings.ToLower(z.String("dnsName"))
	if !zoneName.MatchString(name) {
		return nil, invalid("entity.managedZone.name", name)
	}
	if !domain.MatchString(dnsName) || strings.HasPrefix(dnsName, "*") || len(dnsName) > 254 {
		return nil, invalid("entity.managedZone.dnsName", dnsName)
	}
	if len([]rune(z.String("description"))) > 1024 {
		return nil, invalid("entity.managedZone.description", z.String("description"))
	}
	z["dnsName"] = dnsName
	if err := fillZone(z); err != nil {
		return nil, err
	}
	err = s.core.Store().Update(func(tx store.Tx) error {
		if tx.Has(zoneKey(project, name)) {
			return googleapi.AlreadyExists("The resource 'entity.managedZone' named '%s' already exists", name)
		}
		n, err := tx.Next()
		if err != nil {
			return err
		}
		z["id"] = number(name + strconv.FormatUint(n, 10))
		z["creationTime"] = s.core.Now().UTC().Format("2006-01-02T15:04:05.000Z")
		servers := nameServers(z)
		z["nameServers"] = servers
		if err := tx.Put(zoneKey(project, name), z); err != nil {
			return err
		}
		return s.seed(tx, project, name, z, servers)
	})
	return z, err
}

// nameServers are four of one of Google's sets for a public zone, one for a private one.
func nameServers(z googleapi.Doc) []string {
	if z["visibility"] == "private" {
		return []string{"ns-gcp-private.googledomains.com."}
	}
	h := fnv.New32a()
	h.Write([]byte(z.String("id")))
	set := string(rune('a' + h.Sum32()%5))
	var servers []string
	for i := 1; i <= 4; i++ {
		servers = append(servers, "ns-cloud-"+set+strconv.Itoa(i)+".googledomains.com.")
	}
	return servers
}

// seed makes the records that every zone has, and the change that Google numbers 0.
func (s *server) seed(tx store.Tx, project, zone string, z googleapi.Doc, servers []string) error {
	apex := z.String("dnsName")
	records := []googleapi.Doc{
		{"kind": "dns#resourceRecordSet", "name": apex, "type": "NS", "ttl": 21600, "rrdatas": servers},
		{"kind": "dns#resourceRecordSet", "name": apex, "type": "SOA", "ttl": 21600, "rrdatas": []string{servers[0] + " cloud-dns-hostmaster.google.com. 1 21600 3600 259200 300"}},
	}
	for _, rec := range records {
		if err := tx.Put(recordKey(project, zone, rec.String("name"), rec.String("type")), rec); err != nil {
			return err
		}
	}
	_, err := s.record(tx, project, zone, records, nil)
	return err
}

func (s *server) zone(tx store.Tx, r *googleapi.Request) (string, googleapi.Doc, error) {
	project, err := s.projectOf(r)
	if err != nil {
		return "", nil, err
	}
	var z googleapi.Doc
	found, err := tx.Get(zoneKey(project, r.Var("zone")), &z)
	if err != nil || found {
		return project, z, err
	}
	all, err := googleapi.Children(tx, zonesKey(project)) // a zone's id names it too
	if err != nil {
		return "", nil, err
	}
	for _, z := range all {
		if z.String("id") == r.Var("zone") {
			return project, z, nil
		}
	}
	return "", nil, googleapi.NotFound("The 'parameters.managedZone' resource named '%s' does not exist.", r.Var("zone"))
}

func (s *server) getZone(_ context.Context, r *googleapi.Request) (any, error) {
	var z googleapi.Doc
	err := s.core.Store().View(func(tx store.Tx) (err error) { _, z, err = s.zone(tx, r); return err })
	return z, err
}

func (s *server) listZones(_ context.Context, r *googleapi.Request) (any, error) {
	project, err := s.projectOf(r)
	if err != nil {
		return nil, err
	}
	var all, found []googleapi.Doc
	err = s.core.Store().View(func(tx store.Tx) (err error) { all, err = googleapi.Children(tx, zonesKey(project)); return err })
	if err != nil {
		return nil, err
	}
	for _, z := range all {
		if want := r.Query("dnsName"); want == "" || z.String("dnsName") == strings.ToLower(want) {
			found = append(found, z)
		}
	}
	page, err := googleapi.Paginate(r, found, func(d googleapi.Doc) string { return d.String("name") }, 1000)
	if err != nil {
		return nil, err
	}
	out := googleapi.Doc{"kind": "dns#managedZonesListResponse", "managedZones": page.Items}
	if page.Next != "" {
		out["nextPageToken"] = page.Next
	}
	return out, nil
}

var zoneOutput = []string{"id", "name", "dnsName", "creationTime", "nameServers", "kind", "visibility"}

func (s *server) changeZone(patch bool) googleapi.Handler {
	return func(_ context.Context, r *googleapi.Request) (any, error) {
		change, err := r.DecodeDoc(api.ManagedZone{})
		if err != nil {
			return nil, err
		}
		var op googleapi.Doc
		err = s.core.Store().Update(func(tx store.Tx) error {
			project, old, err := s.zone(tx, r)
			if err != nil {
				return err
			}
			for _, f := range []string{"dnsName", "name", "visibility"} {
				if v := change.String(f); v != "" && !strings.EqualFold(v, old.String(f)) {
					return googleapi.InvalidArgument("Invalid value for 'entity.managedZone.%s': it cannot be changed.", f)
				}
			}
			z := googleapi.Doc{}
			if patch {
				z = old.Clone()
			}
			change.Drop(zoneOutput...)
			z.Merge(change)
			for _, f := range zoneOutput {
				z[f] = old[f]
			}
			z.DropNulls()
			if err := fillZone(z); err != nil {
				return err
			}
			n, err := tx.Next()
			if err != nil {
				return err
			}
			op = googleapi.Doc{"kind": "dns#operation", "id": number(strconv.FormatUint(n, 10)), "startTime": s.core.Now().UTC().Format("2006-01-02T15:04:05.000Z"),
				"status": "done", "user": r.Principal, "type": "update", "zoneContext": googleapi.Doc{"oldValue": old, "newValue": z}}
			return tx.Put(zoneKey(project, z.String("name")), z)
		})
		return op, err
	}
}

func (s *server) deleteZone(_ context.Context, r *googleapi.Request) (any, error) {
	err := s.core.Store().Update(func(tx store.Tx) error {
		project, z, err := s.zone(tx, r)
		if err != nil {
			return err
		}
		name := z.String("name")
		records, err := s.records(tx, project, name)
		if err != nil {
			return err
		}
		for _, rec := range records {
			if !automatic(z, rec) {
				return &googleapi.Error{Code: 400, Status: "INVALID_ARGUMENT", Reason: "containerNotEmpty",
					Message: "The resource named '" + name + "' cannot be deleted because it is not empty: it still has records besides NS and SOA at its apex."}
			}
		}
		var keys []string
		if err := tx.List(zoneKey(project, name)+"/", func(key string, _ []byte) error { keys = append(keys, key); return nil }); err != nil {
			return err
		}
		for _, key := range append(keys, zoneKey(project, name)) {
			if err := tx.Delete(key); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return nil, nil
}

// automatic tells the records that come and go with their zone.
func automatic(zone, rec googleapi.Doc) bool {
	return rec["name"] == zone["dnsName"] && (rec["type"] == "NS" || rec["type"] == "SOA")
}
