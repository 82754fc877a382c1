// Package series keeps time series as Cloud Monitoring does: a series is what shares metric, monitored resource, kind and
// value type; points come in time order and go when they are older than the retention. Everything is in memory, with a
// snapshot on disk at an interval and at Close: metrics lost in a crash are at most the interval's.
package series

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// Kind is Google's metricKind, Type its valueType.
type Kind string

// The kinds of metrics.
const (
	Gauge      Kind = "GAUGE"
	Delta      Kind = "DELTA"
	Cumulative Kind = "CUMULATIVE"
)

// Type is Google's valueType. Distributions are not kept.
type Type string

// The types of values.
const (
	Bool   Type = "BOOL"
	Int64  Type = "INT64"
	Double Type = "DOUBLE"
	String Type = "STRING"
)

// Labeled is a metric or a monitored resource.
type Labeled struct {
	Type   string            `json:"type"`
	Labels map[string]string `json:"labels,omitempty"`
}

func (l Labeled) key() string {
	var b strings.Builder
	b.WriteString(l.Type)
	for _, k := range slices.Sorted(maps.Keys(l.Labels)) {
		fmt.Fprintf(&b, "\x00%s\x01%s", k, l.Labels[k])
	}
	return b.String()
}

// Key identifies a series within a project.
type Key struct {
	Metric   Labeled `json:"metric"`
	Resource Labeled `json:"resource"`
	Kind     Kind    `json:"metricKind"`
	Type     Type    `json:"valueType"`
	Unit     string  `json:"unit,omitempty"`
}

func (k Key) id() string { return k.Metric.key() + "\x02" + k.Resource.key() }

// Point is one value. Number holds numbers and booleans (0 or 1), Text strings. Start equals End for gauges.
type Point struct {
	Start  time.Time `json:"s"`
	End    time.Time `json:"e"`
	Number float64   `json:"n,omitempty"`
	Text   string    `json:"t,omitempty"`
}

// Series is a series with some of its points, newest first as Google lists them.
type Series struct {
	Key
	Points []Point
}

// Options may be left zero.
type Options struct {
	// Retention is how long points are kept; default 24 h (Google: six weeks).
	Retention time.Duration
	// Points is the most points of one series; default 10,000.
	Points int
	// Snapshot is the interval between snapshots; default 15 s.
	Snapshot time.Duration
	// Logger gets what goes wrong in the background. Default slog.Default().
	Logger *slog.Logger
}

type stored struct {
	Key    Key     `json:"key"`
	Points []Point `json:"points"` // oldest first
}

// Store is safe for concurrent use.
type Store struct {
	path string
	o    Options

	mu       sync.RWMutex
	projects map[string]map[string]*stored
	dirty    bool

	stop chan struct{}
	done sync.WaitGroup
}

// Open reads the snapshot, if there is one. A snapshot that cannot be read is set aside, told, and does not stop the start:
// metrics are not worth an outage.
func Open(path string, o Options) (*Store, error) {
	if o.Retention <= 0 {
		o.Retention = 24 * time.Hour
	}
	if o.Points <= 0 {
		o.Points = 10_000
	}
	if o.Snapshot <= 0 {
		o.Snapshot = 15 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	s := &Store{path: path, o: o, projects: map[string]map[string]*stored{}, stop: make(chan struct{})}
	if err := s.load(); err != nil {
		aside := path + ".unreadable"
		if moved := os.Rename(path, aside); moved != nil {
			return nil, errors.Join(fmt.Errorf("read the time series: %w", err), moved)
		}
		o.Logger.Error("the time series could not be read; starting without them", "error", err, "moved", aside)
		s.projects = map[string]map[string]*stored{}
	}
	s.done.Add(1)
	go s.snapshots()
	return s, nil
}

func (s *Store) load() error {
	raw, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var snapshot map[string][]*stored
	if err := json.Unmarshal(raw, &snapshot); err != nil {
		return err
	}
	for project, all := range snapshot {
		m := map[string]*stored{}
		for _, one := range all {
			m[one.Key.id()] = one
		}
		s.projects[project] = m
	}
	return nil
}

func (s *Store) snapshots() {
	defer s.done.Done()
	tick := time.NewTicker(s.o.Snapshot)
	defer tick.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
			if err := s.save(); err != nil {
				s.o.Logger.Error("time series snapshot", "error", err)
			}
		}
	}
}

// save drops what is too old and writes the rest, if anything changed.
func (s *Store) save() error {
	s.mu.Lock()
	if !s.dirty {
		s.mu.Unlock()
		return nil
	}
	s.dirty = false
	snapshot := map[string][]*stored{}
	oldest := time.Now().Add(-s.o.Retention)
	for project, all := range s.projects {
		for id, one := range all {
			one.trim(oldest, s.o.Points)
			if len(one.Points) == 0 {
				delete(all, id)
				continue
			}
			// Points are only appended or cut off at the front, so this view stays what it is.
			snapshot[project] = append(snapshot[project], &stored{one.Key, one.Points[:len(one.Points):len(one.Points)]})
		}
	}
	s.mu.Unlock()
	err := writeFile(s.path, snapshot)
	if err != nil {
		s.mu.Lock()
		s.dirty = true
		s.mu.Unlock()
	}
	return err
}

