// Package lifecycle creates, reads, changes and deletes resources at Google as their descriptions say. Most types
// need nothing but the strategy "rest"; the few that are not resources of their own in Google's API (a member of
// a policy, a NAT of a router, a record of a zone …) have a strategy each.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"patag/infra/sandbox/gcpplugin/check"
	"patag/infra/sandbox/gcpplugin/description"
	"patag/infra/sandbox/gcpplugin/diff"
	"patag/infra/sandbox/gcpplugin/google"
	"patag/infra/sandbox/gcpplugin/value"
	"patag/infra/sandbox/gcpplugin/wire"
)

// Manager does the work. It is safe for concurrent use.
type Manager struct {
	Client        *google.Client
	Place         check.Place
	DefaultLabels value.Map
	Log           *slog.Logger

	locks sync.Map // path -> chan struct{}
}

// Partial says that a resource exists, or will, but could not be brought to its end: its id must not be lost.
type Partial struct {
	ID    string
	State value.Map
	Err   error
}

// Error is the cause's.
func (p *Partial) Error() string { return p.Err.Error() }

// Unwrap gives the cause.
func (p *Partial) Unwrap() error { return p.Err }

type strategy interface {
	create(ctx context.Context, r *run) error
	// read fills r.state and tells whether the resource exists.
	read(ctx context.Context, r *run) (bool, error)
	update(ctx context.Context, r *run, changes []diff.Change) error
	delete(ctx context.Context, r *run) error
}

func strategyOf(t *description.Type) strategy {
	switch t.Strategy {
	case "iam":
		return iamMember{}
	case "element":
		return element{}
	case "record":
		return recordSet{}
	case "object":
		return object{}
	case "version":
		return secretVersion{}
	case "service":
		return projectService{}
	case "document":
		return document{}
	}
	return rest{}
}

// run is one order for one resource.
type run struct {
	*Manager
	t *description.Type
	// in are the inputs, state what is known of the resource, vars the variables found in its id.
	in, state value.Map
	id        string
	vars      map[string]string
}

func (m *Manager) run(t *description.Type, id string, in, state value.Map) *run {
	r := &run{Manager: m, t: t, in: in, state: state, id: id, vars: map[string]string{}}
	if in == nil {
		r.in = value.Map{}
	}
	if state == nil {
		r.state = value.Map{}
	}
	r.vars = idVars(t, id)
	return r
}

// idVars takes an id apart. An id of several parts says all; a name that the server chose may be taken apart
// further by the forms of an import.
func idVars(t *description.Type, id string) map[string]string {
	whole, matched := t.ID.Match(id)
	if matched && len(t.ID.Names()) > 1 {
		return whole
	}
	vars := map[string]string{}
	for _, tpl := range t.Import {
		if found, ok := tpl.Match(id); ok {
			vars = found
			break
		}
	}
	for k, v := range whole {
		if _, had := vars[k]; !had {
			vars[k] = v
		}
	}
	return vars
}

// Create makes a resource and returns its id and state. A *Partial error carries both.
func (m *Manager) Create(ctx context.Context, t *description.Type, in value.Map, limit time.Duration) (string, value.Map, error) {
	ctx, cancel := withLimit(ctx, limit, t.Timeouts.Create)
	defer cancel()
	r := m.run(t, "", in, nil)
	if err := strategyOf(t).create(ctx, r); err != nil {
		return "", nil, r.failed("create", err)
	}
	found, err := strategyOf(t).read(ctx, r)
	if err == nil && !found {
		err = errors.New("it was made, but Google does not find it again")
	}
	if err != nil {
		return "", nil, r.failed("create", r.partial(err))
	}
	return r.id, r.state, nil
}

// Read finds a resource by its id, in any form that import accepts, and returns its id and state; an empty id
// says that it is not there.
func (m *Manager) Read(ctx context.Context, t *description.Type, id string, in, state value.Map) (string, value.Map, error) {
	ctx, cancel := withLimit(ctx, 0, t.Timeouts.Create)
	defer cancel()
	if len(in) == 0 && len(state) > 0 {
		in = Inputs(t, state)
	}
	r := m.run(t, id, in, state)
	if len(r.vars) == 0 && len(state) == 0 {
		return "", nil, fmt.Errorf("%q is no id of a %s: it has the form %s", id, t.Title, t.ID)
	}
	found, err := strategyOf(t).read(ctx, r)
	if err != nil {
		return "", nil, r.failed("read", err)
	}
	if !found {
		return "", nil, nil
	}
	return r.id, r.state, nil
}

// Update carries out the changes and returns the new state.
func (m *Manager) Update(ctx context.Context, t *description.Type, id string, in, state value.Map, changes []diff.Change, limit time.Duration) (value.Map, error) {
	ctx, cancel := withLimit(ctx, limit, t.Timeouts.Update)
	defer cancel()
	r := m.run(t, id, in, state)
	if err := strategyOf(t).update(ctx, r, changes); err != nil {
		return nil, r.failed("update", err)
	}
	found, err := strategyOf(t).read(ctx, r)
	if err == nil && !found {
		err = errors.New("it does not exist any more; run \"pulumi refresh\"")
	}
	if err != nil {
		return nil, r.failed("update", err)
	}
	return r.state, nil
}

