package dns_test

import (
	"strings"
	"testing"

	api "google.golang.org/api/dns/v1beta2"

	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/googleapi/apitest"
	"patag/infra/sandbox/googleapi/dns"
	"patag/infra/sandbox/layout"
)

func start(t *testing.T) *apitest.Server {
	t.Helper()
	return apitest.Start(t, func(core *googleapi.Core, _ layout.Layout) { dns.Register(core) })
}

func TestZone(t *testing.T) {
	s := start(t)
	for _, base := range []string{"/dns/dns/v1beta2", "/dns/dns/v1"} {
		s.Walk(t, apitest.Resource{
			Collection: base + "/projects/" + apitest.Project + "/managedZones", List: "managedZones", Like: api.ManagedZone{}, ID: "ads",
			Body:   `{"name":"ads","dnsName":"Ads.example.com.","description":"d","labels":{"a":"b"},"dnssecConfig":{"state":"on"}}`,
			Want:   map[string]any{"dnsName": "ads.example.com.", "visibility": "public", "cloudLoggingConfig.kind": "dns#managedZoneCloudLoggingConfig", "dnssecConfig.nonExistence": "nsec3", "kind": "dns#managedZone"},
			Method: "PATCH", Update: `{"description":"e"}`, Updated: map[string]any{"description": "e", "dnsName": "ads.example.com.", "labels.a": "b"},
			Refused: []apitest.Refusal{{Body: `{"name":"Ads","dnsName":"a.com."}`, Code: 400, Want: "name"}, {Body: `{"name":"ads","dnsName":"a.com"}`, Code: 400, Want: "dnsName"},
				{Body: `{"name":"ads","dnsName":"a.com.","visibility":"secret"}`, Code: 400, Want: "visibility"}, {Body: `{"name":"ads","dnsName":"a.com.","peeringConfig":{}}`, Code: 400, Want: "private"}},
		})
	}
}

func TestRecords(t *testing.T) {
	s := start(t)
	c, err := api.NewService(t.Context(), s.Client("dns/")...)
	if err != nil {
		t.Fatal(err)
	}
	p := apitest.Project
	z, err := c.ManagedZones.Create(p, &api.ManagedZone{Name: "ads", DnsName: "ads.example.com.", Description: "x"}).Do()
	if err != nil || len(z.NameServers) != 4 || z.Id == 0 {
		t.Fatalf("zone: %v %+v", err, z)
	}
	l, err := c.ResourceRecordSets.List(p, "ads").Do()
	if err != nil || len(l.Rrsets) != 2 || l.Rrsets[0].Type != "NS" || l.Rrsets[0].Rrdatas[0] != z.NameServers[0] || l.Rrsets[1].Type != "SOA" {
		t.Fatalf("automatic records: %v %+v", err, l)
	}
	change := func(add, del []*api.ResourceRecordSet) (*api.Change, error) {
		return c.Changes.Create(p, "ads", &api.Change{Additions: add, Deletions: del}).Do()
	}
	a := func(name, typ string, ttl int64, data ...string) []*api.ResourceRecordSet {
		return []*api.ResourceRecordSet{{Name: name, Type: typ, Ttl: ttl, Rrdatas: data}}
	}
	ch, err := change(a("tag.ads.example.com.", "A", 300, "192.0.2.1"), nil)
	if err != nil || ch.Status != "done" || ch.Id != "1" {
		t.Fatalf("change: %v %+v", err, ch)
	}
	s.Restart()
	if c, err = api.NewService(t.Context(), s.Client("dns/")...); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Changes.Get(p, "ads", "1").Do(); err != nil || got.Additions[0].Rrdatas[0] != "192.0.2.1" {
		t.Errorf("the change read back: %v %+v", err, got)
	}
	for name, c := range map[string]struct {
		add, del []*api.ResourceRecordSet
		code     int
	}{
		"exists":          {a("tag.ads.example.com.", "A", 60, "192.0.2.2"), nil, 409},
		"outside":         {a("tag.example.org.", "A", 60, "192.0.2.2"), nil, 400},
		"no address":      {a("x.ads.example.com.", "A", 60, "host"), nil, 400},
		"cname at apex":   {a("ads.example.com.", "CNAME", 60, "x."), nil, 400},
		"cname conflict":  {a("tag.ads.example.com.", "CNAME", 60, "x."), nil, 400},
		"type":            {a("x.ads.example.com.", "BOGUS", 60, "x."), nil, 400},
		"empty":           {nil, nil, 400},
		"not there":       {nil, a("y.ads.example.com.", "A", 60, "192.0.2.2"), 404},
		"other value":     {nil, a("tag.ads.example.com.", "A", 300, "192.0.2.9"), 412},
		"apex NS":         {nil, a("ads.example.com.", "NS", 21600, z.NameServers...), 400},
		"half is nothing": {append(a("n.ads.example.com.", "A", 60, "192.0.2.3"), a("x.ads.example.com.", "A", 60, "bad")...), nil, 400},
	} {
		_, err := change(c.add, c.del)
		t.Log(name)
		apitest.WantCode(t, err, c.code)
	}
	if got, _ := c.ResourceRecordSets.List(p, "ads").Name("n.ads.example.com.").Do(); len(got.Rrsets) != 0 {
		t.Error("half of a refused change was made")
	}
	if _, err := change(a("tag.ads.example.com.", "A", 60, "192.0.2.2"), a("tag.ads.example.com.", "A", 300, "192.0.2.1")); err != nil {
		t.Errorf("replace: %v", err)
	}
	if rec, err := c.ResourceRecordSets.Patch(p, "ads", "tag.ads.example.com.", "A", &api.ResourceRecordSet{Name: "tag.ads.example.com.", Type: "A", Ttl: 61}).Do(); err != nil || rec.Ttl != 61 || rec.Rrdatas[0] != "192.0.2.2" {
		t.Errorf("patch: %v %+v", err, rec)
	}
	apitest.WantCode(t, c.ManagedZones.Delete(p, "ads").Do(), 400)
	if err := c.ResourceRecordSets.Delete(p, "ads", "tag.ads.example.com.", "A").Do(); err != nil {
		t.Errorf("delete a record: %v", err)
	}
	if err := c.ManagedZones.Delete(p, "ads").Do(); err != nil {
		t.Errorf("delete the zone: %v", err)
	}
	z, err = c.ManagedZones.Create(p, &api.ManagedZone{Name: "in", DnsName: "internal.", Visibility: "private"}).Do()
	if err != nil || strings.Join(z.NameServers, "") != "ns-gcp-private.googledomains.com." {
		t.Errorf("private zone: %v %+v", err, z)
	}
}
