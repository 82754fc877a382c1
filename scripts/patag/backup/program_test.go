package backup

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"
	api "google.golang.org/api/storage/v1"

	"patag/app/backup/bucket"
	"patag/app/backup/command"
	"patag/app/tag/faulttest/parts"
	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/googleapi/apitest"
	"patag/infra/sandbox/googleapi/policy"
	"patag/infra/sandbox/googleapi/storage"
	"patag/infra/sandbox/layout"
)

// rig is the backup program between a real FerretDB and the sandbox's Cloud Storage.
type rig struct {
	t      *testing.T
	google *apitest.Server
	uri    string
	client *mongo.Client
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, google: apitest.Start(t, func(core *googleapi.Core, l layout.Layout) {
		if _, err := storage.Register(core, policy.New(core), l.Objects()); err != nil {
			t.Fatal(err)
		}
	})}
	service, err := api.NewService(t.Context(), r.google.Client("storage/storage/v1/")...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := service.Buckets.Insert(apitest.Project, &api.Bucket{Name: "backups"}).Do(); err != nil {
		t.Fatal(err)
	}
	r.uri = "mongodb://" + parts.FerretDB(t).Addr + "/patag"
	if r.client, err = mongo.Connect(t.Context(), options.Client().ApplyURI(r.uri)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.client.Disconnect(t.Context()) })
	return r
}

// fill writes a catalogue's head, batches and something personal.
func (r *rig) fill(batches int) {
	r.t.Helper()
	db := r.client.Database("patag")
	insert := func(coll string, docs ...any) {
		r.t.Helper()
		if _, err := db.Collection(coll).InsertMany(r.t.Context(), docs); err != nil {
			r.t.Fatal(err)
		}
	}
	insert("meta", bson.D{{Key: "_id", Value: "catalogue"}, {Key: "version", Value: int64(3)}, {Key: "settings", Value: bson.D{{Key: "contactEmail", Value: "jane@example.com"}}}})
	var docs []any
	for i := range batches {
		docs = append(docs, bson.D{{Key: "_id", Value: fmt.Sprintf("b-%05d", i)}, {Key: "at", Value: time.Unix(int64(i), 0).UTC()}, {Key: "rows", Value: bson.A{bson.D{{Key: "count", Value: int64(i)}}}}})
	}
	insert("batches", docs...)
	if _, err := db.Collection("batches").Indexes().CreateOne(r.t.Context(), mongo.IndexModel{Keys: bson.D{{Key: "at", Value: 1}}, Options: options.Index().SetName("at")}); err != nil {
		r.t.Fatal(err)
	}
	if err := db.CreateCollection(r.t.Context(), "empty"); err != nil {
		r.t.Fatal(err)
	}
}

// run runs the program; into takes its answer.
func (r *rig) run(into any, args ...string) (code int, said string) {
	r.t.Helper()
	var out, errOut bytes.Buffer
	args = append(args, "--stack", "production", "--mongo-uri", r.uri)
	if args[0] != "drop" {
		args = append(args, "--bucket", "gs://backups")
	}
	code = command.Run(r.t.Context(), args, &out, &errOut, r.google.Client("storage/storage/v1/")...)
	if code == 0 && into != nil {
		if err := json.Unmarshal(out.Bytes(), into); err != nil {
			r.t.Fatalf("%v: answer %q: %v", args, out.String(), err)
		}
	}
	return code, errOut.String()
}

func (r *rig) must(into any, args ...string) {
	r.t.Helper()
	if code, said := r.run(into, args...); code != 0 {
		r.t.Fatalf("%v: exit code %d\n%s", args, code, said)
	}
}

func (r *rig) refused(text string, args ...string) {
	r.t.Helper()
	if code, said := r.run(nil, args...); code == 0 || !strings.Contains(said, text) {
		r.t.Errorf("%v: exit code %d, want an error with %q:\n%s", args, code, text, said)
	}
}

func TestBackupAndRestore(t *testing.T) {
	r := newRig(t)
	r.fill(1234)
	r.refused("there is no such backup", "restore", "--into", "copy")
	var m bucket.Manifest
	r.must(&m, "dump")
	if len(m.Collections) != 3 || m.Collections[0].Documents != 1234 || m.Bytes == 0 || len(m.SHA256) != 64 {
		t.Fatalf("manifest: %+v", m)
	}
	var list []bucket.Manifest
	r.must(&list, "list")
	if len(list) != 1 || list[0].ID != m.ID {
		t.Fatalf("list: %+v", list)
	}

	var c command.Comparison
	r.must(&c, "restore", "--into", "copy")
	if !c.Equal || c.ID != m.ID || c.Database != "copy" {
		t.Errorf("restored: %+v", c)
	}
	indexes, err := r.client.Database("copy").Collection("batches").Indexes().ListSpecifications(t.Context())
	if err != nil || len(indexes) != 2 {
		t.Errorf("indexes of the copy: %v, %v", indexes, err)
	}
	r.must(&c, "restore", "--into", "copy")
	if !c.Before || c.Equal {
		t.Errorf("restored again, without a comparison: %+v", c)
	}
	r.refused("holds data already", "restore", "--into", "patag")
	r.must(nil, "verify", "--database", "copy", "--id", m.ID)
	if _, err := r.client.Database("copy").Collection("batches").DeleteOne(t.Context(), bson.D{{Key: "_id", Value: "b-00007"}}); err != nil {
		t.Fatal(err)
	}
	r.refused("batches has 1233 documents instead of 1234", "verify", "--database", "copy")
	if _, err := r.client.Database("copy").Collection("meta").UpdateOne(t.Context(), bson.D{}, bson.D{{Key: "$set", Value: bson.D{{Key: "version", Value: int64(4)}}}}); err != nil {
		t.Fatal(err)
	}
	r.refused("meta has as many documents, but not the same", "verify", "--database", "copy")
	r.refused("not the one in use", "drop", "--database", "patag")
	r.must(nil, "drop", "--database", "copy")

	r.must(&c, "restore", "--into", "masked", "--mask")
	var doc bson.M
	if err := r.client.Database("masked").Collection("meta").FindOne(t.Context(), bson.D{}).Decode(&doc); err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprint(doc); strings.Contains(text, "jane") || !strings.Contains(text, "@masked.invalid") {
		t.Errorf("a masked copy has %s", text)
	}
}

