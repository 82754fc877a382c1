package stacks

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"patag/infra/pulumitest"
	"patag/stacks/config"
)

// TestDemoBidder: a staging has a bidder that its catalogue asks and that its tag servers, and nobody else, may reach; production has none.
func TestDemoBidder(t *testing.T) {
	staging := mustRun(t, "staging-acme", config.FerretDB, nil)
	const endpoint = "http://bidder.staging-acme.svc.cluster.local:8080/openrtb2"
	if got := demoEndpoint(t, staging); got != endpoint {
		t.Errorf("the catalogue asks %q", got)
	}
	service := staging.One(t, "kubernetes:core/v1:Service", "bidder")
	if service.At("metadata.name") != "bidder" || service.At("metadata.namespace") != "staging-acme" || fmt.Sprint(service.At("spec.ports[0].port")) != "8080" {
		t.Errorf("%v in %v: not what the endpoint names", service.At("metadata.name"), service.At("metadata.namespace"))
	}
	policy := staging.One(t, "kubernetes:networking.k8s.io/v1:NetworkPolicy", "bidder")
	if from := fmt.Sprint(policy.At("spec.ingress[0].from")); from != "[map[podSelector:map[matchLabels:map[patag/access-bidder:true]]]]" || policy.At("spec.egress") != nil {
		t.Errorf("in from %s, out to %v", from, policy.At("spec.egress"))
	}
	for _, p := range pods(staging) {
		if got, want := p.labels["patag/access-bidder"] != nil, p.labels["app.kubernetes.io/name"] == "tag"; got != want {
			t.Errorf("%s may reach the bidder: %v, want %v", p.owner, got, want)
		}
	}
	if out := fmt.Sprint(staging.One(t, "kubernetes:networking.k8s.io/v1:NetworkPolicy", "tag").At("spec.egress")); !strings.Contains(out, "app.kubernetes.io/name:bidder") {
		t.Errorf("the tag servers may go out to %s", out)
	}
	production := mustRun(t, "production", config.FerretDB, nil)
	for _, r := range production.Resources {
		if strings.Contains(r.Key(), "bidder") {
			t.Errorf("production has %s", r.Key())
		}
	}
	if got := demoEndpoint(t, production); !strings.HasPrefix(got, "http://127.0.0.1:") {
		t.Errorf("production's catalogue asks %q", got)
	}
}

// TestTagServersReachDemandSources: over TLS anywhere on the Internet, and nothing that is not on it.
func TestTagServersReachDemandSources(t *testing.T) {
	out, err := json.Marshal(mustRun(t, "production", config.MongoDB, nil).One(t, "kubernetes:networking.k8s.io/v1:NetworkPolicy", "tag").At("spec.egress"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"cidr":"0.0.0.0/0"`, `"10.0.0.0/8"`, `"172.16.0.0/12"`, `"192.168.0.0/16"`, `"169.254.0.0/16"`, `"port":443`} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%s lacks %s", out, want)
		}
	}
}

func demoEndpoint(t *testing.T, result *pulumitest.Result) string {
	t.Helper()
	text, _ := result.One(t, "kubernetes:core/v1:ConfigMap", "catalogue").At(`data["catalogue.json"]`).(string)
	var doc struct {
		DemandSources []struct{ ID, Endpoint string }
	}
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	for _, s := range doc.DemandSources {
		if s.ID == demoSource {
			return s.Endpoint
		}
	}
	t.Fatalf("no %s in the catalogue", demoSource)
	return ""
}

// TestAskBidder: nothing but the endpoint changes.
func TestAskBidder(t *testing.T) {
	raw, err := os.ReadFile("../app/tag/demo/catalogue.json")
	if err != nil {
		t.Fatal(err)
	}
	out, err := askBidder(raw, "http://b/x")
	if err != nil {
		t.Fatal(err)
	}
	var before, after any
	if err := json.Unmarshal([]byte(strings.Replace(string(raw), "http://127.0.0.1:8090/openrtb2", "http://b/x", 1)), &before); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out, &after); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(before) != fmt.Sprint(after) || string(out) == string(raw) {
		t.Error("something else changed, or nothing")
	}
	if out, err := askBidder([]byte(`{"demandSources":[{"id":"x"}]}`), "e"); err != nil || string(out) != `{"demandSources":[{"id":"x"}]}` {
		t.Errorf("a catalogue without the source: %v %s", err, out)
	}
	if _, err := askBidder([]byte(`{"demandSources":{}}`), "e"); err == nil {
		t.Error("sources that are no list are taken")
	}
}
