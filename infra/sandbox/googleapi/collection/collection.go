// Package collection serves the plain case of a Google API: resources of one type under a parent that are created, read,
// listed, changed and deleted at once. A Type says what is peculiar: ids, defaults, checks, messages. The rest — strict
// decoding, update masks, etags, paging, filters, order — is the same for all and is here.
package collection

import (
	"cmp"
	"context"
	"net/url"
	"slices"
	"strings"
	"time"

	"patag/infra/sandbox/filter"
	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/store"
)

// Type describes a collection.
type Type struct {
	// Pattern is the route of the collection: "v1/projects/{project}/secrets".
	Pattern string
	// Like is Google's Go type of the resource, List the field of the list answer that holds the resources.
	Like any
	List string
	// Kind is how messages call the resource.
	Kind string
	// ID gives the last part of a new resource's name, and may check it. It may contain slashes.
	ID func(c *Change) (string, error)
	// Name is the resource's name, if it is not the path.
	Name func(r *googleapi.Request, path, id string) string
	// NameField is the field that holds the name; default "name".
	NameField string
	// Output are the fields that a client cannot set.
	Output []string
	// Fill checks a new or changed resource and fills in what Google fills in.
	Fill func(c *Change) error
	// Deleting may refuse a deletion or clean up what hangs on the resource.
	Deleting func(c *Change) error
	// View gives the resource as it is shown, where that differs from what is kept.
	View func(d googleapi.Doc) googleapi.Doc
	// Parent gives an error when the collection's parent does not exist.
	Parent func(tx store.Tx, r *googleapi.Request) error
	// NotFound and Exists are Google's errors; default messages name the resource.
	NotFound, Exists func(name string) error
	// Etag keeps an etag that changes with the content and refuses stale ones.
	Etag bool
	// Replace makes PUT a full replacement under the same rules as PATCH; ReplaceAll makes PATCH without a mask one too.
	Put, ReplaceAll bool
	// Wrap turns the answer to create, update and delete into another (an operation); verb is one of these words.
	Wrap func(c *Change, verb string, answer googleapi.Doc) (any, error)
	// Limit is the largest page; default 500.
	Limit int
	// Default are resources that exist without having been created, by id.
	Default func(r *googleapi.Request) map[string]googleapi.Doc
}

// Change is a creation (Old is nil), an update, or a deletion (New is nil).
type Change struct {
	Tx       store.Tx
	Request  *googleapi.Request
	Service  *googleapi.Service
	Key      string
	Old, New googleapi.Doc
	Now      time.Time
}

// Project is the project of the request.
func (c *Change) Project() string { return c.Request.Var("project") }

type handler struct {
	Type
	s *googleapi.Service
}

// Handle registers a type's calls.
func Handle(s *googleapi.Service, t Type) {
	if t.NameField == "" {
		t.NameField = "name"
	}
	if t.Limit == 0 {
		t.Limit = 500
	}
	if t.NotFound == nil {
		t.NotFound = func(name string) error { return googleapi.NotFound("%s %q not found.", t.Kind, name) }
	}
	if t.Exists == nil {
		t.Exists = func(name string) error { return googleapi.AlreadyExists("%s %q already exists.", t.Kind, name) }
	}
	h := handler{t, s}
	item := t.Pattern + "/{id}"
	if t.ID != nil {
		s.Handle("POST", t.Pattern, h.create)
	}
	s.Handle("GET", t.Pattern, h.list)
	s.Handle("GET", item, h.get)
	s.Handle("PATCH", item, h.update)
	if t.Put {
		s.Handle("PUT", item, h.update)
	}
	s.Handle("DELETE", item, h.delete)
}

// Key is where a resource is kept: ids may contain slashes, keys of siblings must not.
func Key(parent, id string) string { return parent + "/" + url.PathEscape(id) }

// key is that of the resource that the request's path names.
func (h handler) key(r *googleapi.Request) string {
	return Key(strings.TrimSuffix(r.Key(), "/"+r.Var("id")), r.Var("id"))
}

