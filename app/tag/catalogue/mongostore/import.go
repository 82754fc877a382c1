package mongostore

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"patag/app/tag/catalogue"
)

// writeTime is how long a writer may be silent before it counts as dead. It renews its mark several times in it.
const writeTime = 2 * time.Minute

// Result of an import.
type Result struct {
	Version          int64
	Written, Removed int
	Unchanged        bool // the store held exactly this catalogue
	// NoValidators says that the store has none (FerretDB 1): documents are checked by this program alone.
	NoValidators bool
}

// Import makes the store hold exactly this catalogue. It checks it first, and changes nothing when that fails; importing the same
// catalogue again changes nothing.
func (s *Store) Import(ctx context.Context, c *catalogue.Catalogue) (Result, error) {
	if err := catalogue.Check(c); err != nil {
		return Result{}, err
	}
	w, err := s.lock(ctx)
	if err != nil {
		return Result{}, err
	}
	r := Result{Version: w.before.Version}
	again := func(err error) (Result, error) {
		w.abandon(ctx)
		return Result{}, fmt.Errorf("%w; servers keep the catalogue they have: import again", err)
	}
	for _, coll := range collections(c) {
		if err := coll.ensure(ctx, s.db, &r); err != nil {
			return again(err)
		}
		if err := coll.sync(ctx, w, &r); err != nil {
			return again(err)
		}
	}
	// After a writer that died (stale mark) documents may differ from version Version although nothing was written now.
	before := w.before
	r.Unchanged = r.Written == 0 && r.Removed == 0 && sameSettings(before.Settings, c.Settings) && before.WritingUntil.IsZero() && before.Version > 0
	next := head{ID: headID, Version: before.Version, Settings: c.Settings, Updated: before.Updated}
	if !r.Unchanged {
		next.Version, next.Updated = before.Version+1, time.Now().UTC()
	}
	r.Version = next.Version
	if err := w.finish(ctx, next); err != nil {
		return again(err)
	}
	return r, nil
}

// sameSettings compares as JSON: it sorts the keys of maps.
func sameSettings(a, b catalogue.Settings) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// writer is one import at work.
type writer struct {
	store   *Store
	name    string
	before  head // as it was
	renewed time.Time
}

// lock marks the head as being written.
func (s *Store) lock(ctx context.Context) (*writer, error) {
	now := time.Now().UTC()
	_, err := s.meta().InsertOne(ctx, head{ID: headID, Updated: now})
	if err != nil && !mongo.IsDuplicateKeyError(err) {
		return nil, fmt.Errorf("reach the store: %w", err)
	}
	free := bson.D{{Key: "_id", Value: headID}, {Key: "$or", Value: bson.A{
		bson.D{{Key: "writingUntil", Value: bson.D{{Key: "$exists", Value: false}}}},
		bson.D{{Key: "writingUntil", Value: bson.D{{Key: "$lt", Value: now}}}},
	}}}
	w := &writer{store: s, name: rand.Text(), renewed: now}
	err = s.meta().FindOneAndUpdate(ctx, free, w.mark(now), options.FindOneAndUpdate().SetReturnDocument(options.Before)).Decode(&w.before)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return nil, fmt.Errorf("%w by another import; wait for it, or %s if it died", ErrWriting, writeTime)
	}
	if err != nil {
		return nil, fmt.Errorf("mark the catalogue as being written: %w", err)
	}
	return w, nil
}

func (w *writer) mark(now time.Time) bson.D {
	return bson.D{{Key: "$set", Value: bson.D{{Key: "writingUntil", Value: now.Add(writeTime)}, {Key: "writer", Value: w.name}}}}
}

func (w *writer) mine() bson.D {
	return bson.D{{Key: "_id", Value: headID}, {Key: "writer", Value: w.name}}
}

var errLost = errors.New("another import took over, because this one was silent for too long")

// renew is called between reads and writes. A writer that lost the mark stops.
func (w *writer) renew(ctx context.Context) error {
	now := time.Now().UTC()
	if now.Sub(w.renewed) < writeTime/8 {
		return nil
	}
	res, err := w.store.meta().UpdateOne(ctx, w.mine(), w.mark(now))
	if err != nil {
		return fmt.Errorf("renew the mark of the import: %w", err)
	}
	if res.MatchedCount == 0 {
		return errLost
	}
	w.renewed = now
	return nil
}

// abandon lets the next import take over at once. The mark stays, so that nobody reads what is half written.
func (w *writer) abandon(ctx context.Context) {
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	// Without an answer the mark runs out by itself.
	_, _ = w.store.meta().UpdateOne(end, w.mine(), bson.D{{Key: "$set", Value: bson.D{{Key: "writingUntil", Value: time.Now().UTC()}}}})
}

// finish takes the mark away and sets the version.
func (w *writer) finish(ctx context.Context, next head) error {
	res, err := w.store.meta().ReplaceOne(ctx, w.mine(), next)
	if err != nil {
		return fmt.Errorf("set the catalogue's version: %w", err)
	}
	if res.MatchedCount == 0 {
		return errLost
	}
	return nil
}
