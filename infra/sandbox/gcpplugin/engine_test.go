package gcpplugin

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/plugin"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/structpb"
)

// engine does with the provider what Pulumi's does, over gRPC.
type engine struct {
	t      *testing.T
	client pulumirpc.ResourceProviderClient
}

// res is a resource in the engine's state.
type res struct {
	urn, id         string
	inputs, outputs *structpb.Struct
}

func startEngine(t *testing.T, config map[string]any) *engine {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	pulumirpc.RegisterResourceProviderServer(server, New(slog.New(slog.NewTextHandler(t.Output(), nil))))
	go server.Serve(listener)
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(); server.Stop() })
	e := &engine{t: t, client: pulumirpc.NewResourceProviderClient(conn)}
	args := e.encode(config)
	checked, err := e.client.CheckConfig(t.Context(), &pulumirpc.CheckRequest{News: args})
	if err != nil || len(checked.GetFailures()) > 0 {
		t.Fatalf("check config: %v %v", err, checked.GetFailures())
	}
	if _, err := e.client.Configure(t.Context(), &pulumirpc.ConfigureRequest{Args: args, AcceptSecrets: true}); err != nil {
		t.Fatal(err)
	}
	return e
}

func (e *engine) encode(m map[string]any) *structpb.Struct {
	e.t.Helper()
	s, err := plugin.MarshalProperties(resource.NewPropertyMapFromMap(m), plugin.MarshalOptions{KeepUnknowns: true, KeepSecrets: true})
	if err != nil {
		e.t.Fatal(err)
	}
	return s
}

// plain is a state without the marks of secrets and unknowns.
func plain(t *testing.T, s *structpb.Struct) map[string]any {
	t.Helper()
	m, err := plugin.UnmarshalProperties(s, plugin.MarshalOptions{KeepUnknowns: true})
	if err != nil {
		t.Fatal(err)
	}
	return m.Mappable()
}

func urnOf(token, name string) string {
	return fmt.Sprintf("urn:pulumi:test::test::%s::%s", token, name)
}

// check gives the inputs as the provider completes them.
func (e *engine) check(urn string, olds *structpb.Struct, inputs map[string]any) (*structpb.Struct, []*pulumirpc.CheckFailure) {
	e.t.Helper()
	out, err := e.client.Check(e.t.Context(), &pulumirpc.CheckRequest{Urn: urn, Olds: olds, News: e.encode(inputs), RandomSeed: []byte(urn)})
	if err != nil {
		e.t.Fatalf("check %s: %v", urn, err)
	}
	return out.GetInputs(), out.GetFailures()
}

func (e *engine) mustCheck(urn string, olds *structpb.Struct, inputs map[string]any) *structpb.Struct {
	e.t.Helper()
	news, bad := e.check(urn, olds, inputs)
	if len(bad) > 0 {
		var all []string
		for _, f := range bad {
			all = append(all, f.GetProperty()+": "+f.GetReason())
		}
		e.t.Fatalf("inputs of %s refused: %s", urn, strings.Join(all, "; "))
	}
	return news
}

func (e *engine) create(token, name string, inputs map[string]any) *res {
	e.t.Helper()
	r := &res{urn: urnOf(token, name)}
	r.inputs = e.mustCheck(r.urn, nil, inputs)
	preview, err := e.client.Create(e.t.Context(), &pulumirpc.CreateRequest{Urn: r.urn, Properties: r.inputs, Preview: true})
	if err != nil {
		e.t.Fatalf("preview %s: %v", r.urn, err)
	}
	out, err := e.client.Create(e.t.Context(), &pulumirpc.CreateRequest{Urn: r.urn, Properties: r.inputs})
	if err != nil {
		e.t.Fatalf("create %s: %v", r.urn, err)
	}
	r.id, r.outputs = out.GetId(), out.GetProperties()
	// What a preview says must come true.
	predicted, real := plain(e.t, preview.GetProperties()), plain(e.t, r.outputs)
	for k, v := range predicted {
		if _, unknown := v.(resource.Computed); unknown || containsUnknown(v) {
			continue
		}
		if got, ok := real[k]; !ok || fmt.Sprint(got) != fmt.Sprint(v) {
			if !looseProperty(k) && !(isZero(v) && !ok) {
				e.t.Errorf("%s: preview said %s = %v, it became %v", token, k, v, got)
			}
		}
	}
	return r
}

// looseProperty: links and the like, which Google completes.
func looseProperty(k string) bool {
	return k == "network" || k == "subnetwork" || k == "natIps" || k == "subnetworks"
}

func isZero(v any) bool {
	s := fmt.Sprint(v)
	return s == "" || s == "0" || s == "false" || s == "[]" || s == "map[]"
}

func containsUnknown(v any) bool {
	switch v := v.(type) {
	case resource.Computed:
		return true
	case map[string]any:
		for _, e := range v {
			if containsUnknown(e) {
				return true
			}
		}
	case []any:
		for _, e := range v {
			if containsUnknown(e) {
				return true
			}
		}
	}
	return false
}

func (e *engine) diff(r *res, inputs map[string]any, ignore ...string) (*pulumirpc.DiffResponse, *structpb.Struct) {
	e.t.Helper()
	news := e.mustCheck(r.urn, r.inputs, inputs)
	out, err := e.client.Diff(e.t.Context(), &pulumirpc.DiffRequest{Urn: r.urn, Id: r.id, Olds: r.outputs, OldInputs: r.inputs, News: news, IgnoreChanges: ignore})
	if err != nil {
		e.t.Fatalf("diff %s: %v", r.urn, err)
	}
	return out, news
}

func (e *engine) update(r *res, news *structpb.Struct) {
	e.t.Helper()
	out, err := e.client.Update(e.t.Context(), &pulumirpc.UpdateRequest{Urn: r.urn, Id: r.id, Olds: r.outputs, OldInputs: r.inputs, News: news})
	if err != nil {
		e.t.Fatalf("update %s: %v", r.urn, err)
	}
	r.inputs, r.outputs = news, out.GetProperties()
	// The id may follow from what was changed.
	r.id, _ = plain(e.t, r.outputs)["id"].(string)
}

func (e *engine) read(r *res) *pulumirpc.ReadResponse {
	e.t.Helper()
	out, err := e.client.Read(e.t.Context(), &pulumirpc.ReadRequest{Urn: r.urn, Id: r.id, Properties: r.outputs, Inputs: r.inputs})
	if err != nil {
		e.t.Fatalf("read %s: %v", r.urn, err)
	}
	return out
}

func (e *engine) delete(r *res) error {
	_, err := e.client.Delete(context.WithoutCancel(e.t.Context()), &pulumirpc.DeleteRequest{Urn: r.urn, Id: r.id, Properties: r.outputs, OldInputs: r.inputs})
	return err
}
