package storage

import (
	"encoding/base64"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/store"
)

// record is an object in the store: Google's resource and where its content lies.
type record struct {
	Object googleapi.Doc `json:"object"`
	File   string        `json:"file"`
}

// Object names are free text, so they are last in a key; bucket names have no slash.
func liveKey(bucket, name string) string { return "storage-live/" + bucket + "/" + name }

func oldPrefix(bucket, name string) string { return "storage-old/" + bucket + "/" + name }

// oldKey orders the noncurrent versions of an object by generation. No object name contains a NUL.
func oldKey(bucket, name string, generation int64) string {
	return oldPrefix(bucket, name) + fmt.Sprintf("\x00%020d", generation)
}

func checkObjectName(name string) error {
	switch {
	case name == "":
		return required("Required parameter: name")
	case len(name) > 1024 || !utf8.ValidString(name) || strings.ContainsAny(name, "\r\n\x00") || name == "." || name == ".." || strings.HasPrefix(name, ".well-known/acme-challenge/"):
		return googleapi.InvalidArgument("Invalid object name: %q", name)
	}
	return nil
}

func noSuchObject(bucket, name string) error { return notFound("No such object: %s/%s", bucket, name) }

// find reads the live object, or the version that generation names (0: the live one).
func (s *Server) find(tx store.Tx, bucket, name string, generation int64) (rec record, live bool, err error) {
	if _, err := s.bucket(tx, bucket); err != nil {
		return rec, false, err
	}
	found, err := tx.Get(liveKey(bucket, name), &rec)
	if err != nil {
		return rec, false, err
	}
	if found && (generation == 0 || rec.Object.Int("generation") == generation) {
		return rec, true, nil
	}
	if generation != 0 {
		var old record
		if found, err = tx.Get(oldKey(bucket, name, generation), &old); err != nil || found {
			return old, false, err
		}
	}
	return record{}, false, noSuchObject(bucket, name)
}

func generationOf(r *googleapi.Request, param string) (int64, error) {
	v := r.Query(param)
	if v == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < 0 {
		return 0, googleapi.InvalidArgument("Invalid value for %s: %q", param, v)
	}
	return n, nil
}

// conditions are the preconditions of a write, taken from the request when it began: a resumable upload checks them at its end.
type conditions struct{ Generation, NotGeneration, Metageneration, NotMetageneration string }

func conditionsOf(r *googleapi.Request) conditions {
	return conditions{r.Query("ifGenerationMatch"), r.Query("ifGenerationNotMatch"), r.Query("ifMetagenerationMatch"), r.Query("ifMetagenerationNotMatch")}
}

func sourceConditionsOf(r *googleapi.Request) conditions {
	return conditions{r.Query("ifSourceGenerationMatch"), r.Query("ifSourceGenerationNotMatch"), r.Query("ifSourceMetagenerationMatch"), r.Query("ifSourceMetagenerationNotMatch")}
}

// hold checks the conditions against an object; obj is nil where there is none (generation 0).
func (c conditions) hold(obj googleapi.Doc) error {
	for _, check := range []struct {
		want  string
		have  int64
		equal bool
	}{
		{c.Generation, obj.Int("generation"), true}, {c.NotGeneration, obj.Int("generation"), false},
		{c.Metageneration, obj.Int("metageneration"), true}, {c.NotMetageneration, obj.Int("metageneration"), false},
	} {
		if check.want == "" {
			continue
		}
		n, err := strconv.ParseInt(check.want, 10, 64)
		if err != nil {
			return googleapi.InvalidArgument("Invalid value for a precondition: %q", check.want)
		}
		if (n == check.have) != check.equal {
			return conditionNotMet()
		}
	}
	return nil
}

// put makes a content the live version of an object. meta holds what the client said of it. What it replaces stays as a noncurrent
// version in a versioned bucket, else goes; the names of contents that are now nobody's are returned.
func (s *Server) put(tx store.Tx, bucket string, meta googleapi.Doc, c content, cond conditions) (obj googleapi.Doc, litter []string, err error) {
	b, err := s.bucket(tx, bucket)
	if err != nil {
		return nil, nil, err
	}
	name := meta.String("name")
	if err := checkObjectName(name); err != nil {
		return nil, nil, err
	}
	var old record
	exists, err := tx.Get(liveKey(bucket, name), &old)
	if err != nil {
		return nil, nil, err
	}
	if err := cond.hold(old.Object); err != nil {
		return nil, nil, err
	}
	now := s.core.Now()
	if exists {
		if litter, err = s.retire(tx, b, old, now); err != nil {
			return nil, nil, err
		}
	}
	obj = s.newObject(b, meta, c, max(now.UnixMicro(), old.Object.Int("generation")+1), now)
	if c.MD5 == "" {
		obj.Drop("md5Hash") // a composed object has none
	}
	return obj, litter, tx.Put(liveKey(bucket, name), record{obj, c.File})
}

// retire takes the live version away: it becomes noncurrent, or its content litter.
func (s *Server) retire(tx store.Tx, bucket googleapi.Doc, old record, now time.Time) (litter []string, err error) {
	name := old.Object.String("name")
	if bucket.Bool("versioning", "enabled") {
		old.Object["timeDeleted"] = stamp(now)
		return nil, tx.Put(oldKey(bucket.String("name"), name, old.Object.Int("generation")), old)
	}
	if err := held(bucket, old.Object, now); err != nil {
		return nil, err
	}
	return []string{old.File}, nil
}

