package storage

import (
	"bytes"
	"io"
	"net/http"
	"testing"
)

func TestParseRange(t *testing.T) {
	for header, want := range map[string][3]int64{
		"": {0, 10, 200}, "bytes=0-": {0, 10, 206}, "bytes=2-4": {2, 5, 206}, "bytes=2-99": {2, 10, 206}, "bytes=-3": {7, 10, 206}, "bytes=-99": {0, 10, 206},
		"bytes=10-": {0, 0, 416}, "bytes=-0": {0, 0, 416}, "bytes=4-2": {0, 10, 200}, "bytes=1-2,4-5": {0, 10, 200}, "bytes=x-": {0, 10, 200}, "items=1-2": {0, 10, 200},
	} {
		if s, e, status := parseRange(header, 10); [3]int64{s, e, int64(status)} != want {
			t.Errorf("%q: %d %d %d, want %v", header, s, e, status, want)
		}
	}
}

func TestBoundary(t *testing.T) {
	for header, want := range map[string]string{
		`multipart/related; boundary=abc`: "abc", `multipart/related; boundary="a b=c"`: "a b=c", `multipart/related; boundary='==1=='`: "==1==", `multipart/related; boundary='abc'`: "abc",
		`text/plain; boundary=abc`: "", `multipart/related`: "", `text/plain; boundary='=='`: "", `multipart/related; boundary='==`: "", ``: "",
	} {
		if got := boundaryOf(header); got != want {
			t.Errorf("%s: %q, want %q", header, got, want)
		}
	}
}

// FuzzUpload: whatever comes as headers and body of an upload is refused or gives a consistent chunk, and never more content
// than came.
func FuzzUpload(f *testing.F) {
	f.Add("multipart/related; boundary=b", []byte("--b\r\nContent-Type: application/json\r\n\r\n{\"name\":\"x\"}\r\n--b\r\nContent-Type: text/plain\r\n\r\nhi\r\n--b--"), "bytes 0-3/8")
	f.Add("multipart/related; boundary='='", []byte("--="), "bytes */*")
	f.Add("text/plain", []byte{}, "bytes 5-3/2")
	f.Fuzz(func(t *testing.T, contentType string, body []byte, contentRange string) {
		if c, err := parseChunk(contentRange); err == nil {
			if c.start < 0 || c.length < -1 || c.total >= 0 && c.length > 0 && c.start+c.length > c.total {
				t.Fatalf("%q gives %+v", contentRange, c)
			}
		}
		if s, e, status := parseRange(contentRange, int64(len(body))); s < 0 || e < s || e > int64(len(body)) || status == http.StatusPartialContent && s == e {
			t.Fatalf("%q gives %d-%d", contentRange, s, e)
		}
		meta, r, err := splitMultipart(contentType, bytes.NewReader(body))
		if err != nil {
			return
		}
		if meta == nil {
			t.Fatal("no metadata and no error")
		}
		if n, _ := io.Copy(io.Discard, r); n > int64(len(body)) {
			t.Fatalf("%d bytes out of %d", n, len(body))
		}
	})
}
