// Package reports keeps what was counted in a Mongo-compatible store and reads it back. In go batches, one per journal segment;
// they are the truth. A Compactor adds them up: batches into minutes, minutes into hours, hours into days, each a collection of
// parts numbered in a chain. A part is written once and never changes, names what it adds up, and its number is its _id: of two
// compactors that make the next part only one can insert it. It then marks its inputs as merged; whoever goes on with the chain
// first does that for the last part again, so that a crash between the two leaves nothing to count twice. This needs no
// transaction, no update that depends on what it meets, and no lock: inserts with a unique _id and marks that may be set again.
//
// A reader takes the parts it wants, and of each finer collection what is not merged yet; it reads again when a chain has grown
// meanwhile. Times are of the clocks of those who wrote; days are days in UTC.
package reports

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"patag/app/tag/events/ship"
)

// Store of reports in one database.
type Store struct{ db *mongo.Database }

// New uses a database.
func New(db *mongo.Database) *Store { return &Store{db} }

// Collections, from fine to coarse.
const (
	batches = "batches"
	minutes = "reportMinutes"
	hours   = "reportHours"
	days    = "reportDays"
)

// stored is a batch as it is stored.
type stored struct {
	ship.Batch `bson:",inline"`
	Merged     bool `bson:"merged"`
}

// part is equal rows of its inputs, added up.
type part struct {
	N  int64     `bson:"_id"`
	At time.Time `bson:"at"`
	// First and Last hour (or day) of its rows, Unix seconds of their start.
	First int64 `bson:"first"`
	Last  int64 `bson:"last"`
	// Inputs are the _ids of what it adds up. Older parts' inputs are all marked as merged; the last one's may not be yet.
	Inputs []any      `bson:"inputs"`
	Merged bool       `bson:"merged"` // into the next coarser collection
	Rows   []ship.Row `bson:"rows"`
}

// Take implements ship.Sink: the batch id is the document's, so a second time is a duplicate and changes nothing.
func (s *Store) Take(ctx context.Context, b *ship.Batch) error {
	_, err := s.db.Collection(batches).InsertOne(ctx, stored{Batch: *b})
	if mongo.IsDuplicateKeyError(err) {
		return nil
	}
	return err
}

// Indexes makes the indexes that reading and compacting use; those that exist stay.
func (s *Store) Indexes(ctx context.Context) error {
	for _, name := range []string{batches, minutes, hours, days} {
		keys := []bson.D{{{Key: "merged", Value: 1}, {Key: "at", Value: 1}}}
		if name == hours || name == days {
			keys = append(keys, bson.D{{Key: "last", Value: 1}, {Key: "first", Value: 1}})
		}
		for _, k := range keys {
			if _, err := s.db.Collection(name).Indexes().CreateOne(ctx, mongo.IndexModel{Keys: k}); err != nil {
				return fmt.Errorf("make an index of %s: %w", name, err)
			}
		}
	}
	return nil
}

// notMerged selects what no coarser part has been marked to hold. Batches of earlier versions have no mark.
var notMerged = bson.E{Key: "merged", Value: bson.D{{Key: "$ne", Value: true}}}

// tail is the end of a chain: its last number, 0 for none, and the inputs of the last part, which may not be marked yet.
type tail struct {
	N      int64 `bson:"_id"`
	Inputs []any `bson:"inputs"`
}

func (s *Store) tail(ctx context.Context, collection string) (t tail, err error) {
	err = s.db.Collection(collection).FindOne(ctx, bson.D{}, options.FindOne().SetSort(bson.D{{Key: "_id", Value: -1}}).
		SetProjection(bson.D{{Key: "inputs", Value: 1}})).Decode(&t)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return tail{}, nil
	}
	if err != nil {
		return t, fmt.Errorf("read the end of %s: %w", collection, err)
	}
	return t, nil
}

// sum adds rows up by all that tells them apart.
type sum struct {
	at   map[ship.Row]int
	rows []ship.Row
}

func (m *sum) add(r ship.Row) {
	key := r
	key.Count, key.CPMMicros = 0, 0
	if i, ok := m.at[key]; ok {
		m.rows[i].Count += r.Count
		m.rows[i].CPMMicros += r.CPMMicros
		return
	}
	if m.at == nil {
		m.at = map[ship.Row]int{}
	}
	m.at[key] = len(m.rows)
	m.rows = append(m.rows, r)
}
