package archive

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"go.mongodb.org/mongo-driver/bson"
)

type seen struct {
	collections []Collection
	docs        map[string][]string
}

func (s *seen) Collections(c []Collection) error { s.collections = c; return nil }

func (s *seen) Document(db, coll string, doc bson.Raw) error {
	if s.docs == nil {
		s.docs = map[string][]string{}
	}
	s.docs[db+"."+coll] = append(s.docs[db+"."+coll], doc.String())
	return nil
}

func sample(t testing.TB) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, "7.0.0", []Collection{{Database: "d", Name: "a", Metadata: `{"indexes":[]}`}, {Database: "d", Name: "empty"}})
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(w.Begin())
	for i := range 3 {
		raw, err := bson.Marshal(bson.D{{Key: "_id", Value: i}, {Key: "text", Value: fmt.Sprint("number ", i)}})
		must(err)
		must(w.Document(raw))
	}
	must(w.End())
	must(w.Begin())
	must(w.End())
	must(w.Close())
	return out.Bytes()
}

func TestRoundTrip(t *testing.T) {
	var s seen
	if err := Read(bytes.NewReader(sample(t)), &s); err != nil {
		t.Fatal(err)
	}
	if len(s.collections) != 2 || s.collections[0].Metadata != `{"indexes":[]}` || s.collections[1].Type != "collection" {
		t.Errorf("collections: %+v", s.collections)
	}
	if got := s.docs["d.a"]; len(got) != 3 || got[2] != `{"_id": {"$numberInt":"2"},"text": "number 2"}` {
		t.Errorf("documents: %q", got)
	}
}

// Every archive that is cut off, at whatever byte, is refused; so is one with any byte of its documents changed.
func TestDamage(t *testing.T) {
	whole := sample(t)
	for n := range len(whole) {
		err := Read(bytes.NewReader(whole[:n]), &seen{})
		if !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut at byte %d of %d: %v", n, len(whole), err)
		}
	}
	at := bytes.Index(whole, []byte("number 1"))
	bad := bytes.Clone(whole)
	bad[at+7] = '9'
	if err := Read(bytes.NewReader(bad), &seen{}); !errors.Is(err, ErrDamaged) {
		t.Errorf("a changed document: %v", err)
	}
	if err := Read(bytes.NewReader(append(bytes.Clone(whole), "more"...)), &seen{}); !errors.Is(err, ErrDamaged) {
		t.Errorf("something after the end: %v", err)
	}
}

func TestOrder(t *testing.T) {
	var out bytes.Buffer
	w, err := NewWriter(&out, "", []Collection{{Database: "d", Name: "a"}})
	if err != nil {
		t.Fatal(err)
	}
	if w.Document(nil) == nil || w.End() == nil || w.Close() == nil {
		t.Error("calls out of turn are accepted")
	}
}

func FuzzRead(f *testing.F) {
	f.Add(sample(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := Read(bytes.NewReader(b), &seen{}); err != nil {
			return
		}
		// What is accepted is whole: nothing of it may be missing.
		if len(b) > 0 && Read(bytes.NewReader(b[:len(b)-1]), &seen{}) == nil {
			t.Error("one byte less is accepted too")
		}
	})
}
