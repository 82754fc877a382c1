package mongostore

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"patag/app/tag/catalogue"
)

// collection is one kind of documents, in the store and in a catalogue.
type collection interface {
	load(ctx context.Context, db *mongo.Database) error
	ensure(ctx context.Context, db *mongo.Database, r *Result) error
	sync(ctx context.Context, w *writer, r *Result) error
}

type documents[T any] struct {
	name string
	docs *[]T
	id   func(*T) string
	// indexes by field, beside that of ids: the references that people and the admin follow backwards.
	indexes []string
}

// collections of a catalogue.
func collections(c *catalogue.Catalogue) []collection {
	return []collection{
		documents[catalogue.Publisher]{"publishers", &c.Publishers, func(d *catalogue.Publisher) string { return d.ID }, nil},
		documents[catalogue.Site]{"sites", &c.Sites, func(d *catalogue.Site) string { return d.ID }, []string{"publisher"}},
		documents[catalogue.Placement]{"placements", &c.Placements, func(d *catalogue.Placement) string { return d.ID }, []string{"site"}},
		documents[catalogue.Advertiser]{"advertisers", &c.Advertisers, func(d *catalogue.Advertiser) string { return d.ID }, nil},
		documents[catalogue.Campaign]{"campaigns", &c.Campaigns, func(d *catalogue.Campaign) string { return d.ID }, []string{"advertiser"}},
		documents[catalogue.LineItem]{"lineItems", &c.LineItems, func(d *catalogue.LineItem) string { return d.ID }, []string{"campaign", "placements"}},
		documents[catalogue.Creative]{"creatives", &c.Creatives, func(d *catalogue.Creative) string { return d.ID }, []string{"advertiser"}},
		documents[catalogue.DemandPartner]{"demandPartners", &c.DemandPartners, func(d *catalogue.DemandPartner) string { return d.ID }, nil},
		documents[catalogue.DemandSource]{"demandSources", &c.DemandSources, func(d *catalogue.DemandSource) string { return d.ID }, []string{"partner"}},
		documents[catalogue.Deal]{"deals", &c.Deals, func(d *catalogue.Deal) string { return d.ID }, []string{"source"}},
	}
}

// stored is a document with the version of its schema.
type stored[T any] struct {
	Doc    T   `bson:",inline"`
	Schema int `bson:"schema"`
}

// key is what is read of a stored document before it is compared.
type key struct {
	ID     string `bson:"_id"`
	Schema int    `bson:"schema"`
}

func (d documents[T]) read(ctx context.Context, db *mongo.Database, each func(bson.Raw, key) error) error {
	cur, err := db.Collection(d.name).Find(ctx, bson.D{}, options.Find().SetBatchSize(2000))
	if err != nil {
		return fmt.Errorf("read %s: %w", d.name, err)
	}
	defer cur.Close(ctx)
	for cur.Next(ctx) {
		var k key
		if err := bson.Unmarshal(cur.Current, &k); err != nil {
			return fmt.Errorf("read %s: %w", d.name, err)
		}
		if k.Schema > Schema {
			return fmt.Errorf("%s %q has schema %d, written by a later version of this program, which knows %d; update it", d.name, k.ID, k.Schema, Schema)
		}
		if err := each(cur.Current, k); err != nil {
			return err
		}
	}
	if err := cur.Err(); err != nil {
		return fmt.Errorf("read %s: %w", d.name, err)
	}
	return nil
}

// load reads the documents and sorts them by id, so that the same documents always compile to the same snapshot.
func (d documents[T]) load(ctx context.Context, db *mongo.Database) error {
	err := d.read(ctx, db, func(raw bson.Raw, k key) error {
		var doc T
		if err := bson.Unmarshal(raw, &doc); err != nil {
			return fmt.Errorf("%s %q cannot be read: %w", d.name, k.ID, err)
		}
		*d.docs = append(*d.docs, doc)
		return nil
	})
	slices.SortFunc(*d.docs, func(a, b T) int { return cmp.Compare(d.id(&a), d.id(&b)) })
	return err
}

// Writes go out in parts that stay well under the 16 MiB and 100,000 writes of one message.
const (
	partWrites = 1000
	partBytes  = 4 << 20
)

