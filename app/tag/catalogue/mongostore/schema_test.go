package mongostore

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"go.mongodb.org/mongo-driver/bson"

	"patag/app/tag/catalogue"
)

// faults checks a value against the part of $jsonSchema that schemaOf writes, as MongoDB reads it.
func faults(at string, schema bson.M, v any) []string {
	kinds, ok := schema["bsonType"].(bson.A)
	if !ok {
		kinds = bson.A{schema["bsonType"]}
	}
	kind := map[string]string{"string": "string", "bool": "bool", "int32": "int", "int64": "long", "primitive.DateTime": "date", "primitive.A": "array", "primitive.M": "object"}[reflect.TypeOf(v).String()]
	if !slices.Contains(kinds, any(kind)) {
		return []string{fmt.Sprintf("%s is %T, want %v", at, v, kinds)}
	}
	var out []string
	switch v := v.(type) {
	case bson.A:
		for i, e := range v {
			out = append(out, faults(fmt.Sprintf("%s[%d]", at, i), schema["items"].(bson.M), e)...)
		}
	case bson.M:
		required, _ := schema["required"].(bson.A)
		for _, name := range required {
			if _, there := v[name.(string)]; !there {
				out = append(out, at+"."+name.(string)+" is missing")
			}
		}
		properties, _ := schema["properties"].(bson.M)
		for name, e := range v {
			part, there := properties[name].(bson.M)
			if !there {
				if part, there = schema["additionalProperties"].(bson.M); !there {
					out = append(out, at+"."+name+" may not be there")
					continue
				}
			}
			out = append(out, faults(at+"."+name, part, e)...)
		}
	}
	return out
}

// through gives documents as MongoDB would see them.
func through[T any](t *testing.T, v T) bson.M {
	t.Helper()
	raw, err := marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var m bson.M
	if err := bson.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func check[T any](t *testing.T, name string, docs []T) {
	t.Helper()
	schema := through(t, schemaOf(reflect.TypeFor[stored[T]]()))
	for i := range docs {
		if f := faults(name, schema, through(t, stored[T]{docs[i], Schema})); len(f) > 0 {
			t.Fatalf("a valid document is refused: %v", f)
		}
	}
	var empty T
	if f := faults(name, schema, through(t, struct {
		ID   string `bson:"_id"`
		Misc int    `bson:"misc"`
		Name int    `bson:"name"`
	}{"x", 1, 2})); len(f) < 3 {
		t.Errorf("%T: a document with an unknown field, a mistyped one and missing ones has only the faults %v", empty, f)
	}
}

func TestValidatorsAcceptWhatWeWrite(t *testing.T) {
	c := generated(t, 1000)
	c.LineItems[3].Goal = &catalogue.Goal{Revenue: &catalogue.Money{Micros: 1, Currency: "EUR"}}
	check(t, "publishers", c.Publishers)
	check(t, "sites", c.Sites)
	check(t, "placements", c.Placements)
	check(t, "advertisers", c.Advertisers)
	check(t, "campaigns", c.Campaigns)
	check(t, "lineItems", c.LineItems)
	check(t, "creatives", c.Creatives)
	check(t, "demandPartners", c.DemandPartners)
	check(t, "demandSources", c.DemandSources)
	check(t, "deals", c.Deals)
}
