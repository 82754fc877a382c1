package description

import (
	"fmt"
	"strings"
	"time"
)

// file is the YAML of one type.
type file struct {
	Type         string            `json:"type"`
	Title        string            `json:"title"`
	Service      string            `json:"service"`
	Operation    string            `json:"operation"`
	Strategy     string            `json:"strategy"`
	ID           string            `json:"id"`
	Self         string            `json:"self"`
	Import       []string          `json:"import"`
	Name         *Name             `json:"name"`
	Location     []string          `json:"location"`
	Parent       *fileParent       `json:"parent"`
	Timeouts     map[string]string `json:"timeouts"`
	Guard        string            `json:"guard"`
	Create       fileCall          `json:"create"`
	Read         *fileCall         `json:"read"`
	Update       []fileUpdate      `json:"update"`
	Delete       *fileCall         `json:"delete"`
	After        string            `json:"after"`
	BeforeDelete string            `json:"before-delete"`
	Outputs      map[string]string `json:"outputs"`
	Element      *fileElement      `json:"element"`
	IAM          *fileIAM          `json:"iam"`
	Document     *fileDocument     `json:"document"`
	Properties   map[string]string `json:"properties"`
}

type fileParent struct {
	Property string `json:"property"`
	Pattern  string `json:"pattern"`
}

type fileCall struct {
	Call     string            `json:"call"`
	Query    map[string]string `json:"query"`
	Body     any               `json:"body"`
	Defaults map[string]any    `json:"defaults"`
	Omit     []string          `json:"omit"`
	Adopt    string            `json:"adopt"`
	Then     *struct {
		When string `json:"when"`
		Call string `json:"call"`
	} `json:"then"`
}

type fileUpdate struct {
	For    []string          `json:"for"`
	Call   string            `json:"call"`
	Query  map[string]string `json:"query"`
	Body   any               `json:"body"`
	Mask   string            `json:"mask"`
	With   []string          `json:"with"`
	Set    map[string]string `json:"set"`
	Text   []string          `json:"text"`
	Toggle map[string]string `json:"toggle"`
	Sync   *struct {
		Key    string `json:"key"`
		Add    string `json:"add"`
		Change string `json:"change"`
		Remove string `json:"remove"`
	} `json:"sync"`
}

type fileElement struct {
	Owner string `json:"owner"`
	Field string `json:"field"`
	Key   string `json:"key"`
}

type fileIAM struct {
	Get     fileCall `json:"get"`
	Set     fileCall `json:"set"`
	Wrapped bool     `json:"wrapped"`
}

type fileDocument struct {
	Property string `json:"property"`
}

// builder collects the first error, so that the building reads straight.
type builder struct{ err error }

func (b *builder) template(what, s string) *Template {
	t, err := ParseTemplate(s)
	if err != nil && b.err == nil {
		b.err = fmt.Errorf("%s: %w", what, err)
	}
	return t
}

func (b *builder) fail(format string, args ...any) {
	if b.err == nil {
		b.err = fmt.Errorf(format, args...)
	}
}

func (b *builder) call(what string, c fileCall) Call {
	out := Call{Query: c.Query, Body: c.Body, Defaults: c.Defaults, Omit: c.Omit, Adopt: c.Adopt}
	if c.Then != nil {
		out.Then = &Then{When: c.Then.When, Call: b.call(what, fileCall{Call: c.Then.Call})}
	}
	if c.Call == "" {
		return out
	}
	method, path, ok := strings.Cut(c.Call, " ")
	if !ok {
		b.fail("%s: call %q has no path", what, c.Call)
		return out
	}
	switch method {
	case "GET", "POST", "PUT", "PATCH", "DELETE":
	default:
		b.fail("%s: unknown method %q", what, method)
	}
	out.Method, out.Path = method, b.template(what, path)
	return out
}

