// Package ship carries sealed journal segments to the reports. One segment becomes one Batch with the segment's id: a sealed
// segment never changes, so after a crash the same batch is made again and the store takes it once. Events of browsers count once
// per token and kind over all servers: each is claimed in Redis in the segment's name, and a claim in one's own name holds, so
// that repeating a batch finds its own claims. While Redis is away segments wait, for a while.
package ship

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"patag/app/tag/events"
	"patag/app/tag/events/journal"
)

// Row is equal events of one hour, added up.
type Row struct {
	Hour      int64  `bson:"hour" json:"hour"` // Unix seconds of its start
	Kind      string `bson:"kind" json:"kind"`
	Invalid   bool   `bson:"invalid,omitempty" json:"invalid,omitempty"`
	House     bool   `bson:"house,omitempty" json:"house,omitempty"`
	Placement string `bson:"placement" json:"placement"`
	LineItem  string `bson:"lineItem,omitempty" json:"lineItem,omitempty"`
	Creative  string `bson:"creative,omitempty" json:"creative,omitempty"`
	Source    string `bson:"source,omitempty" json:"source,omitempty"`
	Arm       string `bson:"arm,omitempty" json:"arm,omitempty"`
	Reason    string `bson:"reason,omitempty" json:"reason,omitempty"`
	Currency  string `bson:"currency,omitempty" json:"currency,omitempty"`
	Count     int64  `bson:"count" json:"count"`
	// CPMMicros is the sum of the events' CPMs; a thousandth of an impression row's is its revenue in micros.
	CPMMicros int64 `bson:"cpmMicros" json:"cpmMicros"`
}

// Batch is one segment's rows.
type Batch struct {
	ID     string    `bson:"_id" json:"id"`
	Server string    `bson:"server" json:"server"`
	At     time.Time `bson:"at" json:"at"`
	// Deduplicated is false when Redis was away for too long: then events of this batch may be counted in another one too.
	Deduplicated bool  `bson:"deduplicated" json:"deduplicated"`
	Duplicates   int64 `bson:"duplicates" json:"duplicates"` // events left out
	Rows         []Row `bson:"rows" json:"rows"`
}

// Sink takes batches. Taking one with an id that was taken before changes nothing and is no error.
type Sink interface {
	Take(ctx context.Context, b *Batch) error
}

// Claims settles which segment an event counts in.
type Claims interface {
	// Claim says for each event whether it is owner's: claimed now, or by the same owner before.
	Claim(ctx context.Context, owner string, evs []Key) ([]bool, error)
}

// Key is what an event is counted once by.
type Key struct {
	Token  uint64
	Kind   events.Kind
	Source string
}

// Shipper ships one journal.
type Shipper struct {
	Journal *journal.Journal
	Sink    Sink
	Claims  Claims // nil: this process's segments alone are told apart
	Server  string
	Every   time.Duration // default 2 s
	// Patience is how long a segment waits for Redis before it is shipped without claims; default 10 min.
	Patience time.Duration
	Now      func() time.Time // default time.Now
	Logger   *slog.Logger
	Stats    Stats

	mu      sync.Mutex // one round at a time
	failing bool
}

// Stats since start.
type Stats struct {
	Batches, Events, Duplicates, Unclaimed, Failures, Damaged atomic.Int64
	// Misdated is events whose time cannot be right; they are counted in the hour in which they were shipped.
	Misdated atomic.Int64
}

// Run ships until ctx ends.
func (s *Shipper) Run(ctx context.Context) {
	every := cmp.Or(s.Every, 2*time.Second)
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		err := s.Ship(ctx)
		if ctx.Err() != nil {
			return
		}
		switch {
		case err != nil && !s.failing:
			s.Logger.Warn("reports: batches wait in the journal", "err", err, "journal_bytes", s.Journal.Size())
		case err == nil && s.failing:
			s.Logger.Info("reports: batches flow again")
		}
		s.failing = err != nil
	}
}

// Ship seals what is open and ships all there is. It stops at the first segment that cannot be shipped, so that order is kept.
func (s *Shipper) Ship(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.Journal.Seal(ctx); err != nil && !errors.Is(err, journal.ErrClosed) {
		return fmt.Errorf("seal the journal: %w", err)
	}
	segments, err := s.Journal.Sealed()
	if err != nil {
		return err
	}
	for _, seg := range segments {
		if err := s.ship(ctx, seg); err != nil {
			s.Stats.Failures.Add(1)
			return err
		}
	}
	return nil
}

