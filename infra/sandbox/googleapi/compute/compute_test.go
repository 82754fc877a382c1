package compute

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	api "google.golang.org/api/compute/v0.beta"
	gapi "google.golang.org/api/googleapi"
	"google.golang.org/api/option"

	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/layout"
	"patag/infra/sandbox/store"
)

const (
	project = googleapi.DefaultProject
	region  = "europe-west1"
)

type bearer string

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r.Header.Set("Authorization", "Bearer "+string(b))
	return http.DefaultTransport.RoundTrip(r)
}

type world struct {
	*api.Service
	service *Service
	store   *store.Store
	url     string
}

// open serves Compute Engine on the state in a folder; stop ends it without ceremony, as a kill would.
func open(t *testing.T, dir string) (w *world, stop func()) {
	t.Helper()
	st, err := store.Open(filepath.Join(dir, "api.db"))
	if err != nil {
		t.Fatal(err)
	}
	core, err := googleapi.New(googleapi.Options{Store: st, Settings: layout.Settings{Instance: 9, API: "127.0.0.1:1"},
		Authenticator: googleapi.AuthenticatorFunc(func(token string) (string, error) {
			if token != "good" {
				return "", errors.New("unknown")
			}
			return "admin@example.com", nil
		})})
	if err != nil {
		t.Fatal(err)
	}
	s := Register(core, Options{})
	srv := httptest.NewServer(core)
	client, err := api.NewService(context.Background(), option.WithEndpoint(srv.URL+"/compute/compute/beta/"), option.WithHTTPClient(&http.Client{Transport: bearer("good")}))
	if err != nil {
		t.Fatal(err)
	}
	return &world{client, s, st, srv.URL}, func() { srv.Close(); st.Close() }
}

func newWorld(t *testing.T) *world {
	w, stop := open(t, t.TempDir())
	t.Cleanup(stop)
	return w
}

// done asserts that an operation was given and is over, and that it can be read and waited for.
func (w *world) done(t *testing.T) func(*api.Operation, error) *api.Operation {
	return func(op *api.Operation, err error) *api.Operation {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if op.Status != "DONE" || op.Error != nil || op.Name == "" || op.TargetLink == "" {
			t.Fatalf("operation %+v", op)
		}
		switch {
		case op.Region != "":
			_, err = w.RegionOperations.Wait(project, Base(op.Region), op.Name).Do()
		case op.Zone != "":
			_, err = w.ZoneOperations.Wait(project, Base(op.Zone), op.Name).Do()
		default:
			_, err = w.GlobalOperations.Get(project, op.Name).Do()
		}
		if err != nil {
			t.Fatalf("read the operation back: %v", err)
		}
		return op
	}
}

func refused(t *testing.T, err error, code int, text string) {
	t.Helper()
	var e *gapi.Error
	if !errors.As(err, &e) || e.Code != code || !strings.Contains(e.Message, text) {
		t.Fatalf("error %v, want %d with %q", err, code, text)
	}
}

func (w *world) network(t *testing.T, name string) string {
	t.Helper()
	w.done(t)(w.Networks.Insert(project, &api.Network{Name: name, AutoCreateSubnetworks: false, ForceSendFields: []string{"AutoCreateSubnetworks"}}).Do())
	n, err := w.Networks.Get(project, name).Do()
	if err != nil {
		t.Fatal(err)
	}
	return n.SelfLink
}

