package storage

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"google.golang.org/api/storage/v1"

	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/store"
)

func (s *Server) handleBuckets(api *googleapi.Service, base string) {
	api.Handle("POST", base+"/b", s.insertBucket)
	api.Handle("GET", base+"/b", s.listBuckets)
	api.Handle("GET", base+"/b/{bucket}", s.getBucket)
	api.Handle("PATCH", base+"/b/{bucket}", s.changeBucket(true))
	api.Handle("PUT", base+"/b/{bucket}", s.changeBucket(false))
	api.Handle("DELETE", base+"/b/{bucket}", s.deleteBucket)
	api.Handle("POST", base+"/b/{bucket}/lockRetentionPolicy", s.lockRetention)
	api.Handle("GET", base+"/b/{bucket}/iam", s.getIAM)
	api.Handle("PUT", base+"/b/{bucket}/iam", s.setIAM)
	api.Handle("GET", base+"/b/{bucket}/iam/testPermissions", s.testIAM)
	api.Handle("GET", base+"/b/{bucket}/storageLayout", s.storageLayout)
	api.Handle("GET", base+"/b/{bucket}/anywhereCaches", s.none("storage#anywhereCaches"))
	api.Handle("GET", base+"/b/{bucket}/managedFolders", s.none("storage#managedFolders"))
	api.Handle("GET", base+"/projects/{project}/serviceAccount", s.serviceAgent)
}

func bucketKey(name string) string { return "storage/b/" + name }

// stamp is a time as Cloud Storage writes it, in milliseconds.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

var bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$`)
var ipLike = regexp.MustCompile(`^\d+\.\d+\.\d+\.\d+$`)

func checkBucketName(name string) error {
	bad := !bucketName.MatchString(name) || ipLike.MatchString(name) || strings.HasPrefix(name, "goog") || strings.Contains(name, "google") || strings.Contains(name, "..")
	for _, part := range strings.Split(name, ".") {
		bad = bad || len(part) > 63
	}
	if bad || !strings.Contains(name, ".") && len(name) > 63 {
		return googleapi.InvalidArgument("Invalid bucket name: '%s'", name)
	}
	return nil
}

var storageClasses = map[string]bool{"STANDARD": true, "NEARLINE": true, "COLDLINE": true, "ARCHIVE": true, "MULTI_REGIONAL": true, "REGIONAL": true, "DURABLE_REDUCED_AVAILABILITY": true}

var (
	region    = regexp.MustCompile(`^[A-Z]+(-[A-Z]+)+[0-9]+$`)
	dualNames = map[string]bool{"ASIA1": true, "EUR4": true, "EUR5": true, "EUR7": true, "EUR8": true, "NAM4": true}
	multi     = map[string]bool{"US": true, "EU": true, "ASIA": true}
)

// locationType derives what Google answers beside a location; "" if there is no such location.
func locationType(location string) string {
	switch {
	case multi[location]:
		return "multi-region"
	case dualNames[location]:
		return "dual-region"
	case region.MatchString(location):
		return "region"
	}
	return ""
}

func (s *Server) insertBucket(_ context.Context, r *googleapi.Request) (any, error) {
	b, err := r.DecodeDoc(storage.Bucket{})
	if err != nil {
		return nil, err
	}
	b.DropNulls()
	if r.Query("project") == "" {
		return nil, required("Required parameter: project")
	}
	project, ok := s.core.Project(r.Query("project"))
	if !ok {
		return nil, googleapi.InvalidArgument("Unknown project id: %s", r.Query("project"))
	}
	name := b.String("name")
	if err := checkBucketName(name); err != nil {
		return nil, err
	}
	b.Drop("acl", "defaultObjectAcl", "owner", "satisfiesPZS", "satisfiesPZI", "hardDeleteTime", "softDeleteTime")
	b["name"], b["id"], b["kind"] = name, name, "storage#bucket"
	b["selfLink"] = "https://www.googleapis.com/storage/v1/b/" + name
	b["projectNumber"] = googleapi.ProjectNumber(project)
	location := strings.ToUpper(b.String("location"))
	if location == "" {
		location = "US"
	}
	if locationType(location) == "" {
		return nil, googleapi.InvalidArgument("The specified location constraint is not valid.")
	}
	b["location"], b["locationType"] = location, locationType(location)
	if b.Has("customPlacementConfig") {
		b["locationType"] = "dual-region"
	}
	if b["locationType"] != "region" {
		b.Default("rpo", "DEFAULT")
	}
	if r.Query("enableObjectRetention") == "true" {
		b["objectRetention"] = googleapi.Doc{"mode": "Enabled"}
	}
	now := s.core.Now()
	b["timeCreated"], b["updated"] = stamp(now), stamp(now)
	b["generation"] = strconv.FormatInt(now.UnixMicro(), 10)
	if !b.Has("softDeletePolicy") {
		b["softDeletePolicy"] = googleapi.Doc{"retentionDurationSeconds": "604800"}
	}
	if err := s.fillBucket(nil, b); err != nil {
		return nil, err
	}
	setMetageneration(b, 1)
	err = s.core.Store().Update(func(tx store.Tx) error {
		var old googleapi.Doc
		if found, err := tx.Get(bucketKey(name), &old); err != nil {
			return err
		} else if found && old["projectNumber"] == b["projectNumber"] {
			return conflict("Your previous request to create the named bucket succeeded and you already own it.")
		} else if found {
			return conflict("The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again.")
		}
		return tx.Put(bucketKey(name), b)
	})
	return b, err
}

func setMetageneration(d googleapi.Doc, n int64) {
	d["metageneration"] = strconv.FormatInt(n, 10)
	// Google's etag of a bucket is a message with the metageneration: "CAE=" for 1.
	d["etag"] = base64.StdEncoding.EncodeToString(append([]byte{8}, varint(n)...))
}

func varint(n int64) []byte {
	var b []byte
	for ; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}

// fillBucket checks a bucket and fills in what Google fills in; old is nil for a new one.
func (s *Server) fillBucket(old, b googleapi.Doc) error {
	now := s.core.Now()
	b.Default("storageClass", "STANDARD")
	if !storageClasses[b.String("storageClass")] {
		return googleapi.InvalidArgument("Invalid argument: storageClass %q.", b.String("storageClass"))
	}
	iam := b.Sub("iamConfiguration")
	uniform := iam.Bool("uniformBucketLevelAccess", "enabled") || !iam.Has("uniformBucketLevelAccess") && iam.Bool("bucketPolicyOnly", "enabled")
	access := googleapi.Doc{"enabled": uniform}
	if uniform {
		access["lockedTime"] = stamp(now.AddDate(0, 0, 90))
		if at := old.String("iamConfiguration", "uniformBucketLevelAccess", "lockedTime"); at != "" {
			access["lockedTime"] = at
		}
	}
	iam["uniformBucketLevelAccess"], iam["bucketPolicyOnly"] = access, access
	switch iam.Default("publicAccessPrevention", "inherited"); iam.String("publicAccessPrevention") {
	case "inherited", "enforced":
	case "unspecified":
		iam["publicAccessPrevention"] = "inherited"
	default:
		return googleapi.InvalidArgument("Invalid argument: publicAccessPrevention %q.", iam.String("publicAccessPrevention"))
	}
	if p := b.Doc("softDeletePolicy"); p != nil {
		seconds := p.Int("retentionDurationSeconds")
		if seconds != 0 && (seconds < 604800 || seconds > 7776000) {
			return googleapi.InvalidArgument("Soft delete policy: the retention duration must be 0 or between 7 and 90 days.")
		}
		p["retentionDurationSeconds"] = strconv.FormatInt(seconds, 10)
		if seconds == 0 {
			p.Drop("effectiveTime")
		} else if old.String("softDeletePolicy", "retentionDurationSeconds") != p["retentionDurationSeconds"] || !p.Has("effectiveTime") {
			p["effectiveTime"] = stamp(now)
		}
	}
	if p := b.Doc("retentionPolicy"); p != nil {
		if p.Int("retentionPeriod") <= 0 || p.Int("retentionPeriod") > 3155760000 {
			return googleapi.InvalidArgument("Invalid retention period: it must be between 1 second and 100 years.")
		}
		was := old.Doc("retentionPolicy")
		if was.Bool("isLocked") && p.Int("retentionPeriod") < was.Int("retentionPeriod") {
			return googleapi.PermissionDenied("Cannot reduce retention duration of a locked Retention Policy for bucket '%s'.", b.String("name"))
		}
		if !p.Has("effectiveTime") || was.Int("retentionPeriod") != p.Int("retentionPeriod") {
			p["effectiveTime"] = stamp(now)
		}
		if !was.Bool("isLocked") {
			p.Drop("isLocked")
		}
	} else if old.Bool("retentionPolicy", "isLocked") {
		return googleapi.PermissionDenied("Cannot remove a locked Retention Policy from bucket '%s'.", b.String("name"))
	}
	if b.Has("autoclass") && b.Bool("autoclass", "enabled") {
		b.Doc("autoclass").Default("toggleTime", stamp(now))
		b.Doc("autoclass").Default("terminalStorageClass", "NEARLINE")
	}
	if b.Has("lifecycle") && len(b.Docs("lifecycle", "rule")) == 0 {
		b.Drop("lifecycle")
	}
	if _, err := parseRules(b); err != nil {
		return err
	}
	for name := range b.StringMap("labels") {
		if !labelKey.MatchString(name) {
			return googleapi.InvalidArgument("Invalid argument: label key %q.", name)
		}
	}
	if labels := b.Doc("labels"); labels != nil && len(labels) == 0 {
		b.Drop("labels")
	}
	return nil
}

var labelKey = regexp.MustCompile(`^[\p{Ll}\p{Lo}][\p{Ll}\p{Lo}\p{N}_-]{0,62}$`)

func (s *Server) bucket(tx store.Tx, name string) (googleapi.Doc, error) {
	var b googleapi.Doc
	found, err := tx.Get(bucketKey(name), &b)
	if err == nil && !found {
		err = notFound("The specified bucket does not exist.")
	}
	return b, err
}

func (s *Server) getBucket(_ context.Context, r *googleapi.Request) (any, error) {
	var b googleapi.Doc
	err := s.core.Store().View(func(tx store.Tx) (err error) { b, err = s.bucket(tx, r.Var("bucket")); return err })
	if err != nil {
		return nil, err
	}
	switch ok, err := metagenerationHolds(r, b); {
	case err != nil:
		return nil, err
	case !ok && r.Query("ifMetagenerationNotMatch") != "":
		return notModified(), nil
	case !ok:
		return nil, conditionNotMet()
	}
	return b, nil
}

func (s *Server) listBuckets(_ context.Context, r *googleapi.Request) (any, error) {
	project, ok := s.core.Project(r.Query("project"))
	if r.Query("project") == "" {
		return nil, required("Required parameter: project")
	}
	if !ok {
		return nil, googleapi.InvalidArgument("Unknown project id: %s", r.Query("project"))
	}
	number := googleapi.ProjectNumber(project)
	var all []googleapi.Doc
	err := s.core.Store().View(func(tx store.Tx) error {
		return tx.List(bucketKey(r.Query("prefix")), func(_ string, raw []byte) error {
			var b googleapi.Doc
			if err := json.Unmarshal(raw, &b); err != nil {
				return err
			}
			if b.String("projectNumber") == number {
				all = append(all, b)
			}
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	page, err := googleapi.Paginate(r, all, func(d googleapi.Doc) string { return d.String("name") }, 1000)
	if err != nil {
		return nil, err
	}
	out := googleapi.Doc{"kind": "storage#buckets"}
	if len(page.Items) > 0 {
		out["items"] = page.Items
	}
	if page.Next != "" {
		out["nextPageToken"] = page.Next
	}
	return out, nil
}

// unchangeable are the fields of a bucket that no update may set.
var unchangeable = []string{"kind", "id", "selfLink", "name", "projectNumber", "generation", "metageneration", "location", "locationType", "timeCreated", "updated",
	"etag", "owner", "acl", "defaultObjectAcl", "customPlacementConfig", "objectRetention", "hierarchicalNamespace", "satisfiesPZS", "satisfiesPZI", "hardDeleteTime", "softDeleteTime"}

func (s *Server) changeBucket(patch bool) googleapi.Handler {
	return func(_ context.Context, r *googleapi.Request) (any, error) {
		change, err := r.DecodeDoc(storage.Bucket{})
		if err != nil {
			return nil, err
		}
		var b googleapi.Doc
		err = s.core.Store().Update(func(tx store.Tx) error {
			old, err := s.bucket(tx, r.Var("bucket"))
			if err != nil {
				return err
			}
			if ok, err := metagenerationHolds(r, old); err != nil || !ok {
				return firstOf(err, conditionNotMet())
			}
			if l := change.String("location"); l != "" && !strings.EqualFold(l, old.String("location")) {
				return googleapi.InvalidArgument("A bucket's location cannot be changed.")
			}
			change.Drop(unchangeable...)
			b = old.Clone()
			if !patch { // what an update leaves out is removed
				for k := range b {
					b.Drop(k)
				}
				for _, k := range unchangeable {
					if v, ok := old[k]; ok {
						b[k] = v
					}
				}
				b.Default("storageClass", old["storageClass"])
				b["softDeletePolicy"] = old["softDeletePolicy"]
			}
			b.Merge(change)
			b.DropNulls()
			if err := s.fillBucket(old, b); err != nil {
				return err
			}
			b["updated"] = stamp(s.core.Now())
			setMetageneration(b, old.Int("metageneration")+1)
			return tx.Put(bucketKey(r.Var("bucket")), b)
		})
		return b, err
	}
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// metagenerationHolds checks ifMetagenerationMatch and …NotMatch.
func metagenerationHolds(r *googleapi.Request, d googleapi.Doc) (bool, error) {
	return holds(r, d.Int("metageneration"), "ifMetagenerationMatch", "ifMetagenerationNotMatch")
}

func holds(r *googleapi.Request, current int64, match, notMatch string) (bool, error) {
	for _, name := range []string{match, notMatch} {
		v := r.Query(name)
		if v == "" {
			continue
		}
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return false, googleapi.InvalidArgument("Invalid value for %s: %q", name, v)
		}
		if (n == current) != (name == match) {
			return false, nil
		}
	}
	return true, nil
}

func (s *Server) deleteBucket(_ context.Context, r *googleapi.Request) (any, error) {
	name := r.Var("bucket")
	err := s.core.Store().Update(func(tx store.Tx) error {
		b, err := s.bucket(tx, name)
		if err != nil {
			return err
		}
		if ok, err := metagenerationHolds(r, b); err != nil || !ok {
			return firstOf(err, conditionNotMet())
		}
		for _, prefix := range []string{liveKey(name, ""), oldPrefix(name, "")} {
			if err := tx.List(prefix, func(string, []byte) error {
				return conflict("The bucket you tried to delete is not empty.")
			}); err != nil {
				return err
			}
		}
		return firstOf(s.policies.Delete(tx, bucketKey(name)), tx.Delete(bucketKey(name)))
	})
	if err != nil {
		return nil, err
	}
	return &googleapi.Raw{Status: http.StatusNoContent}, nil
}

func (s *Server) lockRetention(_ context.Context, r *googleapi.Request) (any, error) {
	if r.Query("ifMetagenerationMatch") == "" {
		return nil, required("Required parameter: ifMetagenerationMatch")
	}
	var b googleapi.Doc
	err := s.core.Store().Update(func(tx store.Tx) (err error) {
		if b, err = s.bucket(tx, r.Var("bucket")); err != nil {
			return err
		}
		if ok, err := metagenerationHolds(r, b); err != nil || !ok {
			return firstOf(err, conditionNotMet())
		}
		if !b.Has("retentionPolicy") {
			return googleapi.InvalidArgument("Bucket '%s' has no retention policy to lock.", r.Var("bucket"))
		}
		b.Doc("retentionPolicy")["isLocked"] = true
		b["updated"] = stamp(s.core.Now())
		setMetageneration(b, b.Int("metageneration")+1)
		return tx.Put(bucketKey(r.Var("bucket")), b)
	})
	return b, err
}

func (s *Server) storageLayout(_ context.Context, r *googleapi.Request) (any, error) {
	var b googleapi.Doc
	err := s.core.Store().View(func(tx store.Tx) (err error) { b, err = s.bucket(tx, r.Var("bucket")); return err })
	return googleapi.Doc{"kind": "storage#storageLayout", "bucket": b["name"], "location": b["location"], "locationType": b["locationType"],
		"hierarchicalNamespace": googleapi.Doc{"enabled": false}}, err
}

// none lists what cannot be made here, and of which there is therefore none. The official plugin and gcloud ask before they
// delete a bucket.
func (s *Server) none(kind string) googleapi.Handler {
	return func(_ context.Context, r *googleapi.Request) (any, error) {
		err := s.core.Store().View(func(tx store.Tx) error { _, err := s.bucket(tx, r.Var("bucket")); return err })
		return googleapi.Doc{"kind": kind}, err
	}
}

func (s *Server) serviceAgent(_ context.Context, r *googleapi.Request) (any, error) {
	project, ok := s.core.Project(r.Var("project"))
	if !ok {
		return nil, notFound("Unknown project id: %s", r.Var("project"))
	}
	return googleapi.Doc{"kind": "storage#serviceAccount", "email_address": "service-" + googleapi.ProjectNumber(project) + "@gs-project-accounts.iam.gserviceaccount.com"}, nil
}
