package pacing

import (
	"math"
	"sort"
	"time"

	"patag/app/tag/decision"
	"patag/app/tag/inventory"
)

// span is [from, to) in Unix seconds, and how long is left of all spans from its start on.
type span struct{ from, to, left int64 }

// plan is what was booked, ready for computing.
type plan struct {
	item  *inventory.Item
	start time.Time // of the first flight; zero without flights
	spans []span    // in which it may show, in order; none: always
}

const (
	quarter = 15 * 60 // offsets of time zones are quarters of an hour
	// Day parts are laid out for so long ahead; the plan is made anew with each snapshot, and after a day.
	ahead = 400 * 24 * 3600
)

// newPlan lays out when an item may show: its flights, and of them the hours of its day parts.
func newPlan(it *inventory.Item, now time.Time) *plan {
	p := &plan{item: it}
	if len(it.Flights) > 0 {
		p.start = time.Unix(it.Flights[0].Start, 0)
	}
	for _, f := range it.Flights {
		p.lay(max(f.Start, now.Unix()/quarter*quarter), f.End, now.Unix()+ahead)
	}
	var left int64
	for i := len(p.spans) - 1; i >= 0; i-- {
		left += p.spans[i].to - p.spans[i].from
		p.spans[i].left = left
	}
	return p
}

func (p *plan) lay(from, to, limit int64) {
	parts := p.item.Targeting.DayParts
	if len(parts) == 0 {
		p.put(from, to)
		return
	}
	for at := from; at < min(to, limit); {
		next := min((at/quarter+1)*quarter, to)
		for i := range parts {
			if parts[i].Holds(at) {
				p.put(at, next)
				break
			}
		}
		at = next
	}
}

// put adds a span, or lengthens the last one: flights may touch and overlap.
func (p *plan) put(from, to int64) {
	if n := len(p.spans); n > 0 && from <= p.spans[n-1].to {
		p.spans[n-1].to = max(p.spans[n-1].to, to)
		return
	}
	if from < to {
		p.spans = append(p.spans, span{from: from, to: to})
	}
}

// left is the seconds in which the item may still show; 0 when there are none, or no end is known.
func (p *plan) left(now int64) int64 {
	i := sort.Search(len(p.spans), func(i int) bool { return p.spans[i].to > now })
	if i == len(p.spans) {
		return 0
	}
	return p.spans[i].left - max(0, now-p.spans[i].from)
}

// meter measures rates from sums.
type meter struct {
	floor Counts // what the reports know
	last  Counts
	at    time.Time
	met   float64 // a second, of all servers
	// Of late, fading: requests let through, and what came of them.
	through, impressions, clicks, micros float64
	measured                             bool
}

const (
	smooth = 0.3 // weight of the newest two seconds in the rate of requests
	fade   = 0.999
	// Until measured, some imagined requests say that one let through is one shown, and one in two hundred a click.
	imagined       = 20
	imaginedClicks = 1000
	clickRate      = 0.005
	// horizon is how far ahead a limit is kept in sight: two steps and the time from an ad to its impression.
	horizon = 8.0
)

func (m *meter) measure(sum Counts, now time.Time) {
	dt := now.Sub(m.at).Seconds()
	if m.at.IsZero() || dt <= 0 || sum.Met < m.last.Met {
		m.at, m.last = now, sum
		return
	}
	if dt < 0.5 {
		return
	}
	rate := float64(sum.Met-m.last.Met) / dt
	if !m.measured {
		m.met, m.measured = rate, rate > 0
	} else {
		w := 1 - math.Pow(1-smooth, dt/Every.Seconds())
		m.met += w * (rate - m.met)
	}
	f := math.Pow(fade, dt/Every.Seconds())
	m.through = m.through*f + float64(sum.Passed-m.last.Passed)
	m.impressions = m.impressions*f + float64(sum.Impressions-m.last.Impressions)
	m.clicks = m.clicks*f + float64(sum.Clicks-m.last.Clicks)
	m.micros = m.micros*f + float64(sum.Micros-m.last.Micros)
	m.at, m.last = now, sum
}

// compute sets the share and the stop of one item.
func (st *state) compute(now time.Time) {
	if len(st.plan.spans) > 0 && now.Sub(time.Unix(st.plan.spans[0].from, 0)) > 24*time.Hour {
		st.plan = newPlan(st.plan.item, now)
	}
	total := st.sum
	// What the ledger does not have yet: the others have as much, for all this server knows.
	for n := max(1, st.servers); n > 0; n-- {
		total.add(st.sent)
	}
	st.meter.measure(total, now)
	total.Impressions, total.Clicks, total.Micros = max(total.Impressions, st.meter.floor.Impressions), max(total.Clicks, st.meter.floor.Clicks), max(total.Micros, st.meter.floor.Micros)
	it := st.plan.item
	base := float64(it.BaseMicros)
	goods := []struct {
		limit, done int64
		per         float64 // what one request let through delivers
		stop        decision.Reason
		hard, even  bool
	}{
		{it.MaxClicks, total.Clicks, st.meter.yield(st.meter.clicks, clickRate, imaginedClicks), decision.ClicksUsedUp, true, false},
		{it.BudgetMicros * 1000, total.Micros, st.meter.yield(st.meter.micros, base, imagined), decision.BudgetUsedUp, true, false},
	}
	if g := it.Goal; g != nil {
		good := goods[0]
		switch {
		case g.Impressions > 0:
			good.limit, good.done, good.per = g.Impressions, total.Impressions, st.meter.yield(st.meter.impressions, 1, imagined)
		case g.Clicks > 0:
			good.limit = g.Clicks
		default:
			good = goods[1]
			good.limit = g.RevenueMicros * 1000
		}
		good.stop, good.hard, good.even = decision.Paced, false, g.Even
		goods = append(goods, good)
	}
	share, stop := 1.0, decision.None
	left := float64(st.plan.left(now.Unix()))
	for _, g := range goods {
		if g.limit <= 0 {
			continue
		}
		rest := float64(g.limit - g.done)
		if rest <= 0 {
			stop = g.stop
			break
		}
		seconds := horizon
		if g.even {
			// At the end the rest may come as fast as it does.
			seconds = max(left, horizon)
		}
		full := st.meter.met * g.per
		switch {
		case !st.meter.measured && g.even:
			share = min(share, 0.05)
		case !st.meter.measured:
			// Nothing is known yet, and a limit may be near.
			share = min(share, 0.5)
		case full > 0:
			share = min(share, rest/seconds/full)
		}
	}
	st.share.Store(uint64(share * (1 << 32)))
	st.stop.Store(uint32(stop))
}

// yield is what came of a request that was let through.
func (m *meter) yield(delivered, prior, weight float64) float64 {
	return (delivered + weight*prior) / (m.through + weight)
}
