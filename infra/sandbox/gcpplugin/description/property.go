package description

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
)

// Kind is the shape of a value.
type Kind string

// The kinds; List, Set and Map hold elements of another kind.
const (
	String Kind = "string"
	Int    Kind = "int"
	Float  Kind = "float"
	Bool   Kind = "bool"
	Object Kind = "object"
	List   Kind = "list"
	Set    Kind = "set"
	Map    Kind = "map"
	// Asset is a file, text or archive given to the resource.
	Asset Kind = "asset"
)

// Property is one property of a type, or of an object in it.
type Property struct {
	// Name is Pulumi's name, Path the dotted path from the resource down.
	Name, Path string
	Kind, Elem Kind
	// Children are the properties of an object, or of each object of a list or set, in order of their names.
	Children []*Property

	// Required: must be given. Computed: the server fills it in when it is not given. Output: the server alone sets it.
	Required, Computed, Output bool
	// Replace: a change makes a new resource. Shrink: only a change to a range that no longer holds the old one does.
	Replace, Shrink bool
	Secret          bool
	// Default is filled in by Check when HasDefault.
	Default    any
	HasDefault bool
	Conflicts  []string

	// API is the dotted path in Google's JSON, from the parent's object; Local properties have none: they steer
	// the plugin, or are part of the resource's address.
	API   string
	Local bool
	// ReadAPI, where it differs from API, is where the answer has the value, from the root of the resource.
	ReadAPI string
	// Kept: sent, but not or not truly read back, so the last value given is kept. ReadOnly: read, never sent at creation.
	Kept, ReadOnly bool
	// Int64: Google's JSON holds the number as text.
	Int64 bool
	// Keyed: a list here is a map in Google's JSON, its key this property of the elements.
	Keyed string
	// Present: Google marks the object as switched on with this boolean, which Pulumi's object does not have.
	Present string
	// Link: the value names another resource of this collection: by name, by path or by URL.
	Link string
	// ByName: only what follows the last slash counts.
	ByName bool
	// Last: the answer holds a path, of which the last part is the value.
	Last bool
	// Same is a looser rule of equality: case, dot (final dot), cidr (a prefix length stands for any range of it),
	// json (the old has all that the new has).
	Same string
	// Assume is what an absent value means.
	Assume string
	// Enum maps Pulumi's text to Google's boolean.
	Enum map[string]bool
	// Labels: Google's map also holds labels of others, which are neither shown here nor removed.
	Labels bool
	// Without names keys of Google's map that do not belong here.
	Without []string
	// Wrap: a list of one here, the object itself there. AsObject: a boolean here, an empty object there.
	// ListMap: text here, a list of one text there, in a map. Zones: a zonal cluster's own zone is there, not here.
	Wrap, AsObject, ListMap, Zones bool
	// Echo: set by the server, and sent back so that it knows the element again.
	Echo bool
	// Unsupported: part of v7.38.0, but no longer of Google's API.
	Unsupported bool
}

// Child finds a child by name, nil if there is none.
func (p *Property) Child(name string) *Property {
	i := sort.Search(len(p.Children), func(i int) bool { return p.Children[i].Name >= name })
	if i < len(p.Children) && p.Children[i].Name == name {
		return p.Children[i]
	}
	return nil
}

// Find walks a dotted path of names.
func (p *Property) Find(path string) *Property {
	for p != nil && path != "" {
		var name string
		name, path, _ = strings.Cut(path, ".")
		p = p.Child(name)
	}
	return p
}

// parseProperties builds the tree from the lines "path: kind flags".
func parseProperties(lines map[string]string) (*Property, error) {
	root := &Property{Kind: Object}
	paths := make([]string, 0, len(lines))
	for path := range lines {
		paths = append(paths, path)
	}
	// Parents before children; and children in order of their names.
	sort.Slice(paths, func(i, j int) bool {
		return lessPath(paths[i], paths[j])
	})
	for _, path := range paths {
		p, err := parseProperty(path, lines[path])
		if err != nil {
			return nil, fmt.Errorf("property %s: %w", path, err)
		}
		parent := root
		if dir, _, ok := cutLast(path); ok {
			if parent = root.Find(dir); parent == nil {
				return nil, fmt.Errorf("property %s: its parent %s is not described", path, dir)
			}
			if parent.Kind != Object && parent.Elem != Object {
				return nil, fmt.Errorf("property %s: its parent %s holds no objects", path, dir)
			}
		}
		parent.Children = append(parent.Children, p)
	}
	return root, nil
}

func lessPath(a, b string) bool {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(as), len(bs)) {
		if as[i] != bs[i] {
			return as[i] < bs[i]
		}
	}
	return len(as) < len(bs)
}

