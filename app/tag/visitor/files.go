package visitor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"
)

// Files are read at the start and again when they change. Replace them by renaming: the database is memory mapped, and one that is
// written over in place ends the process.
type Files struct {
	Geo         string // database in MaxMind's format; "" for none
	DataCentres string // addresses of data centres, one prefix a line; "" for none
}

// Load reads the files. One that cannot be read is an error, and leaves what was read before in use.
func (rd *Reader) Load(f Files) error {
	var all []error
	if f.Geo != "" {
		if g, err := openGeo(f.Geo); err != nil {
			all = append(all, fmt.Errorf("read the GeoIP database %s: %w; it must be a file in MaxMind's mmdb format", f.Geo, err))
		} else {
			rd.geo.Store(g)
		}
	}
	if f.DataCentres != "" {
		if s, err := openRanges(f.DataCentres); err != nil {
			all = append(all, fmt.Errorf("read the ranges of data centres %s: %w", f.DataCentres, err))
		} else {
			rd.dataCentres.Store(s)
		}
	}
	return errors.Join(all...)
}

// Watch loads files again when their time or size changes, looked at every so often, until ctx ends. onReload hears of each time,
// with an error where the file was refused and the one before stays in use; it may be nil.
func (rd *Reader) Watch(ctx context.Context, f Files, every time.Duration, log *slog.Logger, onReload func(error)) {
	geoState, rangeState := stateOf(f.Geo), stateOf(f.DataCentres)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		var changed Files
		if s := stateOf(f.Geo); s != geoState {
			geoState, changed.Geo = s, f.Geo
		}
		if s := stateOf(f.DataCentres); s != rangeState {
			rangeState, changed.DataCentres = s, f.DataCentres
		}
		if changed == (Files{}) {
			continue
		}
		err := rd.Load(changed)
		if err != nil {
			log.Error("keep using what was read before", "error", err)
		} else {
			log.Info("read changed files about addresses", "geo", changed.Geo, "dataCentres", changed.DataCentres)
		}
		if onReload != nil {
			onReload(err)
		}
	}
}

// fileState changes when a file does. A file that is missing has the zero state.
type fileState struct {
	time time.Time
	size int64
}

func stateOf(file string) fileState {
	if file == "" {
		return fileState{}
	}
	st, err := os.Stat(file)
	if err != nil {
		return fileState{}
	}
	return fileState{time: st.ModTime(), size: st.Size()}
}