func (h handler) view(d googleapi.Doc) googleapi.Doc {
	if h.View == nil || d == nil {
		return d
	}
	return h.View(d.Clone())
}

func (h handler) parent(tx store.Tx, r *googleapi.Request) error {
	if h.Parent == nil {
		return nil
	}
	return h.Parent(tx, r)
}

func (h handler) change(tx store.Tx, r *googleapi.Request, key string) *Change {
	return &Change{Tx: tx, Request: r, Service: h.s, Key: key, Now: h.s.Core().Now()}
}

func (h handler) wrap(c *Change, verb string, d googleapi.Doc) (any, error) {
	if h.Wrap == nil {
		return d, nil
	}
	return h.Wrap(c, verb, d)
}

func (h handler) read(tx store.Tx, r *googleapi.Request) (googleapi.Doc, error) {
	if err := h.parent(tx, r); err != nil {
		return nil, err
	}
	var d googleapi.Doc
	found, err := tx.Get(h.key(r), &d)
	if err != nil || found {
		return d, err
	}
	if h.Default != nil {
		if d := h.Default(r)[r.Var("id")]; d != nil {
			return d, nil
		}
	}
	return nil, h.NotFound(r.Path())
}

func (h handler) create(_ context.Context, r *googleapi.Request) (any, error) {
	d, err := r.DecodeDoc(h.Like)
	if err != nil {
		return nil, err
	}
	d.DropNulls()
	d.Drop(h.Output...)
	var answer any
	err = h.s.Core().Store().Update(func(tx store.Tx) error {
		if err := h.parent(tx, r); err != nil {
			return err
		}
		c := h.change(tx, r, "")
		c.New = d
		id, err := h.ID(c)
		if err != nil {
			return err
		}
		c.Key = Key(r.Key(), id)
		name := r.Path() + "/" + id
		if h.Name != nil {
			name = h.Name(r, r.Path(), id)
		}
		if tx.Has(c.Key) || h.Default != nil && h.Default(r)[id] != nil {
			return h.Exists(name)
		}
		d[h.NameField] = name
		if err := h.fill(c); err != nil {
			return err
		}
		if err := tx.Put(c.Key, d); err != nil {
			return err
		}
		answer, err = h.wrap(c, "create", h.view(d))
		return err
	})
	return answer, err
}

func (h handler) fill(c *Change) error {
	if h.Fill != nil {
		if err := h.Fill(c); err != nil {
			return err
		}
	}
	if h.Etag {
		c.New.Drop("etag")
		c.New["etag"] = googleapi.Fingerprint(googleapi.Doc{"d": c.New, "t": c.Now.UnixNano()})
	}
	return nil
}

func (h handler) get(_ context.Context, r *googleapi.Request) (any, error) {
	var d googleapi.Doc
	err := h.s.Core().Store().View(func(tx store.Tx) (err error) { d, err = h.read(tx, r); return err })
	if err != nil {
		return nil, err
	}
	return h.view(d), nil
}

func (h handler) update(_ context.Context, r *googleapi.Request) (any, error) {
	patch, err := r.DecodeDoc(h.Like)
	if err != nil {
		return nil, err
	}
	var answer any
	err = h.s.Core().Store().Update(func(tx store.Tx) error {
		old, err := h.read(tx, r)
		if err != nil {
			return err
		}
		if etag := patch.String("etag"); h.Etag && etag != "" && etag != old.String("etag") {
			return googleapi.Aborted("The etag %q does not match the current etag of %s: it was changed meanwhile.", etag, old.String(h.NameField))
		}
		c := h.change(tx, r, h.key(r))
		c.Old, c.New = old, old.Clone()
		protected := append([]string{h.NameField, "etag"}, h.Output...)
		mask := r.Query("updateMask")
		switch {
		case mask == "" && (h.ReplaceAll || r.HTTP.Method == "PUT"):
			c.New = patch
			c.New.DropNulls()
		default:
			patch.Drop("etag")
			if err := c.New.ApplyMask(patch, mask); err != nil {
				return err
			}
		}
		for _, f := range protected {
			if v, ok := old[f]; ok {
				c.New[f] = v
			} else {
				c.New.Drop(f)
			}
		}
		if err := h.fill(c); err != nil {
			return err
		}
		if err := tx.Put(c.Key, c.New); err != nil {
			return err
		}
		answer, err = h.wrap(c, "update", h.view(c.New))
		return err
	})
	return answer, err
}

