package engine

import (
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/auto/events"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
)

// TestDiffs: who changed what, of the events of a preview that refreshes.
func TestDiffs(t *testing.T) {
	urn := func(name string) string { return "urn:pulumi:s::p::kubernetes:apps/v1:Deployment::" + name }
	step := func(op apitype.OpType, name string, there bool, diffs ...string) apitype.StepEventMetadata {
		m := apitype.StepEventMetadata{Op: op, URN: urn(name), Type: "kubernetes:apps/v1:Deployment", Diffs: diffs}
		if there {
			m.New = &apitype.StepEventStateMetadata{}
		}
		return m
	}
	d := newDiffs()
	for _, s := range []apitype.StepEventMetadata{
		step(apitype.OpRefresh, "scaled", true, "spec"), step(apitype.OpUpdate, "scaled", true, "spec"),
		step(apitype.OpRefresh, "gone", false), step(apitype.OpCreate, "gone", true),
		step(apitype.OpRefresh, "wanted", true), step(apitype.OpUpdate, "wanted", true, "spec"),
		step(apitype.OpRefresh, "unready", true), step(apitype.OpUpdate, "unready", true),
		step(apitype.OpRefresh, "same", true), step(apitype.OpSame, "same", true),
	} {
		var pre, post events.EngineEvent
		pre.ResourcePreEvent = &apitype.ResourcePreEvent{Metadata: s}
		post.ResOutputsEvent = &apitype.ResOutputsEvent{Metadata: s}
		d.event(pre)
		d.event(post)
	}
	want := []string{
		`kubernetes:apps/v1:Deployment "gone" is missing (changed in the cloud)`,
		`kubernetes:apps/v1:Deployment "scaled" differs: spec (changed in the cloud)`,
		`kubernetes:apps/v1:Deployment "wanted" differs: spec (changed in the program)`,
	}
	got := d.all()
	for i, one := range got {
		if i >= len(want) || one.String() != want[i] {
			t.Errorf("%s, want %v", one, want)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%v, want %v", got, want)
	}
}