// Delete removes a resource; one that is gone already is no error.
func (m *Manager) Delete(ctx context.Context, t *description.Type, id string, in, state value.Map, limit time.Duration) error {
	ctx, cancel := withLimit(ctx, limit, t.Timeouts.Delete)
	defer cancel()
	if guarded, _ := state[t.Guard].(bool); t.Guard != "" && guarded {
		return fmt.Errorf("delete %s %q: %s is true; set it to false and run \"pulumi up\" first", t.Title, id, t.Guard)
	}
	r := m.run(t, id, in, state)
	if err := strategyOf(t).delete(ctx, r); err != nil {
		return r.failed("delete", err)
	}
	return nil
}

func withLimit(ctx context.Context, limit, usual time.Duration) (context.Context, context.CancelFunc) {
	if limit <= 0 {
		limit = usual
	}
	return context.WithTimeoutCause(ctx, limit, fmt.Errorf("the time limit of %s has passed; customTimeouts can raise it", limit))
}

// failed says what was being done, and to what.
func (r *run) failed(verb string, err error) error {
	name := r.id
	if name == "" {
		if r.t.Name != nil {
			name, _ = r.in[r.t.Name.Property].(string)
		}
		if name == "" {
			name, _ = r.t.ID.Fill(r.lookup)
		}
	}
	wrapped := fmt.Errorf("%s %s %q: %w", verb, r.t.Title, name, err)
	var p *Partial
	if errors.As(err, &p) {
		return &Partial{ID: p.ID, State: p.State, Err: wrapped}
	}
	return wrapped
}

// partial keeps the id of a resource that was begun.
func (r *run) partial(err error) error {
	id := r.id
	if id == "" {
		var fillErr error
		if id, fillErr = r.t.ID.Fill(r.lookup); fillErr != nil {
			return err
		}
	}
	state := value.Copy(r.in).(value.Map)
	for k, v := range r.state {
		if _, given := state[k]; !given {
			state[k] = v
		}
	}
	state["id"] = id
	return &Partial{ID: id, State: state, Err: err}
}

// lookup finds a variable of a template: an input, an output, a part of the id, the provider's place.
func (r *run) lookup(name string) (string, bool) {
	if name == "self" {
		s, err := r.t.Self.FillPath(r.lookup)
		return s, err == nil
	}
	p := r.t.Root.Child(name)
	for _, from := range []value.Map{r.in, r.state} {
		if s, ok := value.String(from[name]); ok && s != "" {
			return plainName(p, name, s), true
		}
	}
	if s, ok := r.vars[name]; ok {
		return s, true
	}
	switch name {
	case "project":
		return r.Place.Project, r.Place.Project != ""
	case "region":
		return r.Place.Region, r.Place.Region != ""
	case "zone":
		return r.Place.Zone, r.Place.Zone != ""
	case "location":
		for _, from := range r.t.Location {
			if s, ok := map[string]string{"zone": r.Place.Zone, "region": r.Place.Region}[from]; ok && s != "" {
				return s, true
			}
		}
	}
	return "", false
}

// plainName takes the name out of a link, where a name is meant.
func plainName(p *description.Property, name, s string) string {
	switch name {
	case "project", "region", "zone", "location":
		return value.Last(s)
	}
	if p != nil && p.ByName {
		return value.Last(s)
	}
	return s
}

func (r *run) path(t *description.Template) (string, error) {
	return t.FillPath(r.lookup)
}

func (r *run) get(name string) string {
	s, _ := r.lookup(name)
	return s
}

func (r *run) flag(name string) bool {
	for _, from := range []value.Map{r.in, r.state} {
		if b, ok := from[name].(bool); ok {
			return b
		}
	}
	return false
}

// do sends a request to the type's service.
func (r *run) do(ctx context.Context, method, path string, body any) (value.Map, error) {
	return r.Client.Do(ctx, google.Request{Method: method, Service: r.t.Service, Path: path, Body: body})
}

// finish follows the operation that an answer may be.
func (r *run) finish(ctx context.Context, answer value.Map) (value.Map, error) {
	return r.Client.Wait(ctx, r.t.Operation, r.t.Service, r.get("project"), answer)
}

func (r *run) order(ctx context.Context, method, path string, body any) error {
	answer, err := r.do(ctx, method, path, body)
	if err != nil {
		return err
	}
	_, err = r.finish(ctx, answer)
	return err
}

func (r *run) expander(state value.Map) wire.Expander {
	region := r.get("region")
	location := r.get("location")
	if region == "" || r.t.Root.Child("region") == nil {
		if location != "" {
			region = regionOf(location)
		}
	}
	return wire.Expander{Project: r.get("project"), Region: region, Location: location, DefaultLabels: r.DefaultLabels, State: state}
}

// regionOf turns a zone into its region, and leaves a region.
func regionOf(location string) string {
	if strings.Count(location, "-") == 2 {
		return location[:strings.LastIndexByte(location, '-')]
	}
	return location
}

// lock keeps orders on one thing at Google from overtaking each other; it returns the unlock.
func (m *Manager) lock(ctx context.Context, key string) (func(), error) {
	v, _ := m.locks.LoadOrStore(key, make(chan struct{}, 1))
	ch := v.(chan struct{})
	select {
	case ch <- struct{}{}:
		return func() { <-ch }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// gone turns "not found" into success.
func gone(err error) error {
	if google.IsNotFound(err) {
		return nil
	}
	return err
}

const (
	get    = http.MethodGet
	post   = http.MethodPost
	put    = http.MethodPut
	patch  = http.MethodPatch
	remove = http.MethodDelete
)
