// Package bucket keeps backups in Cloud Storage: per backup an archive and a manifest, which is written last, so that a backup
// exists when its manifest does. Nothing is ever overwritten or deleted here: the account that writes backups may not, and the
// bucket's lifecycle ends them.
//
//	STACK/ID/archive.gz      mongodump's archive format, gzip
//	STACK/ID/manifest.json   Manifest
package bucket

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"
	"google.golang.org/api/storage/v1"

	"patag/app/backup/database"
)

// Manifest describes one whole backup.
type Manifest struct {
	ID       string    `json:"id"`
	Stack    string    `json:"stack"`
	Database string    `json:"database"`
	Taken    time.Time `json:"taken"`
	Seconds  float64   `json:"seconds"` // that it took
	// Bytes and SHA256 of the archive as it lies in the bucket.
	Bytes       int64           `json:"bytes"`
	SHA256      string          `json:"sha256"`
	Server      string          `json:"server,omitempty"` // version of the store
	Collections database.Census `json:"collections"`
}

// Bucket is one bucket of backups.
type Bucket struct {
	service *storage.Service
	name    string
}

// Open uses a bucket, gs://NAME or NAME, with Google's own chain of credentials unless options say otherwise.
func Open(ctx context.Context, name string, o ...option.ClientOption) (*Bucket, error) {
	name = strings.TrimSuffix(strings.TrimPrefix(name, "gs://"), "/")
	if name == "" || strings.Contains(name, "/") {
		return nil, fmt.Errorf("%q is no bucket; write it as gs://NAME", name)
	}
	s, err := storage.NewService(ctx, o...)
	if err != nil {
		return nil, fmt.Errorf("reach Cloud Storage: %w", err)
	}
	return &Bucket{service: s, name: name}, nil
}

var idPattern = regexp.MustCompile(`^\d{8}T\d{6}Z-[0-9a-f]{6}$`)

// NewID names a backup: its second in UTC, and something that keeps two of the same second apart.
func NewID(now time.Time) string {
	var b [3]byte
	rand.Read(b[:])
	return now.UTC().Format("20060102T150405Z") + "-" + hex.EncodeToString(b[:])
}

// ValidID says whether a text can name a backup.
func ValidID(id string) bool { return idPattern.MatchString(id) }

func archiveName(stack, id string) string  { return stack + "/" + id + "/archive.gz" }
func manifestName(stack, id string) string { return stack + "/" + id + "/manifest.json" }

