package dns

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	api "google.golang.org/api/dns/v1beta2"

	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/store"
)

func recordKey(project, zone, name, typ string) string {
	return zoneKey(project, zone) + "/rrsets/" + name + "/" + typ
}

// types are the record types of Cloud DNS.
var types = []string{"A", "AAAA", "ALIAS", "CAA", "CNAME", "DNSKEY", "DS", "HTTPS", "IPSECKEY", "MX", "NAPTR", "NS", "PTR", "SOA", "SPF", "SRV", "SSHFP", "SVCB", "TLSA", "TXT"}

// checkRecord checks a record set and fills in its kind; at names it in messages ("entity.change.additions[0]").
func checkRecord(zone, rec googleapi.Doc, at string) error {
	rec["kind"] = "dns#resourceRecordSet"
	rec.Drop("signatureRrdatas")
	name, typ := strings.ToLower(rec.String("name")), rec.String("type")
	rec["name"] = name
	apex := zone.String("dnsName")
	if !domain.MatchString(name) || name != apex && !strings.HasSuffix(name, "."+apex) {
		return invalid(at+".name", name)
	}
	if !slices.Contains(types, typ) {
		return invalid(at+".type", typ)
	}
	if rec.Int("ttl") < 0 {
		return invalid(at+".ttl", rec["ttl"])
	}
	data := rec.Strings("rrdatas")
	if len(data) == 0 && !rec.Has("routingPolicy") {
		return googleapi.InvalidArgument("Invalid value for '%s.rrdata': it must not be empty.", at)
	}
	if typ == "CNAME" && (len(data) > 1 || name == apex) {
		return googleapi.InvalidArgument("Invalid value for '%s': a CNAME has one value and is not at the zone's apex.", at)
	}
	for i, v := range data {
		ok := v != ""
		switch ip := net.ParseIP(v); typ {
		case "A":
			ok = ip != nil && ip.To4() != nil && !strings.Contains(v, ":")
		case "AAAA":
			ok = ip != nil && strings.Contains(v, ":")
		case "CNAME", "NS", "PTR":
			ok = strings.HasSuffix(v, ".")
		case "MX":
			pref, host, found := strings.Cut(v, " ")
			_, err := strconv.ParseUint(pref, 10, 16)
			ok = found && err == nil && strings.HasSuffix(host, ".")
		}
		if !ok {
			return invalid(fmt.Sprintf("%s.rrdata[%d]", at, i), v)
		}
	}
	return nil
}

// records gives a zone's record sets by name and type, as Google lists them.
func (s *server) records(tx store.Tx, project, zone string) ([]googleapi.Doc, error) {
	var all []googleapi.Doc
	prefix := zoneKey(project, zone) + "/rrsets/"
	var names []string
	err := tx.List(prefix, func(key string, _ []byte) error { names = append(names, key); return nil })
	if err != nil {
		return nil, err
	}
	for _, key := range names {
		var d googleapi.Doc
		if _, err := tx.Get(key, &d); err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b googleapi.Doc) int {
		return cmp.Or(cmp.Compare(a.String("name"), b.String("name")), cmp.Compare(a.String("type"), b.String("type")))
	})
	return all, nil
}

// apply makes a change: all deletions, then all additions, or nothing.
func (s *server) apply(tx store.Tx, project string, zone googleapi.Doc, additions, deletions []googleapi.Doc) (googleapi.Doc, error) {
	name := zone.String("name")
	for i, rec := range deletions {
		at := fmt.Sprintf("entity.change.deletions[%d]", i)
		key := recordKey(project, name, strings.ToLower(rec.String("name")), rec.String("type"))
		var old googleapi.Doc
		found, err := tx.Get(key, &old)
		if err != nil {
			return nil, err
		}
		if !found {
			return nil, googleapi.NotFound("The '%s' resource named '%s (%s)' does not exist.", at, rec.String("name"), rec.String("type"))
		}
		if !same(rec, old) {
			return nil, googleapi.ConditionNotMet("Precondition not met for '%s'", at)
		}
		if automatic(zone, old) && !slices.ContainsFunc(additions, func(a googleapi.Doc) bool {
			return strings.EqualFold(a.String("name"), old.String("name")) && a["type"] == old["type"]
		}) {
			return nil, googleapi.InvalidArgument("Invalid value for '%s': the %s record at the zone's apex cannot be deleted.", at, old.String("type"))
		}
		if err := tx.Delete(key); err != nil {
			return nil, err
		}
	}
	for i, rec := range additions {
		at := fmt.Sprintf("entity.change.additions[%d]", i)
		if err := checkRecord(zone, rec, at); err != nil {
			return nil, err
		}
		key := recordKey(project, name, rec.String("name"), rec.String("type"))
		if tx.Has(key) {
			return nil, googleapi.AlreadyExists("The resource '%s' named '%s (%s)' already exists", at, rec.String("name"), rec.String("type"))
		}
		if err := conflict(tx, project, name, rec, at); err != nil {
			return nil, err
		}
		if err := tx.Put(key, rec); err != nil {
			return nil, err
		}
	}
	return s.record(tx, project, name, additions, deletions)
}

