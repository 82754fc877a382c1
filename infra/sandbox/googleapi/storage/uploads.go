package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"google.golang.org/api/storage/v1"

	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/store"
)

func mapKeys(m map[string]string) iter.Seq[string] { return maps.Keys(m) }

// maxMetadata is the most bytes of an upload's metadata part.
const maxMetadata = 1 << 20

func (s *Server) handleUploads(api *googleapi.Service, pattern string) {
	api.Handle("POST", pattern, s.upload)
	api.Handle("PUT", pattern, s.resume)
	api.Handle("DELETE", pattern, s.cancel)
}

func (s *Server) upload(ctx context.Context, r *googleapi.Request) (any, error) {
	switch t := r.Query("uploadType"); t {
	case "media":
		meta := googleapi.Doc{"name": r.Query("name")}
		if ct := r.HTTP.Header.Get("Content-Type"); ct != "" {
			meta["contentType"] = ct
		}
		return s.store(r, meta, r.HTTP.Body)
	case "multipart":
		meta, body, err := splitMultipart(r.HTTP.Header.Get("Content-Type"), r.HTTP.Body)
		if err != nil {
			return nil, err
		}
		return s.store(r, meta, body)
	case "resumable":
		if r.Query("upload_id") != "" {
			return s.resume(ctx, r)
		}
		return s.begin(r)
	default:
		return nil, googleapi.InvalidArgument("Invalid upload type: %q", t)
	}
}

// splitMultipart reads the metadata part of a multipart/related upload and gives the content part to be streamed.
func splitMultipart(contentType string, body io.Reader) (googleapi.Doc, io.Reader, error) {
	boundary := boundaryOf(contentType)
	if boundary == "" {
		return nil, nil, googleapi.InvalidArgument("A multipart upload needs a Content-Type of multipart/related with a boundary, not %q.", contentType)
	}
	parts := multipart.NewReader(body, boundary)
	first, err := parts.NextRawPart()
	if err != nil {
		return nil, nil, googleapi.InvalidArgument("Missing start of the metadata part: %v", err)
	}
	raw, err := io.ReadAll(io.LimitReader(first, maxMetadata+1))
	if err != nil || len(raw) > maxMetadata {
		return nil, nil, googleapi.InvalidArgument("The metadata part could not be read or is larger than %d bytes.", maxMetadata)
	}
	meta, err := googleapi.DecodeDoc(raw, storage.Object{}, "")
	if err != nil {
		return nil, nil, err
	}
	second, err := parts.NextRawPart()
	if err != nil {
		return nil, nil, googleapi.InvalidArgument("Missing start of the media part: %v", err)
	}
	if ct := second.Header.Get("Content-Type"); ct != "" {
		meta.Default("contentType", ct)
	}
	return meta, second, nil
}

// boundaryOf reads the boundary of a multipart type. gcloud puts it between single quotes, which no standard knows but Google takes.
func boundaryOf(contentType string) string {
	if kind, params, err := mime.ParseMediaType(contentType); err == nil && !strings.HasPrefix(params["boundary"], "'") {
		if !strings.HasPrefix(kind, "multipart/") {
			return ""
		}
		return params["boundary"]
	}
	kind, rest, _ := strings.Cut(contentType, ";")
	_, value, found := strings.Cut(rest, "boundary='")
	boundary, _, closed := strings.Cut(value, "'")
	if !found || !closed || !strings.HasPrefix(strings.ToLower(strings.TrimSpace(kind)), "multipart/") || len(boundary) > 70 {
		return ""
	}
	return boundary
}

// complete fills an upload's metadata from the request, which says some things in parameters.
func complete(r *googleapi.Request, meta googleapi.Doc) error {
	meta.DropNulls()
	if name := r.Query("name"); name != "" {
		meta["name"] = name
	}
	if e := r.Query("contentEncoding"); e != "" {
		meta["contentEncoding"] = e
	}
	if meta.Has("customerEncryption") || r.HTTP.Header.Get("X-Goog-Encryption-Algorithm") != "" {
		return googleapi.Unimplemented("The sandbox does not simulate customer-supplied encryption keys (objects.insert).")
	}
	if c := meta.String("storageClass"); c != "" && !storageClasses[c] {
		return googleapi.InvalidArgument("Invalid argument: storageClass %q.", c)
	}
	return checkObjectName(meta.String("name"))
}

