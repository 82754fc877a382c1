package gcpplugin

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/util/rpcutil/rpcerror"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/protobuf/types/known/emptypb"
)

const (
	network = "gcp:compute/network:Network"
	account = "gcp:serviceaccount/account:Account"
	secret  = "gcp:secretmanager/secret:Secret"
)

func offline(t *testing.T) *engine {
	return startEngine(t, map[string]any{"project": "p", "region": "europe-west1", "accessToken": "t"})
}

func TestConfigurationIsJudged(t *testing.T) {
	for key, c := range map[string]struct {
		config map[string]any
		want   string
	}{
		"unknown":     {map[string]any{"proyect": "p"}, "gcp:proyect"},
		"unsupported": {map[string]any{"impersonateServiceAccount": "a@b"}, "does not impersonate"},
		"endpoint":    {map[string]any{"computeCustomEndpoint": "localhost:80"}, "no http or https URL"},
		"labels":      {map[string]any{"defaultLabels": "{"}, "gcp:defaultLabels"},
	} {
		t.Run(key, func(t *testing.T) {
			e := offline(t)
			out, err := e.client.CheckConfig(t.Context(), &pulumirpc.CheckRequest{News: e.encode(c.config)})
			if err != nil {
				t.Fatal(err)
			}
			if len(out.GetFailures()) != 1 || !strings.Contains(out.GetFailures()[0].GetReason(), c.want) {
				t.Errorf("failures %v, want one with %q", out.GetFailures(), c.want)
			}
			if _, err := e.client.Configure(t.Context(), &pulumirpc.ConfigureRequest{Args: e.encode(c.config)}); err == nil {
				t.Error("configured nevertheless")
			}
		})
	}
}

func TestInputsAreJudged(t *testing.T) {
	e := offline(t)
	for name, c := range map[string]struct {
		token  string
		inputs map[string]any
		want   []string
	}{
		"misspelt":  {network, map[string]any{"autoCreateSubnets": true}, []string{network, "autoCreateSubnets", `did you mean "autoCreateSubnetworks"`}},
		"missing":   {account, map[string]any{}, []string{account, `"accountId"`}},
		"mistyped":  {network, map[string]any{"mtu": "big"}, []string{`"mtu"`, "a number", `"big"`}},
		"fraction":  {network, map[string]any{"mtu": 1.5}, []string{"whole number"}},
		"output":    {network, map[string]any{"selfLink": "x"}, []string{"set by Google"}},
		"nested":    {secret, map[string]any{"secretId": "s", "replication": map[string]any{"automatic": true}}, []string{"replication.automatic", `did you mean "auto"`}},
		"conflict":  {"gcp:compute/firewall:Firewall", map[string]any{"network": "n", "sourceTags": []any{"a"}, "targetServiceAccounts": []any{"b"}}, []string{"together with"}},
		"in a list": {"gcp:compute/firewall:Firewall", map[string]any{"network": "n", "allows": []any{map[string]any{"ports": []any{"80"}}}}, []string{"allows[0].protocol"}},
		"long name": {"gcp:container/cluster:Cluster", nil, []string{"no name can be made", "maximum length 40"}},
		"secret":    {"gcp:secretmanager/secretVersion:SecretVersion", map[string]any{"secret": "s", "secretData": []any{"hunter2"}}, []string{"secretData", "(secret)"}},
	} {
		t.Run(name, func(t *testing.T) {
			e.t = t
			resourceName := "r"
			if name == "long name" {
				resourceName = strings.Repeat("x", 35)
			}
			_, bad := e.check(urnOf(c.token, resourceName), nil, c.inputs)
			if len(bad) != 1 {
				t.Fatalf("%d failures, want one: %v", len(bad), bad)
			}
			for _, want := range c.want {
				if !strings.Contains(bad[0].GetReason(), want) {
					t.Errorf("%q does not say %q", bad[0].GetReason(), want)
				}
			}
			if strings.Contains(bad[0].GetReason(), "hunter2") {
				t.Error("a secret is shown")
			}
		})
	}
}

