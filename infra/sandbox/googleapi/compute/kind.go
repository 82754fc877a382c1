package compute

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/store"
)

// kind describes one collection. What is nil is answered with 501.
type kind struct {
	// collection is its name in paths, kind and list those in documents.
	collection, kind, list string
	// label is the resource's name in messages ("network"), made from kind if empty.
	label string
	// scopes are where its resources live: "global", "regions", "zones".
	scopes []string
	// like is Google's type.
	like any
	// outputs are fields that a client cannot set; Google ignores them in requests.
	outputs []string
	// refs are the fields that hold links to other resources; what is linked to cannot be deleted.
	refs []string
	// immutable are fields that a patch cannot change.
	immutable []string
	// fingerprinted kinds have a fingerprint; strict ones demand it in a patch.
	fingerprinted, strict bool
	// labelled kinds have labels and setLabels.
	labelled bool
	insert   func(c *call, d googleapi.Doc) error
	patch    func(c *call, old, d googleapi.Doc) error
	// update allows PUT, with the same rules as patch.
	update bool
	// deletable: DELETE is served; remove does what else a deletion takes with it.
	deletable bool
	remove    func(c *call, d googleapi.Doc) error
	// delete replaces the common deletion.
	delete func(ctx context.Context, r *googleapi.Request) (any, error)
	// read completes a document with what is not stored in it.
	read func(tx store.Tx, d googleapi.Doc) error
	// complete does the same for what others must be asked for, outside any transaction: they may want to write.
	complete func(d googleapi.Doc)
	// verbs are the further methods, "POST addRule".
	verbs map[string]func(c *call, d googleapi.Doc) (any, error)
}

// call is one call that changes something, in its transaction.
type call struct {
	s    *Service
	k    *kind
	tx   store.Tx
	r    *googleapi.Request
	path string // of the resource
}

func (c *call) project() string { return c.r.Var("project") }

// region of a regional call.
func (c *call) region() string { return c.r.Var("region") }

func scopePattern(scope string) string {
	switch scope {
	case "regions":
		return "projects/{project}/regions/{region}"
	case "zones":
		return "projects/{project}/zones/{zone}"
	}
	return "projects/{project}/global"
}

// restPath is the path below the version.
func restPath(r *googleapi.Request) string { return r.Path() }

func (s *Service) register(k *kind) {
	for _, scope := range k.scopes {
		base := scopePattern(scope) + "/" + k.collection
		s.handle("GET", base, func(_ context.Context, r *googleapi.Request) (any, error) { return s.list(r, k) })
		s.handle("GET", base+"/{name}", func(_ context.Context, r *googleapi.Request) (any, error) { return s.get(r, k) })
		if k.insert != nil {
			s.handle("POST", base, func(_ context.Context, r *googleapi.Request) (any, error) { return s.insert(r, k) })
		}
		if k.patch != nil {
			s.handle("PATCH", base+"/{name}", func(_ context.Context, r *googleapi.Request) (any, error) { return s.change(r, k, false) })
		}
		if k.update {
			s.handle("PUT", base+"/{name}", func(_ context.Context, r *googleapi.Request) (any, error) { return s.change(r, k, true) })
		}
		if k.delete != nil {
			s.handle("DELETE", base+"/{name}", k.delete)
		} else if k.deletable {
			s.handle("DELETE", base+"/{name}", func(_ context.Context, r *googleapi.Request) (any, error) { return s.remove(r, k) })
		}
		if k.labelled {
			s.handle("POST", base+"/{name}/setLabels", func(_ context.Context, r *googleapi.Request) (any, error) { return s.setLabels(r, k) })
		}
		for verb, fn := range k.verbs {
			method, name, _ := strings.Cut(verb, " ")
			s.handle(method, base+"/{name}/"+name, func(_ context.Context, r *googleapi.Request) (any, error) {
				return s.verb(r, k, name, fn)
			})
		}
	}
	s.handle("GET", "projects/{project}/aggregated/"+k.collection, func(_ context.Context, r *googleapi.Request) (any, error) { return s.aggregated(r, k) })
}

// kindOf finds the kind of a resource's path.
func (s *Service) kindOf(path string) *kind {
	parts := strings.Split(path, "/")
	if len(parts) < 5 {
		return nil
	}
	for _, k := range s.kinds {
		if k.collection == parts[len(parts)-2] && (slices.Contains(k.scopes, parts[2])) {
			return k
		}
	}
	return nil
}

func (k *kind) labelName() string {
	if k.label != "" {
		return k.label
	}
	return strings.TrimPrefix(k.kind, "compute#")
}

