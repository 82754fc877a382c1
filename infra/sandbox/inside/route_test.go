package inside

import (
	"strings"
	"testing"
)

func TestServicePrefix(t *testing.T) {
	for _, c := range []struct{ host, path, want string }{
		{"container.googleapis.com", "/v1/x", "/container"},
		{"storage.googleapis.com", "/storage/v1/b", "/storage"},
		{"my.bucket.storage.googleapis.com", "/o", "/storage/my.bucket"},
		{"www.googleapis.com", "/storage/v1/b", "/storage"},
		{"www.googleapis.com", "/upload/storage/v1/b/x/o", "/storage"},
		{"www.googleapis.com", "/oauth2/v3/certs", "/oauth2"},
		{"logging.europe-west1.rep.googleapis.com", "/v2/x", "/logging"},
		{"storage.mtls.googleapis.com", "/", "/storage"},
		{"www.googleapis.com", "/", ""},
		{"googleapis.com", "/", ""},
		{"a.b.googleapis.com", "/", ""},
		{".storage.googleapis.com", "/", ""},
		{"evil.com", "/", ""},
		{"googleapis.com.evil.com", "/", ""},
	} {
		got, ok := servicePrefix(c.host, c.path)
		if ok != (c.want != "") || ok && got != c.want {
			t.Errorf("servicePrefix(%q, %q) = %q, %v, want %q", c.host, c.path, got, ok, c.want)
		}
	}
}

func FuzzServicePrefix(f *testing.F) {
	f.Add("storage.googleapis.com", "/a")
	f.Add("a/b.storage.googleapis.com", "//")
	f.Add("www.googleapis.com", "/upload/../sandbox/v1/stop")
	f.Fuzz(func(t *testing.T, host, path string) {
		prefix, ok := servicePrefix(host, path)
		if !ok {
			return
		}
		// The prefix must lead into one service, never out of it (to the daemon's own calls or the registry).
		if !strings.HasPrefix(prefix, "/") || strings.Contains(prefix, "//") || strings.Count(prefix, "/") > 2 || prefix == "/" {
			t.Errorf("servicePrefix(%q, %q) = %q", host, path, prefix)
		}
	})
}

func FuzzMetadataPath(f *testing.F) {
	tree := dir{"instance": dir{"id": 1, "attributes": dir{"cluster-name": "c"}, "tags": []string{"a"}, "scopes": list{"x", "y"}}, "project": dir{}}
	for _, p := range []string{"", "instance", "instance/", "instance/id", "instance//id", "/", "instance/attributes/cluster-name", "instance/tags/"} {
		f.Add(p, true, "json")
		f.Add(p, false, "")
	}
	f.Fuzz(func(t *testing.T, path string, recursive bool, alt string) {
		v, isDir, err := tree.find(path)
		if err != nil {
			return
		}
		if _, folder := v.(dir); folder != isDir {
			t.Errorf("%q: folder %v, said %v", path, folder, isDir)
		}
		render(v, recursive, alt)
	})
}
