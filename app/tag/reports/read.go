package reports

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"patag/app/tag/events"
	"patag/app/tag/events/ship"
)

// Detail is how finely a report tells times apart.
type Detail int

// Details.
const (
	ByHour Detail = iota
	ByDay         // begin and end must be starts of days in UTC
)

// ErrMoving says that a report could not be read because it was being added up all the time.
var ErrMoving = errors.New("the reports are being added up; ask again")

// ErrTooOld says that only days are left of what is asked for by the hour.
var ErrTooOld = errors.New("hours that old are no longer kept; ask for whole days, such as --from 2026-01-31 --to 2026-02-01 --by day")

// Rows is all rows of [from, to), equal ones added up: by the hour, or by the day.
func (s *Store) Rows(ctx context.Context, from, to time.Time, d Detail) ([]ship.Row, error) {
	return s.rows(ctx, from, to, d, func(*ship.Row) bool { return true })
}

// Delivered is the valid impressions and clicks of line items since the day of a time: rows with nothing else set. It keeps no more
// in memory than that.
func (s *Store) Delivered(ctx context.Context, since time.Time) ([]ship.Row, error) {
	impression, click := events.Impression.String(), events.Click.String()
	return s.rows(ctx, since.UTC().Truncate(24*time.Hour), time.Now().AddDate(0, 0, 2), ByDay, func(r *ship.Row) bool {
		if r.Invalid || r.LineItem == "" || r.Kind != impression && r.Kind != click {
			return false
		}
		*r = ship.Row{Kind: r.Kind, LineItem: r.LineItem, Count: r.Count}
		return true
	})
}

// rows reads until no chain has grown meanwhile. narrow may change a row before it is added up, or leave it out.
func (s *Store) rows(ctx context.Context, from, to time.Time, d Detail, narrow func(*ship.Row) bool) ([]ship.Row, error) {
	chains := []string{minutes, hours}
	if d == ByDay {
		chains = append(chains, days)
	}
	for range 4 {
		rows, same, err := s.read(ctx, from, to, chains, narrow)
		if err != nil {
			return nil, err
		}
		if same {
			return rows, nil
		}
	}
	return nil, ErrMoving
}

// read reads the coarsest chain whole, and of what is finer all that is not merged. It says whether no chain grew meanwhile: else
// something may have moved from where it was still to be read to where it had been read already.
func (s *Store) read(ctx context.Context, from, to time.Time, chains []string, narrow func(*ship.Row) bool) ([]ship.Row, bool, error) {
	tails := make([]tail, len(chains))
	for i, name := range chains {
		var err error
		if tails[i], err = s.tail(ctx, name); err != nil {
			return nil, false, err
		}
	}
	unit := int64(3600)
	coarsest := chains[len(chains)-1]
	if coarsest == days {
		unit = 24 * 3600
	} else if err := s.kept(ctx, from, to); err != nil {
		return nil, false, err
	}
	var total sum
	for i, name := range append([]string{batches}, chains...) {
		filter := bson.D{}
		if name != coarsest {
			filter = append(filter, notMerged)
		}
		if name != batches {
			filter = append(filter, bson.E{Key: "last", Value: bson.D{{Key: "$gte", Value: from.Unix() / unit * unit}}},
				bson.E{Key: "first", Value: bson.D{{Key: "$lt", Value: to.Unix()}}})
		}
		unmarked := map[any]bool{}
		if i < len(tails) {
			for _, id := range tails[i].Inputs {
				unmarked[id] = true
			}
		}
		if err := s.each(ctx, name, filter, func(in *input) {
			if unmarked[in.ID] {
				return
			}
			for _, r := range in.Rows {
				r.Hour = r.Hour / unit * unit
				if r.Hour >= from.Unix()/unit*unit && r.Hour < to.Unix() && narrow(&r) {
					total.add(r)
				}
			}
		}); err != nil {
			return nil, false, err
		}
	}
	for i, name := range chains {
		t, err := s.tail(ctx, name)
		if err != nil || t.N != tails[i].N {
			return nil, false, err
		}
	}
	return total.rows, true, nil
}

func (s *Store) each(ctx context.Context, name string, filter bson.D, fn func(*input)) error {
	cur, err := s.db.Collection(name).Find(ctx, filter, options.Find().SetBatchSize(50))
	if err != nil {
		return fmt.Errorf("read the reports: %w", err)
	}
	defer cur.Close(ctx)
	for cur.Next(ctx) {
		var in input
		if err := cur.Decode(&in); err != nil {
			return fmt.Errorf("read a document of %s: %w", name, err)
		}
		fn(&in)
	}
	if err := cur.Err(); err != nil {
		return fmt.Errorf("read the reports: %w", err)
	}
	return nil
}

// kept refuses hours that have been removed: reporting none would be a lie. Days know what there was.
func (s *Store) kept(ctx context.Context, from, to time.Time) error {
	var oldest struct {
		At time.Time `bson:"at"`
		N  int64     `bson:"_id"`
	}
	err := s.db.Collection(hours).FindOne(ctx, bson.D{}, options.FindOne().SetSort(bson.D{{Key: "_id", Value: 1}}).
		SetProjection(bson.D{{Key: "at", Value: 1}})).Decode(&oldest)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the oldest hour: %w", err)
	}
	// Rows of a part may be older than the part, by what waited in journals: a day is more than they wait.
	if oldest.N > 1 && from.Before(oldest.At.Add(-24*time.Hour)) {
		n, err := s.db.Collection(days).CountDocuments(ctx, bson.D{{Key: "last", Value: bson.D{{Key: "$gte", Value: from.Unix() - 24*3600}}},
			{Key: "first", Value: bson.D{{Key: "$lt", Value: min(to.Unix(), oldest.At.Unix())}}}})
		if err != nil {
			return fmt.Errorf("read the days: %w", err)
		}
		if n > 0 {
			return ErrTooOld
		}
	}
	return nil
}
