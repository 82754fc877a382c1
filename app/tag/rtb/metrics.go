package rtb

import (
	"github.com/prometheus/client_golang/prometheus"
)

type outcome int

const (
	outcomeBid outcome = iota
	outcomeNoBid
	outcomeTimedOut
	outcomeBad
	outcomeFailed
	outcomeCancelled
	outcomeBreakerOpen
	outcomeOverQPS
	outcomeInFlight
	outcomeNotPermitted
	outcomes
)

var outcomeNames = [outcomes]string{
	"bid", "no_bid", "timed_out", "bad_bid", "source_failed", "cancelled", "breaker_open", "over_qps", "in_flight_full", "not_permitted",
}

type noticeOutcome int

const (
	noticeSent noticeOutcome = iota
	noticeFailed
	noticeDropped
	noticeForbidden
	noticeOutcomes
)

var noticeOutcomeNames = [noticeOutcomes]string{"sent", "failed", "dropped", "forbidden"}

// metrics of all sources. Labels are ids of the catalogue and names known here.
type metrics struct {
	requests, refused, notices *prometheus.CounterVec
	seconds                    *prometheus.HistogramVec
	breaker                    *prometheus.GaugeVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tag_rtb_requests_total",
			Help: "Bid requests by demand source and outcome; from breaker_open on, those that were not sent."}, []string{"source", "outcome"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tag_rtb_refused_bids_total",
			Help: "Bids that could not be shown or were outbid by their own response, by cause."}, []string{"source", "cause"}),
		notices: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tag_rtb_notices_total",
			Help: "Win, billing and loss notices by outcome."}, []string{"source", "kind", "outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "tag_rtb_seconds", Help: "Time from an auction's start to a source's answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .2, .3, .5, 1, 2}}, []string{"source"}),
		breaker: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "tag_rtb_breaker_state", Help: "Circuit breaker: 0 closed, 1 half-open, 2 open."}, []string{"source"}),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.requests, m.refused, m.notices, m.seconds, m.breaker} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// seatMetrics are those of one source, looked up once.
type seatMetrics struct {
	asked   [outcomes]prometheus.Counter
	refused [whys]prometheus.Counter
	told    [noticeKinds][noticeOutcomes]prometheus.Counter
	seconds prometheus.Observer
	open    prometheus.Gauge
}

func (m *metrics) of(source string) *seatMetrics {
	s := &seatMetrics{seconds: m.seconds.WithLabelValues(source), open: m.breaker.WithLabelValues(source)}
	for o, name := range outcomeNames {
		s.asked[o] = m.requests.WithLabelValues(source, name)
	}
	for w := range refusals {
		s.refused[w] = m.refused.WithLabelValues(source, refusals[w].name)
	}
	for k, kind := range noticeNames {
		for o, name := range noticeOutcomeNames {
			s.told[k][o] = m.notices.WithLabelValues(source, kind, name)
		}
	}
	return s
}

func (s *seatMetrics) count(o outcome)                      { s.asked[o].Inc() }
func (s *seatMetrics) notice(k noticeKind, o noticeOutcome) { s.told[k][o].Inc() }
