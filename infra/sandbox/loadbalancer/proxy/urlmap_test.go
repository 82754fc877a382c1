package proxy

import (
	"strings"
	"testing"
)

func named(names ...string) map[string]*Backend {
	m := map[string]*Backend{}
	for _, n := range names {
		b := NewBackend(nil, nil, nil)
		b.spec.Store(&BackendSpec{Name: n})
		m[n] = b
	}
	return m
}

func TestURLMap(t *testing.T) {
	b := named("default", "exact", "api", "apiv1", "any", "wild", "sub", "root")
	m, err := NewURLMap("um", []HostRule{
		{"shop.example.com", []PathRule{{"/exact", b["exact"]}, {"/api", b["api"]}, {"/api/*", b["api"]}, {"/api/v1/*", b["apiv1"]}, {"/api/*", b["exact"]}}},
		{"*.example.com", []PathRule{{"/*", b["wild"]}}},
		{"*.sub.example.com", []PathRule{{"/*", b["sub"]}}},
		{"", []PathRule{{"/any", b["any"]}}},
		{"root.test", []PathRule{{"/*", b["root"]}}},
	}, b["default"])
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ host, path, want string }{
		{"shop.example.com", "/exact", "exact"},
		{"shop.example.com", "/exact/", "default"},
		{"shop.example.com:80", "/api", "api"},
		{"SHOP.Example.com.", "/api/x", "api"},
		{"shop.example.com", "/api/v1/x", "apiv1"},
		{"shop.example.com", "/apix", "default"},
		{"shop.example.com", "/any", "default"},
		{"other.example.com", "/x", "wild"},
		{"a.sub.example.com", "/x", "sub"},
		{"example.com", "/any", "any"},
		{"127.2.2.1", "/any", "any"},
		{"127.2.2.1:443", "/", "default"},
		{"[::1]:80", "/any", "any"},
		{"root.test", "/", "root"},
	} {
		if got := m.Find(c.host, c.path).spec.Load().Name; got != c.want {
			t.Errorf("Find(%q, %q) = %s, want %s", c.host, c.path, got, c.want)
		}
	}
	for _, bad := range []string{"", "x", "/a*", "/a/*/b"} {
		if _, err := NewURLMap("um", []HostRule{{"", []PathRule{{bad, b["any"]}}}}, nil); err == nil {
			t.Errorf("path %q was accepted", bad)
		}
	}
}

func FuzzURLMap(f *testing.F) {
	f.Add("h.example", "/a/*", "h.example:80", "/a/b")
	f.Add("*.x", "/", "a.x", "/")
	f.Fuzz(func(t *testing.T, host, pattern, reqHost, path string) {
		b := named("b")["b"]
		m, err := NewURLMap("um", []HostRule{{host, []PathRule{{pattern, b}}}}, nil)
		if err != nil {
			return
		}
		if m.Find(reqHost, path) != nil {
			body, wild := strings.CutSuffix(pattern, "*")
			if wild && !strings.HasPrefix(path, body) || !wild && path != pattern {
				t.Errorf("pattern %q matched %q", pattern, path)
			}
		}
	})
}