func cutLast(path string) (dir, name string, ok bool) {
	i := strings.LastIndexByte(path, '.')
	if i < 0 {
		return "", path, false
	}
	return path[:i], path[i+1:], true
}

func parseProperty(path, line string) (*Property, error) {
	_, name, _ := cutLast(path)
	if name == "" || strings.HasPrefix(path, ".") {
		return nil, fmt.Errorf("the path has an empty part")
	}
	p := &Property{Name: name, Path: path, API: name}
	line, def, hasDefault := strings.Cut(line, "default=")
	words := strings.Fields(line)
	if len(words) == 0 {
		return nil, fmt.Errorf("no kind")
	}
	p.Kind = Kind(words[0])
	rest := words[1:]
	switch p.Kind {
	case List, Set, Map:
		p.Elem = String
		if len(rest) >= 2 && rest[0] == "of" {
			p.Elem, rest = Kind(rest[1]), rest[2:]
		}
		if !scalar(p.Elem) && (p.Elem != Object || p.Kind == Map) {
			return nil, fmt.Errorf("cannot hold %q", p.Elem)
		}
	case Object, Asset:
	default:
		if !scalar(p.Kind) {
			return nil, fmt.Errorf("unknown kind %q", p.Kind)
		}
	}
	for _, w := range rest {
		if err := p.flag(w); err != nil {
			return nil, err
		}
	}
	if hasDefault {
		v, err := parseScalar(p.Kind, strings.TrimSpace(def))
		if err != nil {
			return nil, fmt.Errorf("default: %w", err)
		}
		p.Default, p.HasDefault = v, true
	}
	if p.Output && (p.Required || p.HasDefault) {
		return nil, fmt.Errorf("an output cannot be required or have a default")
	}
	return p, nil
}

func scalar(k Kind) bool { return k == String || k == Int || k == Float || k == Bool }

func parseScalar(k Kind, s string) (any, error) {
	switch k {
	case String:
		return s, nil
	case Bool:
		return strconv.ParseBool(s)
	case Int, Float:
		return strconv.ParseFloat(s, 64)
	}
	return nil, fmt.Errorf("a %s cannot have one", k)
}

func (p *Property) flag(word string) error {
	key, arg, hasArg := strings.Cut(word, "=")
	switch key {
	case "required":
		p.Required = true
	case "computed":
		p.Computed = true
	case "output":
		p.Output = true
	case "replace":
		p.Replace = true
	case "shrink":
		p.Shrink = true
	case "secret":
		p.Secret = true
	case "kept":
		p.Kept = true
	case "readonly":
		p.ReadOnly = true
	case "int64":
		p.Int64 = true
	case "name":
		p.ByName = true
	case "last":
		p.Last = true
	case "labels":
		p.Labels = true
	case "wrap":
		p.Wrap = true
	case "asobject":
		p.AsObject = true
	case "listmap":
		p.ListMap = true
	case "zones":
		p.Zones = true
	case "echo":
		p.Echo = true
	case "unsupported":
		p.Unsupported = true
	default:
		if !hasArg || arg == "" {
			return fmt.Errorf("unknown flag %q", word)
		}
		return p.flagWith(key, arg)
	}
	if hasArg {
		return fmt.Errorf("flag %q takes no value", key)
	}
	return nil
}

func (p *Property) flagWith(key, arg string) error {
	switch key {
	case "conflicts":
		p.Conflicts = strings.Split(arg, ",")
	case "api":
		if arg == "-" {
			p.API, p.Local = "", true
			return nil
		}
		for _, part := range strings.Split(arg, ".") {
			if part == "" {
				return fmt.Errorf("api path %q has an empty part", arg)
			}
		}
		p.API = arg
	case "read":
		p.ReadAPI = arg
	case "keyed":
		p.Keyed = arg
	case "present":
		p.Present = arg
	case "link":
		p.Link = arg
	case "same":
		if arg != "case" && arg != "dot" && arg != "cidr" && arg != "json" {
			return fmt.Errorf("unknown rule same=%s", arg)
		}
		p.Same = arg
	case "assume":
		p.Assume = arg
	case "without":
		p.Without = strings.Split(arg, ",")
	case "enum":
		p.Enum = map[string]bool{}
		for _, pair := range strings.Split(arg, ",") {
			name, val, _ := strings.Cut(pair, ":")
			b, err := strconv.ParseBool(val)
			if err != nil {
				return fmt.Errorf("enum=%s: %w", arg, err)
			}
			p.Enum[name] = b
		}
	default:
		return fmt.Errorf("unknown flag %q", key)
	}
	return nil
}
