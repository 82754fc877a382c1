package storage

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/api/storage/v1"

	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/store"
)

func (s *Server) handleObjects(api *googleapi.Service, base string) {
	object := base + "/b/{bucket}/o/{object*}"
	api.Handle("GET", base+"/b/{bucket}/o", s.listObjects)
	api.Handle("GET", object, s.getObject)
	api.Handle("PATCH", object, s.changeObject(true))
	api.Handle("PUT", object, s.changeObject(false))
	api.Handle("DELETE", object, s.deleteObject)
	api.Handle("POST", object+"/compose", s.compose)
	api.Handle("POST", object+"/copyTo/b/{toBucket}/o/{toObject*}", s.copyObject(false))
	api.Handle("POST", object+"/rewriteTo/b/{toBucket}/o/{toObject*}", s.copyObject(true))
}

func (s *Server) getObject(ctx context.Context, r *googleapi.Request) (any, error) {
	if r.Query("alt") == "media" {
		return s.download(ctx, r)
	}
	rec, raw, err := s.read(r)
	if raw != nil || err != nil {
		return raw, err
	}
	return rec.Object, nil
}

// read finds the object that a GET names and checks its preconditions; a non-nil Raw is the answer already.
func (s *Server) read(r *googleapi.Request) (record, *googleapi.Raw, error) {
	generation, err := generationOf(r, "generation")
	if err != nil {
		return record{}, nil, err
	}
	var rec record
	err = s.core.Store().View(func(tx store.Tx) (err error) {
		rec, _, err = s.find(tx, r.Var("bucket"), r.Var("object"), generation)
		return err
	})
	if err != nil {
		return rec, nil, err
	}
	if err := conditionsOf(r).hold(rec.Object); err != nil {
		if r.Query("ifGenerationNotMatch") != "" || r.Query("ifMetagenerationNotMatch") != "" {
			return rec, notModified(), nil
		}
		return rec, nil, err
	}
	return rec, nil, nil
}

// lister walks names in order and folds those behind a delimiter into prefixes.
type lister struct {
	prefix, delimiter, start, end string
	trailing, versions            bool
}

func (s *Server) listObjects(_ context.Context, r *googleapi.Request) (any, error) {
	l := lister{r.Query("prefix"), r.Query("delimiter"), r.Query("startOffset"), r.Query("endOffset"), r.Query("includeTrailingDelimiter") == "true", r.Query("versions") == "true"}
	if r.Query("matchGlob") != "" {
		return nil, googleapi.Unimplemented("The sandbox does not simulate matchGlob (objects.list); use prefix and delimiter.")
	}
	bucket := r.Var("bucket")
	type item struct {
		key, prefix string
		object      googleapi.Doc
	}
	var items []item
	err := s.core.Store().View(func(tx store.Tx) error {
		if _, err := s.bucket(tx, bucket); err != nil || r.Query("softDeleted") == "true" {
			return err // soft-deleted objects are not kept
		}
		add := func(_ string, raw []byte) error {
			var rec record
			if err := json.Unmarshal(raw, &rec); err != nil {
				return err
			}
			name := rec.Object.String("name")
			if name < l.start || l.end != "" && name >= l.end {
				return nil
			}
			it := item{key: name + "\x00" + padded(rec.Object.Int("generation")), object: rec.Object}
			if folded, ok := l.fold(name); ok {
				if !(l.trailing && folded == name) {
					it.object = nil
				}
				it.key, it.prefix = folded, folded
				if it.object != nil {
					it.key += "\x00"
				}
			}
			items = append(items, it)
			return nil
		}
		if l.versions {
			if err := tx.List(oldPrefix(bucket, l.prefix), add); err != nil {
				return err
			}
		}
		return tx.List(liveKey(bucket, l.prefix), add)
	})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(items, func(a, b item) int { return strings.Compare(a.key, b.key) })
	items = slices.CompactFunc(items, func(a, b item) bool { return a.key == b.key })
	page, err := googleapi.Paginate(r, items, func(it item) string { return it.key }, 1000)
	if err != nil {
		return nil, err
	}
	out := googleapi.Doc{"kind": "storage#objects"}
	var objects []googleapi.Doc
	var prefixes []string
	for _, it := range page.Items {
		if it.prefix != "" {
			prefixes = append(prefixes, it.prefix)
		}
		if it.object != nil {
			objects = append(objects, it.object)
		}
	}
	if prefixes = slices.Compact(prefixes); prefixes != nil {
		out["prefixes"] = prefixes
	}
	if objects != nil {
		out["items"] = objects
	}
	if page.Next != "" {
		out["nextPageToken"] = page.Next
	}
	return out, nil
}

