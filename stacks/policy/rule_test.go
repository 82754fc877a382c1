package policy

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"sigs.k8s.io/yaml"

	"patag/stacks/config"
)

// TestRules holds resources of testdata/rules.yaml to all rules: each case names the rules that must refuse it, and thus also
// that the others let it be.
func TestRules(t *testing.T) {
	raw, err := os.ReadFile("testdata/rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Name, Type, Resource string
		Kind                 config.Kind
		Protect, Unprotected bool
		Inputs               map[string]any
		Refused              []string
		Says                 string
	}
	if err := yaml.UnmarshalStrict(raw, &cases); err != nil {
		t.Fatal(err)
	}
	refused, passed := map[string]bool{}, map[string]bool{}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			if c.Kind == "" {
				c.Kind = config.Production
			}
			if c.Resource == "" {
				c.Resource = "x"
			}
			found := Check(Stack{Name: "s", Kind: c.Kind, ProtectData: !c.Unprotected},
				Resource{Type: c.Type, Name: c.Resource, Protect: c.Protect, Inputs: marked(c.Inputs)})
			var rules, lines []string
			for _, v := range found {
				rules, lines = append(rules, v.Rule), append(lines, v.String())
				if v.Why == "" || v.Do == "" || strings.ContainsRune(v.String(), '\n') {
					t.Errorf("%q is not one line with why and what to do", v)
				}
			}
			if fmt.Sprint(rules) != fmt.Sprint(c.Refused) {
				t.Errorf("refused by %v, want %v:\n%s", rules, c.Refused, strings.Join(lines, "\n"))
			}
			if !strings.Contains(strings.Join(lines, "\n"), c.Says) {
				t.Errorf("%q is not in:\n%s", c.Says, strings.Join(lines, "\n"))
			}
			for _, rule := range rules {
				refused[rule] = true
			}
			if len(rules) == 0 {
				passed[c.Type] = true
			}
		})
	}
	for _, rule := range Rules() {
		if !refused[rule.Name] {
			t.Errorf("no case shows %s refusing", rule.Name)
		}
	}
	for _, typ := range []string{bucketType, clusterType, nodePoolType, "kubernetes:apps/v1:Deployment", "kubernetes:core/v1:Secret"} {
		if !passed[typ] {
			t.Errorf("no case shows a %s that is let through", typ)
		}
	}
}

// marked turns {secret: x} into a secret, and "?" into a value that is not known yet.
func marked(in map[string]any) resource.PropertyMap {
	out := resource.PropertyMap{}
	for key, v := range in {
		out[resource.PropertyKey(key)] = mark(v)
	}
	return out
}

func mark(v any) resource.PropertyValue {
	switch v := v.(type) {
	case string:
		if v == "?" {
			return resource.MakeComputed(resource.NewProperty(""))
		}
	case []any:
		var list []resource.PropertyValue
		for _, e := range v {
			list = append(list, mark(e))
		}
		return resource.NewProperty(list)
	case map[string]any:
		if inner, ok := v["secret"]; ok && len(v) == 1 {
			return resource.MakeSecret(mark(inner))
		}
		return resource.NewProperty(marked(v))
	}
	return resource.NewPropertyValue(v)
}

// FuzzCheck: no input of any shape panics, and all that is unknown breaks no rule that needs it.
func FuzzCheck(f *testing.F) {
	f.Add("kubernetes:apps/v1:Deployment", `{"spec":{"template":{"spec":{"containers":[{"image":"a"}]}}}}`)
	f.Add(bucketType, `{"publicAccessPrevention":[1]}`)
	f.Add(clusterType, `{"resourceLabels":"x","privateClusterConfig":null}`)
	f.Add("kubernetes:core/v1:Secret", `{"data":{"a":{"b":[{"secret":"c"}]}}}`)
	f.Fuzz(func(t *testing.T, typ, text string) {
		var in map[string]any
		if json.Unmarshal([]byte(text), &in) != nil {
			return
		}
		for _, kind := range config.Kinds() {
			for _, v := range Check(Stack{Kind: kind, ProtectData: true}, Resource{Type: typ, Name: "x", Inputs: marked(in)}) {
				if !slices.ContainsFunc(Rules(), func(r Rule) bool { return r.Name == v.Rule }) {
					t.Errorf("%v is of no rule", v)
				}
			}
		}
	})
}
