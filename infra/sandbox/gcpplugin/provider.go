// Package gcpplugin is a Pulumi provider for Google Cloud that stands in for pulumi-gcp v7.38.0 where that cannot
// be had: the same type tokens, inputs, outputs, ids, and the same answer to whether a change is an update or a
// replacement, for the types that this project uses. It talks to any Google API endpoint, Google's own included.
//
// What it knows of a type is data (package description). The steps of a deployment are a package each: check
// judges inputs, diff compares, lifecycle does, wire translates, google talks HTTP. This package speaks Pulumi's
// protocol. It knows nothing of who answers at the endpoints.
package gcpplugin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/util/rpcutil/rpcerror"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/structpb"

	"patag/infra/sandbox/gcpplugin/check"
	"patag/infra/sandbox/gcpplugin/description"
	"patag/infra/sandbox/gcpplugin/google"
	"patag/infra/sandbox/gcpplugin/lifecycle"
	"patag/infra/sandbox/gcpplugin/value"
)

// Version is that of the plugin that this one stands in for.
const Version = "7.38.0"

// Provider answers Pulumi's engine.
type Provider struct {
	pulumirpc.UnimplementedResourceProviderServer

	log *slog.Logger
	// stopped is closed by Cancel; work ends then.
	stopped context.Context
	stop    context.CancelCauseFunc

	mu      sync.Mutex
	manager *lifecycle.Manager
	conf    config
}

// New makes a provider that is not configured yet.
func New(log *slog.Logger) *Provider {
	ctx, cancel := context.WithCancelCause(context.Background())
	return &Provider{log: log, stopped: ctx, stop: cancel}
}

// GetPluginInfo tells the version.
func (p *Provider) GetPluginInfo(context.Context, *emptypb.Empty) (*pulumirpc.PluginInfo, error) {
	return &pulumirpc.PluginInfo{Version: Version}, nil
}

// Attach is called by an engine that finds the provider running (PULUMI_DEBUG_PROVIDERS).
func (p *Provider) Attach(context.Context, *pulumirpc.PluginAttach) (*emptypb.Empty, error) {
	return &emptypb.Empty{}, nil
}

// Handshake tells what the provider understands.
func (p *Provider) Handshake(context.Context, *pulumirpc.ProviderHandshakeRequest) (*pulumirpc.ProviderHandshakeResponse, error) {
	return &pulumirpc.ProviderHandshakeResponse{AcceptSecrets: true, AcceptOutputs: true, SupportsAutonamingConfiguration: true}, nil
}

// Cancel ends the work in progress; what goes on at Google is told in the errors.
func (p *Provider) Cancel(context.Context, *emptypb.Empty) (*emptypb.Empty, error) {
	p.stop(errors.New("the deployment was cancelled"))
	return &emptypb.Empty{}, nil
}

// CheckConfig refuses unknown and unsupported configuration keys.
func (p *Provider) CheckConfig(_ context.Context, req *pulumirpc.CheckRequest) (*pulumirpc.CheckResponse, error) {
	news, err := value.Decode(req.GetNews())
	if err != nil {
		return nil, err
	}
	return &pulumirpc.CheckResponse{Inputs: req.GetNews(), Failures: failures(checkConfig(news.Map))}, nil
}

// DiffConfig never asks for a replacement of resources: their own properties tell where they are.
func (p *Provider) DiffConfig(_ context.Context, req *pulumirpc.DiffRequest) (*pulumirpc.DiffResponse, error) {
	olds, err := value.Decode(req.GetOlds())
	if err != nil {
		return nil, err
	}
	news, err := value.Decode(req.GetNews())
	if err != nil {
		return nil, err
	}
	out := &pulumirpc.DiffResponse{Changes: pulumirpc.DiffResponse_DIFF_NONE}
	for k, v := range news.Map {
		if fmt.Sprint(olds.Map[k]) != fmt.Sprint(v) {
			out.Changes = pulumirpc.DiffResponse_DIFF_SOME
			out.Diffs = append(out.Diffs, k)
		}
	}
	return out, nil
}