// held gives Google's refusal to delete or overwrite an object under hold or retention.
func held(bucket, obj googleapi.Doc, now time.Time) error {
	at := bucket.String("name") + "/" + obj.String("name")
	refuse := func(reason, format string, args ...any) error {
		return &googleapi.Error{Code: http.StatusForbidden, Status: "PERMISSION_DENIED", Reason: reason, Message: fmt.Sprintf(format, args...)}
	}
	if obj.Bool("temporaryHold") {
		return refuse("objectUnderActiveHold", "Object '%s' is under active Temporary hold and cannot be deleted, overwritten or archived until hold is removed.", at)
	}
	if obj.Bool("eventBasedHold") {
		return refuse("objectUnderActiveHold", "Object '%s' is under active Event-Based hold and cannot be deleted, overwritten or archived until hold is removed.", at)
	}
	until, _ := time.Parse(time.RFC3339, obj.String("retention", "retainUntilTime"))
	if p := bucket.Doc("retentionPolicy"); p != nil {
		if created, err := time.Parse(time.RFC3339, obj.String("timeCreated")); err == nil {
			if end := created.Add(time.Duration(p.Int("retentionPeriod")) * time.Second); end.After(until) {
				until = end
			}
		}
	}
	if until.After(now) {
		return refuse("retentionPolicyNotMet", "Object '%s' is subject to bucket's retention policy or object retention and cannot be deleted or overwritten until %s", at, until.UTC().Format(time.RFC3339Nano))
	}
	return nil
}

// settable are the fields of an object that a client sets.
var settable = []string{"cacheControl", "contentDisposition", "contentEncoding", "contentLanguage", "contentType", "customTime", "eventBasedHold",
	"metadata", "retention", "storageClass", "temporaryHold", "contexts"}

func (s *Server) newObject(bucket, meta googleapi.Doc, c content, generation int64, now time.Time) googleapi.Doc {
	obj := googleapi.Doc{}
	for _, f := range settable {
		if meta.Has(f) {
			obj[f] = meta[f]
		}
	}
	name, at := meta.String("name"), stamp(now)
	obj.Default("contentType", mime.TypeByExtension(path.Ext(name)))
	if obj.String("contentType") == "" {
		obj["contentType"] = "application/octet-stream"
	}
	obj.Default("storageClass", bucket["storageClass"])
	if bucket.Bool("defaultEventBasedHold") {
		obj.Default("eventBasedHold", true)
	}
	if meta.Has("componentCount") {
		obj["componentCount"] = meta["componentCount"]
	}
	for k, v := range map[string]any{
		"kind": "storage#object", "name": name, "bucket": bucket.String("name"), "size": strconv.FormatInt(c.Size, 10), "crc32c": c.CRC32C, "md5Hash": c.MD5,
		"timeCreated": at, "updated": at, "timeStorageClassUpdated": at, "timeFinalized": at,
	} {
		obj[k] = v
	}
	s.nameObject(obj, generation)
	setObjectMetageneration(obj, 1)
	if p := bucket.Doc("retentionPolicy"); p != nil {
		obj["retentionExpirationTime"] = stamp(now.Add(time.Duration(p.Int("retentionPeriod")) * time.Second))
	}
	return obj
}

func (s *Server) nameObject(obj googleapi.Doc, generation int64) {
	bucket, name, g := obj.String("bucket"), obj.String("name"), strconv.FormatInt(generation, 10)
	escaped := url.PathEscape(name)
	obj["generation"] = g
	obj["id"] = bucket + "/" + name + "/" + g
	obj["selfLink"] = "https://www.googleapis.com/storage/v1/b/" + bucket + "/o/" + escaped
	obj["mediaLink"] = "https://storage.googleapis.com/download/storage/v1/b/" + bucket + "/o/" + escaped + "?generation=" + g + "&alt=media"
}

func setObjectMetageneration(obj googleapi.Doc, n int64) {
	obj["metageneration"] = strconv.FormatInt(n, 10)
	raw := append([]byte{8}, varint(obj.Int("generation"))...)
	obj["etag"] = base64.StdEncoding.EncodeToString(append(append(raw, 16), varint(n)...))
}

// checkSums compares what the client said of a content with what arrived.
func checkSums(meta googleapi.Doc, header http.Header, c content) error {
	want := map[string]string{"MD5 hash": meta.String("md5Hash"), "CRC32C": meta.String("crc32c")}
	for _, h := range header.Values("X-Goog-Hash") {
		for _, part := range strings.Split(h, ",") {
			kind, sum, _ := strings.Cut(strings.TrimSpace(part), "=")
			switch kind {
			case "md5":
				want["MD5 hash"] = sum
			case "crc32c":
				want["CRC32C"] = sum
			}
		}
	}
	have := map[string]string{"MD5 hash": c.MD5, "CRC32C": c.CRC32C}
	for _, kind := range slices.Sorted(mapKeys(want)) {
		if want[kind] != "" && want[kind] != have[kind] {
			return googleapi.InvalidArgument("Provided %s \"%s\" doesn't match calculated %s \"%s\".", kind, want[kind], kind, have[kind])
		}
	}
	return nil
}