// A restore that died half-way is known as such, and the next one begins anew.
func TestInterruptedRestore(t *testing.T) {
	r := newRig(t)
	r.fill(10)
	r.must(nil, "dump")
	db := r.client.Database("half")
	for coll, id := range map[string]string{"restore": "restoring", "batches": "b-00001"} {
		if _, err := db.Collection(coll).InsertOne(t.Context(), bson.D{{Key: "_id", Value: id}, {Key: "backup", Value: "x"}}); err != nil {
			t.Fatal(err)
		}
	}
	r.refused("did not finish", "verify", "--database", "half")
	var c command.Comparison
	r.must(&c, "restore", "--into", "half")
	if !c.Equal {
		t.Errorf("%+v", c)
	}
}

// While the catalogue is being written there is no backup of it, and one that was begun is no backup either.
func TestCatalogueBeingWritten(t *testing.T) {
	r := newRig(t)
	r.fill(10)
	meta := r.client.Database("patag").Collection("meta")
	if _, err := meta.UpdateOne(t.Context(), bson.D{}, bson.D{{Key: "$set", Value: bson.D{{Key: "writingUntil", Value: time.Now().Add(time.Minute)}}}}); err != nil {
		t.Fatal(err)
	}
	go func() {
		time.Sleep(time.Second)
		_, _ = meta.UpdateOne(t.Context(), bson.D{}, bson.D{{Key: "$unset", Value: bson.D{{Key: "writingUntil", Value: 1}}}})
	}()
	var m bucket.Manifest
	r.must(&m, "dump")
	var list []bucket.Manifest
	r.must(&list, "list")
	if len(list) != 1 || list[0].ID != m.ID {
		t.Errorf("list: %+v", list)
	}
}

// An archive that was replaced, though it is whole in itself, is not restored.
func TestReplacedArchive(t *testing.T) {
	r := newRig(t)
	r.fill(10)
	var one, two bucket.Manifest
	r.must(&one, "dump")
	r.fillMore()
	r.must(&two, "dump")
	service, err := api.NewService(t.Context(), r.google.Client("storage/storage/v1/")...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := service.Objects.Copy("backups", "production/"+one.ID+"/archive.gz", "backups", "production/"+two.ID+"/archive.gz", &api.Object{}).Do(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		r.refused("its SHA-256 differs", "restore", "--into", "copy", "--id", two.ID)
	}
	r.must(nil, "restore", "--into", "copy", "--id", one.ID)
}

func (r *rig) fillMore() {
	r.t.Helper()
	if _, err := r.client.Database("patag").Collection("batches").InsertOne(r.t.Context(), bson.D{{Key: "_id", Value: "later"}}); err != nil {
		r.t.Fatal(err)
	}
}

// A drill always restores and compares, and leaves no database: neither its own, nor that of one that was killed long ago.
func TestDrill(t *testing.T) {
	r := newRig(t)
	r.fill(20)
	var m bucket.Manifest
	r.must(&m, "dump")
	now := strconv.FormatInt(time.Now().Unix(), 36)
	for _, name := range []string{"drill_" + strconv.FormatInt(time.Now().Add(-3*time.Hour).Unix(), 36) + "_old", "drill_" + now + "_young", "drill"} {
		if _, err := r.client.Database(name).Collection("x").InsertOne(t.Context(), bson.D{{Key: "_id", Value: 1}}); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		var c command.Comparison
		r.must(&c, "drill")
		if !c.Equal || c.Before || c.ID != m.ID || !reflect.DeepEqual(c.Collections, m.Collections) {
			t.Errorf("drilled: %+v", c)
		}
	}
	names, err := r.client.ListDatabaseNames(t.Context(), bson.D{})
	slices.Sort(names)
	if got := strings.Join(names, " "); err != nil || !strings.Contains(got, "drill drill_"+now+"_young patag") || strings.Contains(got, "_old") || strings.Contains(got, strings.ToLower(m.ID)) {
		t.Errorf("databases: %s, %v", got, err)
	}
	r.refused("there is no such backup", "drill", "--id", "20200101T000000Z-000000")
}
