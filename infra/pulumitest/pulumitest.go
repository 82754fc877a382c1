// Package pulumitest runs a Pulumi program on Pulumi's own mocks and answers what it registered, for tests of
// components and programs. It stands in for the engine and the clouds: it fills in what they compute.
package pulumitest

import (
	"sort"
	"strings"
	"sync"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"google.golang.org/protobuf/types/known/emptypb"
)

// Resource is one that the program registered.
type Resource struct {
	Type, Name string
	// Parent, DeletedWith and DependsOn are type and name of other resources: "type name".
	Parent, DeletedWith string
	DependsOn           []string
	Custom, Protect     bool
	HasProvider         bool
	IgnoreChanges       []string
	// Inputs without the marks of secrets; Secrets are the paths that had one.
	Inputs  map[string]any
	Secrets []string
}

// Key is "type name".
func (r Resource) Key() string { return r.Type + " " + r.Name }

// At finds an input by a dotted path; nil if there is none. A number is an index.
func (r Resource) At(path string) any {
	v, err := resource.ParsePropertyPath(path)
	if err != nil {
		return nil
	}
	found, ok := v.Get(resource.NewPropertyValue(r.Inputs))
	if !ok {
		return nil
	}
	return found.Mappable()
}

// Result is what a run left.
type Result struct {
	Resources []Resource
	// Outputs are the stack's; SecretOutputs names those that are secret.
	Outputs       map[string]any
	SecretOutputs []string
	// OutputsRegistered is how many components closed with RegisterResourceOutputs.
	OutputsRegistered int
}

// OfType lists the resources of a type.
func (r *Result) OfType(typ string) (found []Resource) {
	for _, res := range r.Resources {
		if res.Type == typ {
			found = append(found, res)
		}
	}
	return found
}

// One is the only resource of the type whose name is name; the test fails without it.
func (r *Result) One(t testing.TB, typ, name string) Resource {
	t.Helper()
	for _, res := range r.Resources {
		if res.Type == typ && res.Name == name {
			return res
		}
	}
	t.Fatalf("no %s %s was registered", typ, name)
	return Resource{}
}

// Components are the resources that are components of ours.
func (r *Result) Components() (found []Resource) {
	for _, res := range r.Resources {
		if strings.HasPrefix(res.Type, "patag:") {
			found = append(found, res)
		}
	}
	return found
}

// Input of a run.
type Input struct {
	Stack  string
	Config map[string]string
	// Secret names the keys of Config that are secrets.
	Secret []string
	// References are the outputs of other stacks by their full name.
	References map[string]map[string]any
}

// Run runs a program. Its error is the program's.
func Run(in Input, program pulumi.RunFunc) (*Result, error) {
	rec := &recorder{in: in, byURN: map[string]string{}, result: &Result{Outputs: map[string]any{}}}
	// The SDK waits for outputs of resources, not for those of constants: so this waits for each.
	var pending sync.WaitGroup
	err := pulumi.RunErr(func(ctx *pulumi.Context) error {
		if err := program(ctx); err != nil {
			return err
		}
		for name, value := range ctx.GetCurrentExportMap() {
			out := pulumi.ToOutput(value)
			pending.Add(1)
			out.ApplyT(func(v any) any {
				defer pending.Done()
				rec.mu.Lock()
				defer rec.mu.Unlock()
				rec.result.Outputs[name] = v
				if pulumi.IsSecret(out) { // resolved by now, so this does not wait
					rec.result.SecretOutputs = append(rec.result.SecretOutputs, name)
				}
				return nil
			})
		}
		return nil
	}, pulumi.WithMocksWithOrganization("organization", "patag", in.Stack, rec), func(info *pulumi.RunInfo) {
		info.Config, info.ConfigSecretKeys = in.Config, in.Secret
	})
	if err == nil {
		pending.Wait()
	}
	r := rec.result
	sort.Slice(r.Resources, func(i, j int) bool { return r.Resources[i].Key() < r.Resources[j].Key() })
	sort.Strings(r.SecretOutputs)
	return r, err
}

// recorder is the mocked engine.
type recorder struct {
	in     Input
	mu     sync.Mutex
	byURN  map[string]string // URN → "type name"
	result *Result
}

// RegisterResourceOutputs counts.
func (m *recorder) RegisterResourceOutputs() (*emptypb.Empty, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.result.OutputsRegistered++
	return &emptypb.Empty{}, nil
}

// Call refuses: the programs look nothing up.
func (m *recorder) Call(args pulumi.MockCallArgs) (resource.PropertyMap, error) {
	return nil, unexpectedCall(args.Token)
}

type unexpectedCall string

func (c unexpectedCall) Error() string { return "the program called the function " + string(c) }

// NewResource records, and answers what a cloud would.
func (m *recorder) NewResource(args pulumi.MockResourceArgs) (string, resource.PropertyMap, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if args.TypeToken == "pulumi:pulumi:StackReference" {
		outputs := m.in.References[args.Name]
		return args.Name, resource.PropertyMap{
			"name": resource.NewProperty(args.Name), "outputs": resource.NewPropertyValue(outputs), "secretOutputNames": resource.NewPropertyValue([]string{}),
		}, nil
	}
	res := Resource{Type: args.TypeToken, Name: args.Name, Custom: args.Custom, HasProvider: args.Provider != "", Inputs: map[string]any{}}
	for key, value := range args.Inputs {
		res.Inputs[string(key)] = plain(value, string(key), &res.Secrets)
	}
	if rpc := args.RegisterRPC; rpc != nil {
		res.Parent, res.Protect, res.IgnoreChanges = shortURN(rpc.Parent), rpc.GetProtect(), rpc.IgnoreChanges
		res.DeletedWith = shortURN(rpc.DeletedWith)
		for _, urn := range rpc.Dependencies {
			res.DependsOn = append(res.DependsOn, shortURN(urn))
		}
		sort.Strings(res.DependsOn)
	}
	m.result.Resources = append(m.result.Resources, res)
	return computed(args)
}

// shortURN is "type name" of a URN.
func shortURN(urn string) string {
	if urn == "" {
		return ""
	}
	u := resource.URN(urn)
	return string(u.Type()) + " " + u.Name()
}

// plain takes the marks of secrets away and notes where they were.
func plain(v resource.PropertyValue, path string, secrets *[]string) any {
	switch {
	case v.IsSecret():
		*secrets = append(*secrets, path)
		return plain(v.SecretValue().Element, path, secrets)
	case v.IsObject():
		out := map[string]any{}
		for key, value := range v.ObjectValue() {
			out[string(key)] = plain(value, path+"."+string(key), secrets)
		}
		return out
	case v.IsArray():
		out := []any{}
		for _, value := range v.ArrayValue() {
			out = append(out, plain(value, path+"[]", secrets))
		}
		return out
	}
	return v.Mappable()
}
