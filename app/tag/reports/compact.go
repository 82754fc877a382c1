package reports

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"patag/app/tag/events/ship"
)

// level is one step of adding up.
type level struct {
	from, to string
	unit     int64 // seconds that a row's hour is rounded down to
	// Inputs older than ready are taken; at least `enough` of them, or any when the oldest is older than patience.
	ready    func(now time.Time) time.Time
	enough   int
	patience time.Duration
}

var levels = []level{
	{from: batches, to: minutes, unit: 3600, ready: func(now time.Time) time.Time { return now }, enough: 500, patience: 5 * time.Minute},
	// Ten minutes after the hour its last batches have come; those that come later are in a later part.
	{from: minutes, to: hours, unit: 3600, ready: func(now time.Time) time.Time { return now.Add(-10 * time.Minute).Truncate(time.Hour) }, enough: 1},
	{from: hours, to: days, unit: 24 * 3600, ready: func(now time.Time) time.Time { return now.Add(-2 * time.Hour).Truncate(24 * time.Hour) }, enough: 1},
}

const (
	// A part is far below the 16 MB of a document: 200 to 500 bytes a row, 36 an input.
	maxRows   = 20_000
	maxInputs = 2_000
	roundTime = 2 * time.Minute
)

// Compactor adds batches up in the background. Every tag server runs one; they need not know of each other.
type Compactor struct {
	Store  *Store
	Logger *slog.Logger
	Every  time.Duration // default 30 s
	// KeepBatches and KeepHours are how long what has been added up is kept; defaults 2 and 95 days. Days are kept for good.
	KeepBatches, KeepHours time.Duration
	// Now is the clock; default time.Now.
	Now   func() time.Time
	Stats Stats

	failing bool
	swept   time.Time
}

// Stats since start.
type Stats struct{ Parts, Inputs, Conflicts, Removed, Failures atomic.Int64 }

func (c *Compactor) now() time.Time {
	if c.Now != nil {
		return c.Now()
	}
	return time.Now()
}

// Run compacts until ctx ends.
func (c *Compactor) Run(ctx context.Context) {
	every := c.Every
	if every == 0 {
		every = 30 * time.Second
	}
	indexed := false
	for {
		// Jitter keeps a fleet's compactors apart: when two meet, one has worked for nothing.
		select {
		case <-ctx.Done():
			return
		case <-time.After(every/2 + rand.N(every)):
		}
		var err error
		if !indexed {
			err = c.Store.Indexes(ctx)
			indexed = err == nil
		}
		if err == nil {
			err = c.Compact(ctx)
		}
		if ctx.Err() != nil {
			return
		}
		switch {
		case err != nil:
			c.Stats.Failures.Add(1)
			if !c.failing {
				c.Logger.Warn("reports: cannot be added up now; they are complete, and slower to read", "err", err)
			}
		case c.failing:
			c.Logger.Info("reports: are added up again")
		}
		c.failing = err != nil
	}
}

// Compact adds up what is due, and removes what has been added up for long enough.
func (c *Compactor) Compact(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, roundTime)
	defer cancel()
	for i := range levels {
		for more := true; more; {
			var err error
			if more, err = c.round(ctx, &levels[i]); err != nil {
				return err
			}
		}
	}
	return c.sweep(ctx)
}

// round makes at most one part of a level; it says whether there may be another one to make at once.
func (c *Compactor) round(ctx context.Context, l *level) (more bool, err error) {
	// The end of the chain is read before the inputs: whatever another compactor merges after that makes the insert below fail.
	t, err := c.Store.tail(ctx, l.to)
	if err != nil {
		return false, err
	}
	if err := c.mark(ctx, l, t.Inputs); err != nil {
		return false, err
	}
	p, err := c.gather(ctx, l)
	if err != nil || p == nil {
		return false, err
	}
	p.N = t.N + 1
	_, err = c.Store.db.Collection(l.to).InsertOne(ctx, p)
	if mongo.IsDuplicateKeyError(err) {
		c.Stats.Conflicts.Add(1)
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("add %s up: %w", l.from, err)
	}
	c.Stats.Parts.Add(1)
	c.Stats.Inputs.Add(int64(len(p.Inputs)))
	return true, c.mark(ctx, l, p.Inputs)
}

