package mongostore

import (
	"context"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"patag/app/tag/events/ship"
)

// Reports keeps batches of counted events in the collection "batches". It implements ship.Sink.
type Reports struct{ db *mongo.Database }

// NewReports uses a database.
func NewReports(db *mongo.Database) *Reports { return &Reports{db} }

func (r *Reports) batches() *mongo.Collection { return r.db.Collection("batches") }

// Take implements ship.Sink: the batch id is the document's, so a second time is a duplicate and changes nothing.
func (r *Reports) Take(ctx context.Context, b *ship.Batch) error {
	_, err := r.batches().InsertOne(ctx, b)
	if mongo.IsDuplicateKeyError(err) {
		return nil
	}
	return err
}

// Rows calls fn with every row of the hours in [from, to). A batch is stored after its events happened, so batches older than from
// hold none of them.
func (r *Reports) Rows(ctx context.Context, from, to time.Time, fn func(*ship.Row)) error {
	cur, err := r.batches().Find(ctx, bson.D{{Key: "at", Value: bson.D{{Key: "$gte", Value: from}}}}, options.Find().SetBatchSize(50))
	if err != nil {
		return fmt.Errorf("read the reports: %w", err)
	}
	defer cur.Close(ctx)
	for cur.Next(ctx) {
		var b ship.Batch
		if err := cur.Decode(&b); err != nil {
			return fmt.Errorf("read a batch: %w", err)
		}
		for i := range b.Rows {
			if h := b.Rows[i].Hour; h >= from.Unix() && h < to.Unix() {
				fn(&b.Rows[i])
			}
		}
	}
	if err := cur.Err(); err != nil {
		return fmt.Errorf("read the reports: %w", err)
	}
	return nil
}
