package server

import (
	"bytes"
	"strings"
	"testing"
)

func TestLoaderIsSmall(t *testing.T) {
	l := newLoader()
	const limit = 5 << 10
	if n := len(l.short.zipped) + len(l.frame.zipped); n > limit || len(l.short.zipped) == 0 {
		t.Errorf("loader and frame are %d + %d bytes gzipped, more than %d", len(l.short.zipped), len(l.frame.zipped), limit)
	} else {
		t.Logf("loader %d and frame %d bytes gzipped", len(l.short.zipped), len(l.frame.zipped))
	}
	if bytes.Contains(l.short.plain, []byte("FRAME_PATH")) || !bytes.Contains(l.short.plain, []byte(l.framePath)) {
		t.Error("the loader does not know its frame")
	}
	for _, unsafe := range []string{"eval(", "new Function", "innerHTML", "onclick", "javascript:", "`"} {
		if bytes.Contains(l.short.plain, []byte(unsafe)) {
			t.Errorf("the loader has %q, which strict policies or squeeze do not like", unsafe)
		}
	}
}

func TestLoaderIsCachedByVersion(t *testing.T) {
	f := newFixture(t)
	l := newLoader()
	for path, want := range map[string]string{"/tag/v1.js": "max-age=3600", l.immutablePath: "immutable", l.framePath: "immutable"} {
		w := f.do("GET", path)
		if w.Code != 200 || !strings.Contains(w.Header().Get("Cache-Control"), want) {
			t.Errorf("%s: %d, Cache-Control %q", path, w.Code, w.Header().Get("Cache-Control"))
		}
	}
	if w := f.do("GET", "/tag/v1-000000000000.js"); w.Code != 404 {
		t.Errorf("another hash: %d", w.Code)
	}
	if csp := f.do("GET", l.framePath).Header().Get("Content-Security-Policy"); !strings.HasPrefix(csp, "sandbox ") || strings.Contains(csp, "allow-same-origin") {
		t.Errorf("the frame's policy is %q", csp)
	}
}
