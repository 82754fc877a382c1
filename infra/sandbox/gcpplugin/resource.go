package gcpplugin

import (
	"context"
	"strings"

	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/protobuf/types/known/emptypb"

	"patag/infra/sandbox/gcpplugin/check"
	"patag/infra/sandbox/gcpplugin/description"
	"patag/infra/sandbox/gcpplugin/diff"
	"patag/infra/sandbox/gcpplugin/lifecycle"
	"patag/infra/sandbox/gcpplugin/value"
	"patag/infra/sandbox/gcpplugin/wire"
)

// Check judges and completes the inputs.
func (p *Provider) Check(_ context.Context, req *pulumirpc.CheckRequest) (*pulumirpc.CheckResponse, error) {
	_, conf, err := p.configured()
	if err != nil {
		return nil, err
	}
	t, name, err := typeOf(req.GetUrn())
	if err != nil {
		return nil, err
	}
	news, err := value.Decode(req.GetNews())
	if err != nil {
		return nil, err
	}
	olds, err := value.Decode(req.GetOlds())
	if err != nil {
		return nil, err
	}
	naming := check.Naming{Name: name, Seed: req.GetRandomSeed()}
	if a := req.GetAutonaming(); a != nil {
		switch a.GetMode() {
		case pulumirpc.CheckRequest_AutonamingOptions_ENFORCE:
			naming.Proposed, naming.Fixed = a.GetProposedName(), true
		case pulumirpc.CheckRequest_AutonamingOptions_DISABLE:
			naming.Disabled = true
		}
	}
	bad := check.Inputs(t, &news, olds, conf.place, naming)
	for path := range lifecycle.Secrets(t) {
		if v, ok := value.Get(news.Map, path); ok && v != nil {
			news.Secret[path] = true
		}
	}
	inputs, err := news.Encode()
	if err != nil {
		return nil, err
	}
	return &pulumirpc.CheckResponse{Inputs: inputs, Failures: failures(bad)}, nil
}

// Diff tells what changes, and whether the resource must be replaced.
func (p *Provider) Diff(_ context.Context, req *pulumirpc.DiffRequest) (*pulumirpc.DiffResponse, error) {
	_, conf, err := p.configured()
	if err != nil {
		return nil, err
	}
	t, _, err := typeOf(req.GetUrn())
	if err != nil {
		return nil, err
	}
	olds, err := value.Decode(req.GetOlds())
	if err != nil {
		return nil, err
	}
	news, err := value.Decode(req.GetNews())
	if err != nil {
		return nil, err
	}
	changes := compare(t, conf, olds.Map, news.Map, req.GetIgnoreChanges())
	return answer(t, olds, news, changes), nil
}

// compare adds the provider's default labels, which are no input, to the comparison.
func compare(t *description.Type, conf config, state, news value.Map, ignore []string) []diff.Change {
	if p := t.Root.Child("labels"); p != nil && p.Labels && t.Root.Child("pulumiLabels") != nil {
		given, ok := news["labels"].(value.Map)
		if _, present := news["labels"]; ok || !present {
			copied := value.Map{}
			for k, v := range news {
				copied[k] = v
			}
			copied["pulumiLabels"] = wire.Labels(p, conf.defaultLabels, given)
			news = copied
		}
	}
	return diff.Compare(t, state, news, ignore)
}

func answer(t *description.Type, olds, news value.Tree, changes []diff.Change) *pulumirpc.DiffResponse {
	out := &pulumirpc.DiffResponse{Changes: pulumirpc.DiffResponse_DIFF_NONE, HasDetailedDiff: true,
		DetailedDiff: map[string]*pulumirpc.PropertyDiff{}}
	seen, replaced := map[string]bool{}, map[string]bool{}
	for _, c := range changes {
		out.Changes = pulumirpc.DiffResponse_DIFF_SOME
		out.DetailedDiff[c.Path] = &pulumirpc.PropertyDiff{Kind: kindOf(c)}
		top := c.Path
		if i := strings.IndexAny(top, ".["); i >= 0 {
			top = top[:i]
		}
		if !seen[top] {
			seen[top] = true
			out.Diffs = append(out.Diffs, top)
		}
		if c.Replace && !replaced[top] {
			replaced[top] = true
			out.Replaces = append(out.Replaces, top)
		}
	}
	out.DeleteBeforeReplace = len(out.Replaces) > 0 && namedByProgram(t, olds, news)
	return out
}

func kindOf(c diff.Change) pulumirpc.PropertyDiff_Kind {
	kinds := map[diff.Kind][2]pulumirpc.PropertyDiff_Kind{
		diff.Add:    {pulumirpc.PropertyDiff_ADD, pulumirpc.PropertyDiff_ADD_REPLACE},
		diff.Delete: {pulumirpc.PropertyDiff_DELETE, pulumirpc.PropertyDiff_DELETE_REPLACE},
		diff.Update: {pulumirpc.PropertyDiff_UPDATE, pulumirpc.PropertyDiff_UPDATE_REPLACE},
	}
	if c.Replace {
		return kinds[c.Kind][1]
	}
	return kinds[c.Kind][0]
}

