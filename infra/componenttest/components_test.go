package componenttest

import (
	"strings"
	"testing"

	"github.com/pulumi/pulumi-gcp/sdk/v7/go/gcp/compute"
	"github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"patag/infra/backup"
	"patag/infra/backupstore"
	"patag/infra/bidder"
	"patag/infra/catalogue"
	"patag/infra/cluster"
	"patag/infra/dnszone"
	"patag/infra/edge"
	"patag/infra/ferretdb"
	"patag/infra/identity"
	"patag/infra/kube"
	"patag/infra/mongo"
	"patag/infra/monitoring"
	"patag/infra/namespace"
	"patag/infra/network"
	"patag/infra/nodepool"
	"patag/infra/oncall"
	"patag/infra/projectservices"
	"patag/infra/publicname"
	"patag/infra/pulumitest"
	"patag/infra/reaper"
	"patag/infra/redis"
	"patag/infra/registryrepo"
	"patag/infra/secrets"
	"patag/infra/tagserver"
	"patag/infra/twemproxy"
	"patag/infra/workloadidentity"
)

// constructor makes one component; only its error counts.
type constructor func(ctx *pulumi.Context) error

// of turns a component's New and its arguments into a constructor.
func of[A any, C any](make func(*pulumi.Context, string, *A, ...pulumi.ResourceOption) (C, error), args *A) constructor {
	return func(ctx *pulumi.Context) error {
		_, err := make(ctx, "x", args)
		return err
	}
}

// TestIncompleteArguments: nil and empty arguments are errors that name the component, and register nothing.
func TestIncompleteArguments(t *testing.T) {
	for name, pair := range map[string][2]constructor{
		"backup":           {of(backup.New, nil), of(backup.New, &backup.Args{})},
		"backupstore":      {of(backupstore.New, nil), of(backupstore.New, &backupstore.Args{})},
		"bidder":           {of(bidder.New, nil), of(bidder.New, &bidder.Args{})},
		"catalogue":        {of(catalogue.New, nil), of(catalogue.New, &catalogue.Args{})},
		"cluster":          {of(cluster.New, nil), of(cluster.New, &cluster.Args{})},
		"dnszone":          {of(dnszone.New, nil), of(dnszone.New, &dnszone.Args{})},
		"edge":             {of(edge.New, nil), of(edge.New, &edge.Args{})},
		"ferretdb":         {of(ferretdb.New, nil), of(ferretdb.New, &ferretdb.Args{})},
		"identity":         {of(identity.New, nil), of(identity.New, &identity.Args{})},
		"mongo":            {of(mongo.New, nil), of(mongo.New, &mongo.Args{})},
		"monitoring":       {of(monitoring.New, nil), of(monitoring.New, &monitoring.Args{})},
		"namespace":        {of(namespace.New, nil), of(namespace.New, &namespace.Args{})},
		"network":          {of(network.New, nil), of(network.New, &network.Args{})},
		"nodepool":         {of(nodepool.New, nil), of(nodepool.New, &nodepool.Args{})},
		"oncall":           {of(oncall.New, nil), of(oncall.New, &oncall.Args{})},
		"projectservices":  {of(projectservices.New, nil), of(projectservices.New, &projectservices.Args{})},
		"publicname":       {of(publicname.New, nil), of(publicname.New, &publicname.Args{})},
		"reaper":           {of(reaper.New, nil), of(reaper.New, &reaper.Args{})},
		"redis":            {of(redis.New, nil), of(redis.New, &redis.Args{})},
		"registryrepo":     {of(registryrepo.New, nil), of(registryrepo.New, &registryrepo.Args{})},
		"secrets":          {of(secrets.New, nil), of(secrets.New, &secrets.Args{})},
		"tagserver":        {of(tagserver.New, nil), of(tagserver.New, &tagserver.Args{})},
		"twemproxy":        {of(twemproxy.New, nil), of(twemproxy.New, &twemproxy.Args{})},
		"workloadidentity": {of(workloadidentity.New, nil), of(workloadidentity.New, &workloadidentity.Args{})},
	} {
		for i, make := range pair {
			result, err := pulumitest.Run(pulumitest.Input{Stack: "test"}, pulumi.RunFunc(make))
			if err == nil || !strings.Contains(err.Error(), name+": ") {
				t.Errorf("%s, case %d: error is %v, want one that names the component", name, i, err)
			}
			if len(result.Components()) > 0 {
				t.Errorf("%s, case %d: registered in spite of the error", name, i)
			}
		}
	}
}

// inTarget runs a program that has a cluster to put things into.
func inTarget(t *testing.T, program func(ctx *pulumi.Context, target *kube.Target) error) (*pulumitest.Result, error) {
	t.Helper()
	return pulumitest.Run(pulumitest.Input{Stack: "test"}, func(ctx *pulumi.Context) error {
		provider, err := kubernetes.NewProvider(ctx, "p", &kubernetes.ProviderArgs{})
		if err != nil {
			return err
		}
		stand, err := compute.NewNetwork(ctx, "cluster", nil) // any resource does for one to go with
		if err != nil {
			return err
		}
		return program(ctx, &kube.Target{Provider: provider, Cluster: stand, Namespace: pulumi.String("ns")})
	})
}