func (s *Shipper) ship(ctx context.Context, seg journal.Segment) error {
	evs, damaged, err := s.read(seg)
	if err != nil {
		return err
	}
	now := s.now()
	s.Stats.Misdated.Add(redate(evs, now))
	b := &Batch{ID: seg.ID.String(), Server: s.Server, At: now.UTC(), Deduplicated: true}
	mine, err := s.claim(ctx, seg, b, evs)
	if err != nil {
		return err
	}
	b.Rows = rollUp(evs, mine)
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := s.Sink.Take(ctx, b); err != nil {
		return fmt.Errorf("store batch %s: %w", b.ID, err)
	}
	s.Stats.Batches.Add(1)
	s.Stats.Events.Add(int64(len(evs)))
	s.Stats.Duplicates.Add(b.Duplicates)
	if damaged {
		s.Stats.Damaged.Add(1)
		s.Logger.Error("reports: a segment is damaged on disk; what could be read of it is counted, the file is kept", "segment", seg.Path)
		return s.Journal.SetAside(seg)
	}
	return s.Journal.Remove(seg)
}

func (s *Shipper) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

// redate gives events the present time whose own cannot be right: the clock jumped ahead when they were written, or had not been
// set. A report would show them in a year that nobody asks for. It says how many.
func redate(evs []events.Event, now time.Time) (n int64) {
	first, last := now.Add(-400*24*time.Hour).UnixMilli(), now.Add(time.Hour).UnixMilli()
	for i := range evs {
		if evs[i].At < first || evs[i].At > last {
			evs[i].At = now.UnixMilli()
			n++
		}
	}
	return n
}

func (s *Shipper) read(seg journal.Segment) (evs []events.Event, damaged bool, err error) {
	err = s.Journal.Read(seg, func(payload []byte) error {
		e, err := events.Parse(payload)
		if err != nil {
			// The checksum was right: a later version wrote it. Counting the rest is better than counting nothing.
			s.Logger.Error("reports: a record is not understood and left out", "segment", seg.Path, "err", err)
			damaged = true
			return nil
		}
		evs = append(evs, e)
		return nil
	})
	if errors.Is(err, journal.ErrDamaged) {
		return evs, true, nil
	}
	return evs, damaged, err
}

// claim finds out which events of the segment count. Equal events within it are told apart here, those of other segments by claims.
func (s *Shipper) claim(ctx context.Context, seg journal.Segment, b *Batch, evs []events.Event) ([]bool, error) {
	mine := make([]bool, len(evs))
	first := make(map[Key]bool)
	var keys []Key
	var at []int
	for i := range evs {
		if !evs[i].Once() {
			mine[i] = true
			continue
		}
		k := Key{evs[i].Token, evs[i].Kind, evs[i].Source}
		if first[k] {
			b.Duplicates++
			continue
		}
		first[k] = true
		keys, at = append(keys, k), append(at, i)
	}
	if len(keys) == 0 {
		return mine, nil
	}
	owned, err := s.owned(ctx, b.ID, keys)
	if err != nil {
		if fi, statErr := os.Stat(seg.Path); statErr != nil || s.now().Sub(fi.ModTime()) < cmp.Or(s.Patience, 10*time.Minute) {
			return nil, fmt.Errorf("claim events in Redis: %w", err)
		}
		s.Logger.Warn("reports: Redis stays away; a batch is counted without telling events of other servers apart", "batch", b.ID, "err", err)
		b.Deduplicated = false
		s.Stats.Unclaimed.Add(int64(len(keys)))
	}
	for n, i := range at {
		if owned != nil && !owned[n] {
			b.Duplicates++
			continue
		}
		mine[i] = true
	}
	return mine, nil
}

func (s *Shipper) owned(ctx context.Context, owner string, keys []Key) ([]bool, error) {
	if s.Claims == nil {
		return nil, nil
	}
	const chunk = 512
	var out []bool
	for part := range slices.Chunk(keys, chunk) {
		owned, err := s.Claims.Claim(ctx, owner, part)
		if err != nil {
			return nil, err
		}
		out = append(out, owned...)
	}
	return out, nil
}

const hour = 3600

// rollUp adds equal events up, in a fixed order: the same segment makes the same rows.
func rollUp(evs []events.Event, mine []bool) []Row {
	sums := map[Row]*Row{}
	var order []*Row
	for i := range evs {
		if !mine[i] {
			continue
		}
		e := &evs[i]
		key := Row{
			Hour: e.At / 1000 / hour * hour, Kind: e.Kind.String(), Invalid: e.Invalid, House: e.House, Placement: e.Placement,
			LineItem: e.Item, Creative: e.Creative, Source: e.Source, Arm: e.Arm, Reason: e.Reason, Currency: e.Currency,
		}
		row := sums[key]
		if row == nil {
			r := key
			row = &r
			sums[key] = row
			order = append(order, row)
		}
		row.Count += e.Count
		row.CPMMicros += e.CPMMicros * e.Count
	}
	rows := make([]Row, len(order))
	for i, r := range order {
		rows[i] = *r
	}
	return rows
}
