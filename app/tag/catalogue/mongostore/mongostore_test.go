package mongostore

import (
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"patag/app/tag/catalogue"
	"patag/app/tag/catalogue/generate"
)

// ferretdb runs a real store until the test ends.
func ferretdb(t *testing.T) *mongo.Database {
	t.Helper()
	tools := os.Getenv("PATAG_TOOLS")
	if tools == "" {
		t.Skip("NOT TESTED: PATAG_TOOLS is not set, so there is no ferretdb to store in")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	cmd := exec.Command(filepath.Join(tools, "ferretdb"), "--listen", addr, "--data-dir", t.TempDir())
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("ferretdb said: %.4000s", &log)
		}
	})
	client, err := mongo.Connect(t.Context(), options.Client().ApplyURI("mongodb://"+addr).SetServerSelectionTimeout(time.Minute).SetRetryWrites(false))
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Ping(t.Context(), nil); err != nil {
		t.Fatalf("ferretdb does not answer: %v", err)
	}
	return client.Database("patag")
}

func generated(t *testing.T, placements int) *catalogue.Catalogue {
	t.Helper()
	c, err := generate.Generate(generate.Options{Placements: placements, Candidates: 10, Seed: 3, Sources: 3, Tags: 2, Start: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func text(t *testing.T, c *catalogue.Catalogue) string {
	t.Helper()
	var b bytes.Buffer
	if err := catalogue.Write(&b, c); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func imported(t *testing.T, s *Store, c *catalogue.Catalogue) Result {
	t.Helper()
	r, err := s.Import(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func load(t *testing.T, s *Store) (*catalogue.Catalogue, int64) {
	t.Helper()
	c, version, err := s.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c, version
}

func TestStore(t *testing.T) {
	db := ferretdb(t)
	s := New(db)
	if _, _, err := s.Load(t.Context()); !errors.Is(err, ErrEmpty) {
		t.Fatalf("an empty store answers %v, want ErrEmpty", err)
	}
	c := generated(t, 200)
	r := imported(t, s, c)
	docs := len(c.Publishers) + len(c.Sites) + len(c.Placements) + len(c.Advertisers) + len(c.Campaigns) + len(c.LineItems) + len(c.Creatives) + len(c.DemandPartners) + len(c.DemandSources) + len(c.Deals)
	if r.Version != 1 || r.Written != docs || r.Removed != 0 {
		t.Errorf("%+v, want version 1 and %d written", r, docs)
	}
	back, _ := load(t, s)
	if text(t, back) != text(t, c) {
		t.Fatal("the catalogue reads back otherwise than it was written")
	}
	if r := imported(t, s, back); !r.Unchanged || r.Version != 1 || r.Written != 0 {
		t.Errorf("the same again: %+v, want unchanged", r)
	}

	t.Run("only what differs is written", func(t *testing.T) {
		back.Deals = back.Deals[1:]
		back.DemandSources[0].MaxQPS++
		back.LineItems[7].Targeting.KeyValues.Include = map[string][]string{"a": {"1"}, "b": {"2"}, "c": {"3"}, "d": {"4"}}
		if r := imported(t, s, back); r.Version != 2 || r.Written != 2 || r.Removed != 1 {
			t.Errorf("%+v, want version 2, 2 written, 1 removed", r)
		}
		if r := imported(t, s, back); !r.Unchanged {
			t.Errorf("%+v: maps have no order, and that is no difference", r)
		}
		again, version := load(t, s)
		if version != 2 || text(t, again) != text(t, back) {
			t.Error("the changed catalogue reads back otherwise")
		}
	})
	t.Run("a bad catalogue changes nothing", func(t *testing.T) {
		bad := *back
		bad.Placements = slices.Clone(back.Placements)
		bad.Placements[0].Site = "nowhere"
		var ps catalogue.Problems
		if _, err := s.Import(t.Context(), &bad); !errors.As(err, &ps) {
			t.Fatalf("%v, want problems", err)
		}
		if _, version := load(t, s); version != 2 {
			t.Errorf("version %d, want 2", version)
		}
	})
	t.Run("documents without schema are written anew, of a later one are refused", func(t *testing.T) {
		set := func(change bson.D) {
			t.Helper()
			if _, err := db.Collection("sites").UpdateOne(t.Context(), bson.D{{Key: "_id", Value: back.Sites[0].ID}}, change); err != nil {
				t.Fatal(err)
			}
		}
		set(bson.D{{Key: "$unset", Value: bson.D{{Key: "schema", Value: ""}}}})
		if r := imported(t, s, back); r.Written != 1 {
			t.Errorf("%+v, want 1 written", r)
		}
		set(bson.D{{Key: "$set", Value: bson.D{{Key: "schema", Value: Schema + 1}}}})
		if _, _, err := s.Load(t.Context()); err == nil || !strings.Contains(err.Error(), `sites "`+back.Sites[0].ID+`" has schema 2`) {
			t.Errorf("%v, want the document's name and schema", err)
		}
		set(bson.D{{Key: "$set", Value: bson.D{{Key: "schema", Value: Schema}}}})
	})
	t.Run("indexes are there", func(t *testing.T) {
		specs, err := db.Collection("lineItems").Indexes().ListSpecifications(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, s := range specs {
			names = append(names, s.Name)
		}
		if !slices.Contains(names, "campaign") || !slices.Contains(names, "placements") {
			t.Errorf("indexes %v, want campaign and placements", names)
		}
	})
	t.Run("a failed import lets the next one start", func(t *testing.T) {
		w, err := s.lock(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		w.renewed = time.Now().Add(-writeTime / 2)
		if err := w.renew(t.Context()); err != nil {
			t.Fatalf("its own mark cannot be renewed: %v", err)
		}
		w.abandon(t.Context())
		if _, err := s.Version(t.Context()); !errors.Is(err, ErrWriting) {
			t.Errorf("half written documents can be read: %v", err)
		}
		if r := imported(t, s, back); r.Unchanged {
			t.Error("want a new version")
		}
	})
	t.Run("writers exclude each other, and a dead one is replaced", func(t *testing.T) {
		w, err := s.lock(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Import(t.Context(), back); !errors.Is(err, ErrWriting) {
			t.Fatalf("a second import: %v, want ErrWriting", err)
		}
		if _, err := s.Version(t.Context()); !errors.Is(err, ErrWriting) {
			t.Fatalf("a reader meanwhile: %v, want ErrWriting", err)
		}
		stale := bson.D{{Key: "$set", Value: bson.D{{Key: "writingUntil", Value: time.Now().Add(-time.Second)}}}}
		if _, err := db.Collection("meta").UpdateOne(t.Context(), w.mine(), stale); err != nil {
			t.Fatal(err)
		}
		if r := imported(t, s, back); r.Unchanged {
			t.Error("after a writer that died, nobody knows what version the documents are: want a new one")
		}
		w.renewed = time.Now().Add(-writeTime)
		if err := w.renew(t.Context()); !errors.Is(err, errLost) {
			t.Errorf("the dead writer comes back and goes on: %v, want errLost", err)
		}
		if err := w.finish(t.Context(), w.before); !errors.Is(err, errLost) {
			t.Errorf("the dead writer comes back and finishes: %v, want errLost", err)
		}
	})
}

// TestLargeImport measures what an import costs; PATAG_PLACEMENTS chooses the size.
func TestLargeImport(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT TESTED with -short: it imports a large catalogue")
	}
	n := 10_000
	if v := os.Getenv("PATAG_PLACEMENTS"); v != "" {
		var err error
		if n, err = strconv.Atoi(v); err != nil {
			t.Fatal(err)
		}
	}
	s, c := New(ferretdb(t)), generated(t, n)
	took := func(what string, do func()) {
		begin := time.Now()
		do()
		t.Logf("%d placements: %s took %s", n, what, time.Since(begin).Round(time.Millisecond))
	}
	took("import", func() { imported(t, s, c) })
	took("import again", func() {
		if r := imported(t, s, c); !r.Unchanged {
			t.Errorf("%+v, want unchanged", r)
		}
	})
	took("load", func() {
		if back, _ := load(t, s); text(t, back) != text(t, c) {
			t.Error("reads back otherwise")
		}
	})
}
