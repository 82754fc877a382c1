package engine

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/auto/events"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"

	"patag/scripts/patag/terminal"
)

// view turns the engine's events into lines: one for each component when its resources are settled, a counter for
// what is going on, and, when the run fails, the message of the resource that failed first.
type view struct {
	mu       sync.Mutex
	progress *terminal.Progress
	step     *terminal.Step
	verb     string
	stack    string
	preview  bool
	start    time.Time

	parents map[string]string
	groups  map[string]*group
	order   []*group // as they began
	active  map[string]operation
	changes map[string]int // as the engine counts them, with components and the stack
	total   map[string]int // of real resources, in words
	gone    []string       // what is deleted or replaced: "type name"
	warned  map[string]bool
	failed  []failure
	// errors are of no resource: the program's own, or the engine's.
	errors []string
	// refused is what mandatory policies have against resources.
	refused []string
}

type group struct {
	name       string
	start, end time.Time
	active     int
	settled    bool
	changes    map[string]int
	failed     bool
}

type operation struct {
	op    string
	start time.Time
}

type failure struct{ urn, message string }

func newView(p *terminal.Progress, verb, stack string, preview bool) *view {
	v := &view{
		progress: p, verb: verb, stack: stack, preview: preview, start: time.Now(),
		parents: map[string]string{}, groups: map[string]*group{}, active: map[string]operation{},
		changes: map[string]int{}, total: map[string]int{}, warned: map[string]bool{},
	}
	v.step = p.Step("%s", v.title())
	return v
}

func (v *view) title() string { return v.verb + " " + v.stack }

// watch shows events until there are no more.
func (v *view) watch(ch <-chan events.EngineEvent) {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case e, more := <-ch:
			if !more {
				return
			}
			v.mu.Lock()
			v.event(e)
			v.mu.Unlock()
		case <-tick.C:
			v.mu.Lock()
			v.flushQuiet(time.Now())
			v.mu.Unlock()
		}
	}
}

// quiet is how long nothing must have happened in a component before its line is printed. Its resources wait for each
// other and for those of others, so that it is often idle for an instant.
const quiet = 2 * time.Second

func (v *view) flushQuiet(now time.Time) {
	if v.preview {
		return // all comes within seconds: one line each, at the end
	}
	for _, g := range v.order {
		if g.settled && g.active == 0 && now.Sub(g.end) > quiet {
			v.flush(g)
		}
	}
}

func (v *view) event(e events.EngineEvent) {
	switch {
	case e.Error != nil:
		v.errors = append(v.errors, "read the engine's events: "+e.Error.Error())
	case e.ResourcePreEvent != nil:
		v.begin(e.ResourcePreEvent.Metadata)
	case e.ResOutputsEvent != nil:
		v.end(e.ResOutputsEvent.Metadata, false)
	case e.ResOpFailedEvent != nil:
		v.end(e.ResOpFailedEvent.Metadata, true)
	case e.DiagnosticEvent != nil:
		v.diagnostic(e.DiagnosticEvent)
	case e.PolicyEvent != nil:
		v.policy(e.PolicyEvent)
	case e.ErrorEvent != nil:
		v.errors = append(v.errors, e.ErrorEvent.Error)
	case e.SummaryEvent != nil:
		v.changes = map[string]int{}
		for op, n := range e.SummaryEvent.ResourceChanges {
			v.changes[string(op)] += n
		}
	}
}

const stackType = "pulumi:pulumi:Stack"

func parent(m apitype.StepEventMetadata) string {
	if m.New != nil {
		return m.New.Parent
	}
	if m.Old != nil {
		return m.Old.Parent
	}
	return ""
}

// groupOf is the nearest component around a resource, or the resource itself.
func (v *view) groupOf(urn string) *group {
	at := urn
	for {
		if strings.HasPrefix(urnType(at), "patag:") {
			break
		}
		up := v.parents[at]
		if up == "" || urnType(up) == stackType {
			break
		}
		at = up
	}
	g := v.groups[at]
	if g == nil {
		g = &group{name: label(at), changes: map[string]int{}}
		v.groups[at] = g
		v.order = append(v.order, g)
	}
	return g
}

// label names a group: the component's own name, and its part of the project when that says more.
func label(urn string) string {
	kind, name := urnType(urn), urnName(urn)
	parts := strings.Split(kind, ":")
	if parts[0] == "patag" && len(parts) == 3 && !strings.Contains(name, parts[1]) {
		return parts[1] + " " + name
	}
	return name
}

func silent(m apitype.StepEventMetadata) bool {
	return m.Type == stackType || m.Type == "pulumi:pulumi:StackReference" || strings.HasPrefix(m.Type, "pulumi:providers:")
}

func (v *view) begin(m apitype.StepEventMetadata) {
	if p := parent(m); p != "" {
		v.parents[m.URN] = p
	}
	if silent(m) {
		return
	}
	g := v.groupOf(m.URN)
	if custom(m) && m.Op != apitype.OpSame {
		if _, going := v.active[m.URN]; !going {
			g.active++
		}
		if g.start.IsZero() {
			g.start = time.Now()
		}
		v.active[m.URN] = operation{string(m.Op), time.Now()}
	}
	v.tell()
}

func custom(m apitype.StepEventMetadata) bool {
	return m.New != nil && m.New.Custom || m.New == nil && m.Old != nil && m.Old.Custom
}

