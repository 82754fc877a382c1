package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// good is the configuration of a production stack with nothing wrong in it.
func good() map[string]string {
	image := func(name string) string { return "r.example.com/p/" + name + "@sha256:" + strings.Repeat("0", 64) }
	return map[string]string{
		"patag:kind": "production", "gcp:project": "patag-sandbox", "gcp:region": "europe-west1",
		"patag:images":       `{"tag":"` + image("tag") + `","backup":"` + image("backup") + `","reaper":"` + image("reaper") + `","redis":"` + image("redis") + `","nutcracker":"` + image("nutcracker") + `","ferretdb":"` + image("ferretdb") + `"}`,
		"patag:mongodbImage": image("mongo"),
	}
}

func TestCases(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("testdata", "cases.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Name   string             `json:"name"`
		Stack  string             `json:"stack"`
		Change map[string]*string `json:"change"`
		Only   map[string]string  `json:"only"`
		Wrong  []string           `json:"wrong"`
	}
	if err := yaml.UnmarshalStrict(raw, &cases); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			values := good()
			if c.Only != nil {
				values = c.Only
			}
			for key, value := range c.Change {
				if value == nil {
					delete(values, key)
				} else {
					values[key] = *value
				}
			}
			stack := c.Stack
			if stack == "" {
				stack = "production"
			}
			_, err := Load(FromMap(stack, values))
			if err == nil {
				if len(c.Wrong) > 0 {
					t.Fatalf("accepted, want %q", c.Wrong)
				}
				return
			}
			lines := Lines(err)
			if len(lines) != len(c.Wrong) {
				t.Errorf("%d lines, want %d", len(lines), len(c.Wrong))
			}
			for _, want := range c.Wrong {
				if !strings.Contains(strings.Join(lines, "\n"), want) {
					t.Errorf("no line has %q", want)
				}
			}
			for _, line := range lines {
				if strings.Contains(line, "\n") || strings.Count(line, ";") == 0 {
					t.Errorf("line %q is not one line of what, why and what to do", line)
				}
			}
			if t.Failed() {
				t.Logf("error: %v", err)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Error("the error shows a secret")
			}
		})
	}
}

// TestDefaults: a stack that gives nothing gets values everywhere, and staging's own where they differ.
func TestDefaults(t *testing.T) {
	values := good()
	production, err := Load(FromMap("production", values))
	if err != nil {
		t.Fatal(err)
	}
	values["patag:kind"] = "staging"
	staging, err := Load(FromMap("staging-acme", values))
	if err != nil {
		t.Fatal(err)
	}
	if production.Standard.Spot || !staging.Standard.Spot || !staging.HighCPU.Spot {
		t.Error("staging runs on spot machines, production does not")
	}
	if production.Namespace != "patag" || staging.Namespace != "staging-acme" {
		t.Errorf("namespaces are %q and %q", production.Namespace, staging.Namespace)
	}
	if production.Location != "europe-west1-b" || !reflect.DeepEqual(production.NodeZones, []string{"europe-west1-b"}) {
		t.Errorf("location is %q, zones %v", production.Location, production.NodeZones)
	}
	values["gcp:zone"] = "europe-west1-d"
	if other, err := Load(FromMap("staging-acme", values)); err != nil || other.Location != "europe-west1-d" {
		t.Errorf("location with gcp:zone is %v, error %v", other, err)
	}
	for i, f := range reflect.VisibleFields(reflect.TypeOf(*production)) {
		v := reflect.ValueOf(*production).Field(i)
		empty := map[string]bool{ // the foundation's, and what has no value unless it is given
			"Domain": true, "HostLabel": true, "AlertEmail": true, "Repository": true, "BackupLocation": true, "BackupRetentionDays": true,
			"BackupVersionDays": true, "FoundationStack": true, "Foundation": true, "zone": true, "Restore": true, "Owner": true, "ExpiresAt": true, "Asleep": true,
			"CanaryImage": true, "CanaryLive": true, "DemoBidder": true,
		}[f.Name]
		if v.IsZero() != empty {
			t.Errorf("%s of a production with defaults is %v", f.Name, v)
		}
	}
}

// TestTable: every key says what a reader needs, its defaults are acceptable to itself, and every key does something.
func TestTable(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range Keys() {
		if seen[k.Name] {
			t.Errorf("%s is in the table twice", k.Name)
		}
		seen[k.Name] = true
		if k.Type == "" || k.Rule == "" || k.Reason == "" || len(k.Kinds) == 0 {
			t.Errorf("%s lacks type, rule, reason or kinds", k.Name)
		}
		if strings.Contains(k.Rule+k.Reason, "|") {
			t.Errorf("%s has a bar in its text: it would break the table", k.Name)
		}
		if k.set == nil {
			if k.Name != "kind" {
				t.Errorf("%s does nothing", k.Name)
			}
			continue
		}
		for _, kind := range k.Kinds {
			if def := k.DefaultFor(kind); def != "" {
				if err := k.set(&Settings{}, def); err != nil {
					t.Errorf("the default of %s for %s is refused: %v", k.Name, kind, err)
				}
			}
		}
	}
}

// TestDocIsCurrent compares docs/configuration.md with the table.
func TestDocIsCurrent(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "..", "docs", "configuration.md"))
	if err != nil {
		t.Fatal(err)
	}
	if string(raw) != Markdown() {
		t.Error("docs/configuration.md is not what the table says: go run ./scripts/configdoc")
	}
	for _, k := range Keys() {
		if !strings.Contains(string(raw), "| `"+k.Name+"` |") {
			t.Errorf("docs/configuration.md lacks %s", k.Name)
		}
	}
}

// TestKeysUnknownWithoutList: where the keys cannot be listed, the rest is still checked.
func TestKeysUnknownWithoutList(t *testing.T) {
	values := good()
	values["patag:enginee"] = "x"
	src := FromMap("production", values)
	src.Keys = nil
	if _, err := Load(src); err != nil {
		t.Errorf("error %v", err)
	}
}

func FuzzLoad(f *testing.F) {
	for _, k := range Keys() {
		f.Add(k.Name, k.Default)
	}
	f.Add("nodeZones", `["europe-west1-b"]`)
	f.Add("foundation", `{"address":{}}`)
	f.Add("podRange", "10.20.0.0/8")
	f.Fuzz(func(t *testing.T, key, value string) {
		values := good()
		values[Namespace+":"+key] = value
		s, err := Load(FromMap("production", values))
		if err == nil && (s == nil || s.Location == "") {
			t.Errorf("%s=%q is accepted without settings", key, value)
		}
		if err != nil && len(Lines(err)) == 0 {
			t.Errorf("%s=%q: an error without a line", key, value)
		}
	})
}

// TestRedisFitsItsNodes: memory that no node of the pool has is refused, before pods wait for it.
func TestRedisFitsItsNodes(t *testing.T) {
	values := map[string]string{}
	for k, v := range good() {
		values[k] = v
	}
	values["patag:redisMemoryMiB"] = "60000"
	if _, err := Load(FromMap("production", values)); err == nil || !strings.Contains(err.Error(), "patag:redisMemoryMiB is 60000") {
		t.Errorf("accepted: %v", err)
	}
	values["patag:standardMachineType"] = "n1-highmem-64" // its size is not known here: the API server's affair
	if _, err := Load(FromMap("production", values)); err != nil {
		t.Errorf("refused on a large machine: %v", err)
	}
}
