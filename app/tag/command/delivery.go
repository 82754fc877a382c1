package command

import (
	"context"
	"time"

	"patag/app/tag/counters"
	"patag/app/tag/events"
	"patag/app/tag/pacing"
	"patag/app/tag/reports"
)

// counted takes each counted event to where it shows soon.
type counted struct {
	live *counters.Live
	pace *pacing.Manager
}

// Add implements server.Live.
func (c counted) Add(e *events.Event) {
	c.live.Add(e)
	c.pace.Add(e)
}

// delivered is what the reports know of line items, for pacing.
func delivered(store *reports.Store) func(context.Context, time.Time) (map[string]pacing.Counts, error) {
	return func(ctx context.Context, since time.Time) (map[string]pacing.Counts, error) {
		rows, err := store.Delivered(ctx, since)
		if err != nil {
			return nil, err
		}
		out := map[string]pacing.Counts{}
		for _, r := range rows {
			c := out[r.LineItem]
			if r.Kind == events.Click.String() {
				c.Clicks += r.Count
			} else {
				c.Impressions += r.Count
			}
			out[r.LineItem] = c
		}
		return out, nil
	}
}