func (s *stored) trim(oldest time.Time, most int) {
	cut := max(0, len(s.Points)-most)
	for cut < len(s.Points) && s.Points[cut].End.Before(oldest) {
		cut++
	}
	if cut > 0 {
		s.Points = slices.Clone(s.Points[cut:])
	}
}

func writeFile(path string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(raw)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Rename(path+".tmp", path)
}

// Close writes the last snapshot.
func (s *Store) Close() error {
	close(s.stop)
	s.done.Wait()
	return s.save()
}

// ErrRefused marks points that Google would refuse too.
var ErrRefused = errors.New("refused")

// Write adds one point to a series, which it makes if need be. Points must be newer than those before.
func (s *Store) Write(project string, k Key, p Point) error {
	if err := check(k, p, time.Now()); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.projects[project]
	if all == nil {
		all = map[string]*stored{}
		s.projects[project] = all
	}
	one := all[k.id()]
	if one == nil {
		k.Metric.Labels, k.Resource.Labels = maps.Clone(k.Metric.Labels), maps.Clone(k.Resource.Labels)
		one = &stored{Key: k}
		all[k.id()] = one
	}
	if one.Key.Kind != k.Kind || one.Key.Type != k.Type {
		return fmt.Errorf("%w: %s is %s %s, not %s %s", ErrRefused, k.Metric.Type, one.Key.Kind, one.Key.Type, k.Kind, k.Type)
	}
	if n := len(one.Points); n > 0 {
		last := one.Points[n-1]
		if !p.End.After(last.End) {
			return fmt.Errorf("%w: Points must be written in order. One or more of the points specified had an older end time than the most recent point", ErrRefused)
		}
		if k.Kind == Cumulative && p.Start.Before(last.Start) {
			return fmt.Errorf("%w: the start time of a cumulative point lies before that of the most recent point", ErrRefused)
		}
		if k.Kind == Delta && p.Start.Before(last.End) {
			return fmt.Errorf("%w: a delta point overlaps the most recent point", ErrRefused)
		}
	}
	one.Points = append(one.Points, p)
	if len(one.Points) > s.o.Points+s.o.Points/4 {
		one.trim(time.Now().Add(-s.o.Retention), s.o.Points)
	}
	s.dirty = true
	return nil
}

func check(k Key, p Point, now time.Time) error {
	switch {
	case k.Metric.Type == "" || k.Resource.Type == "":
		return errors.New("a time series needs a metric type and a monitored resource type")
	case k.Kind != Gauge && k.Kind != Delta && k.Kind != Cumulative:
		return fmt.Errorf("unknown metric kind %q", k.Kind)
	case k.Type != Bool && k.Type != Int64 && k.Type != Double && k.Type != String:
		return fmt.Errorf("value type %q is not supported", k.Type)
	case p.End.IsZero():
		return errors.New("interval.endTime is missing")
	case p.End.After(now.Add(5 * time.Minute)):
		return errors.New("interval.endTime is more than five minutes in the future")
	case p.End.Before(now.Add(-25 * time.Hour)):
		return errors.New("interval.endTime is more than 25 hours in the past")
	case k.Kind == Gauge && !p.Start.Equal(p.End):
		return errors.New("a gauge's start and end time must be equal")
	case k.Kind != Gauge && !p.Start.Before(p.End):
		return fmt.Errorf("the start time of a %s point must lie before its end time", k.Kind)
	case k.Kind != Gauge && (k.Type == Bool || k.Type == String):
		return fmt.Errorf("a %s metric cannot have values of type %s", k.Kind, k.Type)
	}
	return nil
}

// List gives the series for which match holds, with their points that end in (from, to] — a zero from or to is no bound —
// newest first. Series without such points are left out.
func (s *Store) List(project string, from, to time.Time, match func(Key) bool) []Series {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var found []Series
	for _, id := range slices.Sorted(maps.Keys(s.projects[project])) {
		one := s.projects[project][id]
		if !match(one.Key) {
			continue
		}
		lo, _ := slices.BinarySearchFunc(one.Points, from, func(p Point, t time.Time) int {
			return cmp.Or(p.End.Compare(t), -1) // after from
		})
		hi := len(one.Points)
		if !to.IsZero() {
			hi, _ = slices.BinarySearchFunc(one.Points, to, func(p Point, t time.Time) int { return cmp.Or(p.End.Compare(t), -1) })
		}
		if from.IsZero() {
			lo = 0
		}
		if lo >= hi {
			continue
		}
		points := slices.Clone(one.Points[lo:hi])
		slices.Reverse(points)
		found = append(found, Series{one.Key, points})
	}
	return found
}

// Metrics gives one key per metric type that has been written, sorted by type.
func (s *Store) Metrics(project string) []Key {
	s.mu.RLock()
	defer s.mu.RUnlock()
	byType := map[string]Key{}
	for _, one := range s.projects[project] {
		k := byType[one.Key.Metric.Type]
		labels := maps.Clone(k.Metric.Labels)
		if labels == nil {
			labels = map[string]string{}
		}
		for name := range one.Key.Metric.Labels {
			labels[name] = ""
		}
		k = one.Key
		k.Metric.Labels = labels
		byType[k.Metric.Type] = k
	}
	return slices.SortedFunc(maps.Values(byType), func(a, b Key) int { return cmp.Compare(a.Metric.Type, b.Metric.Type) })
}