// Configure keeps the configuration. Credentials are looked at by the first call that needs them.
func (p *Provider) Configure(ctx context.Context, req *pulumirpc.ConfigureRequest) (*pulumirpc.ConfigureResponse, error) {
	args, err := value.Decode(req.GetArgs())
	if err != nil {
		return nil, err
	}
	in := args.Map
	if req.GetArgs() == nil {
		//lint:ignore SA1019 older engines send nothing else
		for k, v := range req.GetVariables() {
			in[k[strings.LastIndexByte(k, ':')+1:]] = v
		}
	}
	for k, v := range in {
		if value.HasUnknown(v) {
			// A preview in which the provider's own settings come from resources that do not exist yet.
			delete(in, k)
		}
	}
	if bad := checkConfig(in); len(bad) > 0 {
		reasons := make([]string, len(bad))
		for i, f := range bad {
			reasons[i] = f.Reason
		}
		return nil, status.Error(codes.InvalidArgument, strings.Join(reasons, "; "))
	}
	conf, err := parseConfig(in)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	client := google.New(conf.endpoints, google.Credentials(conf.accessToken, conf.credentials, conf.scopes), Version, p.log)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conf = conf
	p.manager = &lifecycle.Manager{Client: client, Place: conf.place, DefaultLabels: conf.defaultLabels, Log: p.log}
	return &pulumirpc.ConfigureResponse{AcceptSecrets: true, SupportsPreview: true, AcceptOutputs: true, SupportsAutonamingConfiguration: true}, nil
}

// configured is the manager, or an error before Configure.
func (p *Provider) configured() (*lifecycle.Manager, config, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.manager == nil {
		return nil, config{}, status.Error(codes.FailedPrecondition, "the provider is not configured")
	}
	return p.manager, p.conf, nil
}

// working is a context that also ends with Cancel.
func (p *Provider) working(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(p.stopped, func() { cancel(context.Cause(p.stopped)) })
	return ctx, func() { stop(); cancel(nil) }
}

// typeOf finds the description of a resource by its URN.
func typeOf(urn string) (*description.Type, string, error) {
	u, err := resource.ParseURN(urn)
	if err != nil {
		return nil, "", status.Error(codes.InvalidArgument, err.Error())
	}
	t, err := description.Lookup(string(u.Type()))
	if err != nil {
		return nil, "", status.Error(codes.InvalidArgument, err.Error())
	}
	return t, u.Name(), nil
}

func failures(list []check.Failure) []*pulumirpc.CheckFailure {
	var out []*pulumirpc.CheckFailure
	for _, f := range list {
		out = append(out, &pulumirpc.CheckFailure{Property: f.Property, Reason: f.Reason})
	}
	return out
}

// encodeState marks as secret what the type says and what came in as a secret.
func encodeState(t *description.Type, state value.Map, from ...value.Tree) (*structpb.Struct, error) {
	secret := lifecycle.Secrets(t)
	for _, tree := range from {
		for path := range tree.Secret {
			secret[path] = true
		}
	}
	return value.Tree{Map: state, Secret: secret}.Encode()
}

// answerError turns an error into one that the engine understands: a resource that was begun keeps its id.
func answerError(t *description.Type, err error, inputs *structpb.Struct, from ...value.Tree) error {
	var partial *lifecycle.Partial
	if errors.As(err, &partial) {
		props, encErr := encodeState(t, partial.State, from...)
		if encErr == nil {
			return rpcerror.WithDetails(rpcerror.New(codes.Unknown, err.Error()), &pulumirpc.ErrorResourceInitFailed{
				Id: partial.ID, Properties: props, Inputs: inputs, Reasons: []string{err.Error()}})
		}
	}
	return status.Error(codes.Unknown, err.Error())
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
