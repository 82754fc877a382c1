package policy

import (
	"maps"
	"slices"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
)

// value is an input, or a part of one, without its marks.
type value struct {
	v resource.PropertyValue
	// secret is true when it, or something around it, is marked so.
	secret bool
	// unknown is true when it, or something around it, is computed later.
	unknown bool
}

func inputs(r Resource) value { return bare(resource.NewProperty(r.Inputs), false) }

// bare takes the marks off.
func bare(v resource.PropertyValue, secret bool) value {
	for {
		switch {
		case v.IsSecret():
			v, secret = v.SecretValue().Element, true
		case v.IsOutput():
			out := v.OutputValue()
			if !out.Known {
				return value{secret: secret || out.Secret, unknown: true}
			}
			v, secret = out.Element, secret || out.Secret
		case v.IsComputed():
			return value{secret: secret, unknown: true}
		default:
			return value{v: v, secret: secret}
		}
	}
}

// at goes down the keys of objects.
func (x value) at(keys ...string) value {
	for _, key := range keys {
		if x.unknown || !x.v.IsObject() {
			return value{secret: x.secret, unknown: x.unknown}
		}
		x = bare(x.v.ObjectValue()[resource.PropertyKey(key)], x.secret)
	}
	return x
}

// list is the elements of a list; a thing that is no list is none.
func (x value) list() []value {
	if x.unknown || !x.v.IsArray() {
		return nil
	}
	var all []value
	for _, v := range x.v.ArrayValue() {
		all = append(all, bare(v, x.secret))
	}
	return all
}

// keys of an object, sorted.
func (x value) keys() []string {
	if x.unknown || !x.v.IsObject() {
		return nil
	}
	var names []string
	for _, key := range slices.Sorted(maps.Keys(x.v.ObjectValue())) {
		names = append(names, string(key))
	}
	return names
}

// text is "" for what is no text.
func (x value) text() string {
	if x.unknown || !x.v.IsString() {
		return ""
	}
	return x.v.StringValue()
}

// absent is true for what is known not to be there.
func (x value) absent() bool { return !x.unknown && !x.v.HasValue() }

// is tells whether a switch is on, or may be.
func (x value) is() bool { return x.unknown || x.v.IsBool() && x.v.BoolValue() }

// texts are all texts in it that are not secret.
func (x value) texts(path string, tell func(path, text string)) {
	switch {
	case x.unknown, x.secret:
	case x.v.IsString():
		tell(path, x.v.StringValue())
	case x.v.IsArray():
		for _, e := range x.list() {
			e.texts(path+"[]", tell)
		}
	case x.v.IsObject():
		for _, key := range x.keys() {
			at := key
			if path != "" {
				at = path + "." + key
			}
			x.at(key).texts(at, tell)
		}
	}
}