func (f *file) build() (*Type, error) {
	b := &builder{}
	t := &Type{Token: f.Type, Title: f.Title, Service: f.Service, Operation: f.Operation, Strategy: f.Strategy,
		Name: f.Name, Location: f.Location, Guard: f.Guard, After: f.After, BeforeDelete: f.BeforeDelete}
	if t.Strategy == "" {
		t.Strategy = "rest"
	}
	if t.Token == "" || t.Title == "" || t.Service == "" || f.ID == "" {
		b.fail("type, title, service and id must be given")
	}
	switch t.Operation {
	case "compute", "container", "google", "none":
	default:
		b.fail("unknown operation style %q", t.Operation)
	}
	id, err := parseTemplate(f.ID, true)
	if err != nil {
		b.fail("id: %w", err)
	}
	t.ID = id
	t.Self = t.ID
	if f.Self != "" {
		t.Self = b.template("self", f.Self)
	}
	for _, s := range f.Import {
		t.Import = append(t.Import, b.template("import", s))
	}
	for name, s := range f.Outputs {
		if t.Outputs == nil {
			t.Outputs = map[string]*Template{}
		}
		t.Outputs[name] = b.template("output "+name, s)
	}
	if f.Parent != nil {
		t.Parent = &Parent{Property: f.Parent.Property, Pattern: b.template("parent", f.Parent.Pattern)}
	}
	f.buildCalls(b, t)
	t.Timeouts = Timeouts{20 * time.Minute, 20 * time.Minute, 20 * time.Minute}
	for what, s := range f.Timeouts {
		d, err := time.ParseDuration(s)
		if err != nil {
			b.fail("timeout %s: %w", what, err)
		}
		switch what {
		case "create":
			t.Timeouts.Create = d
		case "update":
			t.Timeouts.Update = d
		case "delete":
			t.Timeouts.Delete = d
		default:
			b.fail("unknown timeout %q", what)
		}
	}
	root, err := parseProperties(f.Properties)
	if err != nil {
		b.fail("%w", err)
	}
	t.Root = root
	if b.err == nil {
		b.err = t.validate()
	}
	if b.err != nil {
		return nil, b.err
	}
	return t, nil
}

func (f *file) buildCalls(b *builder, t *Type) {
	t.Create = b.call("create", f.Create)
	t.Delete = b.call("delete", fileCall{Call: "DELETE {self}"})
	if f.Delete != nil {
		t.Delete = b.call("delete", *f.Delete)
	}
	t.Read = b.template("read", "{self}")
	if f.Read != nil {
		t.Read = b.call("read", *f.Read).Path
	}
	for i, u := range f.Update {
		what := fmt.Sprintf("update %d", i+1)
		out := Update{For: u.For, Mask: u.Mask, With: u.With, Set: u.Set, Text: u.Text}
		body := u.Body
		if body == "all" {
			out.All, body = true, nil
		}
		out.Call = b.call(what, fileCall{Call: u.Call, Query: u.Query, Body: body})
		for v, call := range u.Toggle {
			if out.Toggle == nil {
				out.Toggle = map[bool]Call{}
			}
			out.Toggle[v == "true"] = b.call(what, fileCall{Call: call})
		}
		if s := u.Sync; s != nil {
			out.Sync = &Sync{Key: s.Key, Add: b.call(what, fileCall{Call: s.Add}), Change: b.call(what, fileCall{Call: s.Change}),
				Remove: b.call(what, fileCall{Call: s.Remove})}
		}
		t.Update = append(t.Update, out)
	}
	if e := f.Element; e != nil {
		t.Element = &Element{Owner: b.template("element", e.Owner), Field: e.Field, Key: e.Key}
	}
	if f.IAM != nil {
		t.IAM = &IAM{Get: b.call("iam get", f.IAM.Get), Set: b.call("iam set", f.IAM.Set), Wrapped: f.IAM.Wrapped}
	}
	if d := f.Document; d != nil {
		t.Document = &Document{Property: d.Property}
	}
}

// validate finds what would only fail later, in the middle of a deployment.
func (t *Type) validate() error {
	known := func(what, path string) error {
		if t.Root.Find(path) == nil {
			return fmt.Errorf("%s names the property %q, which is not described", what, path)
		}
		return nil
	}
	for i, u := range t.Update {
		for _, path := range u.For {
			if err := known(fmt.Sprintf("update %d", i+1), path); err != nil {
				return err
			}
		}
	}
	for _, path := range []string{t.Guard, t.Create.Adopt} {
		if path != "" {
			if err := known("guard or adopt", path); err != nil {
				return err
			}
		}
	}
	if t.Name != nil {
		if err := known("name", t.Name.Property); err != nil {
			return err
		}
	}
	for name := range t.Outputs {
		if err := known("outputs", name); err != nil {
			return err
		}
	}
	for _, name := range t.ID.Names() {
		if t.Document != nil && name == "name" {
			continue // it is in the document
		}
		if err := known("id", name); err != nil {
			return err
		}
	}
	switch t.Strategy {
	case "rest":
		if t.Create.Path == nil {
			return fmt.Errorf("no create call")
		}
	case "element":
		if t.Element == nil {
			return fmt.Errorf("strategy element needs element")
		}
	case "iam":
		if t.IAM == nil {
			return fmt.Errorf("strategy iam needs iam")
		}
	case "document":
		if t.Document == nil {
			return fmt.Errorf("strategy document needs document")
		}
	case "record", "object", "version", "service":
	default:
		return fmt.Errorf("unknown strategy %q", t.Strategy)
	}
	return nil
}