// conflict refuses a CNAME beside other records of its name.
func conflict(tx store.Tx, project, zone string, rec googleapi.Doc, at string) error {
	prefix := zoneKey(project, zone) + "/rrsets/" + rec.String("name") + "/"
	return tx.List(prefix, func(key string, _ []byte) error {
		other := strings.TrimPrefix(key, prefix)
		if other != rec.String("type") && (rec["type"] == "CNAME" || other == "CNAME") {
			return &googleapi.Error{Code: 400, Status: "INVALID_ARGUMENT", Reason: "cnameResourceRecordSetConflict",
				Message: fmt.Sprintf("The resource record set '%s' is invalid because the DNS name '%s' has a resource record set of the type '%s': a CNAME cannot share its name.", at, rec.String("name"), other)}
		}
		return nil
	})
}

// same tells whether a deletion names what is there: values in any order, and the TTL.
func same(a, b googleapi.Doc) bool {
	x, y := a.Strings("rrdatas"), b.Strings("rrdatas")
	slices.Sort(x)
	slices.Sort(y)
	return a.Int("ttl") == b.Int("ttl") && slices.Equal(x, y) && (len(x) > 0 || googleapi.Equal(a["routingPolicy"], b["routingPolicy"]))
}

// record keeps a change under its zone's next number, which starts at 0.
func (s *server) record(tx store.Tx, project, zone string, additions, deletions []googleapi.Doc) (googleapi.Doc, error) {
	counter := zoneKey(project, zone) + "/nextChange"
	var n int64
	if _, err := tx.Get(counter, &n); err != nil {
		return nil, err
	}
	if err := tx.Put(counter, n+1); err != nil {
		return nil, err
	}
	d := googleapi.Doc{"kind": "dns#change", "id": strconv.FormatInt(n, 10), "startTime": s.core.Now().UTC().Format("2006-01-02T15:04:05.000Z"), "status": "done"}
	if len(additions) > 0 {
		d["additions"] = additions
	}
	if len(deletions) > 0 {
		d["deletions"] = deletions
	}
	return d, tx.Put(fmt.Sprintf("%s/changes/%012d", zoneKey(project, zone), n), d)
}

func (s *server) createChange(_ context.Context, r *googleapi.Request) (any, error) {
	body, err := r.DecodeDoc(api.Change{})
	if err != nil {
		return nil, err
	}
	body.DropNulls()
	additions, deletions := body.Docs("additions"), body.Docs("deletions")
	if len(additions)+len(deletions) == 0 {
		return nil, googleapi.InvalidArgument("The change is empty: it has neither additions nor deletions.")
	}
	var change googleapi.Doc
	err = s.core.Store().Update(func(tx store.Tx) error {
		project, zone, err := s.zone(tx, r)
		if err != nil {
			return err
		}
		change, err = s.apply(tx, project, zone, additions, deletions)
		return err
	})
	return change, err
}

func (s *server) getChange(_ context.Context, r *googleapi.Request) (any, error) {
	var change googleapi.Doc
	err := s.core.Store().View(func(tx store.Tx) error {
		project, zone, err := s.zone(tx, r)
		if err != nil {
			return err
		}
		n, bad := strconv.ParseUint(r.Var("change"), 10, 63)
		found, err := tx.Get(fmt.Sprintf("%s/changes/%012d", zoneKey(project, zone.String("name")), n), &change)
		if err == nil && (!found || bad != nil) {
			err = googleapi.NotFound("The 'parameters.changeId' resource named '%s' does not exist.", r.Var("change"))
		}
		return err
	})
	return change, err
}

