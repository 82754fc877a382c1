package storage

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"patag/infra/sandbox/googleapi"
)

// apiPaths are first elements of paths that are no bucket's, though the XML API's pattern fits them.
var apiPaths = []string{"storage", "v1", "upload", "resumable", "download", "batch"}

func (s *Server) download(_ context.Context, r *googleapi.Request) (any, error) {
	if slices.Contains(apiPaths, r.Var("bucket")) {
		return nil, googleapi.Unimplemented("The sandbox does not simulate %s %s of storage.googleapis.com.", r.HTTP.Method, r.HTTP.URL.Path)
	}
	rec, raw, err := s.read(r)
	if err != nil {
		return nil, err
	}
	if raw != nil {
		return raw, nil
	}
	obj := rec.Object
	size := obj.Int("size")
	h := http.Header{}
	h.Set("Content-Type", obj.String("contentType"))
	h.Set("Etag", `"`+obj.String("etag")+`"`)
	h.Set("X-Goog-Generation", obj.String("generation"))
	h.Set("X-Goog-Metageneration", obj.String("metageneration"))
	h.Set("X-Goog-Storage-Class", obj.String("storageClass"))
	h.Set("X-Goog-Stored-Content-Length", strconv.FormatInt(size, 10))
	h.Set("X-Goog-Stored-Content-Encoding", "identity")
	h.Add("X-Goog-Hash", "crc32c="+obj.String("crc32c"))
	if md5 := obj.String("md5Hash"); md5 != "" {
		h.Add("X-Goog-Hash", "md5="+md5)
	}
	for header, field := range map[string]string{"Cache-Control": "cacheControl", "Content-Disposition": "contentDisposition", "Content-Language": "contentLanguage"} {
		if v := obj.String(field); v != "" {
			h.Set(header, v)
		}
	}
	for k, v := range obj.StringMap("metadata") {
		h.Set("X-Goog-Meta-"+k, v)
	}
	if t, err := time.Parse(time.RFC3339, obj.String("updated")); err == nil {
		h.Set("Last-Modified", t.UTC().Format(http.TimeFormat))
	}
	f, err := s.files.open(rec.File)
	if err != nil {
		return nil, fmt.Errorf("the content of %s is gone from disk: %w", obj.String("id"), err)
	}
	if encoding := obj.String("contentEncoding"); encoding != "" {
		h.Set("X-Goog-Stored-Content-Encoding", encoding)
		if encoding == "gzip" && !strings.Contains(r.HTTP.Header.Get("Accept-Encoding"), "gzip") && !strings.Contains(obj.String("cacheControl"), "no-transform") {
			return transcode(h, f), nil
		}
		h.Set("Content-Encoding", encoding)
	}
	return ranged(h, f, size, r.HTTP.Header.Get("Range"), r.HTTP.Method == http.MethodHead), nil
}

// transcode unpacks for a client that does not take gzip, as Cloud Storage does; such answers have no length and no ranges.
func transcode(h http.Header, f *os.File) *googleapi.Raw {
	h.Set("Warning", "214 UploadServer gunzipped")
	return &googleapi.Raw{Header: h, Write: func(w io.Writer) error {
		defer f.Close()
		z, err := gzip.NewReader(f)
		if err != nil {
			return err
		}
		_, err = io.Copy(w, z)
		return err
	}}
}

func ranged(h http.Header, f *os.File, size int64, header string, head bool) *googleapi.Raw {
	h.Set("Accept-Ranges", "bytes")
	start, end, status := parseRange(header, size)
	if status == http.StatusRequestedRangeNotSatisfiable || head {
		f.Close()
	}
	switch status {
	case http.StatusRequestedRangeNotSatisfiable:
		return &googleapi.Raw{Status: status, Header: http.Header{"Content-Range": {fmt.Sprintf("bytes */%d", size)}, "Content-Length": {"0"}}}
	case http.StatusPartialContent:
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", start, end-1, size))
	}
	h.Set("Content-Length", strconv.FormatInt(end-start, 10))
	return &googleapi.Raw{Status: status, Header: h, Write: func(w io.Writer) error {
		defer f.Close()
		if _, err := f.Seek(start, io.SeekStart); err != nil {
			return err
		}
		n, err := io.CopyN(w, f, end-start)
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("the content has %d bytes of %d", n, end-start)
		}
		return err
	}}
}

// parseRange reads a Range header. Several ranges, or what is no range, give the whole, as HTTP allows.
func parseRange(header string, size int64) (start, end int64, status int) {
	spec, ok := strings.CutPrefix(header, "bytes=")
	if !ok || strings.Contains(spec, ",") {
		return 0, size, http.StatusOK
	}
	first, last, ok := strings.Cut(strings.TrimSpace(spec), "-")
	if !ok {
		return 0, size, http.StatusOK
	}
	if first == "" { // the last n bytes
		n, err := strconv.ParseInt(last, 10, 64)
		switch {
		case err != nil:
			return 0, size, http.StatusOK
		case n <= 0 || size == 0:
			return 0, 0, http.StatusRequestedRangeNotSatisfiable
		}
		return max(0, size-n), size, http.StatusPartialContent
	}
	start, err := strconv.ParseInt(first, 10, 64)
	if err != nil || start < 0 {
		return 0, size, http.StatusOK
	}
	if start >= size {
		return 0, 0, http.StatusRequestedRangeNotSatisfiable
	}
	end = size
	if last != "" {
		n, err := strconv.ParseInt(last, 10, 64)
		if err != nil || n < start {
			return 0, size, http.StatusOK
		}
		end = min(size, n+1)
	}
	return start, end, http.StatusPartialContent
}
