package storage

import (
	"context"
	"io"
	"strconv"

	"google.golang.org/api/storage/v1"

	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/store"
)

// maxComponents is Google's limit on the sources of one compose.
const maxComponents = 32

func (s *Server) compose(_ context.Context, r *googleapi.Request) (any, error) {
	var body storage.ComposeRequest
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	if len(body.SourceObjects) == 0 {
		return nil, required("You must provide at least one source component.")
	}
	if len(body.SourceObjects) > maxComponents {
		return nil, googleapi.InvalidArgument("The number of source components provided (%d) exceeds the maximum (%d)", len(body.SourceObjects), maxComponents)
	}
	bucket := r.Var("bucket")
	meta := googleapi.Doc{}
	if body.Destination != nil {
		var err error
		if meta, err = googleapi.NewDoc(body.Destination); err != nil {
			return nil, err
		}
	}
	meta["name"] = r.Var("object")
	if err := checkObjectName(r.Var("object")); err != nil {
		return nil, err
	}
	var sources []record
	var components int64
	err := s.core.Store().View(func(tx store.Tx) error {
		for _, src := range body.SourceObjects {
			rec, _, err := s.find(tx, bucket, src.Name, src.Generation)
			if err != nil {
				return err
			}
			if p := src.ObjectPreconditions; p != nil && p.IfGenerationMatch != 0 && p.IfGenerationMatch != rec.Object.Int("generation") {
				return conditionNotMet()
			}
			components += max(1, rec.Object.Int("componentCount"))
			sources = append(sources, rec)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var readers []io.Reader
	for _, rec := range sources {
		f, err := s.files.open(rec.File)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		readers = append(readers, f)
	}
	c, err := s.files.write(io.MultiReader(readers...))
	if err != nil {
		return nil, err
	}
	c.MD5 = ""
	meta["componentCount"] = float64(components)
	meta.Default("contentType", sources[0].Object["contentType"])
	return s.commit(bucket, meta, c, conditionsOf(r))
}

// copyObject serves copyTo and rewriteTo, which differ in their answer only: here a rewrite is always done in one call.
func (s *Server) copyObject(rewrite bool) googleapi.Handler {
	return func(_ context.Context, r *googleapi.Request) (any, error) {
		change, err := r.DecodeDoc(storage.Object{})
		if err != nil {
			return nil, err
		}
		generation, err := generationOf(r, "sourceGeneration")
		if err != nil {
			return nil, err
		}
		if err := checkObjectName(r.Var("toObject")); err != nil {
			return nil, err
		}
		if c := change.String("storageClass"); c != "" && !storageClasses[c] {
			return nil, googleapi.InvalidArgument("Invalid argument: storageClass %q.", c)
		}
		var rec record
		err = s.core.Store().View(func(tx store.Tx) (err error) {
			rec, _, err = s.find(tx, r.Var("bucket"), r.Var("object"), generation)
			return err
		})
		if err != nil {
			return nil, err
		}
		if err := sourceConditionsOf(r).hold(rec.Object); err != nil {
			return nil, err
		}
		meta := googleapi.Doc{}
		for _, f := range settable {
			if rec.Object.Has(f) && f != "temporaryHold" && f != "eventBasedHold" && f != "retention" && f != "storageClass" {
				meta[f] = rec.Object[f]
			}
		}
		change.DropNulls()
		// Metadata that is given replaces the source's whole; none given copies it.
		if len(change) > 0 && !onlyOutput(change) {
			contentType := meta["contentType"]
			meta = change
			meta.Default("contentType", contentType)
		}
		if rec.Object.Has("componentCount") {
			meta["componentCount"] = rec.Object["componentCount"]
		}
		meta["name"] = r.Var("toObject")
		c, err := s.files.link(content{File: rec.File, Size: rec.Object.Int("size"), CRC32C: rec.Object.String("crc32c"), MD5: rec.Object.String("md5Hash")})
		if err != nil {
			return nil, err
		}
		obj, err := s.commit(r.Var("toBucket"), meta, c, conditionsOf(r))
		if err != nil || !rewrite {
			return obj, err
		}
		size := strconv.FormatInt(c.Size, 10)
		return googleapi.Doc{"kind": "storage#rewriteResponse", "totalBytesRewritten": size, "objectSize": size, "done": true, "resource": obj}, nil
	}
}

// onlyOutput tells whether a resource has nothing that a client may set.
func onlyOutput(d googleapi.Doc) bool {
	for _, f := range settable {
		if d.Has(f) {
			return false
		}
	}
	return true
}
