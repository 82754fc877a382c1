// Package logs keeps log entries as Cloud Logging does, one append-only log per project. Entries go in by Append, which only
// copies them into a buffer and so is fit for a request path, and come out by List with Google's query language.
//
// On disk a project is a folder of segments, files of one JSON entry a line. A kill at any moment loses at most what was
// appended since the last flush (half a second), a power cut what was written since the last fsync (the same). Old
// segments go when their entries are older than the retention or the project outgrows its space.
package logs

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/api/logging/v2"
)

// Entry is Google's LogEntry. Append fills in what Google fills in: receiveTimestamp, timestamp, insertId.
type Entry = logging.LogEntry

// Options may be left zero.
type Options struct {
	// Segment is the size in bytes at which a file is closed and the next begun. Default 8 MiB.
	Segment int64
	// Space is the most bytes that one project may take. Default 256 MiB.
	Space int64
	// Retention is the age at which entries go; Cloud Logging's default bucket keeps them 30 days, and so do we.
	Retention time.Duration
	// Flush is the longest time that an appended entry stays in memory. Default 500 ms.
	Flush time.Duration
	// Logger gets what goes wrong in the background. Default slog.Default().
	Logger *slog.Logger
}

// Log is safe for concurrent use.
type Log struct {
	dir      string
	o        Options
	mu       sync.Mutex
	projects map[string]*project
	stop     chan struct{}
	done     sync.WaitGroup
}

// Open reads what is there. It repairs what a crash left: a half-written last line is cut off.
func Open(dir string, o Options) (*Log, error) {
	if o.Segment <= 0 {
		o.Segment = 8 << 20
	}
	if o.Space <= 0 {
		o.Space = 256 << 20
	}
	if o.Retention <= 0 {
		o.Retention = 30 * 24 * time.Hour
	}
	if o.Flush <= 0 {
		o.Flush = 500 * time.Millisecond
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open the log store: %w", err)
	}
	l := &Log{dir: dir, o: o, projects: map[string]*project{}, stop: make(chan struct{})}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("open the log store: %w", err)
	}
	for _, e := range entries {
		if e.IsDir() {
			p, err := openProject(filepath.Join(dir, e.Name()), &l.o)
			if err != nil {
				return nil, fmt.Errorf("open the log store: %w", err)
			}
			l.projects[e.Name()] = p
		}
	}
	l.done.Add(1)
	go l.flushLoop()
	return l, nil
}

func (l *Log) flushLoop() {
	defer l.done.Done()
	tick := time.NewTicker(l.o.Flush)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-l.stop:
			return
		case <-tick.C:
		}
		err := l.flush(true)
		if err != nil && !failing { // once, not twice a second while a disk is full
			l.o.Logger.Error("log entries cannot be written; they are kept in memory up to a limit, then lost", "error", err)
		} else if err == nil && failing {
			l.o.Logger.Info("log entries are written again")
		}
		failing = err != nil
	}
}

func (l *Log) flush(sync bool) error {
	var errs []error
	for _, p := range l.all() {
		errs = append(errs, p.flush(sync))
	}
	return errors.Join(errs...)
}

func (l *Log) all() []*project {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]*project, 0, len(l.projects))
	for _, p := range l.projects {
		all = append(all, p)
	}
	return all
}

// Close flushes and stops. Append must not be called after it.
func (l *Log) Close() error {
	close(l.stop)
	l.done.Wait()
	err := l.flush(true)
	for _, p := range l.all() {
		err = errors.Join(err, p.close())
	}
	return err
}

var projectName = regexp.MustCompile(`^[a-z0-9][a-z0-9.:-]{0,62}$`)

// project gives the log of a project, which comes into being with its first entry.
func (l *Log) project(name string, create bool) (*project, error) {
	if !projectName.MatchString(name) {
		return nil, fmt.Errorf("invalid project %q", name)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.projects[name]
	if p == nil && create {
		var err error
		if p, err = openProject(filepath.Join(l.dir, name), &l.o); err != nil {
			return nil, fmt.Errorf("log of project %q: %w", name, err)
		}
		l.projects[name] = p
	}
	return p, nil
}

// Append adds an entry to a project's log. It does no I/O but at the end of a segment. An entry without logName or
// monitored resource is refused, as Google refuses it. The entry must not be changed by another goroutine meanwhile.
func (l *Log) Append(projectID string, e *Entry) error {
	line, m, err := encode(e)
	if err != nil {
		return err
	}
	p, err := l.project(projectID, true)
	if err != nil {
		return err
	}
	return p.append(line, m)
}

// Flush makes all that was appended to a project durable against a kill of this process.
func (l *Log) Flush(projectID string) error {
	p, err := l.project(projectID, false)
	if p == nil || err != nil {
		return err
	}
	return p.flush(false)
}

// meta is what the store itself must know of an entry.
type meta struct {
	name      string
	timestamp time.Time
}

func encode(e *Entry) ([]byte, meta, error) {
	if e.LogName == "" {
		return nil, meta{}, errors.New("a log entry must have a logName")
	}
	if e.Resource == nil || e.Resource.Type == "" {
		return nil, meta{}, errors.New("a log entry must have a monitored resource")
	}
	now := time.Now().UTC()
	if e.ReceiveTimestamp == "" {
		e.ReceiveTimestamp = now.Format(time.RFC3339Nano)
	}
	if e.Timestamp == "" {
		e.Timestamp = e.ReceiveTimestamp
	}
	ts, err := time.Parse(time.RFC3339Nano, e.Timestamp)
	if err != nil {
		return nil, meta{}, fmt.Errorf("timestamp %q is not an RFC 3339 time", e.Timestamp)
	}
	if e.InsertId == "" {
		e.InsertId = newInsertID(now)
	}
	line, err := json.Marshal(e)
	if err != nil {
		return nil, meta{}, fmt.Errorf("log entry: %w", err)
	}
	return append(line, '\n'), meta{e.LogName, ts}, nil
}

// Names lists the full names of a project's logs ("projects/p/logs/requests"), sorted.
func (l *Log) Names(projectID string) []string {
	p, err := l.project(projectID, false)
	if p == nil || err != nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var names []string
	for name, n := range p.index.Names {
		if !n.Deleted.IsZero() && !n.Again {
			continue
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Delete removes all present entries of a log. It tells whether the log existed.
func (l *Log) Delete(projectID, logName string) (bool, error) {
	p, err := l.project(projectID, false)
	if p == nil || err != nil {
		return false, err
	}
	return p.deleteLog(logName)
}

// ProjectOf gives the project of a resource or log name ("projects/p", "projects/p/logs/x", "projects/p/locations/…").
func ProjectOf(name string) (string, error) {
	rest, ok := strings.CutPrefix(name, "projects/")
	project, _, _ := strings.Cut(rest, "/")
	if !ok || !projectName.MatchString(project) {
		return "", fmt.Errorf("%q is not the name of a project; only projects have logs here", name)
	}
	return project, nil
}

// ID gives the log ID of a full log name: the unescaped part after "/logs/".
func ID(logName string) string {
	_, id, _ := strings.Cut(logName, "/logs/")
	if plain, err := url.PathUnescape(id); err == nil {
		return plain
	}
	return id
}
