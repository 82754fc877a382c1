package server

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"patag/app/tag/decision"
	"patag/app/tag/events"
	"patag/app/tag/privacy"
	"patag/app/tag/visitor"
)

// Metrics of the traffic port. Every label value is one of a few known here, so that no request can make a new series.
type Metrics struct {
	ads       [adOutcomes]prometheus.Counter
	seconds   prometheus.Histogram
	fills     [len(fillNames)]prometheus.Counter
	noFills   map[decision.Reason]prometheus.Counter
	events    map[events.Kind]map[string]prometheus.Counter
	drops     map[string]prometheus.Counter
	rejecteds map[string]prometheus.Counter
	invalids  map[visitor.Invalid]prometheus.Counter
	malformed map[string]prometheus.Counter
}

type adOutcome int

const (
	adFilled adOutcome = iota
	adNoFill
	adUnknown
	adBad
	adUnready
	adOutcomes
)

// fillNames are the sources of fills; tags are answers that the server had nothing behind.
var fillNames = [...]string{"direct", "house", "auction", "tags"}

const (
	fillDirect = iota
	fillHouse
	fillAuction
	fillTags
)

var adOutcomeNames = [adOutcomes]string{"filled", "no_fill", "unknown_placement", "bad_request", "no_catalogue"}

// NewMetrics registers the metrics.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{noFills: map[decision.Reason]prometheus.Counter{}, events: map[events.Kind]map[string]prometheus.Counter{}, drops: map[string]prometheus.Counter{}, rejecteds: map[string]prometheus.Counter{}}
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		reg.MustRegister(v)
		return v
	}
	ads := vec("tag_ad_requests_total", "Ad requests by outcome.", "outcome")
	for o, name := range adOutcomeNames {
		m.ads[o] = ads.WithLabelValues(name)
	}
	fills := vec("tag_fills_total", "Fills by source.", "source")
	for i, name := range fillNames {
		m.fills[i] = fills.WithLabelValues(name)
	}
	noFills := vec("tag_no_fills_total", "Ad requests that nothing filled, by the reason of the candidate that came furthest.", "reason")
	for _, r := range decision.NoFillReasons() {
		m.noFills[r] = noFills.WithLabelValues(r.String())
	}
	evs := vec("tag_events_total", "Events by kind and outcome; accepted ones are on disk.", "kind", "outcome")
	for _, k := range []events.Kind{events.Impression, events.Viewable, events.Click, events.Attempt, events.Passback, events.Error} {
		m.events[k] = map[string]prometheus.Counter{}
		for _, o := range []string{"accepted", "duplicate", "dropped", "forged", "expired", "malformed", "gone"} {
			m.events[k][o] = evs.WithLabelValues(k.String(), o)
		}
	}
	drops := vec("tag_events_dropped_total", "Events that could not be put on disk and were refused, by reason.", "reason")
	for _, r := range []string{"journal_full", "journal_busy", "stopping", "slow_disk", "disk"} {
		m.drops[r] = drops.WithLabelValues(r)
	}
	rej := vec("tag_rejected_total", "Requests refused before any work, by reason; overload_house are ads that were house ads for lack of time.", "reason")
	for _, r := range []string{"overload", "overload_house", "url_too_long", "body_too_large", "header_too_large", "malformed", "slow", "media_type", "not_found", "method", "fault"} {
		m.rejecteds[r] = rej.WithLabelValues(r)
	}
	invalid := vec("tag_invalid_requests_total", "Ad requests that are known to be invalid traffic, by reason; they are answered and counted apart.", "reason")
	m.invalids = map[visitor.Invalid]prometheus.Counter{}
	for _, r := range visitor.InvalidReasons() {
		m.invalids[r] = invalid.WithLabelValues(r.String())
	}
	malformed := vec("tag_privacy_malformed_total", "Ad requests whose privacy signals could not be read, by the first such signal; they permit nothing.", "signal")
	m.malformed = map[string]prometheus.Counter{}
	for bit := privacy.Malformed(1); bit.String() != ""; bit <<= 1 {
		m.malformed[bit.String()] = malformed.WithLabelValues(bit.String())
	}
	m.seconds = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "tag_ad_seconds", Help: "Time from an ad request's arrival to its answer's end.",
		Buckets: []float64{.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .3, 1},
	})
	reg.MustRegister(m.seconds)
	return m
}

func (m *Metrics) ad(o adOutcome, begin time.Time) {
	m.ads[o].Inc()
	m.seconds.Observe(time.Since(begin).Seconds())
}

// asked counts what is known against a request.
func (m *Metrics) asked(v *visitor.Visitor, p *privacy.Permissions) {
	if v.Invalid != visitor.Valid {
		m.invalids[v.Invalid].Inc()
	}
	if p.Malformed != 0 {
		m.malformed[p.Malformed.String()].Inc()
	}
}

// done counts a decision that was answered.
func (m *Metrics) done(d *decision.Decision, begin time.Time) {
	outcome := adFilled
	switch {
	case d.Bid != nil:
		m.fills[fillAuction].Inc()
	case d.House:
		m.fills[fillHouse].Inc()
	case d.Filled:
		m.fills[fillDirect].Inc()
	case len(d.Tags) > 0:
		m.fills[fillTags].Inc()
	default:
		m.noFills[d.NoFill].Inc()
		outcome = adNoFill
	}
	m.ad(outcome, begin)
}

func (m *Metrics) event(k events.Kind, outcome string) { m.events[k][outcome].Inc() }
func (m *Metrics) dropped(err error)                   { m.drops[dropReason(err)].Inc() }
func (m *Metrics) rejected(reason string)              { m.rejecteds[reason].Inc() }
