package stacks

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"patag/infra/pulumitest"
	"patag/stacks/config"
)

var update = flag.Bool("update", false, "write the golden files anew")

// digest is a reference that is acceptable, for an image of a name.
func digest(name string) string {
	return "europe-west1-docker.pkg.dev/patag-sandbox/patag/" + name + "@sha256:" + strings.Repeat("0a", 32)
}

func images() string {
	return fmt.Sprintf(`{"tag":%q,"backup":%q,"reaper":%q,"redis":%q,"nutcracker":%q,"ferretdb":%q}`, digest("tag"), digest("backup"), digest("reaper"), digest("redis"), digest("nutcracker"), digest("ferretdb"))
}

// configOf is what a stack runs with: its tracked file, the overlay of the sandbox or not, and what the cloud adds.
func configOf(t *testing.T, stack, engine string) map[string]string {
	t.Helper()
	values := map[string]string{"gcp:project": "patag-sandbox", "gcp:region": "europe-west1"}
	read := func(file string) {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var doc struct {
			Config map[string]string `json:"config"`
		}
		if err := yaml.UnmarshalStrict(raw, &doc); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for k, v := range doc.Config {
			values[k] = v
		}
	}
	switch {
	case strings.HasPrefix(stack, "staging"):
		values["patag:kind"] = "staging"
	default:
		read("Pulumi." + stack + ".yaml")
	}
	if stack == "foundation" {
		return values
	}
	values["patag:images"] = images()
	values["patag:mongodbImage"] = "docker.io/library/mongo@sha256:" + strings.Repeat("0b", 32)
	if engine == config.FerretDB {
		read("sandbox.yaml")
	}
	return values
}

