// Package database copies a Mongo database into an archive and back, and says exactly what it copied. In go a connection and an
// archive; out come documents and a Census, by which a copy is compared with what it was made from. It asks little of the store,
// so that FerretDB will do: no transactions, no snapshots.
//
// Without snapshots a copy is not of one instant. It is consistent all the same, because of how the documents are written: the
// catalogue is taken only when its version was the same before and after, and batches of counted events are written once and never
// change, so a copy holds each of them whole or not at all.
package database

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"patag/app/backup/archive"
)

// Count is what one collection holds.
type Count struct {
	Collection string `json:"collection"`
	Documents  int64  `json:"documents"`
	Bytes      int64  `json:"bytes"`
	// SHA256 of all documents in the order of their ids.
	SHA256 string `json:"sha256"`
}

// Census is what a database holds, by collection in the order of names.
type Census []Count

// Differences lists what differs, one line each; none means equal.
func (c Census) Differences(other Census) (out []string) {
	find := func(in Census, name string) *Count {
		for i := range in {
			if in[i].Collection == name {
				return &in[i]
			}
		}
		return nil
	}
	for _, a := range c {
		b := find(other, a.Collection)
		switch {
		case b == nil:
			out = append(out, fmt.Sprintf("collection %s is missing (%d documents)", a.Collection, a.Documents))
		case a.Documents != b.Documents:
			out = append(out, fmt.Sprintf("collection %s has %d documents instead of %d", a.Collection, b.Documents, a.Documents))
		case a.SHA256 != b.SHA256:
			out = append(out, fmt.Sprintf("collection %s has as many documents, but not the same", a.Collection))
		}
	}
	for _, b := range other {
		if find(c, b.Collection) == nil && b.Documents > 0 {
			out = append(out, fmt.Sprintf("collection %s is one too many (%d documents)", b.Collection, b.Documents))
		}
	}
	return out
}

type counter struct {
	count Count
	hash  hash.Hash
}

func newCounter(name string) *counter {
	return &counter{count: Count{Collection: name}, hash: sha256.New()}
}

func (c *counter) add(doc bson.Raw) {
	c.count.Documents++
	c.count.Bytes += int64(len(doc))
	c.hash.Write(doc)
}

func (c *counter) done() Count {
	c.count.SHA256 = hex.EncodeToString(c.hash.Sum(nil))
	return c.count
}

// names of the collections that are data, sorted.
func names(ctx context.Context, db *mongo.Database) ([]string, error) {
	all, err := db.ListCollectionNames(ctx, bson.D{})
	if err != nil {
		return nil, fmt.Errorf("list the collections of %s: %w", db.Name(), err)
	}
	all = slices.DeleteFunc(all, func(n string) bool { return n == markers || strings.HasPrefix(n, "system.") })
	slices.Sort(all)
	return all, nil
}

// each calls fn for every document of a collection, in the order of ids.
func each(ctx context.Context, db *mongo.Database, name string, fn func(bson.Raw) error) error {
	cur, err := db.Collection(name).Find(ctx, bson.D{}, options.Find().SetSort(bson.D{{Key: "_id", Value: 1}}).SetBatchSize(500))
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	defer cur.Close(context.WithoutCancel(ctx))
	for cur.Next(ctx) {
		if err := fn(cur.Current); err != nil {
			return err
		}
	}
	if err := cur.Err(); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

// Take counts what a database holds.
func Take(ctx context.Context, db *mongo.Database) (Census, error) {
	list, err := names(ctx, db)
	if err != nil {
		return nil, err
	}
	census := Census{}
	for _, name := range list {
		c := newCounter(name)
		if err := each(ctx, db, name, func(doc bson.Raw) error { c.add(doc); return nil }); err != nil {
			return nil, err
		}
		census = append(census, c.done())
	}
	return census, nil
}

// ErrChanged is returned by Dump when the catalogue was replaced meanwhile: dump again.
var ErrChanged = errors.New("the catalogue changed while it was copied")

// catalogueHead is the document with the catalogue's version: see package mongostore of the tag server.
var catalogueHead = bson.D{{Key: "_id", Value: "catalogue"}}

func head(ctx context.Context, db *mongo.Database) ([]byte, error) {
	raw, err := db.Collection("meta").FindOne(ctx, catalogueHead).Raw()
	if errors.Is(err, mongo.ErrNoDocuments) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the catalogue's version: %w", err)
	}
	if _, err := raw.LookupErr("writingUntil"); err == nil {
		return nil, ErrChanged
	}
	return bytes.Clone(raw), nil
}

// Dump writes a database into an archive and says what it wrote. progress is called with each collection's name and its count.
func Dump(ctx context.Context, db *mongo.Database, open func([]archive.Collection) (*archive.Writer, error), progress func(Count)) (Census, error) {
	before, err := head(ctx, db)
	if err != nil {
		return nil, err
	}
	list, err := names(ctx, db)
	if err != nil {
		return nil, err
	}
	collections := make([]archive.Collection, len(list))
	for i, name := range list {
		meta, err := metadata(ctx, db, name)
		if err != nil {
			return nil, err
		}
		collections[i] = archive.Collection{Database: db.Name(), Name: name, Metadata: meta}
	}
	w, err := open(collections)
	if err != nil {
		return nil, err
	}
	census := Census{}
	for _, name := range list {
		if err := w.Begin(); err != nil {
			return nil, err
		}
		c := newCounter(name)
		if err := each(ctx, db, name, func(doc bson.Raw) error { c.add(doc); return w.Document(doc) }); err != nil {
			return nil, err
		}
		if err := w.End(); err != nil {
			return nil, err
		}
		census = append(census, c.done())
		progress(census[len(census)-1])
	}
	after, err := head(ctx, db)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(before, after) {
		return nil, ErrChanged
	}
	return census, w.Close()
}

// metadata is a collection's indexes in extended JSON, as mongodump writes it.
func metadata(ctx context.Context, db *mongo.Database, name string) (string, error) {
	cur, err := db.Collection(name).Indexes().List(ctx)
	if err != nil {
		return "", fmt.Errorf("list the indexes of %s: %w", name, err)
	}
	var indexes bson.A
	var each []bson.D
	if err := cur.All(ctx, &each); err != nil {
		return "", fmt.Errorf("list the indexes of %s: %w", name, err)
	}
	for _, index := range each {
		indexes = append(indexes, index)
	}
	raw, err := bson.MarshalExtJSON(bson.D{
		{Key: "indexes", Value: indexes}, {Key: "collectionName", Value: name}, {Key: "type", Value: "collection"},
	}, true, false)
	return string(raw), err
}