func (w *world) subnetwork(t *testing.T, network, name string) *api.Subnetwork {
	t.Helper()
	w.done(t)(w.Subnetworks.Insert(project, region, &api.Subnetwork{Name: name, Network: network, IpCidrRange: "10.0.0.0/20",
		SecondaryIpRanges: []*api.SubnetworkSecondaryRange{{RangeName: "pods", IpCidrRange: "10.4.0.0/16"}, {RangeName: "services", IpCidrRange: "10.8.0.0/20"}}}).Do())
	s, err := w.Subnetworks.Get(project, region, name).Do()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestNetworkLife(t *testing.T) {
	w := newWorld(t)
	refused(t, func() error { _, err := w.Networks.Insert(project, &api.Network{Name: "Bad"}).Do(); return err }(), 400, "resource.name")
	refused(t, func() error { _, err := w.Networks.Insert(project, &api.Network{Name: "n"}).Do(); return err }(), 400, "autoCreateSubnetworks")
	link := w.network(t, "n")
	if want := "https://www.googleapis.com/compute/beta/projects/" + project + "/global/networks/n"; link != want {
		t.Errorf("self link %s, want %s", link, want)
	}
	n, _ := w.Networks.Get(project, "n").Do()
	if n.Mtu != 1460 || n.RoutingConfig.RoutingMode != "REGIONAL" || n.Id == 0 || n.CreationTimestamp == "" || n.Kind != "compute#network" {
		t.Errorf("defaults: %+v", n)
	}
	_, err := w.Networks.Insert(project, &api.Network{Name: "n", ForceSendFields: []string{"AutoCreateSubnetworks"}}).Do()
	refused(t, err, 409, "The resource 'projects/patag-sandbox/global/networks/n' already exists")
	w.done(t)(w.Networks.Patch(project, "n", &api.Network{RoutingConfig: &api.NetworkRoutingConfig{RoutingMode: "GLOBAL"}}).Do())
	if n, _ = w.Networks.Get(project, "n").Do(); n.RoutingConfig.RoutingMode != "GLOBAL" {
		t.Error("the patch is not there")
	}
	// What the provider does for deleteDefaultRoutesOnCreate.
	routes, err := w.Routes.List(project).Filter(`(network="` + link + `") AND (destRange="0.0.0.0/0")`).Do()
	if err != nil || len(routes.Items) != 1 || !strings.HasSuffix(routes.Items[0].NextHopGateway, "default-internet-gateway") || routes.Items[0].Network != link {
		t.Fatalf("default route: %v %+v", err, routes)
	}
	w.done(t)(w.Routes.Delete(project, routes.Items[0].Name).Do())

	sub := w.subnetwork(t, link, "s")
	_, err = w.Networks.Delete(project, "n").Do()
	refused(t, err, 400, "The network resource 'projects/patag-sandbox/global/networks/n' is already being used by 'projects/patag-sandbox/regions/europe-west1/subnetworks/s'")
	if sub.GatewayAddress != "10.0.0.1" || sub.Purpose != "PRIVATE" || sub.StackType != "IPV4_ONLY" || sub.Fingerprint == "" || sub.Region == "" {
		t.Errorf("subnetwork: %+v", sub)
	}
	if n, _ = w.Networks.Get(project, "n").Do(); len(n.Subnetworks) != 1 || n.Subnetworks[0] != sub.SelfLink {
		t.Errorf("network's subnetworks: %v", n.Subnetworks)
	}
	w.done(t)(w.Subnetworks.Delete(project, region, "s").Do())
	w.done(t)(w.Networks.Delete(project, "n").Do())
	_, err = w.Networks.Get(project, "n").Do()
	refused(t, err, 404, "The resource 'projects/patag-sandbox/global/networks/n' was not found")
	if routes, _ := w.Routes.List(project).Do(); len(routes.Items) != 0 {
		t.Errorf("routes left: %v", routes.Items)
	}
}

func TestSubnetworkRules(t *testing.T) {
	w := newWorld(t)
	link := w.network(t, "n")
	w.subnetwork(t, link, "s")
	insert := func(s *api.Subnetwork) error {
		if s.Network == "" {
			s.Network = "projects/" + project + "/global/networks/n"
		}
		_, err := w.Subnetworks.Insert(project, region, s).Do()
		return err
	}
	refused(t, insert(&api.Subnetwork{Name: "x", IpCidrRange: "10.4.128.0/20"}), 400, "Invalid IPCidrRange: 10.4.128.0/20 conflicts with existing subnetwork 's' in region 'europe-west1'.")
	refused(t, insert(&api.Subnetwork{Name: "x", IpCidrRange: "10.1.0.5/20"}), 400, "its first address is 10.1.0.0/20")
	refused(t, insert(&api.Subnetwork{Name: "x", IpCidrRange: "10.1.0.0/30"}), 400, "prefix length")
	refused(t, insert(&api.Subnetwork{Name: "x", IpCidrRange: "10.1.0.0/24", Network: "n"}), 400, "malformed")
	refused(t, insert(&api.Subnetwork{Name: "x", IpCidrRange: "10.1.0.0/24", Network: "global/networks/other"}), 404, "networks/other' was not found")
	_, err := w.Subnetworks.Insert(project, "mars-north1", &api.Subnetwork{Name: "x", Network: link, IpCidrRange: "10.1.0.0/24"}).Do()
	refused(t, err, 400, "Unknown region")
	w2 := w.network(t, "n2")
	if err := insert(&api.Subnetwork{Name: "other", IpCidrRange: "10.0.0.0/20", Network: w2}); err != nil {
		t.Errorf("the same range in another network: %v", err)
	}

	s, _ := w.Subnetworks.Get(project, region, "s").Do()
	_, err = w.Subnetworks.Patch(project, region, "s", &api.Subnetwork{Fingerprint: "AAAAAAAAAAA=", SecondaryIpRanges: s.SecondaryIpRanges}).Do()
	refused(t, err, 412, "fingerprint")
	w.done(t)(w.Subnetworks.Patch(project, region, "s", &api.Subnetwork{Fingerprint: s.Fingerprint,
		SecondaryIpRanges: append(s.SecondaryIpRanges, &api.SubnetworkSecondaryRange{RangeName: "more", IpCidrRange: "10.9.0.0/20"})}).Do())
	w.done(t)(w.Subnetworks.ExpandIpCidrRange(project, region, "s", &api.SubnetworksExpandIpCidrRangeRequest{IpCidrRange: "10.0.0.0/19"}).Do())
	_, err = w.Subnetworks.ExpandIpCidrRange(project, region, "s", &api.SubnetworksExpandIpCidrRangeRequest{IpCidrRange: "10.0.0.0/24"}).Do()
	refused(t, err, 400, "must contain")
	w.done(t)(w.Subnetworks.SetPrivateIpGoogleAccess(project, region, "s", &api.SubnetworksSetPrivateIpGoogleAccessRequest{PrivateIpGoogleAccess: true}).Do())
	s, _ = w.Subnetworks.Get(project, region, "s").Do()
	if s.IpCidrRange != "10.0.0.0/19" || len(s.SecondaryIpRanges) != 3 || !s.PrivateIpGoogleAccess {
		t.Errorf("after the changes: %+v", s)
	}
}

func TestRouterWithNAT(t *testing.T) {
	w := newWorld(t)
	link := w.network(t, "n")
	w.done(t)(w.Routers.Insert(project, region, &api.Router{Name: "r", Network: link}).Do())
	nat := &api.RouterNat{Name: "nat", NatIpAllocateOption: "AUTO_ONLY", SourceSubnetworkIpRangesToNat: "ALL_SUBNETWORKS_ALL_IP_RANGES", LogConfig: &api.RouterNatLogConfig{Enable: true, Filter: "ERRORS_ONLY"}}
	w.done(t)(w.Routers.Patch(project, region, "r", &api.Router{Nats: []*api.RouterNat{nat}}).Do())
	r, err := w.Routers.Get(project, region, "r").Do()
	if err != nil || len(r.Nats) != 1 || r.Nats[0].TcpEstablishedIdleTimeoutSec != 1200 || r.Nats[0].Type != "PUBLIC" || r.Nats[0].EndpointTypes[0] != "ENDPOINT_TYPE_VM" {
		t.Fatalf("router %+v, %v", r, err)
	}
	_, err = w.Routers.Patch(project, region, "r", &api.Router{Nats: []*api.RouterNat{nat, {Name: "nat2", NatIpAllocateOption: "AUTO_ONLY", SourceSubnetworkIpRangesToNat: "ALL_SUBNETWORKS_ALL_IP_RANGES"}}}).Do()
	refused(t, err, 400, "already covers")
	w.done(t)(w.Routers.Patch(project, region, "r", &api.Router{Nats: []*api.RouterNat{}, ForceSendFields: []string{"Nats"}}).Do())
	if r, _ = w.Routers.Get(project, region, "r").Do(); len(r.Nats) != 0 {
		t.Errorf("the NAT is still there: %+v", r.Nats)
	}
	_, err = w.Networks.Delete(project, "n").Do()
	refused(t, err, 400, "routers/r")
}

func TestAddresses(t *testing.T) {
	dir := t.TempDir()
	w, stop := open(t, dir)
	w.done(t)(w.GlobalAddresses.Insert(project, &api.Address{Name: "web", AddressType: "EXTERNAL"}).Do())
	a, err := w.GlobalAddresses.Get(project, "web").Do()
	if err != nil || a.Address != "127.9.2.1" || a.Status != "RESERVED" || a.LabelFingerprint != "42WmSpB8rSM=" || a.Purpose != "" || a.IpVersion != "IPV4" {
		t.Fatalf("address %+v, %v", a, err)
	}
	w.done(t)(w.GlobalAddresses.SetLabels(project, "web", &api.GlobalSetLabelsRequest{LabelFingerprint: a.LabelFingerprint, Labels: map[string]string{"app": "tag"}}).Do())
	_, err = w.GlobalAddresses.SetLabels(project, "web", &api.GlobalSetLabelsRequest{LabelFingerprint: a.LabelFingerprint, Labels: map[string]string{"app": "x"}}).Do()
	refused(t, err, 412, "fingerprint")
	// A forwarding rule of GKE's holds the address.
	rule := "projects/" + project + "/global/forwardingRules/k8s-fr"
	if err := w.store.Update(func(tx store.Tx) error {
		return w.service.Materialise(tx, rule, googleapi.Doc{"IPAddress": a.Address, "portRange": "80-80"})
	}); err != nil {
		t.Fatal(err)
	}
	if a, _ = w.GlobalAddresses.Get(project, "web").Do(); a.Status != "IN_USE" || len(a.Users) != 1 {
		t.Errorf("status %s, users %v", a.Status, a.Users)
	}
	_, err = w.GlobalAddresses.Delete(project, "web").Do()
	refused(t, err, 400, "The address resource 'projects/patag-sandbox/global/addresses/web' is already being used by '"+rule+"'")
	stop()

	w, stop = open(t, dir)
	defer stop()
	b, err := w.GlobalAddresses.Get(project, "web").Do()
	if err != nil || b.Address != a.Address || b.Labels["app"] != "tag" || b.Id != a.Id {
		t.Fatalf("after a restart: %+v, %v", b, err)
	}
	w.done(t)(w.GlobalForwardingRules.Delete(project, "k8s-fr").Do())
	w.done(t)(w.GlobalAddresses.Delete(project, "web").Do())

	link := w.network(t, "n")
	sub := w.subnetwork(t, link, "s")
	w.done(t)(w.Addresses.Insert(project, region, &api.Address{Name: "in", AddressType: "INTERNAL", Subnetwork: sub.SelfLink}).Do())
	in, _ := w.Addresses.Get(project, region, "in").Do()
	if in.Address != "10.0.15.253" || in.Purpose != "GCE_ENDPOINT" {
		t.Errorf("internal address %+v", in)
	}
	_, err = w.Subnetworks.Delete(project, region, "s").Do()
	refused(t, err, 400, "addresses/in")
	agg, err := w.Addresses.AggregatedList(project).Do()
	if err != nil || len(agg.Items["regions/europe-west1"].Addresses) != 1 || agg.Items["global"].Warning == nil {
		t.Errorf("aggregated list %+v, %v", agg, err)
	}
}

func TestFirewalls(t *testing.T) {
	w := newWorld(t)
	link := w.network(t, "n")
	w.done(t)(w.Firewalls.Insert(project, &api.Firewall{Name: "f", Network: link, SourceRanges: []string{"35.191.0.0/16", "130.211.0.0/22"}, Allowed: []*api.FirewallAllowed{{IPProtocol: "TCP", Ports: []string{"8080", "30000-32767"}}}}).Do())
	f, err := w.Firewalls.Get(project, "f").Do()
	if err != nil || f.Direction != "INGRESS" || f.Priority != 1000 || f.Allowed[0].IPProtocol != "tcp" || f.LogConfig == nil {
		t.Fatalf("firewall %+v, %v", f, err)
	}
	for _, c := range []struct {
		f    api.Firewall
		text string
	}{
		{api.Firewall{}, "Exactly one"},
		{api.Firewall{Allowed: []*api.FirewallAllowed{{IPProtocol: "icmp", Ports: []string{"80"}}}}, "Ports"},
		{api.Firewall{Allowed: []*api.FirewallAllowed{{IPProtocol: "tcp", Ports: []string{"99999"}}}}, "port"},
		{api.Firewall{Allowed: []*api.FirewallAllowed{{IPProtocol: "tcp"}}, SourceRanges: []string{"10.0.0.1/8"}}, "CIDR"},
		{api.Firewall{Allowed: []*api.FirewallAllowed{{IPProtocol: "tcp"}}, SourceTags: []string{"a"}, TargetServiceAccounts: []string{"b@c"}}, "together"},
	} {
		c.f.Name, c.f.Network = "g", link
		_, err := w.Firewalls.Insert(project, &c.f).Do()
		refused(t, err, 400, c.text)
	}
	w.done(t)(w.Firewalls.Patch(project, "f", &api.Firewall{Priority: 900, SourceRanges: []string{"10.0.0.0/8"}}).Do())
	if f, _ = w.Firewalls.Get(project, "f").Do(); f.Priority != 900 || !slices.Equal(f.SourceRanges, []string{"10.0.0.0/8"}) || len(f.Allowed) != 1 {
		t.Errorf("after the patch: %+v", f)
	}
	w.done(t)(w.Firewalls.Delete(project, "f").Do())
}

func TestSecurityPolicy(t *testing.T) {
	w := newWorld(t)
	w.done(t)(w.SecurityPolicies.Insert(project, &api.SecurityPolicy{Name: "p", Rules: []*api.SecurityPolicyRule{{Priority: 1000, Action: "throttle", Description: "limit",
		Match:            &api.SecurityPolicyRuleMatcher{VersionedExpr: "SRC_IPS_V1", Config: &api.SecurityPolicyRuleMatcherConfig{SrcIpRanges: []string{"*"}}},
		RateLimitOptions: &api.SecurityPolicyRuleRateLimitOptions{ConformAction: "allow", ExceedAction: "deny(429)", EnforceOnKey: "IP", RateLimitThreshold: &api.SecurityPolicyRuleRateLimitOptionsThreshold{Count: 100, IntervalSec: 60}}}}}).Do())
	p, err := w.SecurityPolicies.Get(project, "p").Do()
	if err != nil || len(p.Rules) != 2 || p.Rules[1].Priority != defaultRule || p.Rules[1].Action != "allow" || p.Type != "CLOUD_ARMOR" || p.Fingerprint == "" {
		t.Fatalf("policy %+v, %v", p, err)
	}
	w.done(t)(w.SecurityPolicies.AddRule(project, "p", &api.SecurityPolicyRule{Priority: 500, Action: "deny(403)", Match: &api.SecurityPolicyRuleMatcher{Expr: &api.Expr{Expression: "origin.region_code == 'XX'"}}}).Do())
	_, err = w.SecurityPolicies.AddRule(project, "p", &api.SecurityPolicyRule{Priority: 500, Action: "allow", Match: &api.SecurityPolicyRuleMatcher{Expr: &api.Expr{Expression: "true"}}}).Do()
	refused(t, err, 400, "same priorities")
	w.done(t)(w.SecurityPolicies.PatchRule(project, "p", &api.SecurityPolicyRule{Priority: 500, Action: "deny(404)"}).Priority(500).Do())
	r, err := w.SecurityPolicies.GetRule(project, "p").Priority(500).Do()
	if err != nil || r.Action != "deny(404)" || r.Match.Expr == nil {
		t.Errorf("rule %+v, %v", r, err)
	}
	_, err = w.SecurityPolicies.Patch(project, "p", &api.SecurityPolicy{Description: "x", Fingerprint: p.Fingerprint}).Do()
	refused(t, err, 412, "fingerprint")
	w.done(t)(w.SecurityPolicies.RemoveRule(project, "p").Priority(500).Do())
	_, err = w.SecurityPolicies.RemoveRule(project, "p").Priority(defaultRule).Do()
	refused(t, err, 400, "default rule")
	// A backend service of GKE's holds the policy.
	if err := w.store.Update(func(tx store.Tx) error {
		return w.service.Materialise(tx, "projects/"+project+"/global/backendServices/b", googleapi.Doc{"securityPolicy": Link("projects/" + project + "/global/securityPolicies/p")})
	}); err != nil {
		t.Fatal(err)
	}
	_, err = w.SecurityPolicies.Delete(project, "p").Do()
	refused(t, err, 400, "is already being used by 'projects/patag-sandbox/global/backendServices/b'")
	w.done(t)(w.BackendServices.Delete(project, "b").Do())
	w.done(t)(w.SecurityPolicies.Delete(project, "p").Do())
}

func TestCertificatesAndPolicies(t *testing.T) {
	w := newWorld(t)
	w.done(t)(w.SslCertificates.Insert(project, &api.SslCertificate{Name: "c", Type: "MANAGED", Managed: &api.SslCertificateManagedSslCertificate{Domains: []string{"ads.example.com"}}}).Do())
	c, err := w.SslCertificates.Get(project, "c").Do()
	if err != nil || c.Managed.Status != "PROVISIONING" || c.Managed.DomainStatus["ads.example.com"] != "PROVISIONING" {
		t.Fatalf("certificate %+v, %v", c, err)
	}
	_, err = w.SslCertificates.Insert(project, &api.SslCertificate{Name: "d", Managed: &api.SslCertificateManagedSslCertificate{Domains: []string{"*.example.com"}}}).Do()
	refused(t, err, 400, "wildcard")
	w.done(t)(w.SslPolicies.Insert(project, &api.SslPolicy{Name: "p", Profile: "MODERN", MinTlsVersion: "TLS_1_2"}).Do())
	p, _ := w.SslPolicies.Get(project, "p").Do()
	if len(p.EnabledFeatures) == 0 || p.Fingerprint == "" {
		t.Errorf("policy %+v", p)
	}
	w.done(t)(w.ResourcePolicies.Insert(project, region, &api.ResourcePolicy{Name: "daily", SnapshotSchedulePolicy: &api.ResourcePolicySnapshotSchedulePolicy{
		Schedule: &api.ResourcePolicySnapshotSchedulePolicySchedule{DailySchedule: &api.ResourcePolicyDailyCycle{DaysInCycle: 1, StartTime: "04:00"}}}}).Do())
	rp, err := w.ResourcePolicies.Get(project, region, "daily").Do()
	if err != nil || rp.Status != "READY" || rp.SnapshotSchedulePolicy.Schedule.DailySchedule.Duration == "" {
		t.Errorf("resource policy %+v, %v", rp, err)
	}
}

func TestPlacesAndImages(t *testing.T) {
	w := newWorld(t)
	z, err := w.Zones.List(project).Filter("region eq .*europe-west1.*").Do()
	if err != nil || len(z.Items) != 3 {
		t.Errorf("zones %v, %v", z, err)
	}
	m, err := w.MachineTypes.Get(project, "europe-west1-b", "n1-highcpu-2").Do()
	if err != nil || m.GuestCpus != 2 || m.MemoryMb != 1843 {
		t.Errorf("machine type %+v, %v", m, err)
	}
	_, err = w.MachineTypes.Get(project, "europe-west1-b", "huge").Do()
	refused(t, err, 404, "was not found")
	i, err := w.Images.GetFromFamily("debian-cloud", "debian-12").Do()
	if err != nil || !strings.HasPrefix(i.Name, "debian-12-") {
		t.Errorf("image %+v, %v", i, err)
	}
	p, err := w.Projects.Get(project).Do()
	if err != nil || !strings.HasSuffix(p.DefaultServiceAccount, "-compute@developer.gserviceaccount.com") {
		t.Errorf("project %+v, %v", p, err)
	}
	_, err = w.Projects.Get("nobody").Do()
	refused(t, err, 404, "projects/nobody")
	_, err = w.Instances.Insert(project, "europe-west1-b", &api.Instance{Name: "x"}).Do()
	refused(t, err, 501, "compute.instances.insert")
	_, err = w.Instances.Stop(project, "europe-west1-b", "x").Do()
	refused(t, err, 501, "compute.instances.stop")
}

func TestListsAndPaging(t *testing.T) {
	w := newWorld(t)
	for _, n := range []string{"a", "b", "c"} {
		w.network(t, n)
	}
	var names []string
	pages := 0
	err := w.Networks.List(project).MaxResults(2).Pages(context.Background(), func(l *api.NetworkList) error {
		pages++
		for _, n := range l.Items {
			names = append(names, n.Name)
		}
		return nil
	})
	if err != nil || pages != 2 || !reflect.DeepEqual(names, []string{"a", "b", "c"}) {
		t.Errorf("%d pages, %v, %v", pages, names, err)
	}
	_, err = w.Networks.List(project).Filter("nonsense=1").Do()
	refused(t, err, 400, "Invalid list filter expression")
	resp, err := http.Get(w.url + "/compute/compute/v1/projects/" + project + "/global/networks/a?access_token=good")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	buf := make([]byte, 4096)
	n, _ := resp.Body.Read(buf)
	if body := string(buf[:n]); !strings.Contains(body, "https://www.googleapis.com/compute/v1/projects/"+project+"/global/networks/a") || strings.Contains(body, "/beta/") {
		t.Errorf("v1 answer: %s", body)
	}
}

func TestFilter(t *testing.T) {
	d := googleapi.Doc{"name": "web-1", "mtu": 1460.0, "autoCreateSubnetworks": false, "description": "the web", "subnetworks": []any{"a", "b"}}
	for text, want := range map[string]bool{
		`name=web-1`: true, `name = "web-1"`: true, `name=web-*`: true, `name!=web-1`: false, `name eq web-.*`: true, `name eq web`: false, `name ne 'x.*'`: true,
		`mtu>1400`: true, `mtu<=1460`: true, `mtu < 1000`: false, `autoCreateSubnetworks=false`: true,
		`(name=web-1) (mtu=1460)`: true, `name=x OR mtu=1460`: true, `NOT name=x`: true, `-name=web-1`: false, `name=web-1 AND mtu=1`: false,
		`description:web`: true, `description:*`: true, `subnetworks:b`: true, `subnetworks=c`: false, ``: true,
		`name eq ".*\bweb\b.*"`: true,
	} {
		f, err := parseFilter(text, api.Network{})
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if f(d) != want {
			t.Errorf("%s: %v, want %v", text, !want, want)
		}
	}
	for _, text := range []string{`name`, `name=`, `=x`, `(name=x`, `name=x)`, `foo=x`, `name eq (`, `name ~ x`, `OR`, `name=x AND`} {
		if _, err := parseFilter(text, api.Network{}); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

func FuzzFilter(f *testing.F) {
	for _, s := range []string{`name=x`, `(name eq "a.*") OR -mtu>3`, `name:"\""`, `((((`, `labels.a=b`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if fn, err := parseFilter(text, api.Address{}); err == nil {
			fn(googleapi.Doc{"name": "x", "labels": map[string]any{"a": "b"}})
		}
	})
}

// TestStoredDocumentsConform: what the sandbox answers must fit Google's types, field by field.
func TestStoredDocumentsConform(t *testing.T) {
	w := newWorld(t)
	link := w.network(t, "n")
	w.subnetwork(t, link, "s")
	w.done(t)(w.GlobalAddresses.Insert(project, &api.Address{Name: "web"}).Do())
	w.done(t)(w.Firewalls.Insert(project, &api.Firewall{Name: "f", Network: link, Allowed: []*api.FirewallAllowed{{IPProtocol: "all"}}}).Do())
	w.done(t)(w.SecurityPolicies.Insert(project, &api.SecurityPolicy{Name: "p"}).Do())
	w.done(t)(w.SslPolicies.Insert(project, &api.SslPolicy{Name: "p"}).Do())
	checked := 0
	for _, k := range w.service.kinds {
		for _, scope := range k.scopes {
			docs, err := w.service.children(strings.NewReplacer("{project}", project, "{region}", region, "{zone}", "europe-west1-b").Replace(scopePattern(scope)+"/"+k.collection), k)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range docs {
				checked++
				if err := googleapi.Conform(d, k.like); err != nil {
					t.Errorf("%s: %v", k.collection, err)
				}
			}
		}
	}
	if checked < 8 {
		t.Errorf("only %d documents", checked)
	}
	for _, d := range []struct {
		doc  googleapi.Doc
		like any
	}{{w.service.projectDoc(project), api.Project{}}, {regionDoc(project, region), api.Region{}}, {zoneDoc(project, "europe-west1-b"), api.Zone{}}} {
		if err := googleapi.Conform(d.doc, d.like); err != nil {
			t.Error(err)
		}
	}
}
