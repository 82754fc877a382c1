package database

import (
	"context"
	"errors"
	"fmt"
	"io"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"patag/app/backup/archive"
)

// Restore options.
type Restore struct {
	// Change may replace a document before it is written; nil keeps all as they are.
	Change func(collection string, doc bson.Raw) (bson.Raw, error)
	// Progress is called with each collection's count when its last document was written.
	Progress func(Count)
}

const (
	batchDocuments = 500
	batchBytes     = 8 << 20
)

// sink is an archive.Sink.
type sink struct {
	ctx    context.Context
	db     *mongo.Database
	o      Restore
	name   string // collection that is being written
	batch  []any
	bytes  int
	counts map[string]*counter
	order  []string
}

// markers is a collection of its own, not data: it says which backup the database was made from, and while it is being made that
// it is not whole.
const (
	markers   = "restore"
	restoring = "restoring"
	restored  = "restored"
)

// mark is a document of markers.
type mark struct {
	ID     string `bson:"_id"`
	Backup string `bson:"backup"`
}

// ErrAlready is returned by Into when the database was made from this very backup before; it may have been written to since.
var ErrAlready = errors.New("the database was restored from this backup before")

// Into reads the archive of a backup into an empty database and answers what it wrote. The database must be empty, or be the rest
// of an earlier restore that did not finish, which is dropped first.
func Into(ctx context.Context, db *mongo.Database, backup string, r io.Reader, o Restore) (Census, error) {
	if o.Progress == nil {
		o.Progress = func(Count) {}
	}
	if err := empty(ctx, db, backup); err != nil {
		return nil, err
	}
	if _, err := db.Collection(markers).InsertOne(ctx, mark{restoring, backup}); err != nil {
		return nil, fmt.Errorf("write to database %s: %w", db.Name(), err)
	}
	s := &sink{ctx: ctx, db: db, o: o, counts: map[string]*counter{}}
	if err := archive.Read(r, s); err != nil {
		return nil, err
	}
	if err := s.finish(); err != nil {
		return nil, err
	}
	census := Census{}
	for _, name := range s.order {
		census = append(census, s.counts[name].done())
	}
	if _, err := db.Collection(markers).InsertOne(ctx, mark{restored, backup}); err != nil {
		return nil, fmt.Errorf("mark database %s as whole: %w", db.Name(), err)
	}
	if _, err := db.Collection(markers).DeleteOne(ctx, bson.D{{Key: "_id", Value: restoring}}); err != nil {
		return nil, fmt.Errorf("mark database %s as whole: %w", db.Name(), err)
	}
	return census, nil
}

// Whole says whether a database is not the rest of a restore that did not finish.
func Whole(ctx context.Context, db *mongo.Database) (bool, error) {
	_, found, err := marked(ctx, db, restoring)
	return !found, err
}

func marked(ctx context.Context, db *mongo.Database, id string) (m mark, found bool, err error) {
	err = db.Collection(markers).FindOne(ctx, bson.D{{Key: "_id", Value: id}}).Decode(&m)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return m, false, nil
	}
	if err != nil {
		return m, false, fmt.Errorf("read database %s: %w", db.Name(), err)
	}
	return m, true, nil
}

func empty(ctx context.Context, db *mongo.Database, backup string) error {
	list, err := names(ctx, db)
	if err != nil {
		return err
	}
	whole, err := Whole(ctx, db)
	if err != nil {
		return err
	}
	if before, found, err := marked(ctx, db, restored); err != nil {
		return err
	} else if found && whole && before.Backup == backup {
		return ErrAlready
	}
	if whole && len(list) > 0 {
		return fmt.Errorf("database %s holds data already (%d collections); restore into another one, or drop it first", db.Name(), len(list))
	}
	// The marker goes last: a clearing that is interrupted is still known as a rest.
	for _, name := range list {
		if err := db.Collection(name).Drop(ctx); err != nil {
			return fmt.Errorf("drop what an earlier restore left (%s): %w", name, err)
		}
	}
	return db.Collection(markers).Drop(ctx)
}

// Collections implements archive.Sink: collections with their indexes, so that empty ones come back too.
func (s *sink) Collections(all []archive.Collection) error {
	for _, c := range all {
		if err := s.db.CreateCollection(s.ctx, c.Name); err != nil {
			return fmt.Errorf("make collection %s: %w", c.Name, err)
		}
		s.counts[c.Name] = newCounter(c.Name)
		s.order = append(s.order, c.Name)
		if err := s.indexes(c); err != nil {
			return err
		}
	}
	return nil
}

func (s *sink) indexes(c archive.Collection) error {
	if c.Metadata == "" {
		return nil
	}
	var meta struct {
		Indexes []struct {
			Key    bson.D `bson:"key"`
			Name   string `bson:"name"`
			Unique bool   `bson:"unique"`
			Expire *int32 `bson:"expireAfterSeconds"`
		} `bson:"indexes"`
	}
	if err := bson.UnmarshalExtJSON([]byte(c.Metadata), false, &meta); err != nil {
		return fmt.Errorf("%w: metadata of %s: %v", archive.ErrDamaged, c.Name, err)
	}
	var models []mongo.IndexModel
	for _, index := range meta.Indexes {
		if index.Name == "_id_" {
			continue
		}
		o := options.Index().SetName(index.Name)
		if index.Unique {
			o.SetUnique(true)
		}
		if index.Expire != nil {
			o.SetExpireAfterSeconds(*index.Expire)
		}
		models = append(models, mongo.IndexModel{Keys: index.Key, Options: o})
	}
	if len(models) == 0 {
		return nil
	}
	if _, err := s.db.Collection(c.Name).Indexes().CreateMany(s.ctx, models); err != nil {
		return fmt.Errorf("make the indexes of %s: %w", c.Name, err)
	}
	return nil
}

// Document implements archive.Sink.
func (s *sink) Document(_, name string, doc bson.Raw) error {
	if name != s.name {
		if err := s.finish(); err != nil {
			return err
		}
		s.name = name
	}
	// The reader reuses its buffer.
	own := append(bson.Raw(nil), doc...)
	if s.o.Change != nil {
		var err error
		if own, err = s.o.Change(name, own); err != nil {
			return fmt.Errorf("a document of %s: %w", name, err)
		}
	}
	s.counts[name].add(own)
	s.batch, s.bytes = append(s.batch, own), s.bytes+len(own)
	if len(s.batch) >= batchDocuments || s.bytes >= batchBytes {
		return s.flush()
	}
	return nil
}

func (s *sink) flush() error {
	if len(s.batch) == 0 {
		return nil
	}
	_, err := s.db.Collection(s.name).InsertMany(s.ctx, s.batch)
	s.batch, s.bytes = s.batch[:0], 0
	if err != nil {
		return fmt.Errorf("write %s: %w", s.name, err)
	}
	return nil
}

func (s *sink) finish() error {
	if err := s.flush(); err != nil {
		return err
	}
	if c := s.counts[s.name]; c != nil {
		s.o.Progress(c.count)
	}
	return nil
}