// foundationOutputs are those of a foundation that ran on the mocks.
func foundationRun(t *testing.T) *pulumitest.Result {
	t.Helper()
	result, err := pulumitest.Run(pulumitest.Input{Stack: "foundation", Config: configOf(t, "foundation", "")}, Run)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// run runs a stack on the mocks, on top of a foundation.
func run(t *testing.T, stack, engine string, change map[string]string) (*pulumitest.Result, error) {
	t.Helper()
	values := configOf(t, stack, engine)
	for k, v := range change {
		if values[k] = v; v == "" {
			delete(values, k)
		}
	}
	return pulumitest.Run(pulumitest.Input{
		Stack: stack, Config: values,
		References: map[string]map[string]any{"organization/patag/foundation": foundationRun(t).Outputs},
	}, Run)
}

func mustRun(t *testing.T, stack, engine string, change map[string]string) *pulumitest.Result {
	t.Helper()
	result, err := run(t, stack, engine, change)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// cases are the stacks that every rule is checked on.
func cases(t *testing.T) map[string]*pulumitest.Result {
	t.Helper()
	return map[string]*pulumitest.Result{
		"foundation":          foundationRun(t),
		"production":          mustRun(t, "production", config.MongoDB, nil),
		"production-ferretdb": mustRun(t, "production", config.FerretDB, nil),
		"staging":             mustRun(t, "staging-acme", config.FerretDB, nil),
	}
}

// TestInventory compares what each stack registers with a file that a person has looked at.
func TestInventory(t *testing.T) {
	for name, result := range cases(t) {
		var b strings.Builder
		for _, r := range result.Resources {
			fmt.Fprintf(&b, "%s\n", r.Key())
			if r.Parent != "" && !strings.HasPrefix(r.Parent, "pulumi:pulumi:Stack") {
				fmt.Fprintf(&b, "  in %s\n", r.Parent)
			}
			if r.Protect {
				b.WriteString("  protected\n")
			}
			if len(r.IgnoreChanges) > 0 {
				fmt.Fprintf(&b, "  ignores changes of %s\n", strings.Join(r.IgnoreChanges, ", "))
			}
		}
		golden(t, name+".inventory", b.String())
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; write it with -update and look at it", err)
	}
	if got != string(want) {
		t.Errorf("%s differs: run with -update and look at the difference (git diff)", file)
	}
}

func TestOutputs(t *testing.T) {
	result := mustRun(t, "production", config.FerretDB, nil)
	for output, want := range map[string]string{
		"clusterLocation": "europe-west1-b", "namespace": "patag", "address": "203.0.113.10", "host": "tag.patag.example.com",
		"adURL": "http://203.0.113.10/v1/ad?placement=demo-top", "demoURL": "http://203.0.113.10/demo", "clusterURL": "https://198.51.100.1", "engine": "ferretdb",
	} {
		if got := result.Outputs[output]; got != want {
			t.Errorf("output %s is %v, want %s", output, got, want)
		}
	}
	if name, _ := result.Outputs["clusterName"].(string); !strings.HasPrefix(name, "production-") {
		t.Errorf("output clusterName is %q, want the auto-named production-…", name)
	}
	if len(result.SecretOutputs) > 0 {
		t.Errorf("secrets among the outputs of a platform: %v", result.SecretOutputs)
	}
	for name, value := range result.Outputs {
		if strings.Contains(fmt.Sprint(value), "gke-gcloud-auth-plugin") {
			t.Errorf("output %s is a kubeconfig", name)
		}
	}
	https := mustRun(t, "production", config.FerretDB, map[string]string{"patag:publicURL": "host"})
	if got, want := https.Outputs["adURL"], "https://tag.patag.example.com/v1/ad?placement=demo-top"; got != want {
		t.Errorf("adURL by host is %v, want %s", got, want)
	}
}

func TestFoundationOutputs(t *testing.T) {
	result := foundationRun(t)
	secret := strings.Join(result.SecretOutputs, " ")
	if want := "mongoAppPassword mongoKeyfile mongoRootPassword tagKey"; secret != want {
		t.Errorf("secret outputs are %q, want %q", secret, want)
	}
	for _, output := range []string{outAddressName, outAddress, outCertificateName, outHost, outDomain, outDNSZone, outRepository, outNodeAccount, outTagAccount, outBackupAccount, outReaperAccount, outBackupBucket, outChannel} {
		if text, _ := result.Outputs[output].(string); text == "" {
			t.Errorf("output %s is missing", output)
		}
	}
	if got, want := result.Outputs[outRepository], "europe-west1-docker.pkg.dev/patag-sandbox/patag"; got != want {
		t.Errorf("output repository is %v, want %s", got, want)
	}
	again := foundationRun(t)
	if result.Outputs[outTagKey] == again.Outputs[outTagKey] {
		t.Error("two foundations have the same tag key")
	}
}

// TestWithoutFoundation runs production on values that stand in for a foundation.
func TestWithoutFoundation(t *testing.T) {
	stand := `{"addressName":"a","address":"192.0.2.7","certificateName":"c","host":"tag.example.com","domain":"example.com","dnsZone":"z","repository":"r",
		"nodeServiceAccount":"n@p.iam.gserviceaccount.com","tagServiceAccount":"t@p.iam.gserviceaccount.com","backupServiceAccount":"b@p.iam.gserviceaccount.com",
		"backupBucket":"k","notificationChannel":"projects/p/notificationChannels/1"}`
	result, err := pulumitest.Run(pulumitest.Input{Stack: "production", Config: func() map[string]string {
		values := configOf(t, "production", config.MongoDB)
		values["patag:foundation"] = stand
		return values
	}()}, Run)
	if err != nil {
		t.Fatal(err)
	}
	if got := result.Outputs["address"]; got != "192.0.2.7" {
		t.Errorf("address is %v, want the given one", got)
	}
	if n := len(result.OfType("gcp:secretmanager/secret:Secret")); n != 4 {
		t.Errorf("%d secrets of its own, want 4", n)
	}
}

// TestCatalogue: a staging loads the demo, and only an empty store is not waited for.
func TestCatalogue(t *testing.T) {
	for catalogue, want := range map[string]struct {
		jobs   int
		waited bool
	}{"none": {0, true}, "later": {0, false}, "demo": {1, true}} {
		result := mustRun(t, "staging-acme", config.FerretDB, map[string]string{"patag:catalogue": catalogue})
		if n := len(result.OfType("kubernetes:batch/v1:Job")); n != want.jobs {
			t.Errorf("catalogue %s: %d Jobs, want %d", catalogue, n, want.jobs)
		}
		skip := result.One(t, "kubernetes:apps/v1:Deployment", "tag").At(`metadata.annotations["pulumi.com/skipAwait"]`)
		if waited := skip == nil; waited != want.waited {
			t.Errorf("catalogue %s: the tag servers are waited for: %v, want %v", catalogue, waited, want.waited)
		}
	}
	if n := len(mustRun(t, "staging-acme", config.FerretDB, nil).OfType("kubernetes:batch/v1:Job")); n != 1 {
		t.Errorf("a staging with defaults has %d Jobs, want the demo's", n)
	}
}

// TestOldFoundation: a foundation of another version lacks an output.
func TestOldFoundation(t *testing.T) {
	outputs := foundationRun(t).Outputs
	delete(outputs, outTagKey)
	_, err := pulumitest.Run(pulumitest.Input{
		Stack: "production", Config: configOf(t, "production", config.FerretDB),
		References: map[string]map[string]any{"organization/patag/foundation": outputs},
	}, Run)
	if err == nil || !strings.Contains(err.Error(), "has no output tagKey") {
		t.Errorf("error is %v, want one that names the missing output", err)
	}
}

// TestNothingBeforeConfigIsRight: a wrong configuration registers nothing.
func TestNothingBeforeConfigIsRight(t *testing.T) {
	for name, change := range map[string]map[string]string{
		"range":     {"patag:podRange": "10.10.0.0/16"},
		"kind":      {"patag:kind": "produktion"},
		"not built": {"patag:kind": "loadtest"},
		"catalogue": {"patag:catalogueFile": "app/tag/demo/no-such-file.json"},
		"tag":       {"patag:images": strings.Replace(images(), "@sha256:"+strings.Repeat("0a", 32), ":latest", 1)},
	} {
		result, err := run(t, "production", config.FerretDB, change)
		if err == nil {
			t.Errorf("%s: no error", name)
		}
		if len(result.Resources) > 0 {
			t.Errorf("%s: %d resources were registered", name, len(result.Resources))
		}
	}
}
