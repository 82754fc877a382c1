package googleapi

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Doc is a resource as JSON has it: numbers are float64, 64-bit ones strings. Unlike Google's Go structs it tells
// absent from zero, which decides what a client sees as changed.
type Doc map[string]any

// NewDoc turns one of Google's structs into a document.
func NewDoc(v any) (Doc, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var d Doc
	err = json.Unmarshal(raw, &d)
	return d, err
}

// To fills one of Google's structs.
func (d Doc) To(v any) error {
	raw, err := json.Marshal(d)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, v)
}

// Get is the value at a path of names ("routingConfig", "routingMode"), nil if there is none.
func (d Doc) Get(path ...string) any {
	var v any = map[string]any(d)
	for _, name := range path {
		m, ok := asMap(v)
		if !ok {
			return nil
		}
		v = m[name]
	}
	return v
}

// Has tells whether there is a value, other than null, at the path.
func (d Doc) Has(path ...string) bool { return d.Get(path...) != nil }

// String is the string at the path, "" if there is none.
func (d Doc) String(path ...string) string { s, _ := d.Get(path...).(string); return s }

// Bool is the boolean at the path.
func (d Doc) Bool(path ...string) bool { b, _ := d.Get(path...).(bool); return b }

// Int is the number at the path, whether JSON has it as a number or as a string.
func (d Doc) Int(path ...string) int64 {
	switch n := d.Get(path...).(type) {
	case float64:
		return int64(n)
	case int64:
		return n
	case int:
		return int64(n)
	case string:
		i, _ := strconv.ParseInt(n, 10, 64)
		return i
	}
	return 0
}

// Doc is the object at the path: the same memory, not a copy; nil if there is none.
func (d Doc) Doc(path ...string) Doc { m, _ := asMap(d.Get(path...)); return m }

// Docs are the objects of the list at the path.
func (d Doc) Docs(path ...string) []Doc {
	var docs []Doc
	switch l := d.Get(path...).(type) {
	case []any:
		for _, e := range l {
			if m, ok := asMap(e); ok {
				docs = append(docs, m)
			}
		}
	case []Doc:
		docs = l
	}
	return docs
}

// Strings are the strings of the list at the path.
func (d Doc) Strings(path ...string) []string {
	var out []string
	switch l := d.Get(path...).(type) {
	case []any:
		for _, e := range l {
			if s, ok := e.(string); ok {
				out = append(out, s)
			}
		}
	case []string:
		out = l
	}
	return out
}

// StringMap is the map of strings at the path (labels).
func (d Doc) StringMap(path ...string) map[string]string {
	m, ok := asMap(d.Get(path...))
	if !ok {
		return nil
	}
	out := map[string]string{}
	for k, v := range m {
		out[k], _ = v.(string)
	}
	return out
}

// Default sets name unless it has a value.
func (d Doc) Default(name string, v any) {
	if d[name] == nil {
		d[name] = v
	}
}

// Sub is the object at name, made if there is none.
func (d Doc) Sub(name string) Doc {
	m, ok := asMap(d[name])
	if !ok {
		m = Doc{}
		d[name] = m
	}
	return m
}

// Drop removes fields.
func (d Doc) Drop(names ...string) {
	for _, n := range names {
		delete(d, n)
	}
}

// Clone is a deep copy.
func (d Doc) Clone() Doc { c, _ := clone(map[string]any(d)).(map[string]any); return c }

// Merge applies a JSON merge patch: null removes, objects merge, everything else replaces.
func (d Doc) Merge(patch Doc) {
	for k, v := range patch {
		if v == nil {
			delete(d, k)
			continue
		}
		if pm, ok := asMap(v); ok {
			m, ok := asMap(d[k])
			if !ok {
				m = Doc{}
			}
			m.Merge(pm)
			d[k] = map[string]any(m)
			continue
		}
		d[k] = clone(v)
	}
}

// ApplyMask takes the fields of an update mask ("displayName,labels", lowerCamelCase or snake_case, dots go deeper)
// from patch: a field that patch lacks is removed. An empty mask or "*" takes what patch has.
func (d Doc) ApplyMask(patch Doc, mask string) error {
	if mask == "" || mask == "*" {
		for k, v := range patch {
			if v == nil {
				delete(d, k)
			} else {
				d[k] = clone(v)
			}
		}
		return nil
	}
	for _, path := range strings.Split(mask, ",") {
		names := strings.Split(strings.TrimSpace(path), ".")
		if names[0] == "" {
			return InvalidArgument("Invalid value at 'update_mask': %q", mask)
		}
		for i := range names {
			names[i] = camel(names[i])
		}
		to, from := d, patch
		for _, n := range names[:len(names)-1] {
			to, from = to.Sub(n), from.Doc(n)
		}
		last := names[len(names)-1]
		if v := from[last]; v != nil {
			to[last] = clone(v)
		} else {
			delete(to, last)
		}
	}
	return nil
}

// DropNulls removes nulls everywhere, as in a document that is created.
func (d Doc) DropNulls() {
	for k, v := range d {
		if v == nil {
			delete(d, k)
			continue
		}
		walk(v, func(m map[string]any) {
			for k, v := range m {
				if v == nil {
					delete(m, k)
				}
			}
		})
	}
}

// Equal compares content.
func Equal(a, b any) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return string(x) == string(y)
}

func walk(v any, fn func(map[string]any)) {
	switch x := v.(type) {
	case Doc:
		walk(map[string]any(x), fn)
	case map[string]any:
		fn(x)
		for _, e := range x {
			walk(e, fn)
		}
	case []any:
		for _, e := range x {
			walk(e, fn)
		}
	}
}

func asMap(v any) (Doc, bool) {
	switch m := v.(type) {
	case Doc:
		return m, m != nil
	case map[string]any:
		return m, m != nil
	}
	return nil, false
}

func clone(v any) any {
	switch x := v.(type) {
	case Doc:
		return clone(map[string]any(x))
	case map[string]any:
		m := make(map[string]any, len(x))
		for k, e := range x {
			m[k] = clone(e)
		}
		return m
	case []any:
		l := make([]any, len(x))
		for i, e := range x {
			l[i] = clone(e)
		}
		return l
	}
	rv := reflect.ValueOf(v)
	if rv.Kind() == reflect.Map || rv.Kind() == reflect.Slice {
		// A typed map or list, put there by a service: take JSON's form of it.
		raw, _ := json.Marshal(v)
		var out any
		_ = json.Unmarshal(raw, &out)
		return out
	}
	return v
}

func camel(s string) string {
	parts := strings.Split(s, "_")
	for i := 1; i < len(parts); i++ {
		if parts[i] != "" {
			parts[i] = strings.ToUpper(parts[i][:1]) + parts[i][1:]
		}
	}
	return strings.Join(parts, "")
}

func digest(v any) [sha256.Size]byte {
	raw, err := json.Marshal(v)
	if err != nil {
		raw = fmt.Append(nil, v)
	}
	return sha256.Sum256(raw)
}

// Timestamp is a time as most services write it: RFC 3339, UTC, with nanoseconds.
func Timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000000Z") }
