package mongostore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/bson/bsonrw"
	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"
)

// marshal encodes without the parts that say nothing: an empty targeting has ten of them.
func marshal(v any) (bson.Raw, error) {
	var b bytes.Buffer
	w, err := bsonrw.NewBSONValueWriter(&b)
	if err != nil {
		return nil, err
	}
	enc, err := bson.NewEncoder(w)
	if err != nil {
		return nil, err
	}
	enc.OmitZeroStruct()
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// Codes by which servers say that they do not have a command or an option.
var unsupported = []int{59, 115, 238} // CommandNotFound, CommandNotSupported, NotImplemented

const namespaceExists = 48

func hasCode(err error, codes ...int) bool {
	var se mongo.ServerError
	if !errors.As(err, &se) {
		return false
	}
	for _, c := range codes {
		if se.HasErrorCode(c) {
			return true
		}
	}
	return false
}

// ensure makes the collection with its validator and indexes, or brings them up to date. Doing it again changes nothing.
func (d documents[T]) ensure(ctx context.Context, db *mongo.Database, r *Result) error {
	if !r.NoValidators {
		validator := bson.D{{Key: "$jsonSchema", Value: schemaOf(reflect.TypeFor[stored[T]]())}}
		err := db.CreateCollection(ctx, d.name, options.CreateCollection().SetValidator(validator))
		if hasCode(err, namespaceExists) {
			err = db.RunCommand(ctx, bson.D{{Key: "collMod", Value: d.name}, {Key: "validator", Value: validator}}).Err()
		}
		switch {
		case hasCode(err, unsupported...):
			r.NoValidators = true
		case err != nil:
			return fmt.Errorf("set the validator of %s: %w", d.name, err)
		}
	}
	// One by one: FerretDB 1.24 drops the connection when two are asked for at once.
	for _, field := range d.indexes {
		index := mongo.IndexModel{Keys: bson.D{{Key: field, Value: 1}}, Options: options.Index().SetName(field)}
		if _, err := db.Collection(d.name).Indexes().CreateOne(ctx, index); err != nil {
			return fmt.Errorf("ensure the index of %s by %s: %w", d.name, field, err)
		}
	}
	return nil
}

// schemaOf is the $jsonSchema of a type's stored form. Fields that are left out when empty are not required, and no other
// field may be there: a misspelt one would be a rule that does nothing.
func schemaOf(t reflect.Type) bson.D {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return bson.D{{Key: "bsonType", Value: "date"}}
	case t.Kind() == reflect.Pointer:
		return schemaOf(t.Elem())
	}
	switch t.Kind() {
	case reflect.String:
		return bson.D{{Key: "bsonType", Value: "string"}}
	case reflect.Bool:
		return bson.D{{Key: "bsonType", Value: "bool"}}
	case reflect.Int, reflect.Int64:
		return bson.D{{Key: "bsonType", Value: bson.A{"int", "long"}}}
	case reflect.Slice:
		return bson.D{{Key: "bsonType", Value: "array"}, {Key: "items", Value: schemaOf(t.Elem())}}
	case reflect.Map:
		return bson.D{{Key: "bsonType", Value: "object"}, {Key: "additionalProperties", Value: schemaOf(t.Elem())}}
	case reflect.Struct:
		var required bson.A
		var properties bson.D
		fieldsOf(t, &required, &properties)
		s := bson.D{{Key: "bsonType", Value: "object"}}
		if len(required) > 0 { // an empty list is refused
			s = append(s, bson.E{Key: "required", Value: required})
		}
		return append(s, bson.E{Key: "properties", Value: properties}, bson.E{Key: "additionalProperties", Value: false})
	}
	panic("no schema for " + t.String()) // a test makes the schemas of all types
}

func fieldsOf(t reflect.Type, required *bson.A, properties *bson.D) {
	for f := range t.Fields() {
		name, opts, _ := strings.Cut(f.Tag.Get("bson"), ",")
		switch {
		case opts == "inline":
			fieldsOf(f.Type, required, properties)
			continue
		case opts != "omitempty":
			*required = append(*required, name)
		}
		*properties = append(*properties, bson.E{Key: name, Value: schemaOf(f.Type)})
	}
}
