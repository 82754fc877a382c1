package googleapi

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"reflect"
	"strconv"
	"strings"
	"sync"

	gapi "google.golang.org/api/googleapi"
)

// DecodeDoc parses one JSON object and checks it against like (a struct of google.golang.org/api or a pointer to
// one) as Google does: names and types must be right; a 64-bit number may be a number or a string, names may be in
// lowerCamelCase or in snake_case. What comes back is normalised to what Google itself would write: lowerCamelCase,
// 64-bit numbers as strings. null stays, so that a patch can tell "clear this" from "say nothing about it".
func DecodeDoc(raw []byte, like any, bodyName string) (Doc, error) {
	t := reflect.TypeOf(like)
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if len(bytes.TrimSpace(raw)) == 0 {
		return Doc{}, nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, parseError(err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, parseError(fmt.Errorf("unexpected data after the JSON value"))
	}
	object, ok := v.(map[string]any)
	if !ok {
		return nil, parseError(fmt.Errorf("root element must be a message"))
	}
	c := checker{}
	out := c.object(object, t, bodyName)
	if len(c.violations) > 0 {
		var lines []string
		for _, f := range c.violations {
			lines = append(lines, f.Description)
		}
		return nil, &Error{Code: 400, Status: "INVALID_ARGUMENT", Reason: "invalid", Message: strings.Join(lines, "\n"), FieldViolations: c.violations}
	}
	return Doc(out), nil
}

func parseError(err error) *Error {
	return &Error{Code: 400, Status: "INVALID_ARGUMENT", Reason: "parseError", Message: "Invalid JSON payload received. " + strings.TrimPrefix(err.Error(), "json: ")}
}

func decodeInto(raw []byte, v any, bodyName string) error {
	doc, err := DecodeDoc(raw, v, bodyName)
	if err != nil {
		return err
	}
	return doc.To(v)
}

// Conform checks a document that is about to be stored or sent against Google's type, so that a slip in a service
// shows up in its tests rather than in a client. The error lists the fields.
func Conform(d Doc, like any) error {
	raw, err := json.Marshal(d)
	if err != nil {
		return err
	}
	_, err = DecodeDoc(raw, like, "")
	return err
}

type checker struct{ violations []FieldViolation }

func (c *checker) fail(at, format string, args ...any) {
	c.violations = append(c.violations, FieldViolation{Field: at, Description: "Invalid " + fmt.Sprintf(format, args...)})
}

// typeError is Google's "Invalid value at 'cluster.initial_node_count' (TYPE_INT32), "abc"".
func (c *checker) typeError(at, typeName string, v any) {
	shown, _ := json.Marshal(v)
	c.fail(at, "value at '%s' (%s), %s", at, typeName, shown)
}

func (c *checker) object(in map[string]any, t reflect.Type, at string) map[string]any {
	fields := fieldsOf(t)
	out := make(map[string]any, len(in))
	for name, v := range in {
		f, ok := fields.byName[name]
		if !ok {
			f, ok = fields.byProto[name]
		}
		if !ok {
			where := ""
			if at != "" {
				where = " at '" + at + "'"
			}
			c.fail(at, "JSON payload received. Unknown name %q%s: Cannot find field.", name, where)
			continue
		}
		path := f.proto
		if at != "" {
			path = at + "." + f.proto
		}
		if v == nil {
			out[f.name] = nil
			continue
		}
		out[f.name] = c.value(v, f.typ, f.quoted, path)
	}
	return out
}

var (
	int64sType   = reflect.TypeFor[gapi.Int64s]()
	uint64sType  = reflect.TypeFor[gapi.Uint64s]()
	int32sType   = reflect.TypeFor[gapi.Int32s]()
	uint32sType  = reflect.TypeFor[gapi.Uint32s]()
	float64sType = reflect.TypeFor[gapi.Float64s]()
	rawType      = reflect.TypeFor[gapi.RawMessage]()
)

func (c *checker) value(v any, t reflect.Type, quoted bool, at string) any {
	switch t {
	case rawType:
		return v
	case int64sType:
		return c.list(v, reflect.TypeFor[int64](), true, at)
	case uint64sType:
		return c.list(v, reflect.TypeFor[uint64](), true, at)
	case int32sType:
		return c.list(v, reflect.TypeFor[int32](), false, at)
	case uint32sType:
		return c.list(v, reflect.TypeFor[uint32](), false, at)
	case float64sType:
		return c.list(v, reflect.TypeFor[float64](), false, at)
	}
	switch t.Kind() {
	case reflect.Pointer:
		return c.value(v, t.Elem(), quoted, at)
	case reflect.Interface:
		return v
	case reflect.Struct:
		o, ok := v.(map[string]any)
		if !ok {
			c.typeError(at, t.Name(), v)
			return nil
		}
		return c.object(o, t, at)
	case reflect.Map:
		o, ok := v.(map[string]any)
		if !ok {
			c.typeError(at, "Map", v)
			return nil
		}
		out := make(map[string]any, len(o))
		for k, e := range o {
			if e == nil {
				out[k] = nil
				continue
			}
			out[k] = c.value(e, t.Elem(), false, at+"["+strconv.Quote(k)+"]")
		}
		return out
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return c.value(v, reflect.TypeFor[string](), false, at)
		}
		return c.list(v, t.Elem(), false, at)
	case reflect.String:
		s, ok := v.(string)
		if !ok {
			c.typeError(at, "TYPE_STRING", v)
		}
		return s
	case reflect.Bool:
		switch b := v.(type) {
		case bool:
			return b
		case string: // Google's servers take the quoted form too.
			if b == "true" || b == "false" {
				return b == "true"
			}
		}
		c.typeError(at, "TYPE_BOOL", v)
		return false
	case reflect.Float64, reflect.Float32:
		f, err := strconv.ParseFloat(numberText(v), 64)
		if err != nil {
			c.typeError(at, "TYPE_DOUBLE", v)
		}
		return f
	case reflect.Int64, reflect.Uint64, reflect.Int32, reflect.Uint32, reflect.Int, reflect.Uint:
		return c.integer(v, t, quoted, at)
	}
	c.fail(at, "value at '%s': type %s is not handled", at, t)
	return nil
}

