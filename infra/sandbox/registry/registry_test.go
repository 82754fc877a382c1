package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"patag/infra/sandbox/store"
)

type onlyToken string

func (t onlyToken) Authenticate(token string) (string, error) {
	if token != string(t) {
		return "", errors.New("no such token")
	}
	return "user:admin", nil
}

type fixture struct {
	dir   string
	store *store.Store
	reg   *Registry
	srv   *httptest.Server
}

func start(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{dir: t.TempDir()}
	s, err := store.Open(filepath.Join(f.dir, "api.db"))
	if err != nil {
		t.Fatal(err)
	}
	f.store = s
	t.Cleanup(func() { s.Close() })
	f.repository(t, "app", "2026-01-01T00:00:00Z", false)
	f.reopen(t)
	return f
}

func (f *fixture) repository(t *testing.T, name, created string, immutable bool) {
	t.Helper()
	err := f.store.Put(Repository{"p", "europe-west1", name}.key(), map[string]any{
		"format": "DOCKER", "createTime": created, "dockerConfig": map[string]any{"immutableTags": immutable}})
	if err != nil {
		t.Fatal(err)
	}
}

// reopen starts the registry anew on its folder, with nothing taken over in memory.
func (f *fixture) reopen(t *testing.T) {
	t.Helper()
	if f.srv != nil {
		f.srv.CloseClientConnections()
		f.srv.Close()
	}
	reg, err := Open(Options{Dir: filepath.Join(f.dir, "registry"), Store: f.store, Auth: onlyToken("secret-token")})
	if err != nil {
		t.Fatal(err)
	}
	f.reg, f.srv = reg, httptest.NewServer(reg)
	t.Cleanup(f.srv.Close)
}

func (f *fixture) ref(t *testing.T, image string) name.Reference {
	t.Helper()
	ref, err := name.ParseReference(strings.TrimPrefix(f.srv.URL, "http://") + "/" + image)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

var login = remote.WithAuth(&authn.Basic{Username: "oauth2accesstoken", Password: "secret-token"})

// intact reads every layer to its end: the client checks digests as it reads.
func intact(image v1.Image) error {
	if _, err := image.ConfigFile(); err != nil {
		return err
	}
	layers, err := image.Layers()
	if err != nil {
		return err
	}
	for _, l := range layers {
		rc, err := l.Compressed()
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, rc)
		if err := errors.Join(err, rc.Close()); err != nil {
			return err
		}
	}
	return nil
}

func intactIndex(index v1.ImageIndex) error {
	m, err := index.IndexManifest()
	if err != nil {
		return err
	}
	for _, d := range m.Manifests {
		image, err := index.Image(d.Digest)
		if err != nil {
			return err
		}
		if err := intact(image); err != nil {
			return err
		}
	}
	return nil
}

func status(err error) int {
	var te *transport.Error
	if errors.As(err, &te) {
		return te.StatusCode
	}
	return 0
}

func TestPushPullSurvivesReopening(t *testing.T) {
	f := start(t)
	image, err := random.Image(100_000, 3)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(f.ref(t, "p/app/tag:v1"), image, login); err != nil {
		t.Fatal(err)
	}
	index, err := random.Index(10_000, 2, 2)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(f.ref(t, "p/app/tools/multi:v2"), index, login); err != nil {
		t.Fatal(err)
	}
	f.reopen(t)
	got, err := remote.Image(f.ref(t, "p/app/tag:v1"), login)
	if err != nil {
		t.Fatal(err)
	}
	if err := intact(got); err != nil {
		t.Errorf("the image pulled after reopening: %v", err)
	}
	gotIndex, err := remote.Index(f.ref(t, "p/app/tools/multi:v2"), login)
	if err != nil {
		t.Fatal(err)
	}
	if err := intactIndex(gotIndex); err != nil {
		t.Errorf("the index pulled after reopening: %v", err)
	}
	images, err := f.reg.Images(context.Background(), Repository{"p", "europe-west1", "app"})
	if err != nil || len(images) != 4 {
		t.Fatalf("listing: %d images, %v; want 4", len(images), err)
	}
	digest, _ := image.Digest()
	if i := images[0]; i.Name != "tag" || i.Digest != digest.String() || fmt.Sprint(i.Tags) != "[v1]" || i.SizeBytes < 300_000 || i.Uploaded.IsZero() {
		t.Errorf("listing: %+v", i)
	}
	tags, err := remote.List(f.ref(t, "p/app/tag:x").Context(), login)
	if err != nil || fmt.Sprint(tags) != "[v1]" {
		t.Errorf("tags: %v %v", tags, err)
	}
}

