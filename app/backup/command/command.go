// Package command is the command line of the backup program, which runs in the cluster: it copies the Mongo store into the bucket
// of backups and back.
//
//	backup dump                            copy the store into the bucket
//	backup list                            list the backups of the stack
//	backup restore --into DB [--id ID]     copy a backup into an empty database, and compare
//	backup verify  --database DB [--id ID] compare a database with a backup
//	backup drill [--id ID]                 restore a backup beside the store, compare, and drop it again
//	backup drop --database DB              drop a database that a restore made
//
// Its last line of output is JSON, for programs; all else goes to standard error, for people.
package command

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"
	"go.mongodb.org/mongo-driver/x/mongo/driver/connstring"
	"google.golang.org/api/option"

	"patag/app/backup/archive"
	"patag/app/backup/bucket"
	"patag/app/backup/database"
	"patag/app/backup/mask"
)

const usage = `usage: backup dump | list | restore | verify | drill | drop   (each takes -h)
`

// usageError is a mistake on the command line.
type usageError string

func (e usageError) Error() string { return string(e) }

type settings struct {
	uri, bucket, stack       string
	id, from, into, database string
	mask                     bool
	storage                  []option.ClientOption
	out, err                 io.Writer
}

// Run runs one command line and returns the exit code: 0 done, 1 failed, 2 wrong usage. storage says how to reach Cloud Storage
// where Google's own chain of credentials and its own address are not meant.
func Run(ctx context.Context, args []string, out, errOut io.Writer, storage ...option.ClientOption) int {
	s := &settings{out: out, err: errOut, storage: storage}
	err := s.run(ctx, args)
	var wrong usageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.As(err, &wrong):
		fmt.Fprintf(errOut, "backup: %s\n", wrong)
		return 2
	}
	// One line: whoever waits for the job shows the last one.
	fmt.Fprintf(errOut, "backup: %s\n", strings.Join(strings.Fields(err.Error()), " "))
	return 1
}

func (s *settings) run(ctx context.Context, args []string) error {
	verbs := map[string]func(context.Context) (any, error){
		"dump": s.dump, "list": s.list, "restore": s.restore, "verify": s.verify, "drill": s.drill, "drop": s.drop,
	}
	if len(args) == 0 || verbs[args[0]] == nil {
		fmt.Fprint(s.err, usage)
		return usageError("name one of dump, list, restore, verify, drill, drop")
	}
	f := flag.NewFlagSet("backup "+args[0], flag.ContinueOnError)
	f.SetOutput(s.err)
	f.StringVar(&s.uri, "mongo-uri", os.Getenv("BACKUP_MONGO_URI"), "store, with its database (BACKUP_MONGO_URI)")
	f.StringVar(&s.bucket, "bucket", os.Getenv("BACKUP_BUCKET"), "bucket of backups, gs://NAME (BACKUP_BUCKET)")
	f.StringVar(&s.stack, "stack", os.Getenv("BACKUP_STACK"), "stack that the store belongs to (BACKUP_STACK)")
	f.StringVar(&s.id, "id", "newest", "backup, or newest")
	f.StringVar(&s.from, "from", "", "stack whose backup is meant; default --stack")
	f.StringVar(&s.into, "into", "", "database to restore into; it must be empty, or a rest of a restore")
	f.StringVar(&s.database, "database", "", "database to compare or to drop; default the one of --mongo-uri")
	f.BoolVar(&s.mask, "mask", false, "replace personal data by pseudonyms")
	if err := f.Parse(args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return usageError(err.Error())
	}
	if f.NArg() > 0 {
		return usageError(fmt.Sprintf("unexpected argument %q", f.Arg(0)))
	}
	if s.stack == "" && args[0] != "drop" {
		return usageError("no stack: set BACKUP_STACK")
	}
	if s.from == "" {
		s.from = s.stack
	}
	answer, err := verbs[args[0]](ctx)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "%s\n", raw)
	return err
}

func (s *settings) say(format string, args ...any) { fmt.Fprintf(s.err, format+"\n", args...) }

