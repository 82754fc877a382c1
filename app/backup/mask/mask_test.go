package mask

import (
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/bson"
)

func raw(t *testing.T, d bson.D) bson.Raw {
	t.Helper()
	out, err := bson.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestMask(t *testing.T) {
	doc := raw(t, bson.D{
		{Key: "_id", Value: "jane@example.com"},
		{Key: "contactEmail", Value: "Jane.Roe@example.com"},
		{Key: "name", Value: "Example Press"},
		{Key: "note", Value: "call jane.roe@example.com or +49 30 1234567 from 192.0.2.17 or 2001:db8:0:1::7"},
		{Key: "html", Value: `<a href="https://example.com/1.2.3">v1.2.3</a>`},
		{Key: "people", Value: bson.A{bson.D{{Key: "firstName", Value: "Jane"}, {Key: "age", Value: 40}}}},
		{Key: "micros", Value: int64(1500000)},
	})
	m := New()
	masked, err := m.Document(doc)
	if err != nil {
		t.Fatal(err)
	}
	text := masked.String()
	for _, gone := range []string{"Jane", "jane.roe", "1234567", "192.0.2.17", "2001:db8"} {
		if strings.Contains(strings.Replace(text, "jane@example.com", "", 1), gone) {
			t.Errorf("%q is still in %s", gone, text)
		}
	}
	for _, kept := range []string{`"_id": "jane@example.com"`, "Example Press", "https://example.com/1.2.3", "v1.2.3", "1500000", `"40"`} {
		if !strings.Contains(text, kept) {
			t.Errorf("%q is gone from %s", kept, text)
		}
	}
	email := masked.Lookup("contactEmail").StringValue()
	if !strings.HasSuffix(email, "@masked.invalid") || !strings.Contains(masked.Lookup("note").StringValue(), email) {
		t.Errorf("the same address has two pseudonyms: %s", text)
	}
	other, err := New().Document(doc)
	if err != nil {
		t.Fatal(err)
	}
	if other.Lookup("contactEmail").StringValue() == email {
		t.Error("two copies have the same pseudonyms")
	}
}

func FuzzDocument(f *testing.F) {
	f.Add("note", "a@b.cd +49 30 1234567 1.2.3.4 ::1")
	f.Fuzz(func(t *testing.T, key, value string) {
		doc, err := bson.Marshal(bson.D{{Key: "_id", Value: 1}, {Key: "in", Value: bson.D{{Key: strings.ReplaceAll(key, "\x00", ""), Value: value}}}})
		if err != nil {
			return
		}
		masked, err := New().Document(doc)
		if err != nil {
			t.Fatal(err)
		}
		if err := masked.Validate(); err != nil {
			t.Fatal(err)
		}
	})
}
