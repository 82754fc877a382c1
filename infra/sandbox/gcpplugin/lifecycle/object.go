package lifecycle

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // Cloud Storage tells contents apart by MD5.
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/archive"

	"patag/infra/sandbox/gcpplugin/diff"
	"patag/infra/sandbox/gcpplugin/google"
	"patag/infra/sandbox/gcpplugin/value"
)

// object is an object in a bucket, with its contents.
type object struct{}

func (s object) create(ctx context.Context, r *run) error { return s.upload(ctx, r) }

// content is what the program gave: text, a file, or an archive.
func (object) content(r *run) ([]byte, error) {
	if text, ok := r.in["content"].(string); ok {
		return []byte(text), nil
	}
	switch source := r.in["source"].(type) {
	case *resource.Asset:
		return source.Bytes()
	case *resource.Archive:
		return source.Bytes(archive.ZIPArchive)
	}
	return nil, errors.New("neither content nor source is given")
}

func (s object) upload(ctx context.Context, r *run) error {
	if _, ok := r.in["customerEncryption"]; ok {
		return errors.New("customerEncryption is not supported by this plugin; use kmsKeyName")
	}
	content, err := s.content(r)
	if err != nil {
		return fmt.Errorf("read the contents: %w", err)
	}
	meta, err := r.expander(nil).Object(r.t, r.in)
	if err != nil {
		return err
	}
	kind, _ := meta["contentType"].(string)
	if kind == "" {
		kind = http.DetectContentType(content)
		meta["contentType"] = kind
	}
	sum := md5.Sum(content) //nolint:gosec // see above
	meta["md5Hash"] = base64.StdEncoding.EncodeToString(sum[:])
	raw, err := json.Marshal(meta)
	if err != nil {
		return err
	}
	var body bytes.Buffer
	parts := multipart.NewWriter(&body)
	for _, p := range []struct {
		kind string
		data []byte
	}{{"application/json; charset=UTF-8", raw}, {kind, content}} {
		w, err := parts.CreatePart(textproto.MIMEHeader{"Content-Type": {p.kind}})
		if err != nil {
			return err
		}
		if _, err := w.Write(p.data); err != nil {
			return err
		}
	}
	if err := parts.Close(); err != nil {
		return err
	}
	base, err := r.Client.Upload()
	if err != nil {
		return err
	}
	_, err = r.Client.Do(ctx, google.Request{Method: post, Service: r.t.Service,
		Path:  base + "b/" + url.PathEscape(r.get("bucket")) + "/o",
		Query: url.Values{"uploadType": {"multipart"}, "name": {r.get("name")}},
		Raw:   body.Bytes(), ContentType: "multipart/related; boundary=" + parts.Boundary()})
	return err
}

func (s object) read(ctx context.Context, r *run) (bool, error) {
	answer, err := r.current(ctx)
	if google.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if text, ok := r.in["content"].(string); ok && !sameMD5(text, answer["md5Hash"]) {
		// Somebody else has written it: what is there now is not what the program gave.
		r.in = value.Copy(r.in).(value.Map)
		delete(r.in, "content")
		delete(r.state, "content")
	}
	r.absorb(answer)
	r.state["outputName"] = answer["name"]
	return true, nil
}

func sameMD5(text string, hash any) bool {
	sum := md5.Sum([]byte(text)) //nolint:gosec // see above
	return hash == base64.StdEncoding.EncodeToString(sum[:])
}

func (s object) update(ctx context.Context, r *run, changes []diff.Change) error {
	for _, c := range changes {
		switch c.Property {
		case "content", "source", "detectMd5hash":
			return s.upload(ctx, r)
		}
	}
	return rest{}.update(ctx, r, changes)
}

func (s object) delete(ctx context.Context, r *run) error { return rest{}.delete(ctx, r) }