func (s *Service) get(r *googleapi.Request, k *kind) (any, error) { return s.getPath(restPath(r), k) }

func (s *Service) getPath(path string, k *kind) (any, error) {
	var d googleapi.Doc
	err := s.core.Store().View(func(tx store.Tx) (err error) {
		d, err = s.load(tx, path, k)
		return err
	})
	if err == nil && k.complete != nil {
		k.complete(d)
	}
	return d, err
}

func (s *Service) load(tx store.Tx, path string, k *kind) (googleapi.Doc, error) {
	var d googleapi.Doc
	found, err := tx.Get("compute/"+path, &d)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, notFound(path)
	}
	if k.read != nil {
		err = k.read(tx, d)
	}
	return d, err
}

var nameRE = regexp.MustCompile(`^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$`)

const nameText = "Must be a match of regex '(?:[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?)'"

func (s *Service) insert(r *googleapi.Request, k *kind) (any, error) {
	d, err := r.DecodeDoc(k.like)
	if err != nil {
		return nil, err
	}
	d.DropNulls()
	d.Drop("kind", "id", "selfLink", "selfLinkWithId", "creationTimestamp", "region", "zone")
	d.Drop(k.outputs...)
	name := d.String("name")
	if name == "" {
		return nil, required("resource.name")
	}
	if !nameRE.MatchString(name) {
		return nil, invalidField("resource.name", name, nameText)
	}
	if err := s.checkPlace(r); err != nil {
		return nil, err
	}
	path := restPath(r) + "/" + name
	var op googleapi.Doc
	err = s.core.Store().Update(func(tx store.Tx) error {
		c := &call{s, k, tx, r, path}
		if err := c.resolve(d, true); err != nil {
			return err
		}
		if tx.Has("compute/" + path) {
			return googleapi.AlreadyExists("The resource '%s' already exists", path)
		}
		if err := stamp(tx, s.core, d, k.kind, path); err != nil {
			return err
		}
		if k.labelled {
			d["labelFingerprint"] = labelFingerprint(d)
		}
		if err := k.insert(c, d); err != nil {
			return err
		}
		c.sign(d)
		if err := tx.Put("compute/"+path, d); err != nil {
			return err
		}
		op, err = s.operation(tx, r, "insert", path, d.String("id"))
		return err
	})
	return op, err
}

