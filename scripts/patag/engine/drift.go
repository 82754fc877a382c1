package engine

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/auto/events"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optpreview"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
)

// Difference is one resource that is not as the program says.
type Difference struct {
	Type string `json:"type"`
	Name string `json:"name"`
	// Up is what an up would do: create, update, replace or delete.
	Up string `json:"up"`
	// By is who changed: "cloud" when the resource is not as the last up left it, "program" when the program, its config or its
	// images want another one.
	By string `json:"by"`
	// Properties are the paths that differ; none for what is missing or surplus.
	Properties []string `json:"properties,omitempty"`
}

// String is one line.
func (d Difference) String() string {
	what := map[string]string{"create": "is missing", "delete": "is not in the program", "update": "differs", "replace": "differs, and must be replaced"}[d.Up]
	text := fmt.Sprintf("%s %q %s", d.Type, d.Name, what)
	if len(d.Properties) > 0 {
		text += ": " + strings.Join(d.Properties, ", ")
	}
	return text + " (changed in the " + d.By + ")"
}

// Drift reads every resource and tells what an up would change. It changes neither the cloud nor the state.
func (s *Stack) Drift(ctx context.Context) (Result, error) {
	s.unchecked = true
	defer func() { s.unchecked = false }()
	seen := newDiffs()
	result, err := s.run(ctx, "compare", true, func(ctx context.Context, log *os.File, ch chan events.EngineEvent) (map[string]any, error) {
		source := make(chan events.EngineEvent, 256)
		go func() {
			defer close(ch)
			for e := range source {
				seen.event(e)
				// The refresh is part of the look, and nothing to be told.
				if e.ResOutputsEvent != nil && seen.refreshing(e.ResOutputsEvent.Metadata.URN) {
					continue
				}
				ch <- e
			}
		}()
		_, err := s.auto.Preview(ctx, optpreview.Refresh(), optpreview.EventStreams(source), optpreview.ProgressStreams(log),
			optpreview.ErrorProgressStreams(log), optpreview.SuppressProgress(), optpreview.Color("never"))
		return nil, err
	})
	result.Differences = seen.all()
	return result, err
}

// diffs gathers, from the events of a preview that refreshes, what was changed in the cloud and what the program would change.
type diffs struct {
	refresh map[string]bool // resources that are being refreshed
	cloud   map[string]bool // resources that are not as the last up left them
	program map[string]*Difference
}

func newDiffs() *diffs {
	return &diffs{refresh: map[string]bool{}, cloud: map[string]bool{}, program: map[string]*Difference{}}
}

func (d *diffs) refreshing(urn string) bool { return d.refresh[urn] }

func (d *diffs) event(e events.EngineEvent) {
	switch {
	case e.ResourcePreEvent != nil:
		m := e.ResourcePreEvent.Metadata
		if d.refresh[m.URN] = m.Op == apitype.OpRefresh; !d.refresh[m.URN] {
			d.step(m)
		}
	case e.ResOutputsEvent != nil:
		m := e.ResOutputsEvent.Metadata
		// In a preview the step stays a refresh whatever it found. What it found is its diff: that between what is there and what the
		// last up asked for. What is gone has no new state.
		if m.Op == apitype.OpRefresh && (m.New == nil || len(m.DetailedDiff) > 0 || len(m.Diffs) > 0) {
			d.cloud[m.URN] = true
		}
	}
}

func (d *diffs) step(m apitype.StepEventMetadata) {
	if silent(m) {
		return
	}
	up := map[string]string{"created": "create", "updated": "update", "deleted": "delete", "replaced": "replace"}[verbOf(m.Op)]
	if up == "" {
		return
	}
	paths := slices.Collect(maps.Keys(m.DetailedDiff))
	if len(paths) == 0 {
		paths = append(slices.Clone(m.Diffs), m.Keys...)
	}
	// An object that is not ready at the moment is applied again by the next up, and differs in nothing: the engine has warned of it.
	if up == "update" && len(paths) == 0 {
		return
	}
	one := d.program[m.URN]
	if one == nil {
		one = &Difference{Type: m.Type, Name: urnName(m.URN), Up: up}
		d.program[m.URN] = one
	}
	if up == "replace" {
		one.Up = up
	}
	one.Properties = append(one.Properties, paths...)
}

// all is what differs, by type and name.
func (d *diffs) all() []Difference {
	var found []Difference
	for urn, one := range d.program {
		one.By = "program"
		if d.cloud[urn] {
			one.By = "cloud"
		}
		slices.Sort(one.Properties)
		one.Properties = slices.Compact(one.Properties)
		found = append(found, *one)
	}
	slices.SortFunc(found, func(a, b Difference) int { return strings.Compare(a.Type+" "+a.Name, b.Type+" "+b.Name) })
	return found
}
