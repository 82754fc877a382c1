package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/plugin"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi/provider"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/structpb"
)

// files is a Pulumi provider whose resources are files. Like Google it refuses to create what exists, takes its
// time, and knows a resource by a name given to it. It pretends to make buckets, whose IDs are their names.
type files struct {
	pulumirpc.UnimplementedResourceProviderServer
	dir string
}

func serveProvider() int {
	err := provider.Main("gcp", func(*provider.HostClient) (pulumirpc.ResourceProviderServer, error) {
		return &files{dir: os.Getenv("PATAG_TEST_FILES")}, nil
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func pause() {
	d, err := time.ParseDuration(os.Getenv("PATAG_TEST_PAUSE"))
	if err == nil {
		time.Sleep(d)
	}
}

func (f *files) GetPluginInfo(context.Context, *emptypb.Empty) (*pulumirpc.PluginInfo, error) {
	return &pulumirpc.PluginInfo{Version: "7.38.0"}, nil
}

func (f *files) GetSchema(context.Context, *pulumirpc.GetSchemaRequest) (*pulumirpc.GetSchemaResponse, error) {
	return &pulumirpc.GetSchemaResponse{Schema: "{}"}, nil
}

func (f *files) CheckConfig(_ context.Context, r *pulumirpc.CheckRequest) (*pulumirpc.CheckResponse, error) {
	return &pulumirpc.CheckResponse{Inputs: r.News}, nil
}

func (f *files) DiffConfig(context.Context, *pulumirpc.DiffRequest) (*pulumirpc.DiffResponse, error) {
	return &pulumirpc.DiffResponse{}, nil
}

func (f *files) Configure(context.Context, *pulumirpc.ConfigureRequest) (*pulumirpc.ConfigureResponse, error) {
	return &pulumirpc.ConfigureResponse{AcceptSecrets: true, SupportsPreview: true, AcceptResources: true}, nil
}

func (f *files) Check(_ context.Context, r *pulumirpc.CheckRequest) (*pulumirpc.CheckResponse, error) {
	return &pulumirpc.CheckResponse{Inputs: r.News}, nil
}

func props(s *structpb.Struct) resource.PropertyMap {
	m, _ := plugin.UnmarshalProperties(s, plugin.MarshalOptions{KeepUnknowns: true, SkipNulls: true})
	return m
}

func text(m resource.PropertyMap, key string) string {
	if v, ok := m[resource.PropertyKey(key)]; ok && v.IsString() {
		return v.StringValue()
	}
	return ""
}

func (f *files) Diff(_ context.Context, r *pulumirpc.DiffRequest) (*pulumirpc.DiffResponse, error) {
	if text(props(r.Olds), "text") == text(props(r.News), "text") {
		return &pulumirpc.DiffResponse{Changes: pulumirpc.DiffResponse_DIFF_NONE}, nil
	}
	return &pulumirpc.DiffResponse{Changes: pulumirpc.DiffResponse_DIFF_SOME, Diffs: []string{"text"}}, nil
}

func (f *files) Create(_ context.Context, r *pulumirpc.CreateRequest) (*pulumirpc.CreateResponse, error) {
	in := props(r.Properties)
	name := text(in, "name")
	if r.Preview {
		return &pulumirpc.CreateResponse{Properties: r.Properties}, nil
	}
	if strings.HasPrefix(name, "refused") {
		return nil, status.Error(codes.PermissionDenied, "googleapi: Error 403: the caller may not make "+name)
	}
	pause()
	file, err := os.OpenFile(filepath.Join(f.dir, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, status.Errorf(codes.AlreadyExists, "googleapi: Error 409: %v", err)
	}
	fmt.Fprint(file, text(in, "text"))
	file.Close()
	pause()
	return &pulumirpc.CreateResponse{Id: name, Properties: r.Properties}, nil
}

func (f *files) Read(_ context.Context, r *pulumirpc.ReadRequest) (*pulumirpc.ReadResponse, error) {
	raw, err := os.ReadFile(filepath.Join(f.dir, r.Id))
	if err != nil {
		return &pulumirpc.ReadResponse{}, nil
	}
	now, err := structpb.NewStruct(map[string]any{"name": r.Id, "text": string(raw)})
	return &pulumirpc.ReadResponse{Id: r.Id, Properties: now, Inputs: now}, err
}

func (f *files) Update(_ context.Context, r *pulumirpc.UpdateRequest) (*pulumirpc.UpdateResponse, error) {
	if r.Preview {
		return &pulumirpc.UpdateResponse{Properties: r.News}, nil
	}
	pause()
	err := os.WriteFile(filepath.Join(f.dir, r.Id), []byte(text(props(r.News), "text")), 0o644)
	pause()
	return &pulumirpc.UpdateResponse{Properties: r.News}, err
}

func (f *files) Delete(_ context.Context, r *pulumirpc.DeleteRequest) (*emptypb.Empty, error) {
	pause()
	if err := os.Remove(filepath.Join(f.dir, r.Id)); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	pause()
	return &emptypb.Empty{}, nil
}

func (f *files) Cancel(context.Context, *emptypb.Empty) (*emptypb.Empty, error) {
	return &emptypb.Empty{}, nil
}