func TestUnknownTypesAreNamed(t *testing.T) {
	e := offline(t)
	_, err := e.client.Check(t.Context(), &pulumirpc.CheckRequest{Urn: urnOf("gcp:sql/databaseInstance:DatabaseInstance", "x")})
	if err == nil || !strings.Contains(err.Error(), "gcp:sql/databaseInstance:DatabaseInstance") {
		t.Errorf("error %v", err)
	}
	_, err = e.client.Invoke(t.Context(), &pulumirpc.InvokeRequest{Tok: "gcp:compute/getZones:getZones"})
	if err == nil || !strings.Contains(err.Error(), "getZones") {
		t.Errorf("error %v", err)
	}
}

func TestNamesAreMadeOnceAndKept(t *testing.T) {
	e := offline(t)
	urn := urnOf(network, "net")
	first := e.mustCheck(urn, nil, map[string]any{})
	name, _ := plain(t, first)["name"].(string)
	if len(name) != len("net-")+7 || !strings.HasPrefix(name, "net-") {
		t.Fatalf("name %q", name)
	}
	again := e.mustCheck(urn, nil, map[string]any{})
	if plain(t, again)["name"] != name {
		t.Error("the same seed gives another name")
	}
	second, err := e.client.Check(t.Context(), &pulumirpc.CheckRequest{Urn: urn, Olds: first, News: e.encode(nil), RandomSeed: []byte("other")})
	if err != nil || plain(t, second.GetInputs())["name"] != name {
		t.Errorf("the name changed: %v %v", second, err)
	}
	bucket := e.mustCheck(urnOf("gcp:storage/bucket:Bucket", "Backups"), nil, map[string]any{"location": "EU"})
	if name := plain(t, bucket)["name"].(string); name != strings.ToLower(name) {
		t.Errorf("bucket name %q", name)
	}
}

// A name that the program gave cannot exist twice, so the old resource goes first; a generated one is made anew.
func TestReplacementOrder(t *testing.T) {
	e := offline(t)
	for _, c := range []struct {
		token       string
		olds, news  map[string]any
		deleteFirst bool
	}{
		{network, map[string]any{}, map[string]any{"mtu": 1500}, false},
		{network, map[string]any{"name": "n"}, map[string]any{"name": "n", "mtu": 1500}, true},
		{account, map[string]any{"accountId": "tags-a"}, map[string]any{"accountId": "tags-b"}, false},
		{secret, map[string]any{"secretId": "s", "replication": map[string]any{"auto": map[string]any{}}},
			map[string]any{"secretId": "s", "replication": map[string]any{"userManaged": map[string]any{"replicas": []any{map[string]any{"location": "europe-west1"}}}}}, true},
	} {
		r := &res{urn: urnOf(c.token, "r"), id: "x"}
		r.inputs = e.mustCheck(r.urn, nil, c.olds)
		r.outputs = r.inputs
		if c.token == network {
			state := plain(t, r.inputs)
			state["mtu"] = 1460
			r.outputs = e.encode(state)
		}
		answer, _ := e.diff(r, c.news)
		if len(answer.GetReplaces()) == 0 || answer.GetDeleteBeforeReplace() != c.deleteFirst {
			t.Errorf("%s %v: replaces %v, delete first %v", c.token, c.news, answer.GetReplaces(), answer.GetDeleteBeforeReplace())
		}
	}
}

func TestPreviewLeavesToGoogleWhatIsGoogles(t *testing.T) {
	e := offline(t)
	urn := urnOf("gcp:container/cluster:Cluster", "c")
	in := e.mustCheck(urn, nil, map[string]any{"masterAuth": map[string]any{"clientCertificateConfig": map[string]any{"issueClientCertificate": false}}})
	out, err := e.client.Create(t.Context(), &pulumirpc.CreateRequest{Urn: urn, Properties: in, Preview: true})
	if err != nil {
		t.Fatal(err)
	}
	got := plain(t, out.GetProperties())
	if _, unknown := got["endpoint"].(resource.Computed); !unknown {
		t.Errorf("endpoint is %v", got["endpoint"])
	}
	if got["project"] != "p" || got["deletionProtection"] != true {
		t.Errorf("project %v, deletionProtection %v", got["project"], got["deletionProtection"])
	}
	auth, _ := got["masterAuth"].(map[string]any)
	if _, unknown := auth["clusterCaCertificate"].(resource.Computed); !unknown {
		t.Errorf("masterAuth is %v", auth)
	}
}

