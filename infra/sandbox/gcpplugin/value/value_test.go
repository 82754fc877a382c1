package value

import (
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/structpb"
)

func TestRoundTripKeepsSecretsAndUnknowns(t *testing.T) {
	in := Tree{Map: Map{"a": "x", "n": 1.5, "b": true, "u": Unknown{}, "o": Map{"p": "secret", "q": "open"}, "l": []any{"y", Unknown{}}},
		Secret: map[string]bool{"o.p": true, "l": true}, Defaults: map[string]bool{"a": true}}
	raw, err := in.Encode()
	if err != nil {
		t.Fatal(err)
	}
	out, err := Decode(raw)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(in, out) {
		t.Errorf("%#v became %#v", in, out)
	}
}

// A secret inside a list makes the list secret: its elements may change places.
func TestSecretInAList(t *testing.T) {
	mark := map[string]any{"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "value": "hidden"}
	raw, err := structpb.NewStruct(map[string]any{"list": []any{map[string]any{"password": mark}}})
	if err != nil {
		t.Fatal(err)
	}
	tree, err := Decode(raw)
	if err != nil || !reflect.DeepEqual(tree.Secret, map[string]bool{"list": true}) {
		t.Errorf("secrets %v, %v", tree.Secret, err)
	}
}

func FuzzPath(f *testing.F) {
	f.Add("a.b.c", "v")
	f.Add("", "")
	f.Add("..", "x")
	f.Fuzz(func(t *testing.T, path, v string) {
		if strings.Count(path, ".") > 100 {
			t.Skip("deeper than any property is")
		}
		m := Map{}
		Set(m, path, v)
		got, ok := Get(m, path)
		if !ok || got != v {
			t.Errorf("%q set to %q reads %v", path, v, got)
		}
	})
}