// Write stores a backup: fill writes the archive, compressed already, and completes the manifest, to which Write adds size and
// checksum. When fill fails there is no backup.
func (b *Bucket) Write(ctx context.Context, m *Manifest, fill func(io.Writer) error) error {
	upload, cancel := context.WithCancel(ctx)
	defer cancel()
	r, w := io.Pipe()
	sum := sha256.New()
	var size int64
	filled := make(chan error, 1)
	go func() {
		err := fill(writerFunc(func(p []byte) (int, error) {
			n, err := w.Write(p)
			sum.Write(p[:n])
			size += int64(n)
			return n, err
		}))
		if err != nil {
			cancel() // before the upload sees an end: half an archive must not become an object
		}
		w.CloseWithError(err)
		filled <- err
	}()
	_, err := b.service.Objects.Insert(b.name, &storage.Object{Name: archiveName(m.Stack, m.ID), ContentType: "application/gzip"}).
		IfGenerationMatch(0).Media(r, googleapi.ChunkSize(8<<20)).Context(upload).Do()
	r.CloseWithError(errors.New("the upload ended"))
	fillErr := <-filled
	switch {
	case fillErr != nil && err == nil, fillErr != nil && upload.Err() != nil && ctx.Err() == nil:
		return fillErr
	case err != nil:
		return fmt.Errorf("upload the archive to gs://%s: %w", b.name, short(err))
	}
	m.Bytes, m.SHA256 = size, hex.EncodeToString(sum.Sum(nil))
	raw, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	_, err = b.service.Objects.Insert(b.name, &storage.Object{Name: manifestName(m.Stack, m.ID), ContentType: "application/json"}).
		IfGenerationMatch(0).Media(strings.NewReader(string(raw)+"\n"), googleapi.ChunkSize(0)).Context(ctx).Do()
	if err != nil {
		return fmt.Errorf("upload the manifest to gs://%s: %w", b.name, short(err))
	}
	return nil
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// short is Google's error without the whole answer.
func short(err error) error {
	var e *googleapi.Error
	if errors.As(err, &e) {
		return fmt.Errorf("answer %d of Cloud Storage: %s", e.Code, e.Message)
	}
	return err
}

// ErrNone is returned when there is no such backup.
var ErrNone = errors.New("there is no such backup")

// Manifest reads one.
func (b *Bucket) Manifest(ctx context.Context, stack, id string) (*Manifest, error) {
	if !ValidID(id) {
		return nil, fmt.Errorf("%q is no backup's id: it looks like 20261231T235959Z-0a1b2c", id)
	}
	resp, err := b.service.Objects.Get(b.name, manifestName(stack, id)).Context(ctx).Download()
	if err != nil {
		var e *googleapi.Error
		if errors.As(err, &e) && e.Code == http.StatusNotFound {
			return nil, fmt.Errorf("%s of %s in gs://%s: %w", id, stack, b.name, ErrNone)
		}
		return nil, fmt.Errorf("read the manifest of %s: %w", id, short(err))
	}
	defer resp.Body.Close()
	var m Manifest
	if err := json.NewDecoder(io.LimitReader(resp.Body, 16<<20)).Decode(&m); err != nil {
		return nil, fmt.Errorf("the manifest of %s is damaged: %w", id, err)
	}
	if m.ID != id || m.Stack != stack {
		return nil, fmt.Errorf("the manifest of %s is of backup %s of stack %s", id, m.ID, m.Stack)
	}
	return &m, nil
}

// List answers the backups of a stack, the newest first; of all stacks when stack is empty.
func (b *Bucket) List(ctx context.Context, stack string) ([]*Manifest, error) {
	type key struct{ stack, id string }
	var keys []key
	call := b.service.Objects.List(b.name).Fields("items(name)", "nextPageToken")
	if stack != "" {
		call = call.Prefix(stack + "/")
	}
	err := call.Pages(ctx, func(page *storage.Objects) error {
		for _, o := range page.Items {
			parts := strings.Split(o.Name, "/")
			if len(parts) == 3 && parts[2] == "manifest.json" && ValidID(parts[1]) {
				keys = append(keys, key{parts[0], parts[1]})
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list gs://%s: %w", b.name, short(err))
	}
	slices.SortFunc(keys, func(x, y key) int { return strings.Compare(y.id, x.id) })
	var out []*Manifest
	for _, k := range keys {
		m, err := b.Manifest(ctx, k.stack, k.id)
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}

// Newest backup of a stack.
func (b *Bucket) Newest(ctx context.Context, stack string) (*Manifest, error) {
	all, err := b.List(ctx, stack)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("stack %s has none in gs://%s: %w", stack, b.name, ErrNone)
	}
	return all[0], nil
}

// Read hands the compressed archive to use. Where the archive is not the one that the manifest describes, its end is an error.
func (b *Bucket) Read(ctx context.Context, m *Manifest, use func(io.Reader) error) error {
	resp, err := b.service.Objects.Get(b.name, archiveName(m.Stack, m.ID)).Context(ctx).Download()
	if err != nil {
		return fmt.Errorf("read the archive of %s: %w", m.ID, short(err))
	}
	defer resp.Body.Close()
	return use(&checked{r: resp.Body, sum: sha256.New(), manifest: m})
}

// checked compares what it read with the manifest when it meets the end.
type checked struct {
	r        io.Reader
	sum      hash.Hash
	manifest *Manifest
}

func (c *checked) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.sum.Write(p[:n])
	if errors.Is(err, io.EOF) && hex.EncodeToString(c.sum.Sum(nil)) != c.manifest.SHA256 {
		return n, fmt.Errorf("the archive of %s is not the one that its manifest describes: its SHA-256 differs", c.manifest.ID)
	}
	return n, err
}
