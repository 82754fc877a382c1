package storage

import (
	"crypto/md5"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// files are the contents of objects, each under a random name that its object's metadata hold.
type files struct{ dir string }

func openFiles(dir string) (*files, error) {
	for _, sub := range []string{"data", "tmp", "uploads"} {
		if err := ensureDir(dir, sub); err != nil {
			return nil, err
		}
	}
	f := &files{dir}
	// What a crash interrupted was never acknowledged.
	left, err := os.ReadDir(filepath.Join(dir, "tmp"))
	if err != nil {
		return nil, err
	}
	for _, e := range left {
		if err := os.Remove(filepath.Join(dir, "tmp", e.Name())); err != nil {
			return nil, err
		}
	}
	return f, nil
}

func newName() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

func (f *files) path(name string) string { return filepath.Join(f.dir, "data", name[:2], name) }

func (f *files) uploadPath(id string) string { return filepath.Join(f.dir, "uploads", id) }

// content is what is known of a stored content.
type content struct {
	File   string `json:"file"`
	Size   int64  `json:"size"`
	CRC32C string `json:"crc32c"`
	MD5    string `json:"md5"`
}

// sums computes what Google tells of every object.
type sums struct {
	crc hash.Hash32
	md5 hash.Hash
	n   int64
}

func newSums() *sums { return &sums{crc: crc32.New(crc32.MakeTable(crc32.Castagnoli)), md5: md5.New()} }

func (s *sums) Write(p []byte) (int, error) {
	s.crc.Write(p)
	s.md5.Write(p)
	s.n += int64(len(p))
	return len(p), nil
}

func (s *sums) content(file string) content {
	return content{
		File: file, Size: s.n,
		CRC32C: base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, s.crc.Sum32())),
		MD5:    base64.StdEncoding.EncodeToString(s.md5.Sum(nil)),
	}
}

// errRead marks a failure to read the source (the client's connection), as against one to write.
var errRead = errors.New("the content could not be read")

type sourceReader struct{ r io.Reader }

func (s sourceReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: %w", errRead, err)
	}
	return n, err
}

// write stores a content durably under a new name. Until the caller names it in the store it counts as litter.
func (f *files) write(r io.Reader) (content, error) {
	tmp, err := os.OpenFile(filepath.Join(f.dir, "tmp", newName()), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return content{}, err
	}
	s := newSums()
	_, err = io.CopyBuffer(io.MultiWriter(tmp, s), sourceReader{r}, make([]byte, 256<<10))
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		os.Remove(tmp.Name())
		return content{}, fmt.Errorf("store an object's content: %w", err)
	}
	return f.adopt(tmp.Name(), s)
}

// adopt moves a synced file to its place.
func (f *files) adopt(path string, s *sums) (content, error) {
	name := newName()
	dir := filepath.Dir(f.path(name))
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		err = os.Rename(path, f.path(name))
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		os.Remove(path)
		return content{}, fmt.Errorf("store an object's content: %w", err)
	}
	return s.content(name), nil
}

// finish turns the file of a complete upload into a content.
func (f *files) finish(id string) (content, error) {
	up, err := os.OpenFile(f.uploadPath(id), os.O_RDWR, 0)
	if err != nil {
		return content{}, err
	}
	s := newSums()
	_, err = io.CopyBuffer(s, struct{ io.Reader }{up}, make([]byte, 256<<10))
	if err = errors.Join(err, up.Sync(), up.Close()); err != nil {
		return content{}, fmt.Errorf("finish an upload: %w", err)
	}
	return f.adopt(f.uploadPath(id), s)
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (f *files) open(name string) (*os.File, error) { return os.Open(f.path(name)) }

// link gives a content a second name, for copies; contents never change.
func (f *files) link(c content) (content, error) {
	name := newName()
	if err := os.MkdirAll(filepath.Dir(f.path(name)), 0o700); err != nil {
		return c, err
	}
	if err := os.Link(f.path(c.File), f.path(name)); err != nil {
		return c, err
	}
	c.File = name
	return c, syncDir(filepath.Dir(f.path(name)))
}

func (f *files) remove(names ...string) error {
	var errs []error
	for _, n := range names {
		if n == "" {
			continue
		}
		if err := os.Remove(f.path(n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// prune removes contents and uploads that keep does not name.
func (f *files) prune(keep map[string]bool) (removed int, err error) {
	err = filepath.WalkDir(f.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || keep[d.Name()] || strings.HasPrefix(d.Name(), ".") {
			return err
		}
		removed++
		return os.Remove(path)
	})
	return removed, err
}