func TestRefusals(t *testing.T) {
	f := start(t)
	image, err := random.Image(100, 1)
	if err != nil {
		t.Fatal(err)
	}
	wrong := remote.WithAuth(&authn.Basic{Username: "oauth2accesstoken", Password: "wrong"})
	for _, c := range []struct {
		ref  string
		opt  remote.Option
		want int
		text string
	}{
		{"p/app/tag:v1", remote.WithAuth(authn.Anonymous), 401, "oauth2accesstoken"},
		{"p/app/tag:v1", wrong, 401, "not accepted"},
		{"p/none/tag:v1", login, 404, "NAME_UNKNOWN"},
		{"q/app/tag:v1", login, 404, "NAME_UNKNOWN"},
		{"p/tag:v1", login, 404, "NAME_UNKNOWN"},
	} {
		err := remote.Write(f.ref(t, c.ref), image, c.opt)
		if status(err) != c.want || !strings.Contains(fmt.Sprint(err), c.text) {
			t.Errorf("push %s: %v, want %d with %q", c.ref, err, c.want, c.text)
		}
	}
	if _, err := remote.Image(f.ref(t, "p/app/tag:v1"), login); status(err) != 404 {
		t.Errorf("pull of what is not there: %v, want 404", err)
	}
}

func TestImmutableTags(t *testing.T) {
	f := start(t)
	f.repository(t, "fixed", "2026-01-01T00:00:00Z", true)
	one, _ := random.Image(100, 1)
	two, _ := random.Image(100, 1)
	ref := f.ref(t, "p/fixed/tag:v1")
	if err := remote.Write(ref, one, login); err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, one, login); err != nil {
		t.Errorf("pushing the same again: %v", err)
	}
	if err := remote.Write(ref, two, login); status(err) != 400 {
		t.Errorf("moving an immutable tag: %v, want 400", err)
	}
}

func TestRecreatedRepositoryIsEmpty(t *testing.T) {
	f := start(t)
	image, _ := random.Image(1000, 1)
	if err := remote.Write(f.ref(t, "p/app/tag:v1"), image, login); err != nil {
		t.Fatal(err)
	}
	f.repository(t, "app", "2026-02-02T00:00:00Z", false)
	if _, err := remote.Image(f.ref(t, "p/app/tag:v1"), login); status(err) != 404 {
		t.Errorf("an image of the deleted repository: %v, want 404", err)
	}
	c, err := f.reg.Collect()
	if err != nil || c.Repositories != 1 || c.Blobs != 3 {
		t.Errorf("Collect() = %+v, %v; want 1 repository and 3 blobs", c, err)
	}
}

func TestMountAcrossRepositories(t *testing.T) {
	f := start(t)
	f.repository(t, "other", "2026-01-01T00:00:00Z", false)
	image, _ := random.Image(1000, 1)
	if err := remote.Write(f.ref(t, "p/app/base:v1"), image, login); err != nil {
		t.Fatal(err)
	}
	pulled, err := remote.Image(f.ref(t, "p/app/base:v1"), login)
	if err != nil {
		t.Fatal(err)
	}
	layer, _ := random.Layer(500, "application/vnd.docker.image.rootfs.diff.tar.gzip")
	bigger, err := mutate.AppendLayers(pulled, layer)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(f.ref(t, "p/other/derived:v1"), bigger, login); err != nil {
		t.Fatal(err)
	}
	got, err := remote.Image(f.ref(t, "p/other/derived:v1"), login)
	if err != nil {
		t.Fatal(err)
	}
	if err := intact(got); err != nil {
		t.Error(err)
	}
}

