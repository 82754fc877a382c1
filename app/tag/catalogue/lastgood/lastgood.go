// Package lastgood keeps the last good catalogue in a file, so that a server starts and serves while the store is away.
// The file is a line with the SHA-256 of the rest, then gzipped JSON; it is replaced whole or not at all.
package lastgood

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"patag/app/tag/catalogue"
)

// Saved is what the file holds.
type Saved struct {
	Version   int64                `json:"version"`
	Catalogue *catalogue.Catalogue `json:"catalogue"`
}

// Save replaces the file at path.
func Save(path string, s Saved) error {
	var body bytes.Buffer
	zip := gzip.NewWriter(&body)
	if err := json.NewEncoder(zip).Encode(s); err != nil {
		return fmt.Errorf("encode the catalogue for %s: %w", path, err)
	}
	if err := zip.Close(); err != nil {
		return fmt.Errorf("encode the catalogue for %s: %w", path, err)
	}
	sum := sha256.Sum256(body.Bytes())
	if err := replace(path, append([]byte(hex.EncodeToString(sum[:])+"\n"), body.Bytes()...)); err != nil {
		return fmt.Errorf("save the last good catalogue: %w", err)
	}
	return nil
}

func replace(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".catalogue-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// Load reads the file at path; fs.ErrNotExist when there is none.
func Load(path string) (Saved, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Saved{}, fmt.Errorf("read the last good catalogue: %w", err)
	}
	want, body, _ := bytes.Cut(data, []byte("\n"))
	sum := sha256.Sum256(body)
	if hex.EncodeToString(sum[:]) != string(want) {
		return Saved{}, fmt.Errorf("the last good catalogue %s is damaged: its checksum does not match", path)
	}
	zip, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return Saved{}, fmt.Errorf("read the last good catalogue %s: %w", path, err)
	}
	var s Saved
	if err := json.NewDecoder(io.LimitReader(zip, catalogue.MaxFile)).Decode(&s); err != nil {
		return Saved{}, fmt.Errorf("read the last good catalogue %s: %w", path, err)
	}
	if s.Catalogue == nil {
		return Saved{}, fmt.Errorf("the last good catalogue %s is empty", path)
	}
	return s, nil
}
