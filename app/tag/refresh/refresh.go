// Package refresh keeps a server's catalogue current: it polls the version document of a store, and when the version changes
// loads, compiles and publishes a snapshot. A catalogue that does not compile is refused whole, and the last good one stays. The
// last good catalogue is kept on disk for a start without the store.
package refresh

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"patag/app/tag/catalogue"
	"patag/app/tag/catalogue/lastgood"
	"patag/app/tag/inventory"
)

// Source is where catalogues come from.
type Source interface {
	Version(ctx context.Context) (int64, error)
	Load(ctx context.Context) (*catalogue.Catalogue, int64, error)
}

// Refresher polls.
type Refresher struct {
	Source  Source
	Publish func(ctx context.Context, s *inventory.Snapshot)
	File    string        // of the last good catalogue; "" for none
	Every   time.Duration // default 2 s
	Logger  *slog.Logger

	Stats Stats

	current int64 // version that is published; -1 before the first
	refused int64 // version that did not compile
	failing bool
}

// Stats for metrics.
type Stats struct {
	Refused  atomic.Int64 // catalogues that did not compile
	Failures atomic.Int64 // polls that failed
	Reached  atomic.Int64 // Unix seconds of the last poll that succeeded
}

// pollTimeout bounds one poll's question for the version; loading may take longer.
const (
	pollTimeout = 5 * time.Second
	loadTimeout = time.Minute
)

// Run publishes what is on disk, then polls until ctx ends.
func (r *Refresher) Run(ctx context.Context) {
	r.current = -1
	r.fromDisk(ctx)
	for {
		r.poll(ctx)
		// Jitter keeps a fleet's polls apart.
		every := cmp.Or(r.Every, 2*time.Second)
		select {
		case <-ctx.Done():
			return
		case <-time.After(every*3/4 + rand.N(every/2)):
		}
	}
}

func (r *Refresher) fromDisk(ctx context.Context) {
	if r.File == "" {
		return
	}
	saved, err := lastgood.Load(r.File)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil {
		var s *inventory.Snapshot
		if s, err = inventory.Compile(saved.Catalogue, saved.Version, time.Now()); err == nil {
			r.current = saved.Version
			r.Publish(ctx, s)
			r.Logger.Info("catalogue: serving the last good one from disk until the store answers", "version", saved.Version)
			return
		}
	}
	r.Logger.Warn("catalogue: the last good one on disk cannot be used", "err", err)
}

func (r *Refresher) poll(ctx context.Context) {
	err := r.step(ctx)
	if ctx.Err() != nil {
		return
	}
	if err == nil {
		if r.failing {
			r.Logger.Info("catalogue: the store answers again")
		}
		r.failing = false
		r.Stats.Reached.Store(time.Now().Unix())
		return
	}
	r.Stats.Failures.Add(1)
	if !r.failing {
		r.Logger.Warn("catalogue: cannot be refreshed; the one in use stays", "version", r.current, "err", err)
	}
	r.failing = true
}

func (r *Refresher) step(ctx context.Context) error {
	short, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	version, err := r.Source.Version(short)
	if err != nil {
		return err
	}
	if version == r.current || version == r.refused {
		return nil
	}
	long, cancelLong := context.WithTimeout(ctx, loadTimeout)
	defer cancelLong()
	c, version, err := r.Source.Load(long)
	if err != nil {
		return err
	}
	begin := time.Now()
	s, err := inventory.Compile(c, version, begin)
	if err != nil {
		r.refused = version
		r.Stats.Refused.Add(1)
		r.Logger.Error("catalogue: refused; the one in use stays", "refused", version, "in_use", r.current, "err", firstLine(err))
		return nil
	}
	r.current = version
	r.Publish(ctx, s)
	r.Logger.Info("catalogue: published", "version", version, "placements", len(s.Placements), "compiled_in", time.Since(begin).Round(time.Microsecond))
	if r.File != "" {
		if err := lastgood.Save(r.File, lastgood.Saved{Version: version, Catalogue: c}); err != nil {
			// Serving goes on: only a cold start without the store would miss it.
			r.Logger.Error("catalogue: the last good one could not be kept on disk", "err", err)
		}
	}
	return nil
}

// firstLine is what a log can take of a catalogue's problems.
func firstLine(err error) string {
	var ps catalogue.Problems
	if errors.As(err, &ps) && len(ps) > 1 {
		return fmt.Sprintf("%s (and %d more)", ps[0], len(ps)-1)
	}
	return err.Error()
}