// sync makes the collection hold exactly the documents, and writes only what differs.
func (d documents[T]) sync(ctx context.Context, w *writer, r *Result) error {
	want := make(map[string]*T, len(*d.docs))
	for i := range *d.docs {
		want[d.id(&(*d.docs)[i])] = &(*d.docs)[i]
	}
	var out part
	out.coll, out.w = w.store.db.Collection(d.name), w
	var gone, changed []string
	err := d.read(ctx, w.store.db, func(raw bson.Raw, k key) error {
		if err := w.renew(ctx); err != nil { // large collections take their time to read
			return err
		}
		doc := want[k.ID]
		if doc == nil {
			gone = append(gone, k.ID)
			return nil
		}
		same, err := d.same(raw, k, doc)
		if err != nil {
			return fmt.Errorf("compare %s %q: %w", d.name, k.ID, err)
		}
		if !same {
			changed = append(changed, k.ID)
			return nil
		}
		delete(want, k.ID)
		return nil
	})
	if err != nil {
		return err
	}
	r.Written += len(want)
	r.Removed += len(gone)
	for _, id := range changed {
		raw, err := d.encode(want[id])
		if err != nil {
			return err
		}
		delete(want, id)
		if err := out.add(ctx, mongo.NewReplaceOneModel().SetFilter(bson.D{{Key: "_id", Value: id}}).SetReplacement(raw), len(raw)); err != nil {
			return err
		}
	}
	for _, id := range gone {
		if err := out.add(ctx, mongo.NewDeleteOneModel().SetFilter(bson.D{{Key: "_id", Value: id}}), len(id)); err != nil {
			return err
		}
	}
	// What is left is new, and goes in the order of the file.
	for i := range *d.docs {
		doc := &(*d.docs)[i]
		if want[d.id(doc)] == nil {
			continue
		}
		raw, err := d.encode(doc)
		if err != nil {
			return err
		}
		if err := out.add(ctx, mongo.NewInsertOneModel().SetDocument(raw), len(raw)); err != nil {
			return err
		}
	}
	return out.flush(ctx)
}

func (d documents[T]) encode(doc *T) (bson.Raw, error) {
	raw, err := marshal(stored[T]{*doc, Schema})
	if err != nil {
		return nil, fmt.Errorf("encode %s %q: %w", d.name, d.id(doc), err)
	}
	return raw, nil
}

// same compares a document as it is stored and as it would be. Maps are stored in no order, so unequal bytes are looked at again.
func (d documents[T]) same(have bson.Raw, k key, doc *T) (bool, error) {
	if k.Schema != Schema {
		return false, nil
	}
	raw, err := d.encode(doc)
	if err != nil {
		return false, err
	}
	if bytes.Equal(have, raw) {
		return true, nil
	}
	x, err := canonical[T](have)
	if err != nil {
		return false, nil // what cannot be read is written anew
	}
	y, err := canonical[T](raw)
	return bytes.Equal(x, y), err
}

// canonical is a stored document in JSON, which sorts the keys of maps.
func canonical[T any](raw bson.Raw) ([]byte, error) {
	var doc T
	if err := bson.Unmarshal(raw, &doc); err != nil {
		return nil, err
	}
	return json.Marshal(&doc)
}

// part gathers writes of one collection.
type part struct {
	coll   *mongo.Collection
	w      *writer
	writes []mongo.WriteModel
	bytes  int
}

func (p *part) add(ctx context.Context, m mongo.WriteModel, size int) error {
	p.writes, p.bytes = append(p.writes, m), p.bytes+size
	if len(p.writes) < partWrites && p.bytes < partBytes {
		return nil
	}
	return p.flush(ctx)
}

func (p *part) flush(ctx context.Context) error {
	if len(p.writes) == 0 {
		return nil
	}
	if err := p.w.renew(ctx); err != nil {
		return err
	}
	if _, err := p.coll.BulkWrite(ctx, p.writes, options.BulkWrite().SetOrdered(false)); err != nil {
		var failed mongo.BulkWriteException
		if errors.As(err, &failed) && len(failed.WriteErrors) > 0 {
			return fmt.Errorf("write %s: %s", p.coll.Name(), failed.WriteErrors[0].Message)
		}
		return fmt.Errorf("write %s: %w", p.coll.Name(), err)
	}
	p.writes, p.bytes = p.writes[:0], 0
	return nil
}
