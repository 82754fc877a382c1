package wire

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"patag/infra/sandbox/gcpplugin/description"
)

// schema is a part of Google's discovery documents.
type schema struct {
	Type       string            `json:"type"`
	Format     string            `json:"format"`
	Ref        string            `json:"$ref"`
	Items      *schema           `json:"items"`
	Additional *schema           `json:"additionalProperties"`
	Properties map[string]schema `json:"properties"`
}

type document struct {
	Schemas map[string]schema `json:"schemas"`
}

// roots are the messages that hold the resources.
var roots = map[string]struct{ doc, message string }{
	"gcp:compute/network:Network":                             {"compute/v0.beta/compute", "Network"},
	"gcp:compute/subnetwork:Subnetwork":                       {"compute/v0.beta/compute", "Subnetwork"},
	"gcp:compute/router:Router":                               {"compute/v0.beta/compute", "Router"},
	"gcp:compute/routerNat:RouterNat":                         {"compute/v0.beta/compute", "RouterNat"},
	"gcp:compute/address:Address":                             {"compute/v0.beta/compute", "Address"},
	"gcp:compute/globalAddress:GlobalAddress":                 {"compute/v0.beta/compute", "Address"},
	"gcp:compute/firewall:Firewall":                           {"compute/v0.beta/compute", "Firewall"},
	"gcp:compute/securityPolicy:SecurityPolicy":               {"compute/v0.beta/compute", "SecurityPolicy"},
	"gcp:compute/managedSslCertificate:ManagedSslCertificate": {"compute/v0.beta/compute", "SslCertificate"},
	"gcp:compute/resourcePolicy:ResourcePolicy":               {"compute/v0.beta/compute", "ResourcePolicy"},
	"gcp:container/cluster:Cluster":                           {"container/v1beta1/container", "Cluster"},
	"gcp:container/nodePool:NodePool":                         {"container/v1beta1/container", "NodePool"},
	"gcp:storage/bucket:Bucket":                               {"storage/v1/storage", "Bucket"},
	"gcp:storage/bucketObject:BucketObject":                   {"storage/v1/storage", "Object"},
	"gcp:artifactregistry/repository:Repository":              {"artifactregistry/v1/artifactregistry", "Repository"},
	"gcp:logging/metric:Metric":                               {"logging/v2/logging", "LogMetric"},
	"gcp:logging/projectSink:ProjectSink":                     {"logging/v2/logging", "LogSink"},
	"gcp:monitoring/notificationChannel:NotificationChannel":  {"monitoring/v3/monitoring", "NotificationChannel"},
	"gcp:monitoring/uptimeCheckConfig:UptimeCheckConfig":      {"monitoring/v3/monitoring", "UptimeCheckConfig"},
	"gcp:monitoring/alertPolicy:AlertPolicy":                  {"monitoring/v3/monitoring", "AlertPolicy"},
	"gcp:dns/managedZone:ManagedZone":                         {"dns/v1beta2/dns", "ManagedZone"},
	"gcp:dns/recordSet:RecordSet":                             {"dns/v1beta2/dns", "ResourceRecordSet"},
	"gcp:secretmanager/secret:Secret":                         {"secretmanager/v1/secretmanager", "Secret"},
	"gcp:secretmanager/secretVersion:SecretVersion":           {"secretmanager/v1/secretmanager", "SecretVersion"},
	"gcp:serviceaccount/account:Account":                      {"iam/v1/iam", "ServiceAccount"},
	"gcp:billing/budget:Budget":                               {"billingbudgets/v1/billingbudgets", "GoogleCloudBillingBudgetsV1Budget"},
}