func (c *checker) list(v any, elem reflect.Type, quoted bool, at string) any {
	in, ok := v.([]any)
	if !ok {
		c.typeError(at, "repeated "+elem.Name(), v)
		return nil
	}
	out := make([]any, 0, len(in))
	for i, e := range in {
		if e == nil {
			c.typeError(fmt.Sprintf("%s[%d]", at, i), elem.String(), nil)
			continue
		}
		out = append(out, c.value(e, elem, quoted, fmt.Sprintf("%s[%d]", at, i)))
	}
	return out
}

// integer follows proto3 JSON: a number, or a string of one; no fraction; within range. A field that Google's Go
// type writes as a string (64 bits) comes back as a string, any other as a number.
func (c *checker) integer(v any, t reflect.Type, quoted bool, at string) any {
	unsigned := t.Kind() == reflect.Uint64 || t.Kind() == reflect.Uint32 || t.Kind() == reflect.Uint
	// The Go types hold 32-bit fields in 64-bit ones: only `,string` tells them apart.
	bits := 32
	if quoted {
		bits = 64
	}
	name := map[bool]string{true: "TYPE_UINT", false: "TYPE_INT"}[unsigned] + strconv.Itoa(bits)
	text := numberText(v)
	var n string
	if unsigned {
		u, err := strconv.ParseUint(text, 10, bits)
		if err != nil {
			c.typeError(at, name, v)
		}
		n = strconv.FormatUint(u, 10)
	} else {
		i, err := strconv.ParseInt(text, 10, bits)
		if err != nil {
			c.typeError(at, name, v)
		}
		n = strconv.FormatInt(i, 10)
	}
	if quoted {
		return n
	}
	f, _ := strconv.ParseFloat(n, 64)
	return f
}

// numberText is the text of a number or of a string of one, with 1e3 and 2.0 written as integers.
func numberText(v any) string {
	var text string
	switch n := v.(type) {
	case json.Number:
		text = n.String()
	case string:
		text = n
	default:
		return ""
	}
	if strings.ContainsAny(text, ".eE") {
		if f, err := strconv.ParseFloat(text, 64); err == nil && f == math.Trunc(f) && math.Abs(f) < 1<<53 {
			return strconv.FormatInt(int64(f), 10)
		}
	}
	return text
}

type field struct {
	name, proto string
	typ         reflect.Type
	quoted      bool
}

type fieldSet struct{ byName, byProto map[string]field }

var fieldCache sync.Map // reflect.Type → fieldSet

func fieldsOf(t reflect.Type) fieldSet {
	if cached, ok := fieldCache.Load(t); ok {
		return cached.(fieldSet)
	}
	set := fieldSet{map[string]field{}, map[string]field{}}
	for i := range t.NumField() {
		sf := t.Field(i)
		name, options, _ := strings.Cut(sf.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		f := field{name: name, proto: snake(name), typ: sf.Type, quoted: strings.Contains(options, "string")}
		set.byName[name] = f
		set.byProto[f.proto] = f
	}
	fieldCache.Store(t, set)
	return set
}

func snake(camel string) string {
	var b strings.Builder
	for i, r := range camel {
		if r >= 'A' && r <= 'Z' {
			if i > 0 {
				b.WriteByte('_')
			}
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}

// Fingerprint is Google's kind of fingerprint or etag: eight bytes in base64, the same for the same content.
func Fingerprint(v any) string {
	sum := digest(v)
	return base64.StdEncoding.EncodeToString(sum[:8])
}

// HasField tells whether one of Google's types has a field at the path; map keys may be anything.
func HasField(like any, path ...string) bool {
	t := reflect.TypeOf(like)
	for _, name := range path {
		for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
			t = t.Elem()
		}
		switch t.Kind() {
		case reflect.Struct:
			f, ok := fieldsOf(t).byName[name]
			if !ok {
				return false
			}
			t = f.typ
		case reflect.Map:
			t = t.Elem()
		case reflect.Interface:
			return true
		default:
			return false
		}
	}
	return true
}