func (c *Compactor) mark(ctx context.Context, l *level, inputs []any) error {
	if len(inputs) == 0 {
		return nil
	}
	_, err := c.Store.db.Collection(l.from).UpdateMany(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: inputs}}}, notMerged},
		bson.D{{Key: "$set", Value: bson.D{{Key: "merged", Value: true}}}})
	if err != nil {
		return fmt.Errorf("mark %s as added up: %w", l.from, err)
	}
	return nil
}

// input is what batches and parts have in common.
type input struct {
	ID   any        `bson:"_id"`
	At   time.Time  `bson:"at"`
	Rows []ship.Row `bson:"rows"`
}

// gather adds up what is due at a level; nil when that is too little to be worth a part.
func (c *Compactor) gather(ctx context.Context, l *level) (*part, error) {
	now := c.now()
	filter := bson.D{notMerged, {Key: "at", Value: bson.D{{Key: "$lt", Value: l.ready(now)}}}}
	coll := c.Store.db.Collection(l.from)
	if l.enough > 1 {
		n, err := coll.CountDocuments(ctx, filter)
		if err != nil {
			return nil, fmt.Errorf("count %s: %w", l.from, err)
		}
		if n < int64(l.enough) {
			if n, err = coll.CountDocuments(ctx, bson.D{notMerged, {Key: "at", Value: bson.D{{Key: "$lt", Value: now.Add(-l.patience)}}}}); err != nil {
				return nil, fmt.Errorf("count %s: %w", l.from, err)
			}
			if n == 0 {
				return nil, nil
			}
		}
	}
	cur, err := coll.Find(ctx, filter, options.Find().SetSort(bson.D{{Key: "at", Value: 1}}).SetLimit(maxInputs).SetBatchSize(50))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", l.from, err)
	}
	defer cur.Close(ctx)
	p := &part{At: now.UTC()}
	var s sum
	for cur.Next(ctx) {
		var in input
		if err := cur.Decode(&in); err != nil {
			return nil, fmt.Errorf("read a document of %s: %w", l.from, err)
		}
		if len(p.Inputs) > 0 && len(s.rows)+len(in.Rows) > maxRows {
			break
		}
		p.Inputs = append(p.Inputs, in.ID)
		for _, r := range in.Rows {
			r.Hour = r.Hour / l.unit * l.unit
			s.add(r)
		}
	}
	if err := cur.Err(); err != nil {
		return nil, fmt.Errorf("read %s: %w", l.from, err)
	}
	if len(p.Inputs) == 0 {
		return nil, nil
	}
	p.Rows = s.rows
	for i, r := range p.Rows {
		if i == 0 {
			p.First, p.Last = r.Hour, r.Hour
		}
		p.First, p.Last = min(p.First, r.Hour), max(p.Last, r.Hour)
	}
	return p, nil
}

// sweep removes what has been added up and kept for long enough, once an hour. The last part of a chain stays: the next one's
// number follows from it. Batches are kept for days because a batch that is sent again must meet itself.
func (c *Compactor) sweep(ctx context.Context) error {
	now := c.now()
	if now.Sub(c.swept) < time.Hour {
		return nil
	}
	keepBatches, keepHours := c.KeepBatches, c.KeepHours
	if keepBatches == 0 {
		keepBatches = 48 * time.Hour
	}
	if keepHours == 0 {
		keepHours = 95 * 24 * time.Hour
	}
	for name, keep := range map[string]time.Duration{batches: keepBatches, minutes: keepBatches, hours: keepHours} {
		filter := bson.D{{Key: "merged", Value: true}, {Key: "at", Value: bson.D{{Key: "$lt", Value: now.Add(-keep)}}}}
		if name != batches {
			t, err := c.Store.tail(ctx, name)
			if err != nil {
				return err
			}
			filter = append(filter, bson.E{Key: "_id", Value: bson.D{{Key: "$lt", Value: t.N}}})
		}
		r, err := c.Store.db.Collection(name).DeleteMany(ctx, filter)
		if err != nil {
			return fmt.Errorf("remove old %s: %w", name, err)
		}
		c.Stats.Removed.Add(r.DeletedCount)
	}
	c.swept = now
	return nil
}
