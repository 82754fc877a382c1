package gcpplugin

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"

	"patag/infra/sandbox/gcpplugin/check"
	"patag/infra/sandbox/gcpplugin/description"
	"patag/infra/sandbox/gcpplugin/diff"
	"patag/infra/sandbox/gcpplugin/value"
)

// TestEveryPropertyAnswers checks, for every property of every type, that a value of its kind is taken and one of
// another refused, that the same value is no difference, and that another value is the update or the replacement
// that the description says.
func TestEveryPropertyAnswers(t *testing.T) {
	for _, token := range description.Tokens() {
		typ, err := description.Lookup(token)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(strings.ReplaceAll(token, "/", "."), func(t *testing.T) {
			for _, p := range all(typ.Root) {
				if p.Output || p.Unsupported || underOutput(typ.Root, p) {
					continue
				}
				t.Run(p.Path, func(t *testing.T) { answersFor(t, typ, p) })
			}
		})
	}
}

func answersFor(t *testing.T, typ *description.Type, p *description.Property) {
	a, b := with(typ.Root, p, 1), with(typ.Root, p, 2)
	if bad := judge(typ, a); len(bad) > 0 {
		t.Fatalf("good inputs refused: %v", bad)
	}
	wrong := with(typ.Root, p, 1)
	setDeep(wrong, p.Path, mistake(p))
	if bad := judge(typ, wrong); !mentions(bad, p.Path) {
		t.Errorf("a value of the wrong kind was taken: %v", bad)
	}
	stranger := with(typ.Root, p, 1)
	setDeep(stranger, p.Path+"x", "?")
	if bad := judge(typ, stranger); !mentions(bad, p.Name+"x") {
		t.Errorf("an unknown property was taken: %v", bad)
	}
	if c := diff.Compare(typ, a, a, nil); len(c) > 0 {
		t.Errorf("the same is different: %+v", c)
	}
	if p.Kind == description.Object || p.Elem == description.Object {
		return
	}
	changes := diff.Compare(typ, a, b, nil)
	if len(changes) == 0 {
		t.Fatalf("no difference between %v and %v", a, b)
	}
	for _, c := range changes {
		if c.Replace != wantReplace(typ.Root, p) && !p.Shrink {
			t.Errorf("%s: replace is %v", c.Path, c.Replace)
		}
	}
	// Unknown values may be anything, so they count as a change.
	unknown := with(typ.Root, p, 1)
	setDeep(unknown, p.Path, value.Unknown{})
	if c := diff.Compare(typ, a, unknown, nil); len(c) == 0 {
		t.Error("an unknown value is no difference")
	}
	if c := diff.Compare(typ, a, b, []string{strings.Split(p.Path, ".")[0]}); len(c) > 0 {
		t.Errorf("ignored changes are reported: %+v", c)
	}
	gone := with(typ.Root, p, 1)
	dropDeep(gone, p.Path)
	c := diff.Compare(typ, a, gone, nil)
	if p.Computed && len(c) > 0 || !p.Computed && len(c) == 0 {
		t.Errorf("left out: %+v", c)
	}
}

func judge(typ *description.Type, in value.Map) []check.Failure {
	tree := value.Tree{Map: value.Copy(in).(value.Map), Secret: map[string]bool{}}
	var out []check.Failure
	for _, f := range check.Inputs(typ, &tree, value.Tree{}, check.Place{Project: "p", Region: "r", Zone: "z"}, check.Naming{Name: "n", Seed: []byte("x")}) {
		// The inputs are made for one property; what others would need is not judged.
		if !strings.Contains(f.Reason, "needs the property") && !strings.Contains(f.Reason, "together with") {
			out = append(out, f)
		}
	}
	return out
}

func mentions(bad []check.Failure, path string) bool {
	last := path[strings.LastIndexByte(path, '.')+1:]
	for _, f := range bad {
		if strings.Contains(f.Property, last) && strings.Contains(f.Reason, last) {
			return true
		}
	}
	return false
}

func all(p *description.Property) []*description.Property {
	var out []*description.Property
	for _, c := range p.Children {
		out = append(out, c)
		out = append(out, all(c)...)
	}
	return out
}

func chain(root, p *description.Property) []*description.Property {
	var out []*description.Property
	at := root
	for _, name := range strings.Split(p.Path, ".") {
		at = at.Child(name)
		out = append(out, at)
	}
	return out
}

func underOutput(root, p *description.Property) bool {
	for _, c := range chain(root, p) {
		if c.Output || c.Unsupported {
			return true
		}
	}
	return false
}

// wantReplace: a set is replaced as its elements say; elsewhere the property alone decides.
func wantReplace(root, p *description.Property) bool {
	if p.Replace {
		return true
	}
	for _, c := range chain(root, p) {
		if c.Kind == description.Set && (c.Replace) {
			return true
		}
	}
	return false
}

// with makes inputs in which p has its n-th sample value.
func with(root, p *description.Property, n int) value.Map {
	out := value.Map{}
	m := out
	links := chain(root, p)
	for _, c := range links[:len(links)-1] {
		next := value.Map{}
		if c.Kind == description.Object {
			m[c.Name] = next
		} else {
			m[c.Name] = []any{next}
		}
		m = next
	}
	m[p.Name] = sample(p, p.Kind, n)
	return out
}

func sample(p *description.Property, kind description.Kind, n int) any {
	switch kind {
	case description.Bool:
		return n == 1
	case description.Int:
		return float64(n)
	case description.Float:
		return float64(n) / 4
	case description.List, description.Set:
		if p.Elem == description.Object {
			return []any{value.Map{}}
		}
		return []any{sample(p, p.Elem, n)}
	case description.Map:
		return value.Map{"k": sample(p, p.Elem, n)}
	case description.Object:
		return value.Map{}
	case description.Asset:
		a, err := resource.NewTextAsset(fmt.Sprint(n))
		if err != nil {
			panic(err)
		}
		return a
	}
	if p.Same == "cidr" || p.Shrink {
		return fmt.Sprintf("10.%d.0.0/24", n)
	}
	if p.Same == "json" {
		return fmt.Sprintf(`{"n":%d}`, n)
	}
	return fmt.Sprintf("value-%d", n)
}

func mistake(p *description.Property) any {
	switch p.Kind {
	case description.String, description.Asset:
		return []any{}
	case description.Object:
		return "text"
	}
	return "text"
}

func setDeep(m value.Map, path string, v any) {
	parts := strings.Split(path, ".")
	for _, part := range parts[:len(parts)-1] {
		m = inner(m[part])
	}
	m[parts[len(parts)-1]] = v
}

func dropDeep(m value.Map, path string) {
	parts := strings.Split(path, ".")
	for _, part := range parts[:len(parts)-1] {
		m = inner(m[part])
	}
	delete(m, parts[len(parts)-1])
}

func inner(v any) value.Map {
	if list, ok := v.([]any); ok {
		v = list[0]
	}
	return v.(value.Map)
}
