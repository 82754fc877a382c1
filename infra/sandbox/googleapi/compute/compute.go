// Package compute is Compute Engine in the sandbox's Google API, in the versions v1 and beta: networks and what
// belongs to them, addresses, Cloud Armor policies, certificates, and the resources that GKE makes there (virtual
// machines, instance groups, disks, what a load balancer consists of). Every collection is described by a kind; the
// common methods are written once. It runs nothing: the engine and the controllers tell it what exists by
// Materialise and Remove.
package compute

import (
	"context"
	"fmt"
	"strings"

	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/store"
)

// Service is Compute Engine.
type Service struct {
	core    *googleapi.Core
	api     *googleapi.Service
	kinds   []*kind
	options Options
}

// Options are what Compute Engine needs from others; all may be nil.
type Options struct {
	// GroupSize is the wanted number of machines of an instance group manager of GKE, by its path.
	GroupSize func(path string) (int, bool)
	// DeleteInstance takes a virtual machine away; without it the deletion of one is answered with 501.
	DeleteInstance func(ctx context.Context, path string) error
}

// Register adds Compute Engine to the core.
func Register(core *googleapi.Core, o Options) *Service {
	s := &Service{core: core, api: core.Service("compute"), options: o}
	s.api.BodyName = "resource"
	s.kinds = s.allKinds()
	for _, k := range s.kinds {
		s.register(k)
	}
	s.registerOperations()
	s.registerPlaces()
	s.registerImages()
	for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
		s.handle(method, "{rest**}", func(_ context.Context, r *googleapi.Request) (any, error) {
			return nil, googleapi.Unimplemented("The sandbox does not simulate %s (%s %s).", methodName(r.HTTP.Method, r.Var("rest")), r.HTTP.Method, r.Var("rest"))
		})
	}
	return s
}

// SetGroupSize is for a GroupSize that does not exist yet when Compute Engine is registered.
func (s *Service) SetGroupSize(fn func(path string) (int, bool)) {
	s.options.GroupSize = fn
}

// SetDeleteInstance is the same for DeleteInstance.
func (s *Service) SetDeleteInstance(fn func(ctx context.Context, path string) error) {
	s.options.DeleteInstance = fn
}

// handle registers a call below compute/v1/ and compute/beta/; links in its answer get the version of the call.
func (s *Service) handle(method, pattern string, h googleapi.Handler) {
	s.api.Handle(method, "compute/{version=v1|beta}/"+pattern, func(ctx context.Context, r *googleapi.Request) (any, error) {
		if p := r.Var("project"); p != "" {
			if _, ok := s.core.Project(p); !ok && !isImageProject(p) {
				return nil, notFound("projects/" + p)
			}
		}
		v, err := h(ctx, r)
		if err != nil {
			return nil, err
		}
		return forVersion(v, r.Var("version")), nil
	})
}

func notFound(path string) error {
	return googleapi.NotFound("The resource '%s' was not found", path)
}

func invalidField(field string, value any, why string) error {
	return googleapi.InvalidArgument("Invalid value for field '%s': '%v'. %s", field, value, why)
}

func required(field string) error {
	e := googleapi.InvalidArgument("Required field '%s' not specified", field)
	e.Reason = "required"
	return e
}

// methodName guesses Google's name of a method from its path: "compute.instances.insert".
func methodName(method, path string) string {
	parts := strings.Split(path, "/")
	if len(parts) > 2 && parts[0] == "projects" {
		parts = parts[2:]
	}
	switch {
	case len(parts) > 1 && (parts[0] == "global" || parts[0] == "aggregated"):
		parts = parts[1:]
	case len(parts) > 2 && (parts[0] == "zones" || parts[0] == "regions"):
		parts = parts[2:]
	}
	verb := map[string]string{"GET": "get", "POST": "insert", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}[method]
	switch {
	case len(parts) > 2:
		verb = parts[len(parts)-1]
	case len(parts) == 1 && method == "GET":
		verb = "list"
	}
	return "compute." + parts[0] + "." + verb
}

// Materialise writes a resource that something other than a call of the API made (a node's virtual machine, the
// parts of a load balancer) at its path ("projects/p/global/urlMaps/m"), with the fields that every resource has. A
// resource that exists keeps its id and its creation time.
func (s *Service) Materialise(tx store.Tx, path string, d googleapi.Doc) error {
	return Materialise(tx, s.core, path, d)
}

// Materialise is the same without a Service.
func Materialise(tx store.Tx, core *googleapi.Core, path string, d googleapi.Doc) error {
	parts := strings.Split(path, "/")
	if len(parts) < 5 || parts[0] != "projects" {
		return fmt.Errorf("compute: %q is no resource's path", path)
	}
	kindName, ok := kindNames[parts[len(parts)-2]]
	if !ok {
		return fmt.Errorf("compute: collection %q is not known", parts[len(parts)-2])
	}
	d = d.Clone()
	var old googleapi.Doc
	if _, err := tx.Get("compute/"+path, &old); err != nil {
		return err
	}
	for _, name := range []string{"id", "creationTimestamp"} {
		if old.Has(name) {
			d[name] = old[name]
		}
	}
	if err := stamp(tx, core, d, kindName, path); err != nil {
		return err
	}
	return tx.Put("compute/"+path, d)
}

// Remove takes such a resource away.
func Remove(tx store.Tx, path string) error { return tx.Delete("compute/" + path) }

// stamp fills what Google fills in every resource.
func stamp(tx store.Tx, core *googleapi.Core, d googleapi.Doc, kindName, path string) error {
	parts := strings.Split(path, "/")
	d["kind"] = kindName
	d["name"] = parts[len(parts)-1]
	d["selfLink"] = Link(path)
	if !d.Has("id") {
		id, err := newID(tx, core)
		if err != nil {
			return err
		}
		d["id"] = id
	}
	d.Default("creationTimestamp", timestamp(core.Now()))
	switch parts[2] {
	case "regions":
		d["region"] = Link(strings.Join(parts[:4], "/"))
	case "zones":
		d["zone"] = Link(strings.Join(parts[:4], "/"))
	}
	return nil
}