// TestJobNames: a Job cannot change, so another content or image is another Job, and the same is the same.
func TestJobNames(t *testing.T) {
	name := func(image, content string) string {
		result, err := inTarget(t, func(ctx *pulumi.Context, target *kube.Target) error {
			_, err := catalogue.New(ctx, "c", &catalogue.Args{
				Target: target, Image: pulumi.String(image), Content: content, MongoURI: pulumi.String("mongodb://m"), StorePart: "mongo", StorePort: 27017,
				StoreReady: target.Cluster, NodeSelector: pulumi.StringMap{},
			})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		text, _ := result.One(t, "kubernetes:batch/v1:Job", "c").At("metadata.name").(string)
		return text
	}
	first := name("i@sha256:1", "{}")
	if len(first) != len("catalogue-")+8 {
		t.Errorf("the Job's name is %q", first)
	}
	if again := name("i@sha256:1", "{}"); again != first {
		t.Errorf("the same content is another Job: %q, %q", first, again)
	}
	if name("i@sha256:1", `{"a":1}`) == first || name("i@sha256:2", "{}") == first {
		t.Error("another content or image is the same Job")
	}
}

func TestCatalogueTooLarge(t *testing.T) {
	_, err := inTarget(t, func(ctx *pulumi.Context, target *kube.Target) error {
		_, err := catalogue.New(ctx, "c", &catalogue.Args{
			Target: target, Image: pulumi.String("i"), Content: strings.Repeat("x", catalogue.MaxBytes+1), MongoURI: pulumi.String("m"), StorePart: "mongo", StorePort: 1,
			StoreReady: target.Cluster, NodeSelector: pulumi.StringMap{},
		})
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "tag catalogue import") {
		t.Errorf("error is %v, want one that says what to do", err)
	}
}

// TestRateLimit: no limit is no rule.
func TestRateLimit(t *testing.T) {
	for limit, want := range map[int]int{0: 1, 600: 2} {
		result, err := inTarget(t, func(ctx *pulumi.Context, target *kube.Target) error {
			_, err := edge.New(ctx, "e", &edge.Args{
				Target: target, Part: "tag", TargetPort: 8080, Ready: target.Cluster, HealthPath: "/healthz", CountryHeader: "X-Country", AddressName: pulumi.String("a"), CertificateName: pulumi.String("c"),
				RequestsPerMinute: limit, LogSample: 0.5,
			})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		policy := result.One(t, "gcp:compute/securityPolicy:SecurityPolicy", "e")
		rules, _ := policy.At("rules").([]any)
		if len(rules) != want {
			t.Errorf("limit %d makes %d rules, want %d", limit, len(rules), want)
		}
		backend := result.One(t, "kubernetes:cloud.google.com/v1:BackendConfig", "e")
		if backend.At("spec.healthCheck.requestPath") != "/healthz" || backend.At("spec.logging.sampleRate") != 0.5 {
			t.Errorf("the BackendConfig is %v", backend.Inputs["spec"])
		}
		if name, _ := backend.At("spec.securityPolicy.name").(string); !strings.HasPrefix(name, "e-") {
			t.Errorf("the BackendConfig's policy is %q, want the auto-named one", name)
		}
	}
}

// TestMongo: the replica set's URI, its Job after its members, and the keyfile that only mongod may read.
func TestMongo(t *testing.T) {
	result, err := inTarget(t, func(ctx *pulumi.Context, target *kube.Target) error {
		store, err := mongo.New(ctx, "m", &mongo.Args{
			Target: target, Image: pulumi.String("i"), Database: "patag", DiskGiB: 1, NodeSelector: pulumi.StringMap{},
			RootPassword: pulumi.String("r"), AppPassword: pulumi.String("secret"), Keyfile: pulumi.String("k"),
		})
		if err != nil {
			return err
		}
		ctx.Export("uri", store.URI)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := "mongodb://patag:secret@mongo-0.mongo.ns.svc.cluster.local:27017,mongo-1.mongo.ns.svc.cluster.local:27017,mongo-2.mongo.ns.svc.cluster.local:27017" +
		"/patag?replicaSet=rs0&authSource=patag&w=majority&retryWrites=true"
	if uri := result.Outputs["uri"]; uri != want {
		t.Errorf("the URI is %s, want %s", uri, want)
	}
	if len(result.SecretOutputs) != 1 {
		t.Error("the URI is no secret")
	}
	job := result.One(t, "kubernetes:batch/v1:Job", "m-init")
	if !strings.Contains(strings.Join(job.DependsOn, ","), "kubernetes:apps/v1:StatefulSet m") {
		t.Errorf("the Job depends on %v, want the members first", job.DependsOn)
	}
	script, _ := result.One(t, "kubernetes:core/v1:ConfigMap", "m-init").At(`data["initiate.js"]`).(string)
	for _, part := range []string{`{_id: 2, host: "mongo-2.mongo.ns.svc.cluster.local:27017"}`, `_id: "rs0"`, `getSiblingDB("patag")`} {
		if !strings.Contains(script, part) {
			t.Errorf("the script lacks %s", part)
		}
	}
	for _, left := range []string{"MEMBERS", "ROOTUSER", "REPLICASET", "DATABASE", "APPUSER"} {
		if strings.Contains(script, left) {
			t.Errorf("the script still has %s", left)
		}
	}
	members := result.One(t, "kubernetes:apps/v1:StatefulSet", "m")
	command, _ := members.At("spec.template.spec.initContainers[0].command[2]").(string)
	if !strings.Contains(command, "umask 0377") {
		t.Errorf("the keyfile is copied by %q: others may read it", command)
	}
}
