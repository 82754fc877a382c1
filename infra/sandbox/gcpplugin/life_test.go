package gcpplugin

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/protobuf/types/known/structpb"
	"sigs.k8s.io/yaml"
)

// life is a test case: a resource from creation to deletion. Text like "${network.selfLink}" is an output of a
// resource created before.
type life struct {
	// Before are the resources that this one needs.
	Before []step `json:"before"`
	step
	// Update are changes that must be made in place, Replace changes that need a new resource, each on top of
	// what came before; null takes a property away.
	Update  []map[string]any `json:"update"`
	Replace []map[string]any `json:"replace"`
	// Same are changes that change nothing: another way to say what is there.
	Same []map[string]any `json:"same"`
	// Outputs must have these values, Secret must be secret.
	Outputs map[string]any `json:"outputs"`
	Secret  []string       `json:"secret"`
	ID      string         `json:"id"`
	// Import are ids under which the resource is found, besides its own.
	Import   []string `json:"import"`
	NoImport bool     `json:"noImport"`
	// OtherImport: the own id does not tell all that the program gave.
	OtherImport bool `json:"otherImport"`
	// Stays: a delete leaves it there, on purpose.
	Stays bool `json:"stays"`
}

type step struct {
	Type   string         `json:"type"`
	Name   string         `json:"name"`
	Inputs map[string]any `json:"inputs"`
}

// TestLife takes a resource of every type through its life against the sandbox's Google API.
func TestLife(t *testing.T) {
	files, err := filepath.Glob("testdata/life/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var c life
			if err := yaml.UnmarshalStrict(raw, &c); err != nil {
				t.Fatal(err)
			}
			t.Parallel()
			c.run(t)
		})
	}
}

func (c life) run(t *testing.T) {
	e := startEngine(t, startGoogle(t))
	made := map[string]*res{}
	var order []*res
	for _, s := range c.Before {
		r := e.create(s.Type, s.Name, expand(t, s.Inputs, made).(map[string]any))
		made[s.Name] = r
		order = append(order, r)
	}
	inputs := expand(t, c.Inputs, made).(map[string]any)
	name := c.Name
	if name == "" {
		name = "it"
	}
	r := e.create(c.Type, name, inputs)
	made[name] = r
	if want := expand(t, c.ID, made); want != "" && want != r.id {
		t.Errorf("id %q, want %q", r.id, want)
	}
	state := plain(t, r.outputs)
	for k, v := range c.Outputs {
		if want := expand(t, v, made); fmt.Sprint(state[k]) != fmt.Sprint(want) {
			t.Errorf("output %s is %v, want %v", k, state[k], want)
		}
	}
	c.secrets(t, r)
	e.steady(r, inputs, "after creation")
	if !c.NoImport {
		ids := c.Import
		if !c.OtherImport {
			ids = append(ids, r.id)
		}
		for _, id := range ids {
			e.imported(r, expand(t, id, made).(string), inputs)
		}
	}
	for _, change := range c.Same {
		e.noDiff(r, changed(inputs, expand(t, change, made).(map[string]any)), fmt.Sprintf("with %v", change))
	}
	for _, change := range c.Update {
		inputs = changed(inputs, expand(t, change, made).(map[string]any))
		answer, news := e.diff(r, inputs)
		if answer.GetChanges() != pulumirpc.DiffResponse_DIFF_SOME || len(answer.GetReplaces()) > 0 {
			t.Errorf("change %v: want an update, got %v replaces %v", change, answer.GetChanges(), answer.GetReplaces())
			continue
		}
		e.update(r, news)
		e.steady(r, inputs, fmt.Sprintf("after %v", change))
	}
	for _, change := range c.Replace {
		answer, _ := e.diff(r, changed(inputs, expand(t, change, made).(map[string]any)))
		for k := range change {
			if !contains(answer.GetReplaces(), strings.Split(k, ".")[0]) {
				t.Errorf("change %v: want a replacement for %s, got replaces %v, diffs %v", change, k, answer.GetReplaces(), answer.GetDiffs())
			}
		}
	}
	if err := e.delete(r); err != nil {
		t.Fatalf("delete: %v", err)
	}
	if got := e.read(r); got.GetId() != "" && !c.Stays {
		t.Errorf("still there after its deletion: %s", got.GetId())
	}
	if err := e.delete(r); err != nil && !c.Stays {
		t.Errorf("delete again: %v", err)
	}
	for i := len(order) - 1; i >= 0; i-- {
		if err := e.delete(order[i]); err != nil {
			t.Errorf("delete %s: %v", order[i].id, err)
		}
	}
}

