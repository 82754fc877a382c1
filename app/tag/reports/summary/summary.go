// Package summary makes a report for people out of counted rows: lines by what one wants to tell apart, with what is computed from
// counts, and a line of totals. In go rows and dimensions; out come lines, which it can print as a table, CSV or JSON.
package summary

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"patag/app/tag/events"
	"patag/app/tag/events/ship"
)

// Dimension is something that lines can be told apart by.
type Dimension string

// Dimensions.
const (
	Placement  Dimension = "placement"
	LineItem   Dimension = "line-item"
	Creative   Dimension = "creative"
	Source     Dimension = "source"
	Advertiser Dimension = "advertiser"
	Arm        Dimension = "arm"
	Reason     Dimension = "reason"
	Hour       Dimension = "hour"
	Day        Dimension = "day"
)

var dimensions = []Dimension{Placement, LineItem, Creative, Source, Advertiser, Arm, Reason, Hour, Day}

// ParseBy reads dimensions separated by commas.
func ParseBy(text string) ([]Dimension, error) {
	var out []Dimension
	for name := range strings.SplitSeq(text, ",") {
		d := Dimension(strings.TrimSpace(name))
		switch {
		case !slices.Contains(dimensions, d):
			return nil, fmt.Errorf("%q is nothing to report by; use some of %s, separated by commas", name, join(dimensions))
		case slices.Contains(out, d):
			return nil, fmt.Errorf("%q is named twice", name)
		}
		out = append(out, d)
	}
	return out, nil
}

func join(ds []Dimension) string {
	var names []string
	for _, d := range ds {
		names = append(names, string(d))
	}
	return strings.Join(names, ", ")
}

// Counts of valid traffic; Invalid is all events of invalid traffic, whatever their kind.
type Counts struct {
	Requests    int64 `json:"requests"`
	Attempts    int64 `json:"attempts"`
	Fills       int64 `json:"fills"`
	NoFills     int64 `json:"noFills"`
	Passbacks   int64 `json:"passbacks"`
	Impressions int64 `json:"impressions"`
	Viewables   int64 `json:"viewables"`
	Clicks      int64 `json:"clicks"`
	Errors      int64 `json:"errors"`
	Invalid     int64 `json:"invalid"`
}

// Revenue in one currency, of the impressions sold in it.
type Revenue struct {
	Currency    string `json:"currency"`
	Micros      int64  `json:"micros"`
	Impressions int64  `json:"impressions"`
	// ECPMMicros is what a thousand of these impressions earned; house ads are not among them.
	ECPMMicros int64 `json:"ecpmMicros"`

	cpms int64 // sum of the impressions' CPMs
}

// Line of a report.
type Line struct {
	// Keys are the values of the dimensions, in their order; "" where a count has none: a request belongs to no line item.
	Keys []string `json:"keys"`
	Counts
	// Rates in percent; nil where there is nothing to divide by. FillRate is fills of requests, or of attempts where lines
	// are told apart by source; lines told apart by line item have none. CTR and Viewability are of impressions.
	FillRate    *float64  `json:"fillRatePercent"`
	CTR         *float64  `json:"ctrPercent"`
	Viewability *float64  `json:"viewablePercent"`
	Revenue     []Revenue `json:"revenue,omitempty"`
}

// Report is lines and their totals.
type Report struct {
	From  time.Time   `json:"from"`
	To    time.Time   `json:"to"`
	By    []Dimension `json:"by"`
	Lines []*Line     `json:"lines"`
	Total *Line       `json:"total"`
}

// Make makes a report. advertiser names the advertiser of a line item or creative; it may be nil unless By asks for it.
func Make(rows []ship.Row, by []Dimension, advertiser func(lineItem string) string) *Report {
	r := &Report{By: by, Total: &Line{Keys: make([]string, len(by))}, Lines: []*Line{}}
	lines := map[string]*Line{}
	for i := range rows {
		keys := make([]string, len(by))
		for n, d := range by {
			keys[n] = value(&rows[i], d, advertiser)
		}
		id := strings.Join(keys, "\x00")
		l := lines[id]
		if l == nil {
			l = &Line{Keys: keys}
			lines[id] = l
			r.Lines = append(r.Lines, l)
		}
		l.add(&rows[i])
		r.Total.add(&rows[i])
	}
	slices.SortFunc(r.Lines, func(a, b *Line) int { return slices.Compare(a.Keys, b.Keys) })
	for _, l := range r.Lines {
		l.compute(whole(l, by))
	}
	r.Total.compute(r.Total.Requests)
	return r
}

func value(r *ship.Row, d Dimension, advertiser func(string) string) string {
	switch d {
	case Placement:
		return r.Placement
	case LineItem:
		return r.LineItem
	case Creative:
		return r.Creative
	case Source:
		return r.Source
	case Arm:
		return r.Arm
	case Reason:
		return r.Reason
	case Hour:
		return time.Unix(r.Hour, 0).UTC().Format("2006-01-02T15:04Z")
	case Day:
		return time.Unix(r.Hour, 0).UTC().Format(time.DateOnly)
	case Advertiser:
		if r.LineItem != "" && advertiser != nil {
			return advertiser(r.LineItem)
		}
	}
	return ""
}

func (l *Line) add(r *ship.Row) {
	if r.Invalid {
		l.Invalid += r.Count
		return
	}
	switch r.Kind {
	case events.Request.String():
		l.Requests += r.Count
	case events.Attempt.String():
		l.Attempts += r.Count
	case events.Fill.String():
		l.Fills += r.Count
	case events.NoFill.String():
		l.NoFills += r.Count
	case events.Passback.String():
		l.Passbacks += r.Count
	case events.Viewable.String():
		l.Viewables += r.Count
	case events.Click.String():
		l.Clicks += r.Count
	case events.Error.String():
		l.Errors += r.Count
	case events.Impression.String():
		l.Impressions += r.Count
		if r.Currency == "" || r.House {
			return
		}
		i := slices.IndexFunc(l.Revenue, func(v Revenue) bool { return v.Currency == r.Currency })
		if i < 0 {
			i = len(l.Revenue)
			l.Revenue = append(l.Revenue, Revenue{Currency: r.Currency})
		}
		l.Revenue[i].Impressions += r.Count
		l.Revenue[i].cpms += r.CPMMicros
	}
}

// whole is what a line's fills are a share of, 0 for nothing: requests belong to no line item and to no source.
func whole(l *Line, by []Dimension) int64 {
	for _, d := range by {
		switch d {
		case LineItem, Creative, Advertiser, Reason:
			return 0
		case Source:
			return l.Attempts
		}
	}
	return l.Requests
}

func (l *Line) compute(whole int64) {
	l.FillRate, l.CTR, l.Viewability = percent(l.Fills, whole), percent(l.Clicks, l.Impressions), percent(l.Viewables, l.Impressions)
	for i := range l.Revenue {
		v := &l.Revenue[i]
		// Divided once, at the end: a thousandth of each impression would lose up to a micro each.
		v.Micros, v.ECPMMicros = v.cpms/1000, v.cpms/v.Impressions
	}
	slices.SortFunc(l.Revenue, func(a, b Revenue) int {
		return cmp.Or(-cmp.Compare(a.Micros, b.Micros), cmp.Compare(a.Currency, b.Currency))
	})
}

func percent(part, whole int64) *float64 {
	if whole == 0 {
		return nil
	}
	p := 100 * float64(part) / float64(whole)
	return &p
}