func padded(n int64) string {
	s := strconv.FormatInt(n, 10)
	return strings.Repeat("0", max(0, 20-len(s))) + s
}

// fold gives the part of a name up to the first delimiter behind the prefix.
func (l lister) fold(name string) (string, bool) {
	if l.delimiter == "" {
		return "", false
	}
	rest := name[len(l.prefix):]
	at := strings.Index(rest, l.delimiter)
	if at < 0 {
		return "", false
	}
	return l.prefix + rest[:at+len(l.delimiter)], true
}

func (s *Server) changeObject(patch bool) googleapi.Handler {
	return func(_ context.Context, r *googleapi.Request) (any, error) {
		change, err := r.DecodeDoc(storage.Object{})
		if err != nil {
			return nil, err
		}
		generation, err := generationOf(r, "generation")
		if err != nil {
			return nil, err
		}
		for k := range change {
			if !slices.Contains(settable, k) {
				change.Drop(k)
			}
		}
		var obj googleapi.Doc
		err = s.core.Store().Update(func(tx store.Tx) error {
			rec, live, err := s.find(tx, r.Var("bucket"), r.Var("object"), generation)
			if err != nil {
				return err
			}
			if err := conditionsOf(r).hold(rec.Object); err != nil {
				return err
			}
			if c := change.String("storageClass"); c != "" && c != rec.Object.String("storageClass") {
				return googleapi.InvalidArgument("An object's storage class is changed by rewriting it.")
			}
			obj = rec.Object
			if !patch {
				class := obj["storageClass"]
				obj.Drop(settable...)
				obj["storageClass"] = class
			}
			obj.Merge(change)
			obj.DropNulls()
			obj["updated"] = stamp(s.core.Now())
			setObjectMetageneration(obj, obj.Int("metageneration")+1)
			key := liveKey(r.Var("bucket"), r.Var("object"))
			if !live {
				key = oldKey(r.Var("bucket"), r.Var("object"), obj.Int("generation"))
			}
			return tx.Put(key, rec)
		})
		return obj, err
	}
}

func (s *Server) deleteObject(_ context.Context, r *googleapi.Request) (any, error) {
	generation, err := generationOf(r, "generation")
	if err != nil {
		return nil, err
	}
	var litter []string
	err = s.core.Store().Update(func(tx store.Tx) (err error) {
		rec, live, err := s.find(tx, r.Var("bucket"), r.Var("object"), generation)
		if err != nil {
			return err
		}
		if err := conditionsOf(r).hold(rec.Object); err != nil {
			return err
		}
		litter, err = s.remove(tx, rec, live, generation != 0)
		return err
	})
	if err != nil {
		return nil, err
	}
	s.discard(litter)
	return &googleapi.Raw{Status: http.StatusNoContent}, nil
}

// remove deletes a version. The live one of a versioned bucket only becomes noncurrent, unless its generation was named.
func (s *Server) remove(tx store.Tx, rec record, live, named bool) (litter []string, err error) {
	bucket, name := rec.Object.String("bucket"), rec.Object.String("name")
	b, err := s.bucket(tx, bucket)
	if err != nil {
		return nil, err
	}
	now := s.core.Now()
	switch {
	case !live:
		if err := held(b, rec.Object, now); err != nil {
			return nil, err
		}
		return []string{rec.File}, tx.Delete(oldKey(bucket, name, rec.Object.Int("generation")))
	case named:
		if err := held(b, rec.Object, now); err != nil {
			return nil, err
		}
		litter = []string{rec.File}
	default:
		if litter, err = s.retire(tx, b, rec, now); err != nil {
			return nil, err
		}
	}
	return litter, tx.Delete(liveKey(bucket, name))
}