// load reads a discovery document from the module of Google's Go clients.
func load(t *testing.T, name string) document {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "google.golang.org/api").Output()
	dir := strings.TrimSpace(string(out))
	if err != nil || dir == "" {
		t.Fatalf("find the module google.golang.org/api: %v", err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, name+"-api.json"))
	if err != nil {
		t.Fatal(err)
	}
	var d document
	if err := json.Unmarshal(raw, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// field finds a dotted path in a message.
func (d document) field(s schema, path string) (schema, bool) {
	for _, part := range strings.Split(path, ".") {
		if s.Ref != "" {
			s = d.Schemas[s.Ref]
		}
		f, ok := s.Properties[part]
		if !ok && s.Additional != nil {
			f, ok = *s.Additional, true
		}
		if !ok {
			return s, false
		}
		s = f
	}
	return s, true
}

// TestWireMatchesGoogle compares the JSON mapping of every property with Google's own description of its API.
func TestWireMatchesGoogle(t *testing.T) {
	docs := map[string]document{}
	for token, root := range roots {
		typ, err := description.Lookup(token)
		if err != nil {
			t.Error(err)
			continue
		}
		d, ok := docs[root.doc]
		if !ok {
			d = load(t, root.doc)
			docs[root.doc] = d
		}
		walk(t, d, token, typ.Root, d.Schemas[root.message], d.Schemas[root.message])
	}
}

func walk(t *testing.T, d document, token string, parent *description.Property, s, root schema) {
	for _, p := range parent.Children {
		if p.Local || p.Unsupported {
			continue
		}
		f, ok := d.field(s, p.API)
		if !ok {
			t.Errorf("%s: %s: Google has no field %s", token, p.Path, p.API)
			continue
		}
		if p.ReadAPI != "" {
			if _, ok := d.field(root, p.ReadAPI); !ok {
				t.Errorf("%s: %s: Google has no field %s", token, p.Path, p.ReadAPI)
			}
		}
		if parent.Present != "" {
			if on, ok := d.field(s, parent.Present); !ok || on.Type != "boolean" {
				t.Errorf("%s: %s: Google has no switch %s", token, parent.Path, parent.Present)
			}
		}
		shape(t, token, p, f)
		next := f
		if next.Items != nil {
			next = *next.Items
		}
		if p.Keyed != "" && next.Additional != nil {
			next = *next.Additional
		}
		if next.Ref != "" {
			next = d.Schemas[next.Ref]
		}
		walk(t, d, token, p, next, root)
	}
}

// shape compares kinds.
func shape(t *testing.T, token string, p *description.Property, f schema) {
	want := map[description.Kind]string{description.String: "string", description.Bool: "boolean", description.Int: "integer", description.Float: "number"}
	switch {
	case p.Enum != nil:
		want[p.Kind] = "boolean"
	case p.Int64:
		if f.Type != "string" || !strings.HasSuffix(f.Format, "int64") {
			t.Errorf("%s: %s is no int64 of Google's (%s %s)", token, p.Path, f.Type, f.Format)
		}
		return
	}
	switch p.Kind {
	case description.List, description.Set:
		if p.Keyed == "" && !p.Wrap && f.Type != "array" {
			t.Errorf("%s: %s is a list, not Google's %q", token, p.Path, f.Type+f.Ref)
		}
	case description.Map:
		if f.Additional == nil {
			t.Errorf("%s: %s is a map, not Google's %q", token, p.Path, f.Type+f.Ref)
		}
	case description.Object:
		if f.Ref == "" && f.Type != "object" {
			t.Errorf("%s: %s is an object, not Google's %q", token, p.Path, f.Type)
		}
	default:
		if p.AsObject {
			if f.Ref == "" {
				t.Errorf("%s: %s is no object of Google's", token, p.Path)
			}
			return
		}
		// Numbers that Google writes as text are read either way; sent ones must have the flag.
		if f.Type != want[p.Kind] && (!p.Output && !p.Computed || f.Type != "string") && !(p.Kind == description.String && p.Output) {
			t.Errorf("%s: %s is a %s, Google's a %s %s", token, p.Path, p.Kind, f.Type, f.Format)
		}
	}
}

// TestUpdateBodiesMatchGoogle does the same for the bodies of cluster and pool updates.
func TestUpdateBodiesMatchGoogle(t *testing.T) {
	d := load(t, "container/v1beta1/container")
	for token, messages := range map[string]map[string]string{
		"gcp:container/cluster:Cluster": {"PUT {self}": "UpdateClusterRequest", "POST {self}:setMaintenancePolicy": "SetMaintenancePolicyRequest",
			"POST {self}:setLegacyAbac": "SetLegacyAbacRequest", "POST {self}:setNetworkPolicy": "SetNetworkPolicyRequest", "POST {self}:setResourceLabels": "SetLabelsRequest"},
		"gcp:container/nodePool:NodePool": {"PUT projects/{project}/locations/{location}/clusters/{cluster}": "UpdateClusterRequest", "PUT {self}": "UpdateNodePoolRequest",
			"POST {self}:setSize": "SetNodePoolSizeRequest", "POST {self}:setManagement": "SetNodePoolManagementRequest"},
	} {
		typ, err := description.Lookup(token)
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range typ.Update {
			if u.Call.Path == nil {
				continue
			}
			message := messages[u.Call.Method+" "+u.Call.Path.String()]
			body, _ := u.Call.Body.(map[string]any)
			if message == "" || len(body) == 0 {
				t.Errorf("%s: update of %v: unknown call %s %s", token, u.For, u.Call.Method, u.Call.Path)
				continue
			}
			known(t, d, token, body, d.Schemas[message])
		}
	}
}

func known(t *testing.T, d document, token string, body map[string]any, s schema) {
	for k, v := range body {
		f, ok := d.field(s, k)
		if !ok {
			t.Errorf("%s: Google's update has no field %s", token, k)
			continue
		}
		if nested, ok := v.(map[string]any); ok {
			known(t, d, token, nested, d.Schemas[f.Ref])
		}
	}
}