func (h handler) delete(_ context.Context, r *googleapi.Request) (any, error) {
	var answer any = googleapi.Doc{}
	err := h.s.Core().Store().Update(func(tx store.Tx) error {
		old, err := h.read(tx, r)
		if err != nil {
			return err
		}
		if etag := r.Query("etag"); h.Etag && etag != "" && etag != old.String("etag") {
			return googleapi.Aborted("The etag %q does not match the current etag of %s.", etag, old.String(h.NameField))
		}
		c := h.change(tx, r, h.key(r))
		c.Old = old
		if h.Deleting != nil {
			if err := h.Deleting(c); err != nil {
				return err
			}
		}
		if err := tx.Delete(c.Key); err != nil {
			return err
		}
		answer, err = h.wrap(c, "delete", googleapi.Doc{})
		return err
	})
	return answer, err
}

func (h handler) list(_ context.Context, r *googleapi.Request) (any, error) {
	f, err := filter.Parse(r.Query("filter"), filter.Dialect{Text: true, FoldCase: true})
	if err != nil {
		return nil, googleapi.InvalidArgument("Invalid filter: %v", err)
	}
	var docs []googleapi.Doc
	err = h.s.Core().Store().View(func(tx store.Tx) (err error) {
		if err = h.parent(tx, r); err == nil {
			docs, err = googleapi.Children(tx, r.Key())
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if h.Default != nil {
		for _, d := range h.Default(r) {
			if !slices.ContainsFunc(docs, func(x googleapi.Doc) bool { return x[h.NameField] == d[h.NameField] }) {
				docs = append(docs, d)
			}
		}
	}
	docs = slices.DeleteFunc(docs, func(d googleapi.Doc) bool { return !f.Match(d) })
	name := func(d googleapi.Doc) string { return d.String(h.NameField) }
	slices.SortFunc(docs, func(a, b googleapi.Doc) int { return cmp.Compare(name(a), name(b)) })
	if err := Order(docs, r.Query("orderBy")); err != nil {
		return nil, err
	}
	page, err := googleapi.Paginate(r, docs, name, h.Limit)
	if err != nil {
		return nil, err
	}
	out := googleapi.Doc{}
	for i, d := range page.Items {
		page.Items[i] = h.view(d)
	}
	if len(page.Items) > 0 {
		out[h.List] = page.Items
	}
	if page.Next != "" {
		out["nextPageToken"] = page.Next
	}
	return out, nil
}

// Order sorts documents by an orderBy parameter: "createTime desc, name".
func Order(docs []googleapi.Doc, orderBy string) error {
	if orderBy == "" {
		return nil
	}
	type field struct {
		path []string
		sign int
	}
	var fields []field
	for _, part := range strings.Split(orderBy, ",") {
		words := strings.Fields(part)
		if len(words) == 0 || len(words) > 2 || len(words) == 2 && words[1] != "desc" && words[1] != "asc" {
			return googleapi.InvalidArgument("Invalid orderBy: %q", orderBy)
		}
		f := field{strings.Split(filter.Camel(words[0]), "."), 1}
		if len(words) == 2 && words[1] == "desc" {
			f.sign = -1
		}
		fields = append(fields, f)
	}
	slices.SortStableFunc(docs, func(a, b googleapi.Doc) int {
		for _, f := range fields {
			x, y := a.Get(f.path...), b.Get(f.path...)
			n := 0
			if p, ok := x.(float64); ok {
				q, _ := y.(float64)
				n = cmp.Compare(p, q)
			} else {
				n = strings.Compare(a.String(f.path...), b.String(f.path...))
			}
			if n != 0 {
				return n * f.sign
			}
		}
		return 0
	})
	return nil
}
