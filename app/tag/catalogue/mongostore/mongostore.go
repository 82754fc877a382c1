// Package mongostore keeps catalogues in a Mongo-compatible store: a collection per kind of document and one document, the head
// (collection "meta", _id "catalogue"), with the version and the settings. It asks little of the store: no transactions, no change
// streams. A writer marks the head as being written, changes documents, then sets the next version; a reader reads the head
// before and after the documents and takes them only when both say the same version. A writer that died half-way leaves the mark:
// readers keep what they have, and the next writer, when the mark is stale, takes over.
package mongostore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"patag/app/tag/catalogue"
)

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
	// WritingUntil is set while a writer is at work, to the time after which it must be dead.
	WritingUntil time.Time `bson:"writingUntil,omitempty"`
	Updated      time.Time `bson:"updated"`
}

const (
	headID = "catalogue"
	// A writer that takes longer gives up; one that is silent for as long is dead.
	writeTime = 2 * time.Minute
	chunk     = 500
)

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

// Load reads one consistent catalogue. It is not validated: what reads it compiles it, and that validates.
func (s *Store) Load(ctx context.Context) (*catalogue.Catalogue, int64, error) {
	before, err := s.head(ctx)
	if err != nil {
		return nil, 0, err
	}
	c, err := s.documents(ctx)
	if err != nil {
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

func (s *Store) documents(ctx context.Context) (*catalogue.Catalogue, error) {
	c := &catalogue.Catalogue{}
	for _, read := range []func() error{
		func() error { return all(ctx, s.db, "publishers", &c.Publishers) },
		func() error { return all(ctx, s.db, "sites", &c.Sites) },
		func() error { return all(ctx, s.db, "placements", &c.Placements) },
		func() error { return all(ctx, s.db, "advertisers", &c.Advertisers) },
		func() error { return all(ctx, s.db, "campaigns", &c.Campaigns) },
		func() error { return all(ctx, s.db, "lineItems", &c.LineItems) },
		func() error { return all(ctx, s.db, "creatives", &c.Creatives) },
	} {
		if err := read(); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// all reads a collection in the order of ids, so that the same documents always compile to the same snapshot.
func all[T any](ctx context.Context, db *mongo.Database, name string, into *[]T) error {
	cur, err := db.Collection(name).Find(ctx, bson.D{}, options.Find().SetSort(bson.D{{Key: "_id", Value: 1}}))
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	if err := cur.All(ctx, into); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

// Result of an import.
type Result struct {
	Version          int64
	Written, Removed int
	Unchanged        bool // the store held exactly this catalogue
}

// Import makes the store hold exactly this catalogue. It validates first, and changes nothing when that fails; importing the same
// catalogue again changes nothing.
func (s *Store) Import(ctx context.Context, c *catalogue.Catalogue) (Result, error) {
	if err := catalogue.Validate(c); err != nil {
		return Result{}, err
	}
	h, err := s.lock(ctx)
	if err != nil {
		return Result{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, writeTime/2)
	defer cancel()
	r := Result{Version: h.Version}
	for _, write := range []func() error{
		func() error {
			return sync(ctx, s.db, "publishers", c.Publishers, func(d *catalogue.Publisher) string { return d.ID }, &r)
		},
		func() error {
			return sync(ctx, s.db, "sites", c.Sites, func(d *catalogue.Site) string { return d.ID }, &r)
		},
		func() error {
			return sync(ctx, s.db, "placements", c.Placements, func(d *catalogue.Placement) string { return d.ID }, &r)
		},
		func() error {
			return sync(ctx, s.db, "advertisers", c.Advertisers, func(d *catalogue.Advertiser) string { return d.ID }, &r)
		},
		func() error {
			return sync(ctx, s.db, "campaigns", c.Campaigns, func(d *catalogue.Campaign) string { return d.ID }, &r)
		},
		func() error {
			return sync(ctx, s.db, "lineItems", c.LineItems, func(d *catalogue.LineItem) string { return d.ID }, &r)
		},
		func() error {
			return sync(ctx, s.db, "creatives", c.Creatives, func(d *catalogue.Creative) string { return d.ID }, &r)
		},
	} {
		if err := write(); err != nil {
			return Result{}, fmt.Errorf("%w; servers keep the catalogue they have: import again", err)
		}
	}
	// After a writer that died (stale mark) documents may differ from version h.Version although nothing was written now.
	r.Unchanged = r.Written == 0 && r.Removed == 0 && sameSettings(h.Settings, c.Settings) && h.WritingUntil.IsZero() && h.Version > 0
	if !r.Unchanged {
		r.Version = h.Version + 1
	}
	next := head{ID: headID, Version: r.Version, Settings: c.Settings, Updated: h.Updated}
	if !r.Unchanged {
		next.Updated = time.Now().UTC()
	}
	if _, err := s.meta().ReplaceOne(ctx, bson.D{{Key: "_id", Value: headID}}, next); err != nil {
		return Result{}, fmt.Errorf("set the catalogue's version: %w; servers keep the catalogue they have: import again", err)
	}
	return r, nil
}

func sameSettings(a, b catalogue.Settings) bool {
	x, errX := bson.Marshal(a)
	y, errY := bson.Marshal(b)
	return a.Currency == b.Currency && (bytes.Equal(x, y) || sameRates(a.Rates, b.Rates)) && errX == nil && errY == nil
}

func sameRates(a, b map[string]int64) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if b[k] != v {
			return false
		}
	}
	return true
}

// lock marks the head as being written and returns it as it was before.
func (s *Store) lock(ctx context.Context) (head, error) {
	now := time.Now().UTC()
	_, err := s.meta().InsertOne(ctx, head{ID: headID, Updated: now})
	if err != nil && !mongo.IsDuplicateKeyError(err) {
		return head{}, fmt.Errorf("reach the store: %w", err)
	}
	free := bson.D{{Key: "_id", Value: headID}, {Key: "$or", Value: bson.A{
		bson.D{{Key: "writingUntil", Value: bson.D{{Key: "$exists", Value: false}}}},
		bson.D{{Key: "writingUntil", Value: bson.D{{Key: "$lt", Value: now}}}},
	}}}
	var h head
	err = s.meta().FindOneAndUpdate(ctx, free, bson.D{{Key: "$set", Value: bson.D{{Key: "writingUntil", Value: now.Add(writeTime)}}}},
		options.FindOneAndUpdate().SetReturnDocument(options.Before)).Decode(&h)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return h, fmt.Errorf("%w by another import; wait for it, or %s if it died", ErrWriting, writeTime)
	}
	if err != nil {
		return h, fmt.Errorf("mark the catalogue as being written: %w", err)
	}
	return h, nil
}

// sync makes a collection hold exactly docs, and writes only what differs.
func sync[T any](ctx context.Context, db *mongo.Database, name string, docs []T, id func(*T) string, r *Result) error {
	coll := db.Collection(name)
	var existing []T
	if err := all(ctx, db, name, &existing); err != nil {
		return err
	}
	have := make(map[string]*T, len(existing))
	for i := range existing {
		have[id(&existing[i])] = &existing[i]
	}
	var writes []mongo.WriteModel
	for i := range docs {
		key := id(&docs[i])
		same, err := equal(have[key], &docs[i])
		if err != nil {
			return fmt.Errorf("%s %q: %w", name, key, err)
		}
		delete(have, key)
		if !same {
			writes = append(writes, mongo.NewReplaceOneModel().SetFilter(bson.D{{Key: "_id", Value: key}}).SetReplacement(docs[i]).SetUpsert(true))
		}
	}
	r.Written += len(writes)
	r.Removed += len(have)
	for key := range have {
		writes = append(writes, mongo.NewDeleteOneModel().SetFilter(bson.D{{Key: "_id", Value: key}}))
	}
	for part := range slices.Chunk(writes, chunk) {
		if _, err := coll.BulkWrite(ctx, part, options.BulkWrite().SetOrdered(false)); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	return nil
}

// equal compares documents as they are written. Maps have no order, so they are compared in extended JSON with sorted keys.
func equal[T any](a, b *T) (bool, error) {
	if a == nil {
		return false, nil
	}
	x, err := canonical(a)
	if err != nil {
		return false, err
	}
	y, err := canonical(b)
	if err != nil {
		return false, err
	}
	return bytes.Equal(x, y), nil
}