func TestWithoutCredentials(t *testing.T) {
	for _, name := range []string{"GOOGLE_OAUTH_ACCESS_TOKEN", "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CREDENTIALS", "GOOGLE_CLOUD_KEYFILE_JSON", "GCLOUD_KEYFILE_JSON"} {
		t.Setenv(name, "")
	}
	t.Setenv("HOME", t.TempDir())
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "/does/not/exist.json")
	e := startEngine(t, map[string]any{"project": "p"})
	in := e.mustCheck(urnOf(network, "n"), nil, nil)
	if _, err := e.client.Create(t.Context(), &pulumirpc.CreateRequest{Urn: urnOf(network, "n"), Properties: in, Preview: true}); err != nil {
		t.Errorf("preview: %v", err)
	}
	_, err := e.client.Create(t.Context(), &pulumirpc.CreateRequest{Urn: urnOf(network, "n"), Properties: in})
	if err == nil || !strings.Contains(err.Error(), "gcp:accessToken") || !strings.Contains(err.Error(), "GOOGLE_APPLICATION_CREDENTIALS") {
		t.Errorf("error %v", err)
	}
}

func TestBadTokenIsSaid(t *testing.T) {
	config := startGoogle(t)
	config["accessToken"] = "wrong"
	e := startEngine(t, config)
	in := e.mustCheck(urnOf(network, "n"), nil, nil)
	_, err := e.client.Create(t.Context(), &pulumirpc.CreateRequest{Urn: urnOf(network, "n"), Properties: in})
	if err == nil || !strings.Contains(err.Error(), "401") || !strings.Contains(err.Error(), "access token") {
		t.Errorf("error %v", err)
	}
}

var smallCluster = map[string]any{"initialNodeCount": 1, "network": "default", "deletionProtection": false, "removeDefaultNodePool": true}

// An interrupted creation keeps the id, and the next run brings the resource to its end.
func TestInterruptedCreationIsResumed(t *testing.T) {
	gke := newClusters()
	gke.hold = make(chan struct{})
	config := startGoogleWith(t, gke)
	e := startEngine(t, config)
	net := e.create(network, "net", map[string]any{"autoCreateSubnetworks": false})
	sub := e.create("gcp:compute/subnetwork:Subnetwork", "sub", map[string]any{"network": net.id, "ipCidrRange": "10.0.0.0/20"})
	inputs := changed(smallCluster, map[string]any{"network": net.id, "subnetwork": sub.id})
	r := &res{urn: urnOf("gcp:container/cluster:Cluster", "c")}
	r.inputs = e.mustCheck(r.urn, nil, inputs)
	go func() {
		time.Sleep(300 * time.Millisecond)
		_, _ = e.client.Cancel(context.Background(), &emptypb.Empty{})
	}()
	_, err := e.client.Create(t.Context(), &pulumirpc.CreateRequest{Urn: r.urn, Properties: r.inputs})
	if err == nil || !strings.Contains(err.Error(), "goes on at Google") || !strings.Contains(err.Error(), "cancelled") {
		t.Fatalf("error %v", err)
	}
	partial := initFailed(t, err)
	r.id, r.outputs = partial.GetId(), partial.GetProperties()
	close(gke.hold)
	// The next run has a provider of its own.
	next := startEngine(t, config)
	next.update(r, r.inputs)
	next.steady(r, inputs, "after the interruption")
	if pools, _ := plain(t, r.outputs)["nodePools"].([]any); len(pools) > 0 {
		t.Errorf("the default pool is still there: %v", pools)
	}
}

// What Google could not make is taken away again, so that the next run starts clean.
func TestFailedCreationIsCleanedUp(t *testing.T) {
	gke := newClusters()
	config := startGoogleWith(t, gke)
	e := startEngine(t, config)
	net := e.create(network, "net", map[string]any{"autoCreateSubnetworks": false})
	sub := e.create("gcp:compute/subnetwork:Subnetwork", "sub", map[string]any{"network": net.id, "ipCidrRange": "10.0.0.0/20"})
	c := e.create("gcp:container/cluster:Cluster", "c", changed(smallCluster, map[string]any{"network": net.id, "subnetwork": sub.id}))
	gke.mu.Lock()
	gke.broken = errors.New("no machines left")
	gke.mu.Unlock()
	pool := map[string]any{"cluster": plain(t, c.outputs)["name"], "name": "web", "initialNodeCount": 1}
	urn := urnOf("gcp:container/nodePool:NodePool", "web")
	in := e.mustCheck(urn, nil, pool)
	_, err := e.client.Create(t.Context(), &pulumirpc.CreateRequest{Urn: urn, Properties: in})
	if err == nil || !strings.Contains(err.Error(), "no machines left") || !strings.Contains(err.Error(), "node pool") {
		t.Fatalf("error %v", err)
	}
	gke.mu.Lock()
	gke.broken = nil
	gke.mu.Unlock()
	e.create("gcp:container/nodePool:NodePool", "web", pool)
}