// store takes a whole content in one request.
func (s *Server) store(r *googleapi.Request, meta googleapi.Doc, body io.Reader) (any, error) {
	if err := complete(r, meta); err != nil {
		return nil, err
	}
	// A request that cannot succeed must not cost a transfer.
	if err := s.mayPut(r.Var("bucket"), meta.String("name"), conditionsOf(r)); err != nil {
		return nil, err
	}
	c, err := s.files.write(body)
	if errors.Is(err, errRead) {
		return nil, googleapi.InvalidArgument("The upload ended early: %v", err)
	}
	if err != nil {
		return nil, err
	}
	if err := checkSums(meta, r.HTTP.Header, c); err != nil {
		return nil, firstOf(s.files.remove(c.File), err)
	}
	return s.commit(r.Var("bucket"), meta, c, conditionsOf(r))
}

func (s *Server) mayPut(bucket, name string, cond conditions) error {
	return s.core.Store().View(func(tx store.Tx) error {
		if _, err := s.bucket(tx, bucket); err != nil {
			return err
		}
		var old record
		if _, err := tx.Get(liveKey(bucket, name), &old); err != nil {
			return err
		}
		return cond.hold(old.Object)
	})
}

// commit names a stored content in the store, or removes it.
func (s *Server) commit(bucket string, meta googleapi.Doc, c content, cond conditions, also ...func(tx store.Tx, obj googleapi.Doc) error) (googleapi.Doc, error) {
	var obj googleapi.Doc
	var litter []string
	err := s.core.Store().Update(func(tx store.Tx) (err error) {
		if obj, litter, err = s.put(tx, bucket, meta, c, cond); err != nil {
			return err
		}
		for _, fn := range also {
			if err := fn(tx, obj); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, firstOf(err, s.files.remove(c.File))
	}
	s.discard(litter)
	return obj, nil
}

// discard removes contents that no object names any more. A failure costs disk until the next start, not the request.
func (s *Server) discard(names []string) {
	if err := s.files.remove(names...); err != nil {
		s.core.Logger().Warn("storage: an unused content stays on disk until the next start", "error", err)
	}
}

// session is a resumable upload. Its content so far is the file of its id; the file's length is what was received.
type session struct {
	ID         string        `json:"id"`
	Bucket     string        `json:"bucket"`
	Meta       googleapi.Doc `json:"meta"`
	Conditions conditions    `json:"conditions"`
	// Total is the length that was announced, -1 if none was.
	Total int64 `json:"total"`
	// Done is the object once the upload is complete, so that a client that lost the answer can ask again.
	Done googleapi.Doc `json:"done,omitempty"`
	Time string        `json:"time"`
}

func sessionKey(id string) string { return "storage-upload/" + id }

func (s *Server) begin(r *googleapi.Request) (any, error) {
	meta, err := r.DecodeDoc(storage.Object{})
	if err != nil {
		return nil, err
	}
	if ct := r.HTTP.Header.Get("X-Upload-Content-Type"); ct != "" {
		meta.Default("contentType", ct)
	}
	if err := complete(r, meta); err != nil {
		return nil, err
	}
	ses := session{ID: newName() + newName(), Bucket: r.Var("bucket"), Meta: meta, Conditions: conditionsOf(r), Total: -1, Time: stamp(s.core.Now())}
	if l := r.HTTP.Header.Get("X-Upload-Content-Length"); l != "" {
		if ses.Total, err = strconv.ParseInt(l, 10, 64); err != nil || ses.Total < 0 {
			return nil, googleapi.InvalidArgument("Invalid X-Upload-Content-Length: %q", l)
		}
	}
	if err := s.mayPut(ses.Bucket, meta.String("name"), ses.Conditions); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(s.files.uploadPath(ses.ID), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err == nil {
		err = firstOf(f.Close(), s.core.Store().Put(sessionKey(ses.ID), ses))
	}
	if err != nil {
		return nil, fmt.Errorf("begin an upload: %w", err)
	}
	return &googleapi.Raw{Header: http.Header{
		"Location":             {sessionURL(r, ses.ID)},
		"X-Guploader-Uploadid": {ses.ID},
		"Content-Type":         {"text/plain; charset=utf-8"},
	}}, nil
}

// sessionURL is where the client sends the rest: the address by which it came, which for a pod is storage.googleapis.com.
func sessionURL(r *googleapi.Request, id string) string {
	u := url.URL{Scheme: "http", Host: r.HTTP.Host, Path: r.HTTP.URL.Path}
	if strings.HasSuffix(u.Hostname(), ".googleapis.com") { // the client's path has no service in front
		u.Scheme, u.Path = "https", strings.TrimPrefix(u.Path, "/storage")
	} else if r.HTTP.TLS != nil || r.HTTP.Header.Get("X-Forwarded-Proto") == "https" {
		u.Scheme = "https"
	}
	u.RawQuery = url.Values{"uploadType": {"resumable"}, "upload_id": {id}}.Encode()
	return u.String()
}

var (
	chunkRange = regexp.MustCompile(`^bytes (\d+)-(\d+)/(\d+|\*)$`)
	askRange   = regexp.MustCompile(`^bytes \*/(\d+|\*)$`)
)

// chunk is what a Content-Range header says of a request's body.
type chunk struct {
	start, length int64 // length -1: all that comes
	total         int64 // -1: not known yet
	ask           bool  // no content, only the question how much has arrived
}

func parseChunk(header string) (chunk, error) {
	c := chunk{length: -1, total: -1}
	if header == "" {
		return c, nil
	}
	number := func(s string) int64 {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil { // "*", or beyond 63 bits, which the checks below refuse
			return -1
		}
		return n
	}
	if m := askRange.FindStringSubmatch(header); m != nil {
		c.ask, c.length, c.total = true, 0, number(m[1])
		return c, nil
	}
	m := chunkRange.FindStringSubmatch(header)
	if m == nil {
		return c, googleapi.InvalidArgument("Failed to parse Content-Range header: %q", header)
	}
	start, last := number(m[1]), number(m[2])
	c.total = number(m[3])
	if start < 0 || last < start || m[3] != "*" && c.total <= last {
		return c, googleapi.InvalidArgument("Invalid Content-Range: %q", header)
	}
	c.start, c.length = start, last-start+1
	return c, nil
}

func (s *Server) session(id string) (session, func(), error) {
	m, _ := s.uploads.LoadOrStore(id, &sync.Mutex{})
	lock := m.(*sync.Mutex)
	lock.Lock()
	var ses session
	found, err := s.core.Store().Get(sessionKey(id), &ses)
	if err == nil && !found {
		s.uploads.Delete(id)
		err = notFound("Upload %q does not exist or has expired.", id)
	}
	if err != nil {
		lock.Unlock()
		return ses, nil, err
	}
	return ses, lock.Unlock, nil
}

func (s *Server) resume(_ context.Context, r *googleapi.Request) (any, error) {
	ses, unlock, err := s.session(r.Query("upload_id"))
	if err != nil {
		return nil, err
	}
	defer unlock()
	if ses.Done != nil {
		return ses.Done, nil
	}
	ch, err := parseChunk(r.HTTP.Header.Get("Content-Range"))
	if err != nil {
		return nil, err
	}
	if ch.total >= 0 {
		if ses.Total >= 0 && ses.Total != ch.total {
			return nil, googleapi.InvalidArgument("Invalid request. The total of %d bytes differs from the %d announced before.", ch.total, ses.Total)
		}
		ses.Total = ch.total
	}
	received, err := s.receive(ses, ch, r.HTTP.Body)
	if err != nil {
		return nil, err
	}
	if ch.length < 0 && !ch.ask {
		ses.Total = received // one request without a range is the whole rest
	}
	if ses.Total < 0 || received < ses.Total {
		return incomplete(r, received), nil
	}
	if received > ses.Total {
		return nil, googleapi.InvalidArgument("Invalid request. %d bytes came, %d were announced.", received, ses.Total)
	}
	return s.finish(r, ses)
}

// receive appends a chunk to the upload's file and tells how much there is now. Bytes that are there already are skipped; a gap is
// refused, since the client must then ask.
func (s *Server) receive(ses session, ch chunk, body io.Reader) (int64, error) {
	f, err := os.OpenFile(s.files.uploadPath(ses.ID), os.O_WRONLY|os.O_APPEND, 0)
	if errors.Is(err, fs.ErrNotExist) { // a crash between the last chunk and the commit
		return 0, firstOf(s.core.Store().Delete(sessionKey(ses.ID)),
			&googleapi.Error{Code: http.StatusGone, Status: "NOT_FOUND", Reason: "gone", Message: "The upload was interrupted at its end. Start it again."})
	}
	if err != nil {
		return 0, fmt.Errorf("continue an upload: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	have := info.Size()
	if ch.ask {
		return have, nil
	}
	if ch.start > have {
		return 0, &googleapi.Error{Code: http.StatusServiceUnavailable, Status: "UNAVAILABLE", Reason: "backendError",
			Message: fmt.Sprintf("Invalid request. Bytes %d to %d are missing; ask for the upload's status.", have, ch.start-1)}
	}
	limit := ch.length
	if limit >= 0 {
		body = io.LimitReader(body, limit)
	}
	if _, err := io.CopyN(io.Discard, body, have-ch.start); err != nil && have > ch.start {
		return have, nil // the chunk ends within what is there
	}
	// A broken connection keeps what came; the client resumes from there.
	n, err := io.CopyBuffer(struct{ io.Writer }{f}, sourceReader{body}, make([]byte, 256<<10))
	if err != nil && !errors.Is(err, errRead) {
		return 0, fmt.Errorf("continue an upload: %w", err)
	}
	if err != nil {
		return 0, googleapi.InvalidArgument("The upload's connection broke after %d bytes: %v", have+n, err)
	}
	return have + n, nil
}

// incomplete is Google's 308, or for clients that say they cannot take it, 200 with the header that means the same.
func incomplete(r *googleapi.Request, received int64) *googleapi.Raw {
	raw := &googleapi.Raw{Status: http.StatusPermanentRedirect, Header: http.Header{"Content-Length": {"0"}}}
	if received > 0 {
		raw.Header.Set("Range", fmt.Sprintf("bytes=0-%d", received-1))
	}
	if r.HTTP.Header.Get("X-Guploader-No-308") == "yes" {
		raw.Status = http.StatusOK
		raw.Header.Set("X-Http-Status-Code-Override", "308")
	}
	return raw
}

func (s *Server) finish(r *googleapi.Request, ses session) (any, error) {
	c, err := s.files.finish(ses.ID)
	if err != nil {
		return nil, err
	}
	drop := func() error {
		return firstOf(s.files.remove(c.File), s.core.Store().Delete(sessionKey(ses.ID)))
	}
	if err := checkSums(ses.Meta, r.HTTP.Header, c); err != nil {
		return nil, firstOf(drop(), err)
	}
	obj, err := s.commit(ses.Bucket, ses.Meta, c, ses.Conditions, func(tx store.Tx, obj googleapi.Doc) error {
		ses.Done = obj
		return tx.Put(sessionKey(ses.ID), ses)
	})
	if err != nil {
		return nil, firstOf(drop(), err)
	}
	return obj, nil
}

func (s *Server) cancel(_ context.Context, r *googleapi.Request) (any, error) {
	id := r.Query("upload_id")
	ses, unlock, err := s.session(id)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := s.core.Store().Delete(sessionKey(ses.ID)); err != nil {
		return nil, err
	}
	s.uploads.Delete(id)
	if err := os.Remove(s.files.uploadPath(ses.ID)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return &googleapi.Raw{Status: 499}, nil // Google's "client closed request"
}

// removeOrphans removes contents and sessions that a crash left without an owner.
func (s *Server) removeOrphans() error {
	keep := map[string]bool{}
	err := s.core.Store().View(func(tx store.Tx) error {
		for _, prefix := range []string{"storage-live/", "storage-old/"} {
			err := tx.List(prefix, func(_ string, raw []byte) error {
				var rec record
				if err := json.Unmarshal(raw, &rec); err != nil {
					return err
				}
				keep[rec.File] = true
				return nil
			})
			if err != nil {
				return err
			}
		}
		return tx.List("storage-upload/", func(key string, _ []byte) error {
			keep[strings.TrimPrefix(key, "storage-upload/")] = true
			return nil
		})
	})
	if err != nil {
		return err
	}
	n, err := s.files.prune(keep)
	if n > 0 {
		s.core.Logger().Info("storage: removed what a crash left behind", "files", n)
	}
	return err
}