// steady: nothing changes when nothing was changed, before and after a refresh.
func (e *engine) steady(r *res, inputs map[string]any, when string) {
	e.t.Helper()
	e.noDiff(r, inputs, when)
	got := e.read(r)
	if got.GetId() != r.id {
		e.t.Fatalf("%s: read gives id %q, want %q", when, got.GetId(), r.id)
	}
	sameState(e.t, when+": state after refresh", plain(e.t, r.outputs), plain(e.t, got.GetProperties()))
	sameState(e.t, when+": inputs after refresh", plain(e.t, r.inputs), plain(e.t, got.GetInputs()))
	r.outputs = got.GetProperties()
	r.inputs = got.GetInputs()
	e.noDiff(r, inputs, when+", refreshed")
}

func (e *engine) noDiff(r *res, inputs map[string]any, when string) {
	e.t.Helper()
	answer, _ := e.diff(r, inputs)
	if answer.GetChanges() != pulumirpc.DiffResponse_DIFF_NONE {
		e.t.Errorf("%s: unexpected difference %v; state %s", when, answer.GetDetailedDiff(), dump(e.t, r.outputs))
	}
}

// imported: the resource is found by an id alone, and the program then has nothing to change but what is not read.
func (e *engine) imported(r *res, id string, inputs map[string]any) {
	e.t.Helper()
	out, err := e.client.Read(e.t.Context(), &pulumirpc.ReadRequest{Urn: r.urn, Id: id})
	if err != nil {
		e.t.Errorf("import %q: %v", id, err)
		return
	}
	if out.GetId() != r.id {
		e.t.Errorf("import %q gives id %q, want %q", id, out.GetId(), r.id)
		return
	}
	got := &res{urn: r.urn, id: r.id, inputs: r.inputs, outputs: out.GetProperties()}
	answer, _ := e.diff(got, inputs)
	for path, d := range answer.GetDetailedDiff() {
		// What Google does not know, or an import cannot tell from the labels of others, comes from the program.
		if d.GetKind() == pulumirpc.PropertyDiff_ADD || d.GetKind() == pulumirpc.PropertyDiff_ADD_REPLACE {
			continue
		}
		e.t.Errorf("import %q: %s differs (%v); state %s", id, path, d.GetKind(), dump(e.t, out.GetProperties()))
	}
}

func (c life) secrets(t *testing.T, r *res) {
	t.Helper()
	for _, path := range c.Secret {
		v := structpb.NewStructValue(r.outputs)
		found := false
		for _, part := range strings.Split(path, ".") {
			v = v.GetStructValue().GetFields()[part]
			if v.GetStructValue().GetFields()["4dabf18193072939515e22adb298388d"] != nil {
				found = true
				break
			}
		}
		if !found {
			t.Errorf("%s is not secret", path)
		}
	}
}

func contains(list []string, s string) bool {
	for _, e := range list {
		if e == s {
			return true
		}
	}
	return false
}

func sameState(t *testing.T, what string, a, b map[string]any) {
	t.Helper()
	for k := range maps.All(merged(a, b)) {
		if k == "__defaults" {
			continue
		}
		if !reflect.DeepEqual(a[k], b[k]) {
			t.Errorf("%s: %s was %v, is %v", what, k, a[k], b[k])
		}
	}
}

func merged(a, b map[string]any) map[string]any {
	out := maps.Clone(a)
	maps.Copy(out, b)
	return out
}

// changed sets properties by dotted path; null removes.
func changed(inputs, change map[string]any) map[string]any {
	raw, _ := json.Marshal(inputs)
	var out map[string]any
	_ = json.Unmarshal(raw, &out)
	for path, v := range change {
		m := out
		parts := strings.Split(path, ".")
		for _, p := range parts[:len(parts)-1] {
			next, ok := m[p].(map[string]any)
			if !ok {
				next = map[string]any{}
				m[p] = next
			}
			m = next
		}
		if v == nil {
			delete(m, parts[len(parts)-1])
		} else {
			m[parts[len(parts)-1]] = v
		}
	}
	return out
}

var reference = regexp.MustCompile(`\$\{([a-z0-9-]+)\.([A-Za-z0-9.]+)\}`)

func expand(t *testing.T, v any, made map[string]*res) any {
	t.Helper()
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, e := range v {
			out[k] = expand(t, e, made)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = expand(t, e, made)
		}
		return out
	case string:
		return reference.ReplaceAllStringFunc(v, func(ref string) string {
			m := reference.FindStringSubmatch(ref)
			r := made[m[1]]
			if r == nil {
				t.Fatalf("%s: no resource %q", ref, m[1])
			}
			if m[2] == "id" {
				return r.id
			}
			return fmt.Sprint(plain(t, r.outputs)[m[2]])
		})
	}
	if v == nil {
		return nil
	}
	return v
}

func dump(t *testing.T, s *structpb.Struct) string {
	raw, err := json.MarshalIndent(plain(t, s), "", " ")
	if err != nil {
		return err.Error()
	}
	return string(raw)
}
