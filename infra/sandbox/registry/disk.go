package registry

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

var errDigest = &Error{http.StatusBadRequest, "DIGEST_INVALID", "a digest is sha256: and 64 hexadecimal digits"}

// parseDigest returns the hexadecimal part.
func parseDigest(digest string) (string, error) {
	h, ok := strings.CutPrefix(digest, "sha256:")
	if !ok || len(h) != 64 || strings.ToLower(h) != h {
		return "", errDigest
	}
	if _, err := hex.DecodeString(h); err != nil {
		return "", errDigest
	}
	return h, nil
}

func (r *Registry) blobFile(hex string) string {
	return filepath.Join(r.Dir, "blobs", "sha256", hex[:2], hex)
}

func linkFile(repoFolder, hex string) string { return filepath.Join(repoFolder, "blobs", hex) }

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// readFile reads a file that may not be there: fs.ErrNotExist then.
func readFile(file string) ([]byte, error) { return os.ReadFile(file) }

// writeFile puts a whole file in place and on disk, so that a crash leaves the old one or the new one.
func writeFile(file string, content []byte) error {
	if err := mkdirAll(filepath.Dir(file)); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), ".tmp-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(content)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), file); err != nil {
		return err
	}
	return syncDir(filepath.Dir(file))
}

// link records that a repository holds a blob.
func link(repoFolder, hex string) error {
	file := linkFile(repoFolder, hex)
	if exists(file) {
		return nil
	}
	if err := mkdirAll(filepath.Dir(file)); err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return syncDir(filepath.Dir(file))
}

// adopt moves a finished file, already synced, to its place among the blobs.
func (r *Registry) adopt(file, hex string) error {
	target := r.blobFile(hex)
	if err := mkdirAll(filepath.Dir(target)); err != nil {
		return err
	}
	if err := os.Rename(file, target); err != nil {
		return err
	}
	return syncDir(filepath.Dir(target))
}

// mkdirAll makes folders and writes their names to disk, also the parents'.
func mkdirAll(dir string) error {
	if exists(dir) {
		return nil
	}
	if err := mkdirAll(filepath.Dir(dir)); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// digestOf reads a file to its end.
func digestOf(f io.Reader) (string, error) {
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("read the upload: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