func (v *view) end(m apitype.StepEventMetadata, failed bool) {
	if silent(m) {
		return
	}
	g := v.groupOf(m.URN)
	if _, going := v.active[m.URN]; going {
		delete(v.active, m.URN)
		g.active--
	}
	if m.Op != apitype.OpSame {
		g.end = time.Now()
	}
	if failed {
		g.failed = true
	} else if custom(m) {
		g.changes[verbOf(m.Op)]++
		v.total[verbOf(m.Op)]++
		if verb := verbOf(m.Op); verb == "deleted" || verb == "replaced" {
			v.gone = append(v.gone, urnType(m.URN)+" "+urnName(m.URN))
		}
	} else {
		g.settled = true
	}
	v.tell()
}

// verbOf folds the engine's dozen operations into the words a person needs.
func verbOf(op apitype.OpType) string {
	switch op {
	case apitype.OpCreate:
		return "created"
	case apitype.OpUpdate:
		return "updated"
	case apitype.OpDelete, apitype.OpDiscardReplaced, "discard":
		return "deleted"
	case apitype.OpCreateReplacement, apitype.OpReplace:
		return "replaced"
	case apitype.OpDeleteReplaced:
		return "old ones deleted"
	case apitype.OpRefresh:
		return "refreshed"
	default:
		return ""
	}
}

func counts(changes map[string]int, preview bool) string {
	var parts []string
	for _, word := range []string{"created", "updated", "replaced", "old ones deleted", "deleted"} {
		if n := changes[word]; n > 0 {
			if preview {
				word = "to be " + word
			}
			parts = append(parts, fmt.Sprintf("%d %s", n, word))
		}
	}
	return strings.Join(parts, ", ")
}

// flush prints what happened in a group since its last line; nothing when nothing did.
func (v *view) flush(g *group) {
	text := counts(g.changes, v.preview)
	g.changes = map[string]int{}
	if text == "" {
		return
	}
	mark := "✓"
	if v.preview {
		mark = "·"
	}
	if g.failed {
		mark = "✗"
	}
	took := ""
	if !v.preview {
		took = "  (" + terminal.Elapsed(g.end.Sub(g.start)) + ")"
	}
	v.progress.Line("   %s %s: %s%s", mark, g.name, text, took)
	g.start = time.Time{}
}

// tell says in the running line what takes longest.
func (v *view) tell() {
	oldest, more := "", len(v.active)
	for urn, op := range v.active {
		if oldest == "" || op.start.Before(v.active[oldest].start) {
			oldest = urn
		}
	}
	if oldest == "" {
		v.step.Detail("")
		return
	}
	text := fmt.Sprintf("%s %s", v.active[oldest].op, describe(oldest))
	if more > 1 {
		text += fmt.Sprintf(" and %d more", more-1)
	}
	v.step.Detail("%s", text)
}

func describe(urn string) string { return fmt.Sprintf("%s %q", urnType(urn), urnName(urn)) }

// colour is how the engine marks colours in its messages.
var colour = regexp.MustCompile(`<\{%[^%]*%\}>`)

func clean(message string) string { return strings.TrimSpace(colour.ReplaceAllString(message, "")) }

// Noise that the engine says to everybody.
var noise = []string{"resource plugin", "from $PATH at", "pending operations from previous deployment"}

func (v *view) diagnostic(d *apitype.DiagnosticEvent) {
	text := clean(d.Message)
	if text == "" || d.Ephemeral {
		return
	}
	switch d.Severity {
	case "error":
		if d.URN == "" || urnType(d.URN) == stackType {
			v.errors = append(v.errors, text)
		} else {
			v.failed = append(v.failed, failure{d.URN, text})
		}
	case "warning":
		for _, n := range noise {
			if strings.Contains(text, n) {
				return
			}
		}
		if !v.warned[text] {
			v.warned[text] = true
			v.progress.Line("   ! %s", strings.ReplaceAll(text, "\n", "\n     "))
		}
	case "info":
		if d.URN != "" && urnType(d.URN) == stackType {
			v.progress.Line("   %s", text)
		}
	}
}

// close prints what is left and the run's own line.
func (v *view) close(ok bool) Result {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, g := range v.order {
		v.flush(g)
	}
	result := Result{Changes: v.changes, Gone: v.gone}
	if !ok {
		v.step.Fail()
		return result
	}
	text := counts(v.total, v.preview)
	if text == "" {
		text = "no changes"
	}
	v.step.Done("%s", text)
	return result
}

// Engine messages that only say that another one was said.
var secondary = []string{"update failed", "preview failed", "resource registration failed", "destroy failed", "refresh failed"}

// failure is the error of a failed run: the resource that failed first comes first.
func (v *view) failure(err error) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	var lines []string
	seen := map[string]bool{}
	for _, f := range v.failed {
		line := describe(f.urn) + ": " + f.message
		if !seen[line] {
			seen[line] = true
			lines = append(lines, line)
		}
	}
	for _, text := range v.errors {
		skip := false
		for _, s := range secondary {
			skip = skip || strings.TrimSuffix(text, ".") == s
		}
		text = strings.TrimPrefix(text, "an unhandled error occurred: program failed: \n")
		text = strings.TrimSpace(strings.ReplaceAll(text, "an unhandled error occurred: program failed:", ""))
		// When a resource failed, the program's error repeats it.
		if skip || seen[text] || len(v.failed) > 0 && strings.Contains(text, "error(s) occurred") {
			continue
		}
		seen[text] = true
		lines = append(lines, text)
	}
	if len(lines) == 0 {
		return err
	}
	const most = 8
	if len(lines) > most {
		lines = append(lines[:most], fmt.Sprintf("and %d more", len(lines)-most))
	}
	return errors.New(strings.Join(lines, "\n  "))
}
