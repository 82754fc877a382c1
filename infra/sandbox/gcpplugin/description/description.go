// Package description holds, as data, what the plugin knows of each resource type: its properties as pulumi-gcp
// v7.38.0 has them, and how Google's REST API is called for it. One file per type, in types/; the plugin's code
// knows no type by name.
//
// A file has the keys of Type, then the properties, one a line: "path: kind flags". See Property for the flags.
package description

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"time"

	"sigs.k8s.io/yaml"
)

//go:embed types/*.yaml
var files embed.FS

// ErrUnknownType says that a type is not among those described.
var ErrUnknownType = errors.New("unknown resource type")

// Type describes one resource type.
type Type struct {
	// Token is Pulumi's: "gcp:compute/network:Network". Title is what messages call it.
	Token, Title string
	// Service chooses the API's address, Operation how its long-running operations are followed:
	// compute, container, google, or none.
	Service, Operation string
	// Strategy is how it is created, read, changed and deleted; "rest" unless said otherwise.
	Strategy string
	// ID makes Pulumi's id; Import are other forms of it that Read accepts. Self is the path of the resource.
	ID, Self *Template
	Import   []*Template
	Name     *Name
	// Location lists where a missing location comes from: the provider's zone or region.
	Location []string
	Parent   *Parent
	Timeouts Timeouts
	// Guard is the boolean property that must be false for a delete.
	Guard  string
	Create Call
	Read   *Template
	Update []Update
	Delete Call
	// After and BeforeDelete name what else happens once the resource is there, and before it goes.
	After, BeforeDelete string
	// Outputs are properties made from others.
	Outputs  map[string]*Template
	Element  *Element
	IAM      *IAM
	Document *Document
	// Root holds the properties.
	Root *Property
}

// Name tells which property is named automatically, and the longest name allowed.
type Name struct {
	Property string `json:"property"`
	Max      int    `json:"max"`
	Lower    bool   `json:"lower"`
	// Prefix is a property that replaces the resource's name in the generated one.
	Prefix string `json:"prefix"`
}

// Parent is a property that may hold the id of another resource, whose parts fill in the missing properties.
type Parent struct {
	Property string
	Pattern  *Template
}

// Timeouts of one resource, when the program sets none.
type Timeouts struct{ Create, Update, Delete time.Duration }

// Call is one request: "POST projects/{project}/secrets?secretId={secretId}".
type Call struct {
	Method string
	Path   *Template
	// Query adds parameters, from properties, when they are set.
	Query map[string]string
	// Body is a template of the JSON body; nil stands for the whole resource.
	Body any
	// Defaults are set in the body where nothing is.
	Defaults map[string]any
	// Omit names properties that are not sent.
	Omit []string
	// Adopt is a boolean property that turns "already exists" into success.
	Adopt string
	// Then is a call that follows when a boolean property is true.
	Then *Then
}

// Then is a call made only when the property When is true.
type Then struct {
	When string
	Call Call
}

// Update says which call changes which properties. The first entry that names a changed property, or names
// none, has it; an entry without a call is for properties that the plugin alone uses.
type Update struct {
	For  []string
	Call Call
	// All sends the whole resource, else only what changed.
	All bool
	// Mask is the query parameter that lists the changed fields.
	Mask string
	// With are fields of the current resource that must be sent along (fingerprint).
	With []string
	// Set are further fields of the body.
	Set map[string]string
	// Text are numbers in the body that this call wants as text.
	Text   []string
	Toggle map[bool]Call
	Sync   *Sync
}

// Sync changes a list element by element.
type Sync struct {
	Key                 string
	Add, Change, Remove Call
}

// Element is a resource that is one element of another's list.
type Element struct {
	Owner      *Template
	Field, Key string
}

// IAM is how a policy is read and written.
type IAM struct {
	Get, Set Call
	// Wrapped: the policy is sent as {"policy": …}.
	Wrapped bool
}

// Document is a resource whose content is one JSON text.
type Document struct {
	Property string
}

var cache sync.Map // token -> func() (*Type, error)

// Lookup finds the description of a type by its token.
func Lookup(token string) (*Type, error) {
	load, _ := cache.LoadOrStore(token, sync.OnceValues(func() (*Type, error) { return read(token) }))
	return load.(func() (*Type, error))()
}

func read(token string) (*Type, error) {
	parts := strings.Split(token, ":")
	if len(parts) != 3 || parts[0] != "gcp" || strings.Contains(parts[1], "..") {
		return nil, fmt.Errorf("%w %q", ErrUnknownType, token)
	}
	raw, err := files.ReadFile("types/" + strings.ReplaceAll(parts[1], "/", "-") + ".yaml")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w %q: this plugin has %s", ErrUnknownType, token, strings.Join(Tokens(), ", "))
	}
	if err != nil {
		return nil, err
	}
	t, err := Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("description of %s: %w", token, err)
	}
	if t.Token != token {
		return nil, fmt.Errorf("%w %q: did you mean %q?", ErrUnknownType, token, t.Token)
	}
	return t, nil
}

// Tokens lists the types, in order.
func Tokens() []string {
	entries, err := files.ReadDir("types")
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		raw, err := files.ReadFile("types/" + e.Name())
		if err != nil {
			continue
		}
		line, _, _ := strings.Cut(string(raw), "\n")
		out = append(out, strings.TrimPrefix(line, "type: "))
	}
	return out
}

// Parse reads one description.
func Parse(raw []byte) (*Type, error) {
	var f file
	if err := yaml.UnmarshalStrict(raw, &f); err != nil {
		return nil, err
	}
	return f.build()
}
