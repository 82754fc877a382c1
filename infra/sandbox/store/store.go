// Package store keeps the resources of the sandbox's Google API: one JSON document per resource under a key
// that is the resource's path, without scheme, host and version
// ("compute/projects/p/global/addresses/web"). Every write is on disk before it returns, so the state
// survives a kill at any moment. It knows nothing of what the documents mean.
package store

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"go.etcd.io/bbolt"
)

var bucket = []byte("resources")

// Store is safe for concurrent use.
type Store struct{ db *bbolt.DB }

// Open opens or makes the file. It fails at once when another process holds it.
func Open(path string) (*Store, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: 2 * time.Second})
	if err != nil {
		return nil, fmt.Errorf("open resource store %s: %w", path, err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(bucket)
		return err
	})
	if err != nil {
		db.Close()
		return nil, err
	}
	return &Store{db}, nil
}

// Close waits for running transactions.
func (s *Store) Close() error { return s.db.Close() }

// Tx is one transaction; it must not be used after its function has returned.
type Tx struct{ b *bbolt.Bucket }

// View runs fn on a consistent, read-only state.
func (s *Store) View(fn func(Tx) error) error {
	return s.db.View(func(tx *bbolt.Tx) error { return fn(Tx{tx.Bucket(bucket)}) })
}

// Update runs fn alone; its writes are kept if it returns nil, else none of them is.
func (s *Store) Update(fn func(Tx) error) error {
	return s.db.Update(func(tx *bbolt.Tx) error { return fn(Tx{tx.Bucket(bucket)}) })
}

// Get decodes the document at key into v and tells whether there is one.
func (t Tx) Get(key string, v any) (bool, error) {
	raw := t.b.Get([]byte(key))
	if raw == nil {
		return false, nil
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return true, fmt.Errorf("read %s: %w", key, err)
	}
	return true, nil
}

// Has tells whether there is a document at key.
func (t Tx) Has(key string) bool { return t.b.Get([]byte(key)) != nil }

// Put writes v at key.
func (t Tx) Put(key string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write %s: %w", key, err)
	}
	return t.b.Put([]byte(key), raw)
}

// Delete removes the document at key, if there is one.
func (t Tx) Delete(key string) error { return t.b.Delete([]byte(key)) }

// List calls fn for every key with the prefix, in order, with the raw document (valid only during the call).
func (t Tx) List(prefix string, fn func(key string, raw []byte) error) error {
	p, c := []byte(prefix), t.b.Cursor()
	for k, v := c.Seek(p); k != nil && bytes.HasPrefix(k, p); k, v = c.Next() {
		if err := fn(string(k), v); err != nil {
			return err
		}
	}
	return nil
}

// Next returns a number that was never returned before, for ids and operation names.
func (t Tx) Next() (uint64, error) { return t.b.NextSequence() }

// Get reads one document.
func (s *Store) Get(key string, v any) (found bool, err error) {
	err = s.View(func(t Tx) error { found, err = t.Get(key, v); return err })
	return found, err
}

// Put writes one document.
func (s *Store) Put(key string, v any) error {
	return s.Update(func(t Tx) error { return t.Put(key, v) })
}

// Delete removes one document.
func (s *Store) Delete(key string) error {
	return s.Update(func(t Tx) error { return t.Delete(key) })
}
