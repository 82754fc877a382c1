package storage_test

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gcs "cloud.google.com/go/storage"
	gapi "google.golang.org/api/googleapi"
	"google.golang.org/api/iterator"
	api "google.golang.org/api/storage/v1"

	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/googleapi/apitest"
	"patag/infra/sandbox/googleapi/policy"
	"patag/infra/sandbox/googleapi/storage"
	"patag/infra/sandbox/layout"
)

type env struct {
	*apitest.Server
	storage *storage.Server
	objects string
}

func start(t *testing.T) *env {
	t.Helper()
	e := &env{}
	e.Server = apitest.Start(t, func(core *googleapi.Core, l layout.Layout) {
		s, err := storage.Register(core, policy.New(core), l.Objects())
		if err != nil {
			t.Fatal(err)
		}
		e.storage, e.objects = s, l.Objects()
	})
	return e
}

func (e *env) api(t *testing.T) *api.Service {
	t.Helper()
	c, err := api.NewService(t.Context(), e.Client("storage/storage/v1/")...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (e *env) client(t *testing.T) *gcs.Client {
	t.Helper()
	c, err := gcs.NewClient(t.Context(), append(e.Client("storage/storage/v1/"), gcs.WithJSONReads())...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (e *env) bucket(t *testing.T, b *api.Bucket) *api.Bucket {
	t.Helper()
	if b.Name == "" {
		b.Name = "backups"
	}
	out, err := e.api(t).Buckets.Insert(apitest.Project, b).Do()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestBucketLife(t *testing.T) {
	e := start(t)
	age := int64(30)
	b := e.bucket(t, &api.Bucket{Name: "backups", Location: "europe-west1", Labels: map[string]string{"a": "b"}, Versioning: &api.BucketVersioning{Enabled: true},
		IamConfiguration: &api.BucketIamConfiguration{UniformBucketLevelAccess: &api.BucketIamConfigurationUniformBucketLevelAccess{Enabled: true}, PublicAccessPrevention: "enforced"},
		Lifecycle:        &api.BucketLifecycle{Rule: []*api.BucketLifecycleRule{{Action: &api.BucketLifecycleRuleAction{Type: "Delete"}, Condition: &api.BucketLifecycleRuleCondition{Age: &age}}}}})
	if b.Location != "EUROPE-WEST1" || b.LocationType != "region" || b.StorageClass != "STANDARD" || b.Metageneration != 1 || b.Etag != "CAE=" ||
		b.SelfLink != "https://www.googleapis.com/storage/v1/b/backups" || b.SoftDeletePolicy.RetentionDurationSeconds != 604800 ||
		!b.IamConfiguration.UniformBucketLevelAccess.Enabled || b.IamConfiguration.UniformBucketLevelAccess.LockedTime == "" || b.IamConfiguration.PublicAccessPrevention != "enforced" {
		t.Errorf("created: %+v %+v", b, b.IamConfiguration.UniformBucketLevelAccess)
	}
	e.Restart()
	c := e.api(t)
	if got, err := c.Buckets.Get("backups").Do(); err != nil || got.Labels["a"] != "b" || !got.Versioning.Enabled || *got.Lifecycle.Rule[0].Condition.Age != 30 {
		t.Errorf("after a restart: %v %+v", err, got)
	}
	_, err := c.Buckets.Insert(apitest.Project, &api.Bucket{Name: "backups"}).Do()
	apitest.WantCode(t, err, 409)
	got, err := c.Buckets.Patch("backups", &api.Bucket{Labels: map[string]string{"c": "d"}, NullFields: []string{"Labels.a"}}).IfMetagenerationMatch(1).Do()
	if err != nil || len(got.Labels) != 1 || got.Labels["c"] != "d" || got.Metageneration != 2 || !got.Versioning.Enabled {
		t.Errorf("patch: %v %+v", err, got)
	}
	_, err = c.Buckets.Patch("backups", &api.Bucket{}).IfMetagenerationMatch(1).Do()
	apitest.WantCode(t, err, 412)
	got, err = c.Buckets.Patch("backups", &api.Bucket{Lifecycle: &api.BucketLifecycle{Rule: []*api.BucketLifecycleRule{}, ForceSendFields: []string{"Rule"}}}).Do()
	if err != nil || got.Lifecycle != nil {
		t.Errorf("lifecycle removed: %v %+v", err, got.Lifecycle)
	}
	if list, err := c.Buckets.List(apitest.Project).Do(); err != nil || len(list.Items) != 1 {
		t.Errorf("list: %v %+v", err, list)
	}
	p, err := c.Buckets.GetIamPolicy("backups").OptionsRequestedPolicyVersion(3).Do()
	if err != nil || len(p.Bindings) != 2 || p.ResourceId != "projects/_/buckets/backups" {
		t.Fatalf("policy: %v %+v", err, p)
	}
	p.Bindings = append(p.Bindings, &api.PolicyBindings{Role: "roles/storage.objectViewer", Members: []string{"user:Ann@example.com"}})
	set, err := c.Buckets.SetIamPolicy("backups", p).Do()
	if err != nil || set.Etag == p.Etag || set.Bindings[2].Members[0] != "user:ann@example.com" {
		t.Errorf("set policy: %v %+v", err, set)
	}
	_, err = c.Buckets.SetIamPolicy("backups", p).Do()
	apitest.WantCode(t, err, 412)
	p.Etag, p.Bindings[2].Members = "", []string{"allUsers"}
	_, err = c.Buckets.SetIamPolicy("backups", p).Do()
	apitest.WantCode(t, err, 412)
	p.Bindings[2].Members = []string{"serviceAccount:none@" + apitest.Project + ".iam.gserviceaccount.com"}
	_, err = c.Buckets.SetIamPolicy("backups", p).Do()
	apitest.WantCode(t, err, 400)
	if err := c.Buckets.Delete("backups").Do(); err != nil {
		t.Error(err)
	}
	_, err = c.Buckets.Get("backups").Do()
	apitest.WantCode(t, err, 404)
}

func TestBucketRefused(t *testing.T) {
	e := start(t)
	for name, c := range map[string]struct {
		body string
		code int
		want string
	}{
		"unknown field":   {`{"name":"abc","colour":1}`, 400, "colour"},
		"name":            {`{"name":"A_B"}`, 400, "Invalid bucket name"},
		"no name":         {`{}`, 400, "Invalid bucket name"},
		"location":        {`{"name":"abc","location":"moon"}`, 400, "location constraint"},
		"class":           {`{"name":"abc","storageClass":"COOL"}`, 400, "storageClass"},
		"empty condition": {`{"name":"abc","lifecycle":{"rule":[{"action":{"type":"Delete"},"condition":{}}]}}`, 400, "at least one condition"},
		"action":          {`{"name":"abc","lifecycle":{"rule":[{"action":{"type":"Burn"},"condition":{"age":1}}]}}`, 400, "action type"},
		"soft delete":     {`{"name":"abc","softDeletePolicy":{"retentionDurationSeconds":5}}`, 400, "Soft delete"},
		"type":            {`{"name":"abc","versioning":{"enabled":"perhaps"}}`, 400, "versioning.enabled"},
	} {
		code, d := e.Call("POST", "/storage/storage/v1/b?project="+apitest.Project, c.body)
		if code != c.code || !strings.Contains(d.String("error", "message"), c.want) {
			t.Errorf("%s: %d %s", name, code, d.String("error", "message"))
		}
	}
	if code, _ := e.Call("POST", "/storage/storage/v1/b?project=other", `{"name":"abc"}`); code != 400 {
		t.Errorf("another project: %d", code)
	}
	if code, _ := e.Call("GET", "/storage/storage/v1/b/abc/acl", nil); code != 501 {
		t.Errorf("access control lists: %d", code)
	}
}

func TestObjectLife(t *testing.T) {
	e := start(t)
	e.bucket(t, &api.Bucket{Location: "EU"})
	b := e.client(t).Bucket("backups")
	big := make([]byte, 3<<20+17)
	rand.Read(big)
	for name, chunk := range map[string]int{"resumable": 512 << 10, "multipart/one shot": 0} {
		w := b.Object(name).If(gcs.Conditions{DoesNotExist: true}).NewWriter(t.Context())
		w.ChunkSize, w.ContentType, w.Metadata = chunk, "application/x-test", map[string]string{"k": "v"}
		if _, err := w.Write(big); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if a := w.Attrs(); a.Size != int64(len(big)) || a.ContentType != "application/x-test" || a.Metadata["k"] != "v" || a.Metageneration != 1 || len(a.MD5) != 16 {
			t.Errorf("%s: %+v", name, a)
		}
		w = b.Object(name).If(gcs.Conditions{DoesNotExist: true}).NewWriter(t.Context())
		w.Write([]byte("x"))
		apitest.WantCode(t, w.Close(), 412)
	}
	e.Restart()
	b = e.client(t).Bucket("backups")
	r, err := b.Object("resumable").NewReader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r) // the client verifies the CRC
	r.Close()
	if err != nil || !bytes.Equal(got, big) {
		t.Errorf("read: %v, %d bytes", err, len(got))
	}
	for _, c := range []struct{ off, n, from, to int64 }{{5, 7, 5, 12}, {int64(len(big)) - 3, -1, int64(len(big)) - 3, int64(len(big))}, {-4, -1, int64(len(big)) - 4, int64(len(big))}} {
		r, err := b.Object("multipart/one shot").NewRangeReader(t.Context(), c.off, c.n)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, big[c.from:c.to]) {
			t.Errorf("range %+v: %v, %d bytes", c, err, len(got))
		}
	}
	cp, err := b.Object("copy").CopierFrom(b.Object("resumable")).Run(t.Context())
	if err != nil || cp.Size != int64(len(big)) || cp.ContentType != "application/x-test" {
		t.Errorf("copy: %v %+v", err, cp)
	}
	comp, err := b.Object("both").ComposerFrom(b.Object("copy"), b.Object("resumable")).Run(t.Context())
	if err != nil || comp.Size != 2*int64(len(big)) || comp.ComponentCount != 2 || len(comp.MD5) != 0 {
		t.Errorf("compose: %v %+v", err, comp)
	}
	up, err := b.Object("copy").Update(t.Context(), gcs.ObjectAttrsToUpdate{CacheControl: "no-store", Metadata: map[string]string{}})
	if err != nil || up.CacheControl != "no-store" || up.Metageneration != 2 || up.Generation != cp.Generation {
		t.Errorf("update: %v %+v", err, up)
	}
	if err := b.Object("resumable").Delete(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := b.Object("resumable").Attrs(t.Context()); !errors.Is(err, gcs.ErrObjectNotExist) {
		t.Errorf("after delete: %v", err)
	}
	if err := e.client(t).Bucket("backups").Delete(t.Context()); err == nil {
		t.Error("a bucket with objects was deleted")
	}
	if n := contents(t, e.objects); n != 3 {
		t.Errorf("%d contents on disk, want 3", n)
	}
}

func contents(t *testing.T, dir string) (n int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			n++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func put(t *testing.T, e *env, name, body string) *api.Object {
	t.Helper()
	o, err := e.api(t).Objects.Insert("backups", &api.Object{Name: name}).Media(strings.NewReader(body)).Do()
	if err != nil {
		t.Fatalf("put %s: %v", name, err)
	}
	return o
}

func TestListAndVersions(t *testing.T) {
	e := start(t)
	e.bucket(t, &api.Bucket{Versioning: &api.BucketVersioning{Enabled: true}})
	for _, name := range []string{"a/1", "a/2", "a/b/3", "c", "d/"} {
		put(t, e, name, name)
	}
	first := put(t, e, "c", "old")
	second := put(t, e, "c", "new")
	c := e.api(t)
	l, err := c.Objects.List("backups").Delimiter("/").Do()
	if err != nil || fmt.Sprint(l.Prefixes) != "[a/ d/]" || len(l.Items) != 1 || l.Items[0].Name != "c" {
		t.Errorf("top: %v %v %+v", err, l.Prefixes, l.Items)
	}
	l, err = c.Objects.List("backups").Prefix("a/").Delimiter("/").Do()
	if err != nil || fmt.Sprint(l.Prefixes) != "[a/b/]" || len(l.Items) != 2 {
		t.Errorf("a/: %v %+v", err, l)
	}
	it := e.client(t).Bucket("backups").Objects(t.Context(), &gcs.Query{Versions: true})
	it.PageInfo().MaxSize = 2
	n := 0
	for ; ; n++ {
		if _, err := it.Next(); errors.Is(err, iterator.Done) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if n != 7 {
		t.Errorf("%d versions, want 7", n)
	}
	r, err := e.client(t).Bucket("backups").Object("c").Generation(first.Generation).NewReader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := io.ReadAll(r); string(got) != "old" {
		t.Errorf("the old version: %q", got)
	}
	if err := c.Objects.Delete("backups", "c").Do(); err != nil { // becomes noncurrent
		t.Fatal(err)
	}
	_, err = c.Objects.Get("backups", "c").Do()
	apitest.WantCode(t, err, 404)
	if o, err := c.Objects.Get("backups", "c").Generation(second.Generation).Do(); err != nil || o.TimeDeleted == "" {
		t.Errorf("the deleted version: %v %+v", err, o)
	}
	if err := c.Objects.Delete("backups", "c").Generation(second.Generation).Do(); err != nil {
		t.Error(err)
	}
	_, err = c.Objects.Get("backups", "c").Generation(second.Generation).Do()
	apitest.WantCode(t, err, 404)
}

func TestPreconditionsAndChecksums(t *testing.T) {
	e := start(t)
	e.bucket(t, &api.Bucket{})
	c := e.api(t)
	o := put(t, e, "x", "1")
	_, err := c.Objects.Insert("backups", &api.Object{Name: "x"}).IfGenerationMatch(o.Generation + 1).Media(strings.NewReader("2")).Do()
	apitest.WantCode(t, err, 412)
	if _, err = c.Objects.Insert("backups", &api.Object{Name: "x"}).IfGenerationMatch(o.Generation).Media(strings.NewReader("2")).Do(); err != nil {
		t.Error(err)
	}
	_, err = c.Objects.Get("backups", "x").IfGenerationMatch(o.Generation).Do()
	apitest.WantCode(t, err, 412)
	o, _ = c.Objects.Get("backups", "x").Do()
	_, err = c.Objects.Get("backups", "x").IfGenerationNotMatch(o.Generation).Do()
	if !gapi.IsNotModified(err) {
		t.Errorf("not modified: %v", err)
	}
	_, err = c.Objects.Insert("backups", &api.Object{Name: "y", Md5Hash: "AAAAAAAAAAAAAAAAAAAAAA=="}).Media(strings.NewReader("2")).Do()
	apitest.WantCode(t, err, 400)
	_, err = c.Objects.Insert("backups", &api.Object{Name: strings.Repeat("y", 1025)}).Media(strings.NewReader("2")).Do()
	apitest.WantCode(t, err, 400)
	_, err = c.Objects.Insert("none", &api.Object{Name: "y"}).Media(strings.NewReader("2")).Do()
	apitest.WantCode(t, err, 404)
	err = c.Objects.Delete("backups", "none").Do()
	apitest.WantCode(t, err, 404)
	if n := contents(t, e.objects); n != 1 {
		t.Errorf("%d contents on disk, want 1", n)
	}
}

func TestRetentionAndHold(t *testing.T) {
	e := start(t)
	e.bucket(t, &api.Bucket{RetentionPolicy: &api.BucketRetentionPolicy{RetentionPeriod: 3600}})
	c := e.api(t)
	put(t, e, "x", "1")
	apitest.WantCode(t, c.Objects.Delete("backups", "x").Do(), 403)
	_, err := c.Objects.Insert("backups", &api.Object{Name: "x"}).Media(strings.NewReader("2")).Do()
	apitest.WantCode(t, err, 403)
	b, err := c.Buckets.LockRetentionPolicy("backups", 1).Do()
	if err != nil || !b.RetentionPolicy.IsLocked {
		t.Fatalf("lock: %v", err)
	}
	_, err = c.Buckets.Patch("backups", &api.Bucket{NullFields: []string{"RetentionPolicy"}}).Do()
	apitest.WantCode(t, err, 403)
	e.bucket(t, &api.Bucket{Name: "plain"})
	if _, err := c.Objects.Insert("plain", &api.Object{Name: "h", TemporaryHold: true}).Media(strings.NewReader("2")).Do(); err != nil {
		t.Fatal(err)
	}
	apitest.WantCode(t, c.Objects.Delete("plain", "h").Do(), 403)
	if _, err := c.Objects.Patch("plain", "h", &api.Object{ForceSendFields: []string{"TemporaryHold"}}).Do(); err != nil {
		t.Fatal(err)
	}
	if err := c.Objects.Delete("plain", "h").Do(); err != nil {
		t.Error(err)
	}
}

func TestLifecycle(t *testing.T) {
	e := start(t)
	days := int64(7)
	e.bucket(t, &api.Bucket{Versioning: &api.BucketVersioning{Enabled: true}, Lifecycle: &api.BucketLifecycle{Rule: []*api.BucketLifecycleRule{
		{Action: &api.BucketLifecycleRuleAction{Type: "Delete"}, Condition: &api.BucketLifecycleRuleCondition{NumNewerVersions: 2}},
		{Action: &api.BucketLifecycleRuleAction{Type: "Delete"}, Condition: &api.BucketLifecycleRuleCondition{Age: &days, MatchesPrefix: []string{"tmp/"}}},
		{Action: &api.BucketLifecycleRuleAction{Type: "SetStorageClass", StorageClass: "NEARLINE"}, Condition: &api.BucketLifecycleRuleCondition{Age: &days}},
	}}})
	for range 4 {
		put(t, e, "x", "1")
	}
	put(t, e, "tmp/y", "1")
	c := e.api(t)
	count := func(versions bool) int {
		l, err := c.Objects.List("backups").Versions(versions).Do()
		if err != nil {
			t.Fatal(err)
		}
		return len(l.Items)
	}
	if err := e.storage.Sweep(t.Context(), time.Now()); err != nil || count(true) != 3 { // x: live and one older; tmp/y
		t.Errorf("now: %v, %d versions", err, count(true))
	}
	if err := e.storage.Sweep(t.Context(), time.Now().AddDate(0, 0, 8)); err != nil || count(false) != 1 {
		t.Errorf("in eight days: %v, %d live", err, count(false))
	}
	if o, err := c.Objects.Get("backups", "x").Do(); err != nil || o.StorageClass != "NEARLINE" {
		t.Errorf("class: %v %+v", err, o)
	}
}

// TestResumableAcrossRestart kills the server in the middle of an upload and goes on with it.
func TestResumableAcrossRestart(t *testing.T) {
	e := start(t)
	e.bucket(t, &api.Bucket{})
	req := func(method, url, contentRange, body string) *http.Response {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+apitest.Token)
		if contentRange != "" {
			r.Header.Set("Content-Range", contentRange)
		}
		res, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res
	}
	res := req("POST", e.URL()+"/upload/storage/v1/b/backups/o?uploadType=resumable&name=r", "", "")
	path := strings.TrimPrefix(res.Header.Get("Location"), e.URL())
	if res.StatusCode != 200 || !strings.HasPrefix(path, "/upload/storage/v1/b/backups/o?") {
		t.Fatalf("begin: %d %q", res.StatusCode, res.Header.Get("Location"))
	}
	if res := req("PUT", e.URL()+path, "bytes 0-3/*", "abcd"); res.StatusCode != 308 || res.Header.Get("Range") != "bytes=0-3" {
		t.Fatalf("chunk: %d %v", res.StatusCode, res.Header)
	}
	e.Restart()
	if res := req("PUT", e.URL()+path, "bytes */*", ""); res.StatusCode != 308 || res.Header.Get("Range") != "bytes=0-3" {
		t.Fatalf("status: %d %v", res.StatusCode, res.Header)
	}
	if res := req("PUT", e.URL()+path, "bytes 6-7/8", "gh"); res.StatusCode != 503 {
		t.Errorf("a gap: %d", res.StatusCode)
	}
	if res := req("PUT", e.URL()+path, "bytes 2-7/8", "cdefgh"); res.StatusCode != 200 {
		t.Fatalf("an overlapping last chunk: %d", res.StatusCode)
	}
	if res := req("PUT", e.URL()+path, "bytes */8", ""); res.StatusCode != 200 {
		t.Errorf("asked again after the end: %d", res.StatusCode)
	}
	r, err := e.client(t).Bucket("backups").Object("r").NewReader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := io.ReadAll(r); string(got) != "abcdefgh" {
		t.Errorf("content %q", got)
	}
	res = req("POST", e.URL()+"/storage/upload/storage/v1/b/backups/o?uploadType=resumable&name=r2", "", "")
	if res := req("DELETE", res.Header.Get("Location"), "", ""); res.StatusCode != 499 {
		t.Errorf("cancel: %d", res.StatusCode)
	}
	if res := req("PUT", res.Header.Get("Location"), "bytes 0-3/4", "abcd"); res.StatusCode != 404 {
		t.Errorf("after cancel: %d", res.StatusCode)
	}
}

// TestPlainRead reads as Google's Go client does by default: the XML API's path, without a version.
func TestPlainRead(t *testing.T) {
	e := start(t)
	e.bucket(t, &api.Bucket{})
	put(t, e, "dir/x y", "hello")
	get := func(path, encoding string) (*http.Response, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), "GET", e.URL()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+apitest.Token)
		if encoding != "" {
			r.Header.Set("Accept-Encoding", encoding)
		}
		res, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res, string(body)
	}
	if res, body := get("/storage/backups/dir/x%20y", ""); res.StatusCode != 200 || body != "hello" || res.Header.Get("X-Goog-Generation") == "" {
		t.Errorf("XML read: %d %q", res.StatusCode, body)
	}
	if res, _ := get("/storage/backups/none", ""); res.StatusCode != 404 {
		t.Errorf("XML read of what is not there: %d", res.StatusCode)
	}
	if res, _ := get("/storage/storage/v1/b/backups/notificationConfigs", ""); res.StatusCode != 501 {
		t.Errorf("what is not simulated: %d", res.StatusCode)
	}
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	w.Write([]byte("packed"))
	w.Close()
	if _, err := e.api(t).Objects.Insert("backups", &api.Object{Name: "z", ContentEncoding: "gzip"}).Media(&z).Do(); err != nil {
		t.Fatal(err)
	}
	if res, body := get("/download/storage/v1/b/backups/o/z?alt=media", "identity"); body != "packed" || res.Header.Get("Content-Encoding") != "" {
		t.Errorf("unpacked on the way: %q %v", body, res.Header)
	}
	if res, body := get("/storage/download/storage/v1/b/backups/o/z?alt=media", "gzip"); body == "packed" || res.Header.Get("Content-Encoding") != "gzip" {
		t.Errorf("as stored: %q %v", body, res.Header)
	}
}

func TestOrphansGo(t *testing.T) {
	e := start(t)
	e.bucket(t, &api.Bucket{})
	put(t, e, "x", "1")
	for _, p := range []string{"data/ff/ffffffffffffffffffffffffffffffff", "tmp/abc", "uploads/gone"} {
		file := filepath.Join(e.objects, p)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	e.Restart()
	if n := contents(t, e.objects); n != 1 {
		t.Errorf("%d files left, want 1", n)
	}
}
