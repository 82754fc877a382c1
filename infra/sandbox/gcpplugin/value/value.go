// Package value holds property values as plain trees (map[string]any, []any, string, float64, bool, nil,
// Unknown, and Pulumi's assets), which is what the rest of the plugin works on, and turns Pulumi's wire format
// into them and back. Secrets are kept beside the tree, as the set of paths that are secret.
package value

import (
	"fmt"
	"sort"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/plugin"
	"google.golang.org/protobuf/types/known/structpb"
)

// Unknown stands for a value that is not known before the resources that it comes from exist.
type Unknown struct{}

// Map is an object.
type Map = map[string]any

// Tree is the properties of one resource or of the provider.
type Tree struct {
	Map Map
	// Secret holds the dotted paths whose values are secret. A secret inside a list marks the whole list.
	Secret map[string]bool
	// Defaults names the top-level properties whose values Check filled in.
	Defaults map[string]bool
}

const defaultsKey = "__defaults"

// Decode reads Pulumi's wire format.
func Decode(s *structpb.Struct) (Tree, error) {
	t := Tree{Map: Map{}, Secret: map[string]bool{}, Defaults: map[string]bool{}}
	if s == nil {
		return t, nil
	}
	props, err := plugin.UnmarshalProperties(s, plugin.MarshalOptions{KeepUnknowns: true, KeepSecrets: true})
	if err != nil {
		return t, fmt.Errorf("read properties: %w", err)
	}
	if d, ok := props[defaultsKey]; ok && d.IsArray() {
		for _, name := range d.ArrayValue() {
			if name.IsString() {
				t.Defaults[name.StringValue()] = true
			}
		}
	}
	t.Map = t.object(props, "")
	return t, nil
}

func (t *Tree) object(props resource.PropertyMap, path string) Map {
	out := make(Map, len(props))
	for k, v := range props {
		name := string(k)
		// Keys with two underscores are notes of a provider to itself (__meta, __defaults).
		if strings.HasPrefix(name, "__") {
			continue
		}
		out[name] = t.value(v, Join(path, name))
	}
	return out
}

func (t *Tree) value(v resource.PropertyValue, path string) any {
	switch {
	case v.IsSecret():
		t.mark(path)
		return t.value(v.SecretValue().Element, path)
	case v.IsOutput():
		o := v.OutputValue()
		if o.Secret {
			t.mark(path)
		}
		if !o.Known {
			return Unknown{}
		}
		return t.value(o.Element, path)
	case v.IsComputed():
		return Unknown{}
	case v.IsObject():
		return t.object(v.ObjectValue(), path)
	case v.IsArray():
		list := make([]any, 0, len(v.ArrayValue()))
		for _, e := range v.ArrayValue() {
			list = append(list, t.value(e, path+"[]"))
		}
		return list
	case v.IsAsset():
		return v.AssetValue()
	case v.IsArchive():
		return v.ArchiveValue()
	case v.IsResourceReference():
		// Only the id of a resource means something to an API.
		if id, ok := v.ResourceReferenceValue().IDString(); ok {
			return id
		}
		return Unknown{}
	case v.IsNull():
		return nil
	default:
		return v.V
	}
}

// mark notes a secret; one inside a list makes the whole list secret, because elements may change places.
func (t *Tree) mark(path string) {
	path, _, _ = strings.Cut(path, "[")
	t.Secret[path] = true
}

// Encode writes Pulumi's wire format, with the secrets marked.
func (t Tree) Encode() (*structpb.Struct, error) {
	props := t.encodeMap(t.Map, "")
	if t.Defaults != nil {
		names := make([]resource.PropertyValue, 0, len(t.Defaults))
		for _, n := range sortedKeys(t.Defaults) {
			names = append(names, resource.NewStringProperty(n))
		}
		props[defaultsKey] = resource.NewArrayProperty(names)
	}
	return plugin.MarshalProperties(props, plugin.MarshalOptions{KeepUnknowns: true, KeepSecrets: true})
}

func (t Tree) encodeMap(m Map, path string) resource.PropertyMap {
	out := make(resource.PropertyMap, len(m))
	for k, v := range m {
		if v == nil {
			continue
		}
		p := Join(path, k)
		pv := t.encode(v, p)
		if t.Secret[p] && !pv.IsSecret() {
			pv = resource.MakeSecret(pv)
		}
		out[resource.PropertyKey(k)] = pv
	}
	return out
}

func (t Tree) encode(v any, path string) resource.PropertyValue {
	switch v := v.(type) {
	case Unknown:
		return resource.MakeComputed(resource.NewStringProperty(""))
	case Map:
		return resource.NewObjectProperty(t.encodeMap(v, path))
	case []any:
		list := make([]resource.PropertyValue, len(v))
		for i, e := range v {
			list[i] = t.encode(e, path+"[]")
		}
		return resource.NewArrayProperty(list)
	default:
		return resource.NewPropertyValue(v)
	}
}

// Join appends a name to a dotted path.
func Join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// Get walks a dotted path through maps.
func Get(m Map, path string) (any, bool) {
	for {
		name, rest, more := strings.Cut(path, ".")
		v, ok := m[name]
		if !ok || !more {
			return v, ok
		}
		if m, ok = v.(Map); !ok {
			return nil, false
		}
		path = rest
	}
}

// Set puts v at a dotted path, making the maps on the way. Two maps at one place are merged.
func Set(m Map, path string, v any) {
	for {
		name, rest, more := strings.Cut(path, ".")
		if !more {
			if have, ok := m[name].(Map); ok {
				if add, ok := v.(Map); ok {
					Merge(have, add)
					return
				}
			}
			m[name] = v
			return
		}
		next, ok := m[name].(Map)
		if !ok {
			next = Map{}
			m[name] = next
		}
		m, path = next, rest
	}
}

// Merge puts everything of add into m, map by map.
func Merge(m, add Map) {
	for k, v := range add {
		put(m, k, v)
	}
}

// put is Set for one key that may hold dots.
func put(m Map, key string, v any) {
	if have, ok := m[key].(Map); ok {
		if add, ok := v.(Map); ok {
			Merge(have, add)
			return
		}
	}
	m[key] = v
}

// Copy copies maps and lists, so that the copy can be changed.
func Copy(v any) any {
	switch v := v.(type) {
	case Map:
		out := make(Map, len(v))
		for k, e := range v {
			out[k] = Copy(e)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = Copy(e)
		}
		return out
	default:
		return v
	}
}

// HasUnknown tells whether some part of v is not known yet.
func HasUnknown(v any) bool {
	switch v := v.(type) {
	case Unknown:
		return true
	case Map:
		for _, e := range v {
			if HasUnknown(e) {
				return true
			}
		}
	case []any:
		for _, e := range v {
			if HasUnknown(e) {
				return true
			}
		}
	}
	return false
}

// Zero tells whether v says nothing: absent, false, 0, "", or an empty list or map of such.
func Zero(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case bool:
		return !v
	case float64:
		return v == 0
	case []any:
		return len(v) == 0
	case Map:
		for _, e := range v {
			if !Zero(e) {
				return false
			}
		}
		return true
	}
	return false
}

// String is a scalar as text, the way it appears in a path or an id.
func String(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case bool:
		return fmt.Sprint(v), true
	case float64:
		return fmt.Sprintf("%.0f", v), true
	}
	return "", false
}

// Last is what follows the last slash: the name in a link.
func Last(s string) string { return s[strings.LastIndexByte(s, '/')+1:] }

func sortedKeys(m map[string]bool) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
