// Package archive reads and writes mongodump's archive format (mongodump --archive), version 0.1: a file that mongorestore
// takes too. In go documents as BSON, collection by collection; out come the same, with a check that nothing was cut off or
// changed. It knows neither the store nor where archives are kept, and compresses nothing.
//
// The layout, all numbers little-endian:
//
//	magic 0x8199e26d · header · one metadata document per collection · terminator 0xffffffff
//	then per collection: namespace document · documents … · terminator,
//	and at its end: namespace document with EOF true and the CRC-64 (ECMA) of its documents · terminator
package archive

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc64"
	"io"

	"go.mongodb.org/mongo-driver/bson"
)

const (
	magic      = 0x8199e26d
	terminator = 0xffffffff
	version    = "0.1"
	// MaxDocument is the largest that is read: Mongo's own limit of 16 MiB, and what its tools allow beyond.
	MaxDocument = 16<<20 + 16<<10
)

var table = crc64.MakeTable(crc64.ECMA)

// Collection is what an archive says of one collection before its documents.
type Collection struct {
	Database string `bson:"db"`
	Name     string `bson:"collection"`
	// Metadata is extended JSON: options and indexes.
	Metadata string `bson:"metadata"`
	Size     int64  `bson:"size"`
	Type     string `bson:"type"`
}

type header struct {
	ConcurrentCollections int32  `bson:"concurrent_collections"`
	Version               string `bson:"version"`
	ServerVersion         string `bson:"server_version"`
	ToolVersion           string `bson:"tool_version"`
}

type namespace struct {
	Database   string `bson:"db"`
	Collection string `bson:"collection"`
	EOF        bool   `bson:"EOF"`
	CRC        int64  `bson:"CRC"`
}

// Writer writes one archive. Its methods must be called in the order: NewWriter, then for each collection Begin, Document …, End,
// then Close.
type Writer struct {
	w    io.Writer
	sum  hash.Hash64
	open *Collection
	left []Collection
	err  error
}

// NewWriter begins an archive of collections, which must then be written in this order.
func NewWriter(w io.Writer, serverVersion string, collections []Collection) (*Writer, error) {
	a := &Writer{w: w, left: collections}
	a.number(magic)
	a.document(header{ConcurrentCollections: 1, Version: version, ServerVersion: serverVersion, ToolVersion: "patag"})
	for i := range collections {
		if collections[i].Type == "" {
			collections[i].Type = "collection"
		}
		a.document(collections[i])
	}
	a.number(terminator)
	return a, a.err
}

func (a *Writer) number(n uint32) { a.bytes(binary.LittleEndian.AppendUint32(nil, n)) }

func (a *Writer) bytes(b []byte) {
	if a.err == nil {
		_, a.err = a.w.Write(b)
	}
}

func (a *Writer) document(v any) {
	raw, err := bson.Marshal(v)
	if a.err == nil {
		a.err = err
	}
	a.bytes(raw)
}

// Begin begins the next collection.
func (a *Writer) Begin() error {
	if a.open != nil || len(a.left) == 0 {
		return errors.New("archive: Begin out of turn")
	}
	a.open, a.left = &a.left[0], a.left[1:]
	a.sum = crc64.New(table)
	a.document(namespace{Database: a.open.Database, Collection: a.open.Name})
	return a.err
}

// Document adds a document to the collection that was begun.
func (a *Writer) Document(doc bson.Raw) error {
	if a.open == nil {
		return errors.New("archive: Document out of turn")
	}
	if len(doc) > MaxDocument {
		return fmt.Errorf("archive: a document of %s has %d bytes, more than Mongo allows", a.open.Name, len(doc))
	}
	a.sum.Write(doc)
	a.bytes(doc)
	return a.err
}

// End ends the collection.
func (a *Writer) End() error {
	if a.open == nil {
		return errors.New("archive: End out of turn")
	}
	a.number(terminator)
	a.document(namespace{Database: a.open.Database, Collection: a.open.Name, EOF: true, CRC: int64(a.sum.Sum64())})
	a.number(terminator)
	a.open = nil
	return a.err
}

// Close says whether the archive is complete. It does not close what it writes to.
func (a *Writer) Close() error {
	if a.err == nil && (a.open != nil || len(a.left) > 0) {
		return errors.New("archive: closed before all collections were written")
	}
	return a.err
}