// connect answers the server and the database that the URI names.
func (s *settings) connect(ctx context.Context) (*mongo.Client, *mongo.Database, error) {
	if s.uri == "" {
		return nil, nil, usageError("no store: set BACKUP_MONGO_URI, such as mongodb://mongo:27017/patag")
	}
	parsed, err := connstring.ParseAndValidate(s.uri)
	if err != nil {
		// The driver's text may hold the password.
		return nil, nil, usageError("BACKUP_MONGO_URI is not a Mongo connection string")
	}
	if parsed.Database == "" {
		return nil, nil, usageError("BACKUP_MONGO_URI names no database")
	}
	client, err := mongo.Connect(ctx, options.Client().ApplyURI(s.uri).SetAppName("backup").SetServerSelectionTimeout(20*time.Second))
	if err != nil {
		return nil, nil, fmt.Errorf("connect to the store: %w", err)
	}
	return client, client.Database(parsed.Database), nil
}

func (s *settings) open(ctx context.Context) (*bucket.Bucket, error) {
	if s.bucket == "" {
		return nil, usageError("no bucket: set BACKUP_BUCKET, such as gs://NAME")
	}
	return bucket.Open(ctx, s.bucket, s.storage...)
}

func (s *settings) both(ctx context.Context) (*mongo.Client, *mongo.Database, *bucket.Bucket, error) {
	b, err := s.open(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	client, db, err := s.connect(ctx)
	return client, db, b, err
}

// tries of a dump during which the catalogue is replaced each time.
const tries = 5

func (s *settings) dump(ctx context.Context) (any, error) {
	client, db, b, err := s.both(ctx)
	if err != nil {
		return nil, err
	}
	defer client.Disconnect(context.WithoutCancel(ctx))
	server := serverVersion(ctx, db)
	for try := 1; ; try++ {
		begin := time.Now()
		m := &bucket.Manifest{ID: bucket.NewID(begin), Stack: s.stack, Database: db.Name(), Taken: begin.UTC().Truncate(time.Second), Server: server}
		err := b.Write(ctx, m, func(w io.Writer) error {
			zip := gzip.NewWriter(w)
			var err error
			m.Collections, err = database.Dump(ctx, db, func(c []archive.Collection) (*archive.Writer, error) {
				return archive.NewWriter(zip, server, c)
			}, func(c database.Count) { s.say("copied %s: %d documents, %d bytes", c.Collection, c.Documents, c.Bytes) })
			m.Seconds = time.Since(begin).Seconds()
			if err != nil {
				return err
			}
			return zip.Close()
		})
		if errors.Is(err, database.ErrChanged) && try < tries {
			s.say("%v: begin again", err)
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(time.Duration(try) * 2 * time.Second):
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		s.say("backup %s of %s: %d collections, %d bytes", m.ID, m.Stack, len(m.Collections), m.Bytes)
		return m, nil
	}
}

func serverVersion(ctx context.Context, db *mongo.Database) string {
	var info struct{ Version string }
	if err := db.RunCommand(ctx, bson.D{{Key: "buildInfo", Value: 1}}).Decode(&info); err != nil {
		return "" // a note for people, no more
	}
	return info.Version
}

func (s *settings) list(ctx context.Context) (any, error) {
	b, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	all, err := b.List(ctx, s.from)
	if err != nil {
		return nil, err
	}
	for _, m := range all {
		s.say("%s  %s  %d bytes", m.ID, m.Taken.Format(time.RFC3339), m.Bytes)
	}
	if all == nil {
		all = []*bucket.Manifest{}
	}
	return all, nil
}

func (s *settings) chosen(ctx context.Context, b *bucket.Bucket) (*bucket.Manifest, error) {
	if s.id == "newest" {
		return b.Newest(ctx, s.from)
	}
	return b.Manifest(ctx, s.from, s.id)
}

// Comparison is the answer of restore and verify.
type Comparison struct {
	ID          string          `json:"id"`
	Stack       string          `json:"stack"`
	Taken       time.Time       `json:"taken"`
	Database    string          `json:"database"`
	Masked      bool            `json:"masked,omitempty"`
	Before      bool            `json:"before,omitempty"` // restored by an earlier run; not compared now
	Equal       bool            `json:"equal"`
	Differences []string        `json:"differences,omitempty"`
	Collections database.Census `json:"collections"`
	Seconds     float64         `json:"seconds"`
}

func (s *settings) restore(ctx context.Context) (any, error) {
	if s.into == "" {
		return nil, usageError("no database to restore into: give --into NAME")
	}
	client, current, b, err := s.both(ctx)
	if err != nil {
		return nil, err
	}
	defer client.Disconnect(context.WithoutCancel(ctx))
	m, err := s.chosen(ctx, b)
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	o := database.Restore{Progress: func(c database.Count) { s.say("restored %s: %d documents", c.Collection, c.Documents) }}
	if s.mask {
		o.Change = maskAll()
	}
	into := client.Database(s.into)
	s.say("restore backup %s of %s (%s) into database %s beside %s", m.ID, m.Stack, m.Taken.Format(time.RFC3339), into.Name(), current.Name())
	var wrote database.Census
	err = b.Read(ctx, m, func(r io.Reader) error {
		zip, err := gzip.NewReader(r)
		if err != nil {
			return fmt.Errorf("%w: %v", archive.ErrDamaged, err)
		}
		wrote, err = database.Into(ctx, into, m.Stack+"/"+m.ID, zip, o)
		return err
	})
	if errors.Is(err, database.ErrAlready) {
		// So that the job that restores may run again, whenever it likes: what was written since is kept.
		s.say("database %s was restored from backup %s before: nothing is done", into.Name(), m.ID)
		return Comparison{ID: m.ID, Stack: m.Stack, Taken: m.Taken, Database: into.Name(), Masked: s.mask, Before: true}, nil
	}
	if err != nil {
		return nil, err
	}
	want := m.Collections
	if s.mask {
		want = wrote // what was written differs from the backup on purpose; it must be what is there now
	}
	return s.compare(ctx, m, into, want, begin)
}

// maskAll masks all but the counted events, whose text is ids of the catalogue.
func maskAll() func(string, bson.Raw) (bson.Raw, error) {
	m := mask.New()
	return func(_ string, doc bson.Raw) (bson.Raw, error) { return m.Document(doc) }
}

func (s *settings) verify(ctx context.Context) (any, error) {
	client, db, b, err := s.both(ctx)
	if err != nil {
		return nil, err
	}
	defer client.Disconnect(context.WithoutCancel(ctx))
	if s.database != "" {
		db = client.Database(s.database)
	}
	m, err := s.chosen(ctx, b)
	if err != nil {
		return nil, err
	}
	return s.compare(ctx, m, db, m.Collections, time.Now())
}

// compare counts a database; an answer that is not equal is an error, whose text says what differs.
func (s *settings) compare(ctx context.Context, m *bucket.Manifest, db *mongo.Database, want database.Census, begin time.Time) (any, error) {
	whole, err := database.Whole(ctx, db)
	if err != nil {
		return nil, err
	}
	if !whole {
		return nil, fmt.Errorf("database %s is the rest of a restore that did not finish: restore again", db.Name())
	}
	have, err := database.Take(ctx, db)
	if err != nil {
		return nil, err
	}
	c := Comparison{ID: m.ID, Stack: m.Stack, Taken: m.Taken, Database: db.Name(), Masked: s.mask, Collections: have, Differences: want.Differences(have)}
	c.Equal, c.Seconds = len(c.Differences) == 0, time.Since(begin).Seconds()
	if !c.Equal {
		return nil, fmt.Errorf("database %s is not what backup %s holds: %s", db.Name(), m.ID, strings.Join(c.Differences, "; "))
	}
	s.say("database %s and backup %s are equal: %d collections", db.Name(), m.ID, len(have))
	return c, nil
}

func (s *settings) drop(ctx context.Context) (any, error) {
	client, current, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer client.Disconnect(context.WithoutCancel(ctx))
	if s.database == "" || s.database == current.Name() {
		return nil, usageError("give --database, and not the one in use")
	}
	if err := client.Database(s.database).Drop(ctx); err != nil {
		return nil, fmt.Errorf("drop database %s: %w", s.database, err)
	}
	s.say("dropped database %s", s.database)
	return map[string]string{"dropped": s.database}, nil
}