func (s *server) listChanges(_ context.Context, r *googleapi.Request) (any, error) {
	var all []googleapi.Doc
	err := s.core.Store().View(func(tx store.Tx) error {
		project, zone, err := s.zone(tx, r)
		if err == nil {
			all, err = googleapi.Children(tx, zoneKey(project, zone.String("name"))+"/changes")
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if r.Query("sortOrder") != "ascending" {
		slices.Reverse(all)
	}
	page, err := googleapi.Paginate(r, all, func(d googleapi.Doc) string { return d.String("id") }, 1000)
	if err != nil {
		return nil, err
	}
	out := googleapi.Doc{"kind": "dns#changesListResponse", "changes": page.Items}
	if page.Next != "" {
		out["nextPageToken"] = page.Next
	}
	return out, nil
}

func (s *server) listRecords(_ context.Context, r *googleapi.Request) (any, error) {
	name, typ := strings.ToLower(r.Query("name")), r.Query("type")
	if typ != "" && name == "" {
		return nil, googleapi.InvalidArgument("Invalid value for 'parameters.type': it needs the parameter name.")
	}
	var all []googleapi.Doc
	err := s.core.Store().View(func(tx store.Tx) error {
		project, zone, err := s.zone(tx, r)
		if err == nil {
			all, err = s.records(tx, project, zone.String("name"))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(d googleapi.Doc) bool {
		return name != "" && d.String("name") != name || typ != "" && d.String("type") != typ
	})
	page, err := googleapi.Paginate(r, all, func(d googleapi.Doc) string { return d.String("name") + " " + d.String("type") }, 1000)
	if err != nil {
		return nil, err
	}
	out := googleapi.Doc{"kind": "dns#resourceRecordSetsListResponse", "rrsets": page.Items}
	if page.Next != "" {
		out["nextPageToken"] = page.Next
	}
	return out, nil
}

// find reads the record set that a path names.
func (s *server) find(tx store.Tx, r *googleapi.Request) (project string, zone, rec googleapi.Doc, err error) {
	if project, zone, err = s.zone(tx, r); err != nil {
		return "", nil, nil, err
	}
	found, err := tx.Get(recordKey(project, zone.String("name"), strings.ToLower(r.Var("name")), r.Var("type")), &rec)
	if err == nil && !found {
		err = googleapi.NotFound("The 'parameters.name' resource named '%s (%s)' does not exist.", r.Var("name"), r.Var("type"))
	}
	return project, zone, rec, err
}

func (s *server) getRecord(_ context.Context, r *googleapi.Request) (any, error) {
	var rec googleapi.Doc
	err := s.core.Store().View(func(tx store.Tx) (err error) { _, _, rec, err = s.find(tx, r); return err })
	return rec, err
}

func (s *server) createRecord(_ context.Context, r *googleapi.Request) (any, error) {
	rec, err := r.DecodeDoc(api.ResourceRecordSet{})
	if err != nil {
		return nil, err
	}
	rec.DropNulls()
	err = s.core.Store().Update(func(tx store.Tx) error {
		project, zone, err := s.zone(tx, r)
		if err == nil {
			_, err = s.apply(tx, project, zone, []googleapi.Doc{rec}, nil)
		}
		return err
	})
	return rec, err
}

func (s *server) patchRecord(_ context.Context, r *googleapi.Request) (any, error) {
	change, err := r.DecodeDoc(api.ResourceRecordSet{})
	if err != nil {
		return nil, err
	}
	var rec googleapi.Doc
	err = s.core.Store().Update(func(tx store.Tx) error {
		project, zone, old, err := s.find(tx, r)
		if err != nil {
			return err
		}
		rec = old.Clone()
		rec.Merge(change)
		_, err = s.apply(tx, project, zone, []googleapi.Doc{rec}, []googleapi.Doc{old})
		return err
	})
	return rec, err
}

func (s *server) deleteRecord(_ context.Context, r *googleapi.Request) (any, error) {
	err := s.core.Store().Update(func(tx store.Tx) error {
		project, zone, rec, err := s.find(tx, r)
		if err == nil {
			_, err = s.apply(tx, project, zone, nil, []googleapi.Doc{rec})
		}
		return err
	})
	return nil, err
}