func TestGuardedClusterIsNotDeleted(t *testing.T) {
	e := offline(t)
	r := &res{urn: urnOf("gcp:container/cluster:Cluster", "c"), id: "projects/p/locations/l/clusters/c"}
	r.inputs = e.encode(map[string]any{"deletionProtection": true})
	r.outputs = r.inputs
	if err := e.delete(r); err == nil || !strings.Contains(err.Error(), "deletionProtection is true") {
		t.Errorf("error %v", err)
	}
}

func TestFullBucket(t *testing.T) {
	e := startEngine(t, startGoogle(t))
	bucket := e.create("gcp:storage/bucket:Bucket", "b", map[string]any{"location": "EU", "versioning": map[string]any{"enabled": true}})
	name := plain(t, bucket.outputs)["name"]
	e.create("gcp:storage/bucketObject:BucketObject", "o", map[string]any{"bucket": name, "name": "a/b", "content": "x"})
	if err := e.delete(bucket); err == nil || !strings.Contains(err.Error(), "forceDestroy") {
		t.Fatalf("error %v", err)
	}
	_, news := e.diff(bucket, map[string]any{"location": "EU", "versioning": map[string]any{"enabled": true}, "forceDestroy": true})
	e.update(bucket, news)
	if err := e.delete(bucket); err != nil {
		t.Error(err)
	}
}

func TestDefaultLabels(t *testing.T) {
	config := startGoogle(t)
	config["defaultLabels"] = `{"app":"patag"}`
	e := startEngine(t, config)
	in := map[string]any{"name": "web", "labels": map[string]any{"team": "ads"}}
	r := e.create("gcp:compute/globalAddress:GlobalAddress", "web", in)
	e.steady(r, in, "with default labels")
	config["defaultLabels"] = `{"app":"other"}`
	e2 := startEngine(t, config)
	answer, news := e2.diff(r, in)
	if answer.GetChanges() != pulumirpc.DiffResponse_DIFF_SOME {
		t.Fatal("other default labels are no difference")
	}
	e2.update(r, news)
	e2.steady(r, in, "with other default labels")
	labels, _ := plain(t, r.outputs)["effectiveLabels"].(map[string]any)
	if labels["app"] != "other" || labels["team"] != "ads" {
		t.Errorf("labels %v", labels)
	}
}

func TestInvoke(t *testing.T) {
	e := startEngine(t, startGoogle(t))
	out, err := e.client.Invoke(t.Context(), &pulumirpc.InvokeRequest{Tok: "gcp:organizations/getProject:getProject", Args: e.encode(nil)})
	if err != nil || plain(t, out.GetReturn())["projectId"] != "patag-sandbox" || plain(t, out.GetReturn())["number"] == nil {
		t.Errorf("%v %v", out, err)
	}
	out, err = e.client.Invoke(t.Context(), &pulumirpc.InvokeRequest{Tok: "gcp:organizations/getClientConfig:getClientConfig", Args: e.encode(nil)})
	if err != nil || plain(t, out.GetReturn())["region"] != "europe-west1" {
		t.Errorf("%v %v", out, err)
	}
}

func TestSchemaIsServed(t *testing.T) {
	e := offline(t)
	out, err := e.client.GetSchema(t.Context(), &pulumirpc.GetSchemaRequest{})
	if err != nil || !strings.Contains(out.GetSchema(), account) {
		t.Errorf("%v", err)
	}
}

func initFailed(t *testing.T, err error) *pulumirpc.ErrorResourceInitFailed {
	t.Helper()
	rpcErr, ok := rpcerror.FromError(err)
	if !ok {
		t.Fatalf("no error of the protocol: %v", err)
	}
	for _, d := range rpcErr.Details() {
		if failed, ok := d.(*pulumirpc.ErrorResourceInitFailed); ok {
			return failed
		}
	}
	t.Fatalf("the id is lost: %v", err)
	return nil
}
