package googleapi

import (
	"context"
	"fmt"

	"patag/infra/sandbox/store"
)

// DoneOperation records a google.longrunning.Operation that is done, for services whose work takes no time, and
// returns it. The parent is "projects/p/locations/l" or whatever comes before "/operations/". Types are the full
// names of the metadata and response messages, without "type.googleapis.com/"; either may be empty.
func (s *Service) DoneOperation(tx store.Tx, parent, metadataType string, metadata Doc, responseType string, response Doc) (Doc, error) {
	n, err := tx.Next()
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("operations/%016x", n)
	if parent != "" {
		name = parent + "/" + name
	}
	op := Doc{"name": name, "done": true}
	if metadataType != "" {
		op["metadata"] = typed(metadataType, metadata)
	}
	if responseType == "" {
		responseType = "google.protobuf.Empty"
	}
	op["response"] = typed(responseType, response)
	return op, tx.Put(s.name+"/"+name, op)
}

func typed(name string, d Doc) Doc {
	out := Doc{"@type": "type.googleapis.com/" + name}
	for k, v := range d {
		out[k] = v
	}
	return out
}

// HandleOperations serves reads of recorded operations, for example "v1/projects/{project}/locations/{location}".
func (s *Service) HandleOperations(parentPattern string) {
	get := func(_ context.Context, r *Request) (any, error) {
		var op Doc
		found, err := s.core.Store().Get(r.Key(), &op)
		if err == nil && !found {
			err = NotFound("Operation %q not found.", r.Path())
		}
		return op, err
	}
	s.Handle("GET", parentPattern+"/operations/{operation}", get)
	s.Handle("GET", parentPattern+"/operations", func(_ context.Context, r *Request) (any, error) {
		var docs []Doc
		err := s.core.Store().View(func(tx store.Tx) (err error) {
			docs, err = Children(tx, r.Key())
			return err
		})
		if err != nil {
			return nil, err
		}
		page, err := Paginate(r, docs, func(d Doc) string { return d.String("name") }, 500)
		if err != nil {
			return nil, err
		}
		return Doc{"operations": page.Items, "nextPageToken": page.Next}, nil
	})
}
