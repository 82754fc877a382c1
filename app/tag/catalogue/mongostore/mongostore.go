// Package mongostore keeps catalogues in a Mongo-compatible store: a collection per kind of document and one document, the head
// (collection "meta", _id "catalogue"), with the version and the settings. It asks little of the store: no transactions, no change
// streams. A writer marks the head as being written, changes documents, then sets the next version; a reader reads the head
// before and after the documents and takes them only when both say the same version. A writer that died half-way leaves the mark:
// readers keep what they have, and the next writer, when the mark is stale, takes over.
//
// Documents carry the version of their schema. Import ensures the indexes and, where the store has them, validators made from the
// documents' types; this package checks on every write all the same.
package mongostore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo"
	"golang.org/x/sync/errgroup"

	"patag/app/tag/catalogue"
)

// Schema is the version of the documents' shape. A reader refuses documents of a later one.
const Schema = 1

// Store is a catalogue in one database.
type Store struct{ db *mongo.Database }

// New uses a database.
func New(db *mongo.Database) *Store { return &Store{db} }

// Errors of reading.
var (
	ErrEmpty   = errors.New("there is no catalogue in the store yet; load one with: tag catalogue import FILE")
	ErrWriting = errors.New("the catalogue is being written")
)

// head is the version document.
type head struct {
	ID       string             `bson:"_id"`
	Version  int64              `bson:"version"`
	Settings catalogue.Settings `bson:"settings"`
	// WritingUntil is set while a writer is at work, to the time after which it must be dead; Writer tells it from the next one.
	WritingUntil time.Time `bson:"writingUntil,omitempty"`
	Writer       string    `bson:"writer,omitempty"`
	Updated      time.Time `bson:"updated"`
}

const headID = "catalogue"

func (s *Store) meta() *mongo.Collection { return s.db.Collection("meta") }

func (s *Store) head(ctx context.Context) (head, error) {
	var h head
	err := s.meta().FindOne(ctx, bson.D{{Key: "_id", Value: headID}}).Decode(&h)
	switch {
	case errors.Is(err, mongo.ErrNoDocuments):
		return h, ErrEmpty
	case err != nil:
		return h, fmt.Errorf("read the catalogue's version: %w", err)
	case !h.WritingUntil.IsZero():
		return h, ErrWriting
	case h.Version == 0:
		return h, ErrEmpty
	}
	return h, nil
}

// Version is the version of the catalogue that can be read now.
func (s *Store) Version(ctx context.Context) (int64, error) {
	h, err := s.head(ctx)
	return h.Version, err
}

// Load reads one consistent catalogue, its documents in the order of ids. It is not validated: what reads it compiles it, and that
// validates.
func (s *Store) Load(ctx context.Context) (*catalogue.Catalogue, int64, error) {
	before, err := s.head(ctx)
	if err != nil {
		return nil, 0, err
	}
	c := &catalogue.Catalogue{}
	// Side by side: FerretDB takes a core for each.
	reads, all := errgroup.WithContext(ctx)
	for _, coll := range collections(c) {
		reads.Go(func() error { return coll.load(all, s.db) })
	}
	if err := reads.Wait(); err != nil {
		return nil, 0, err
	}
	after, err := s.head(ctx)
	if err != nil {
		return nil, 0, err
	}
	if after.Version != before.Version {
		return nil, 0, ErrWriting
	}
	c.Settings = before.Settings
	return c, before.Version, nil
}