// resolve brings links into the stored form; with exist, what they name must be there.
func (c *call) resolve(d googleapi.Doc, exist bool) error {
	for _, path := range c.k.refs {
		err := eachRef(d, path, func(field, given string) (string, error) {
			link, ok := canonical(c.s.core, c.project(), given)
			if !ok {
				return "", invalidField(field, given, "The URL is malformed.")
			}
			if target := Path(link); exist && c.s.kindOf(target) != nil && !c.tx.Has("compute/"+target) {
				return "", notFound(target)
			}
			return link, nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// sign renews the fingerprint of a kind that has one.
func (c *call) sign(d googleapi.Doc) {
	if c.k.fingerprinted {
		delete(d, "fingerprint")
		d["fingerprint"] = googleapi.Fingerprint(d)
	}
}

func labelFingerprint(d googleapi.Doc) string {
	if len(d.Doc("labels")) == 0 {
		return "42WmSpB8rSM=" // Google's, of no labels
	}
	return googleapi.Fingerprint(d["labels"])
}

func (s *Service) change(r *googleapi.Request, k *kind, replace bool) (any, error) {
	patch, err := r.DecodeDoc(k.like)
	if err != nil {
		return nil, err
	}
	patch.Drop("kind", "id", "selfLink", "selfLinkWithId", "creationTimestamp", "region", "zone", "labelFingerprint")
	patch.Drop(k.outputs...)
	path := restPath(r)
	var op googleapi.Doc
	err = s.core.Store().Update(func(tx store.Tx) error {
		c := &call{s, k, tx, r, path}
		old := googleapi.Doc{}
		if found, err := tx.Get("compute/"+path, &old); err != nil {
			return err
		} else if !found {
			return notFound(path)
		}
		if err := c.checkFingerprint(old, patch.String("fingerprint"), "fingerprint", k.strict); err != nil {
			return err
		}
		if given := patch.String("name"); given != "" && given != old.String("name") {
			return invalidField("resource.name", given, "The name cannot be changed.")
		}
		d := old.Clone()
		if replace {
			for f := range old {
				if googleapi.HasField(k.like, f) && !slices.Contains(k.outputs, f) && !slices.Contains(fixed, f) {
					delete(d, f)
				}
			}
		}
		d.Merge(patch)
		if err := c.resolve(d, true); err != nil {
			return err
		}
		for _, f := range k.immutable {
			if patch.Has(f) && !googleapi.Equal(old[f], d[f]) {
				return invalidField("resource."+f, d[f], fmt.Sprintf("The field cannot be changed; it is '%v'.", old[f]))
			}
		}
		if err := k.patch(c, old, d); err != nil {
			return err
		}
		c.sign(d)
		if err := tx.Put("compute/"+path, d); err != nil {
			return err
		}
		op, err = s.operation(tx, r, map[bool]string{false: "patch", true: "update"}[replace], path, d.String("id"))
		return err
	})
	return op, err
}

// fixed are the fields that a replacement (PUT) keeps.
var fixed = []string{"kind", "id", "name", "selfLink", "selfLinkWithId", "creationTimestamp", "region", "zone", "fingerprint", "labels", "labelFingerprint"}

func (c *call) checkFingerprint(old googleapi.Doc, given, field string, must bool) error {
	if given == "" && !must || given != "" && given == old.String(field) {
		return nil
	}
	if given == "" {
		return googleapi.ConditionNotMet("Required field '%s' not specified: read the resource and send its %s.", field, field)
	}
	return googleapi.ConditionNotMet("Supplied fingerprint does not match current metadata fingerprint (%s of '%s').", field, c.path)
}

func (s *Service) setLabels(r *googleapi.Request, k *kind) (any, error) {
	in, err := r.DecodeDoc(setLabelsRequest{})
	if err != nil {
		return nil, err
	}
	return s.verb(r, k, "setLabels", func(c *call, d googleapi.Doc) (any, error) {
		if err := c.checkFingerprint(d, in.String("labelFingerprint"), "labelFingerprint", true); err != nil {
			return nil, err
		}
		if len(in.Doc("labels")) == 0 {
			delete(d, "labels")
		} else {
			d["labels"] = in["labels"]
		}
		if err := checkLabels(d.StringMap("labels")); err != nil {
			return nil, err
		}
		d["labelFingerprint"] = labelFingerprint(d)
		return nil, nil
	})
}

type setLabelsRequest struct {
	LabelFingerprint string            `json:"labelFingerprint"`
	Labels           map[string]string `json:"labels"`
}

var labelKey, labelValue = regexp.MustCompile(`^[\p{Ll}\p{Lo}][\p{Ll}\p{Lo}\p{N}_-]{0,62}$`), regexp.MustCompile(`^[\p{Ll}\p{Lo}\p{N}_-]{0,63}$`)

func checkLabels(labels map[string]string) error {
	for k, v := range labels {
		if !labelKey.MatchString(k) || !labelValue.MatchString(v) {
			return invalidField("labels", k+"="+v, "Label keys and values have at most 63 lowercase letters, digits, '_' and '-'; keys start with a letter.")
		}
	}
	return nil
}

// verb runs a further method on a resource; what it changes in the document is kept. A nil answer is an operation.
func (s *Service) verb(r *googleapi.Request, k *kind, name string, fn func(c *call, d googleapi.Doc) (any, error)) (any, error) {
	path := strings.TrimSuffix(restPath(r), "/"+name)
	var answer any
	err := s.core.Store().Update(func(tx store.Tx) error {
		c := &call{s, k, tx, r, path}
		d := googleapi.Doc{}
		if found, err := tx.Get("compute/"+path, &d); err != nil {
			return err
		} else if !found {
			return notFound(path)
		}
		before := d.Clone()
		v, err := fn(c, d)
		if err != nil {
			return err
		}
		if v != nil {
			answer = v
			return nil
		}
		if !googleapi.Equal(before, d) {
			c.sign(d)
			if err := tx.Put("compute/"+path, d); err != nil {
				return err
			}
		}
		answer, err = s.operation(tx, r, name, path, d.String("id"))
		return err
	})
	return answer, err
}

func (s *Service) remove(r *googleapi.Request, k *kind) (any, error) {
	path := restPath(r)
	var op googleapi.Doc
	err := s.core.Store().Update(func(tx store.Tx) error {
		c := &call{s, k, tx, r, path}
		d, err := s.load(tx, path, k)
		if err != nil {
			return err
		}
		if k.remove != nil {
			if err := k.remove(c, d); err != nil {
				return err
			}
		}
		if user, err := s.user(tx, path); err != nil {
			return err
		} else if user != "" {
			return googleapi.InUse("The %s resource '%s' is already being used by '%s'", k.labelName(), path, user)
		}
		if err := tx.Delete("compute/" + path); err != nil {
			return err
		}
		op, err = s.operation(tx, r, "delete", path, d.String("id"))
		return err
	})
	return op, err
}
