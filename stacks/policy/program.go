package policy

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/plugin"
	"github.com/pulumi/pulumi/sdk/v3/go/common/tokens"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/structpb"

	"patag/stacks/config"
)

// Program runs a program once on a recorder, with the configuration of ctx, and answers Refused when what it would
// register breaks rules. Nothing is registered with ctx, nobody is asked: what a cloud would compute is unknown, as in a
// preview of a new stack, and so are the outputs of other stacks.
//
// keys are the keys that the configuration has: the SDK answers single ones only.
func Program(ctx *pulumi.Context, program pulumi.RunFunc, keys []string) error {
	settings := map[string]string{}
	var secret []string
	for _, key := range keys {
		v, ok := ctx.GetConfig(key)
		if !ok {
			continue
		}
		settings[key] = v
		if ctx.IsConfigSecret(key) {
			secret = append(secret, key)
		}
	}
	return newRecorder(ctx).run(ctx, program, settings, secret)
}

func newRecorder(ctx *pulumi.Context) *recorder {
	return &recorder{stack: stackOf(ctx), project: ctx.Project()}
}

func (rec *recorder) run(ctx *pulumi.Context, program pulumi.RunFunc, settings map[string]string, secret []string) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("check the policies: %w", err)
	}
	server := grpc.NewServer()
	pulumirpc.RegisterResourceMonitorServer(server, rec)
	pulumirpc.RegisterEngineServer(server, silence{})
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	err = rec.against(ctx, listener.Addr().String(), pulumi.RunInfo{
		Project: ctx.Project(), Stack: ctx.Stack(), Organization: ctx.Organization(), RootDirectory: ctx.RootDirectory(),
		Config: settings, ConfigSecretKeys: secret, DryRun: true,
	}, program)
	server.Stop()
	if serveErr := <-served; err == nil {
		err = serveErr
	}
	if len(rec.found) > 0 {
		slices.SortFunc(rec.found, func(a, b Violation) int { return strings.Compare(a.String(), b.String()) })
		return Refused(rec.found)
	}
	if err != nil {
		return fmt.Errorf("check the policies: %w", err)
	}
	return nil
}

func (rec *recorder) against(ctx *pulumi.Context, addr string, info pulumi.RunInfo, program pulumi.RunFunc) error {
	info.MonitorAddr, info.EngineAddr = addr, addr
	own, err := pulumi.NewContext(ctx.Context(), info)
	if err != nil {
		return err
	}
	defer own.Close()
	return pulumi.RunWithContext(own, program)
}

// stackOf reads what the rules must know from the configuration.
func stackOf(ctx *pulumi.Context) Stack {
	kind, _ := ctx.GetConfig(config.Namespace + ":kind")
	protect, given := ctx.GetConfig(config.Namespace + ":protectData")
	return Stack{Name: ctx.Stack(), Kind: config.Kind(kind), ProtectData: !given || protect != "false"}
}

// recorder stands in for the engine. The SDK's own mocks would do, could they read a secret that is not known yet.
type recorder struct {
	pulumirpc.UnimplementedResourceMonitorServer
	stack   Stack
	project string
	mu      sync.Mutex
	found   []Violation
	seen    int
}

// SupportsFeature says yes to what is read here.
func (*recorder) SupportsFeature(_ context.Context, in *pulumirpc.SupportsFeatureRequest) (*pulumirpc.SupportsFeatureResponse, error) {
	known := slices.Contains([]string{"secrets", "resourceReferences", "deletedWith", "aliasSpecs"}, in.GetId())
	return &pulumirpc.SupportsFeatureResponse{HasSupport: known}, nil
}

// RegisterResource holds a resource to the rules. Its state is its inputs; the SDK takes the rest as not known yet.
func (rec *recorder) RegisterResource(_ context.Context, in *pulumirpc.RegisterResourceRequest) (*pulumirpc.RegisterResourceResponse, error) {
	inputs, err := plugin.UnmarshalProperties(in.GetObject(), plugin.MarshalOptions{KeepUnknowns: true, KeepSecrets: true, KeepResources: true})
	if err != nil {
		return nil, fmt.Errorf("read the inputs of %s %q: %w", in.GetType(), in.GetName(), err)
	}
	found := Check(rec.stack, Resource{Type: in.GetType(), Name: in.GetName(), Protect: in.GetProtect(), Inputs: inputs})
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.found = append(rec.found, found...)
	rec.seen++
	return &pulumirpc.RegisterResourceResponse{Urn: rec.urn(in.GetParent(), in.GetType(), in.GetName()), Object: in.GetObject()}, nil
}

func (rec *recorder) urn(parent, kind, name string) string {
	above := tokens.Type("")
	if up := resource.URN(parent); up != "" && up.QualifiedType() != resource.RootStackType {
		above = up.QualifiedType()
	}
	return string(resource.NewURN(tokens.QName(rec.stack.Name), tokens.PackageName(rec.project), above, tokens.Type(kind), name))
}

// RegisterResourceOutputs has nothing to keep them for.
func (*recorder) RegisterResourceOutputs(context.Context, *pulumirpc.RegisterResourceOutputsRequest) (*emptypb.Empty, error) {
	return &emptypb.Empty{}, nil
}

// ReadResource is asked for another stack. An output that it has not is taken as not known yet.
func (rec *recorder) ReadResource(_ context.Context, in *pulumirpc.ReadResourceRequest) (*pulumirpc.ReadResourceResponse, error) {
	state, err := structpb.NewStruct(map[string]any{"name": in.GetName(), "outputs": map[string]any{}})
	if err != nil {
		return nil, err
	}
	return &pulumirpc.ReadResourceResponse{Urn: rec.urn(in.GetParent(), in.GetType(), in.GetName()), Properties: state}, nil
}

// silence takes what the program logs: it will say it again in the real run.
type silence struct {
	pulumirpc.UnimplementedEngineServer
}

func (silence) Log(context.Context, *pulumirpc.LogRequest) (*emptypb.Empty, error) {
	return &emptypb.Empty{}, nil
}