// namedByProgram: two resources of one name cannot exist side by side, so the old one must go first. Besides a
// name that the program gave, that is any resource without automatic names whose id stays the same.
func namedByProgram(t *description.Type, olds, news value.Tree) bool {
	if t.Name != nil {
		if _, given := news.Map[t.Name.Property]; given {
			// A generated name is made anew for a replacement.
			return !news.Defaults[t.Name.Property]
		}
	}
	id := func(m value.Map) string {
		s, err := t.ID.Fill(func(name string) (string, bool) {
			// Only what inputs decide counts.
			if p := t.Root.Child(name); p == nil || p.Output {
				return "", false
			}
			return value.String(m[name])
		})
		if err != nil {
			return ""
		}
		return s
	}
	old := id(olds.Map)
	return old != "" && old == id(news.Map)
}

// Create makes a resource, or tells what it will look like.
func (p *Provider) Create(ctx context.Context, req *pulumirpc.CreateRequest) (*pulumirpc.CreateResponse, error) {
	manager, conf, err := p.configured()
	if err != nil {
		return nil, err
	}
	t, _, err := typeOf(req.GetUrn())
	if err != nil {
		return nil, err
	}
	in, err := value.Decode(req.GetProperties())
	if err != nil {
		return nil, err
	}
	if req.GetPreview() {
		props, err := encodeState(t, lifecycle.Preview(t, in.Map, nil, conf.defaultLabels), in)
		return &pulumirpc.CreateResponse{Properties: props}, err
	}
	ctx, cancel := p.working(ctx)
	defer cancel()
	id, state, err := manager.Create(ctx, t, in.Map, seconds(req.GetTimeout()))
	if err != nil {
		return nil, answerError(t, err, req.GetProperties(), in)
	}
	props, err := encodeState(t, state, in)
	return &pulumirpc.CreateResponse{Id: id, Properties: props}, err
}

// Read finds a resource as it is now, for a refresh or an import.
func (p *Provider) Read(ctx context.Context, req *pulumirpc.ReadRequest) (*pulumirpc.ReadResponse, error) {
	manager, _, err := p.configured()
	if err != nil {
		return nil, err
	}
	t, _, err := typeOf(req.GetUrn())
	if err != nil {
		return nil, err
	}
	state, err := value.Decode(req.GetProperties())
	if err != nil {
		return nil, err
	}
	in, err := value.Decode(req.GetInputs())
	if err != nil {
		return nil, err
	}
	ctx, cancel := p.working(ctx)
	defer cancel()
	id, now, err := manager.Read(ctx, t, req.GetId(), in.Map, state.Map)
	if err != nil {
		return nil, answerError(t, err, nil)
	}
	if id == "" {
		return &pulumirpc.ReadResponse{}, nil
	}
	if len(in.Map) == 0 {
		in.Map = lifecycle.Inputs(t, now)
		in.Defaults = map[string]bool{}
	} else {
		in.Map = lifecycle.Refreshed(t, in.Map, now)
	}
	inputs, err := encodeState(t, in.Map, in)
	if err != nil {
		return nil, err
	}
	if len(in.Defaults) > 0 {
		if inputs, err = (value.Tree{Map: in.Map, Secret: in.Secret, Defaults: in.Defaults}).Encode(); err != nil {
			return nil, err
		}
	}
	props, err := encodeState(t, now, in, state)
	return &pulumirpc.ReadResponse{Id: id, Properties: props, Inputs: inputs}, err
}

// Update changes a resource in place, or tells what it will look like.
func (p *Provider) Update(ctx context.Context, req *pulumirpc.UpdateRequest) (*pulumirpc.UpdateResponse, error) {
	manager, conf, err := p.configured()
	if err != nil {
		return nil, err
	}
	t, _, err := typeOf(req.GetUrn())
	if err != nil {
		return nil, err
	}
	olds, err := value.Decode(req.GetOlds())
	if err != nil {
		return nil, err
	}
	news, err := value.Decode(req.GetNews())
	if err != nil {
		return nil, err
	}
	if req.GetPreview() {
		props, err := encodeState(t, lifecycle.Preview(t, news.Map, olds.Map, conf.defaultLabels), news, olds)
		return &pulumirpc.UpdateResponse{Properties: props}, err
	}
	changes := compare(t, conf, olds.Map, news.Map, req.GetIgnoreChanges())
	ctx, cancel := p.working(ctx)
	defer cancel()
	state, err := manager.Update(ctx, t, req.GetId(), news.Map, olds.Map, changes, seconds(req.GetTimeout()))
	if err != nil {
		return nil, answerError(t, err, req.GetNews(), news)
	}
	props, err := encodeState(t, state, news)
	return &pulumirpc.UpdateResponse{Properties: props}, err
}

// Delete removes a resource.
func (p *Provider) Delete(ctx context.Context, req *pulumirpc.DeleteRequest) (*emptypb.Empty, error) {
	manager, _, err := p.configured()
	if err != nil {
		return nil, err
	}
	t, _, err := typeOf(req.GetUrn())
	if err != nil {
		return nil, err
	}
	state, err := value.Decode(req.GetProperties())
	if err != nil {
		return nil, err
	}
	in, err := value.Decode(req.GetOldInputs())
	if err != nil {
		return nil, err
	}
	ctx, cancel := p.working(ctx)
	defer cancel()
	// The state is what counts: an input that was never applied must not decide what is deleted.
	if err := manager.Delete(ctx, t, req.GetId(), value.Map{}, state.Map, seconds(req.GetTimeout())); err != nil {
		return nil, answerError(t, err, nil, in)
	}
	return &emptypb.Empty{}, nil
}