func TestNodesPullWithoutAToken(t *testing.T) {
	f := start(t)
	image, _ := random.Image(1000, 1)
	if err := remote.Write(f.ref(t, "p/app/tag:v1"), image, login); err != nil {
		t.Fatal(err)
	}
	nodes := httptest.NewServer(f.reg.Nodes(func(a netip.Addr) bool { return a.IsLoopback() }))
	defer nodes.Close()
	strangers := httptest.NewServer(f.reg.Nodes(func(netip.Addr) bool { return false }))
	defer strangers.Close()
	get := func(method, url, token string) int {
		req, _ := http.NewRequest(method, url, nil)
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		io.Copy(io.Discard, resp.Body)
		return resp.StatusCode
	}
	path := "/v2/p/app/tag/manifests/v1?ns=europe-west1-docker.pkg.dev"
	for _, c := range []struct {
		what, method, url, token string
		want                     int
	}{
		{"node", "GET", nodes.URL + path, "", 200},
		{"node, another location", "GET", nodes.URL + "/v2/p/app/tag/manifests/v1?ns=us-docker.pkg.dev", "", 404},
		{"node with a bad token", "GET", nodes.URL + path, "bad", 401},
		{"node that pushes", "POST", nodes.URL + "/v2/p/app/tag/blobs/uploads/", "", 401},
		{"stranger", "GET", strangers.URL + path, "", 401},
		{"stranger with a token", "GET", strangers.URL + path, "secret-token", 200},
	} {
		if got := get(c.method, c.url, c.token); got != c.want {
			t.Errorf("%s: %d, want %d", c.what, got, c.want)
		}
	}
}

func TestChunkedUploadGoesOnAfterReopening(t *testing.T) {
	f := start(t)
	do := func(method, path, contentRange, body string) *http.Response {
		req, _ := http.NewRequest(method, f.srv.URL+path, strings.NewReader(body))
		req.Header.Set("Authorization", "Bearer secret-token")
		if contentRange != "" {
			req.Header.Set("Content-Range", contentRange)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp
	}
	where := do("POST", "/v2/p/app/tag/blobs/uploads/", "", "").Header.Get("Location")
	if r := do("PATCH", where, "0-4", "hello"); r.StatusCode != 202 || r.Header.Get("Range") != "0-4" {
		t.Fatalf("first chunk: %s %s", r.Status, r.Header.Get("Range"))
	}
	f.reopen(t)
	if r := do("PATCH", where, "0-4", "hello"); r.StatusCode != 416 {
		t.Errorf("a chunk at the wrong place: %s, want 416", r.Status)
	}
	hash, _, err := v1.SHA256(strings.NewReader("hello world"))
	if err != nil {
		t.Fatal(err)
	}
	if r := do("PUT", where+"?digest="+strings.Replace(hash.String(), hash.Hex[:4], "0000", 1), "", " world"); r.StatusCode != 400 {
		t.Errorf("wrong digest: %s, want 400", r.Status)
	}
	where = do("POST", "/v2/p/app/tag/blobs/uploads/", "", "").Header.Get("Location")
	if r := do("PUT", where+"?digest="+hash.String(), "", "hello world"); r.StatusCode != 201 {
		t.Errorf("right digest: %s, want 201", r.Status)
	}
	if r := do("HEAD", "/v2/p/app/tag/blobs/"+hash.String(), "", ""); r.StatusCode != 200 || r.ContentLength != 11 {
		t.Errorf("HEAD: %s, %d bytes", r.Status, r.ContentLength)
	}
}

func FuzzSplit(f *testing.F) {
	for _, p := range []string{"/v2/p/app/tag/manifests/v1", "/v2/p/a/b/blobs/uploads/", "/v2/p/a/b/blobs/uploads/X", "/v2/p/a/b/tags/list", "/v2//../x/manifests/y"} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, path string) {
		q, parts, err := split(path)
		if err != nil {
			return
		}
		for _, p := range parts {
			if p == "" || p == ".." || strings.ContainsAny(p, "/\\%") {
				t.Errorf("%q: part %q", path, p)
			}
		}
		if q.what == "" {
			t.Errorf("%q has no verb", path)
		}
	})
}
