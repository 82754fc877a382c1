// Package counters counts in two places. Tally counts requests, fills and no-fills of one snapshot in atomics, without a lock, and
// turns them into events every second. Live carries all counts to Redis, where they can be read within a second or two of the
// fact; it may be off by what a crash loses. The truth for reports is the journal and what is made of it.
package counters

import (
	"sync/atomic"

	"patag/app/tag/catalogue"
	"patag/app/tag/decision"
	"patag/app/tag/events"
	"patag/app/tag/inventory"
)

// Tally counts decisions of one snapshot. A waterfall costs a pointer and a flag until its first request; then a counter for its
// requests and for each creative that may fill, and for reasons of no fill a block when the first one comes.
type Tally struct {
	snapshot *inventory.Snapshot
	cells    [2][]atomic.Pointer[cell] // by invalid or not, by waterfall
	dirty    [2][]atomic.Bool          // the same: draining 100,000 placements looks at a byte each, not at all their counters
}

// cell is the counters of one waterfall.
type cell struct {
	requests atomic.Uint32
	fills    []atomic.Uint32         // by Candidate.Slot
	bidFills []atomic.Uint32         // by source
	reasons  []atomic.Pointer[block] // of no fill, then of each source
}

type block [decision.Reasons]atomic.Uint32

// NewTally makes a tally for a snapshot.
func NewTally(s *inventory.Snapshot) *Tally {
	t := &Tally{snapshot: s}
	for i := range t.cells {
		t.cells[i] = make([]atomic.Pointer[cell], len(s.Waterfalls))
		t.dirty[i] = make([]atomic.Bool, len(s.Waterfalls))
	}
	return t
}

// Add counts one request and what was decided.
func (t *Tally) Add(d *decision.Decision, invalid bool) {
	i := 0
	if invalid {
		i = 1
	}
	w := d.Waterfall
	c := t.cells[i][w.Index].Load()
	if c == nil {
		c = &cell{fills: make([]atomic.Uint32, w.Slots), bidFills: make([]atomic.Uint32, w.Outcomes-w.Candidates), reasons: make([]atomic.Pointer[block], 1+w.Outcomes-w.Candidates)}
		if !t.cells[i][w.Index].CompareAndSwap(nil, c) {
			c = t.cells[i][w.Index].Load()
		}
	}
	c.requests.Add(1)
	switch {
	case !d.Filled:
		c.reason(0, d.NoFill)
	case d.Item != nil:
		c.fills[d.Slot].Add(1)
	}
	for _, s := range d.Sources {
		n := s.Ordinal - w.Candidates
		if s.Outcome == decision.Filled {
			c.bidFills[n].Add(1)
		}
		if s.Outcome.Asked() {
			c.reason(1+n, s.Outcome)
		}
	}
	// A load first: the flag is mostly set already, and a store would take the cache line from other cores.
	if f := &t.dirty[i][w.Index]; !f.Load() {
		f.Store(true)
	}
}

func (c *cell) reason(n int, r decision.Reason) {
	b := c.reasons[n].Load()
	if b == nil {
		b = new(block)
		if !c.reasons[n].CompareAndSwap(nil, b) {
			b = c.reasons[n].Load()
		}
	}
	b[r].Add(1)
}

// Drain takes all counts and hands each to fn as an event without a time. What fn refuses is put back for the next time.
//
// Requests, NoFills and Fills carry the Arm of an experiment. A Fill by a bid has its Source and no price: bids differ, and their
// price comes with the impression. An Attempt is a bid request to Source; its Reason is what came of it.
func (t *Tally) Drain(fn func(e *events.Event) bool) {
	for i := range t.cells {
		for n, w := range t.snapshot.Waterfalls {
			// Cleared before counting: what comes during the drain sets it again.
			if !t.dirty[i][n].Swap(false) {
				continue
			}
			if c := t.cells[i][n].Load(); !c.drain(i == 1, w, fn) {
				t.dirty[i][n].Store(true)
			}
		}
	}
}

func (c *cell) drain(invalid bool, w *inventory.Waterfall, fn func(e *events.Event) bool) bool {
	all := true
	take := func(count *atomic.Uint32, e events.Event) {
		n := count.Swap(0)
		if n == 0 {
			return
		}
		e.Count, e.Invalid, e.Placement, e.Arm = int64(n), invalid, w.Placement.ID, w.Arm
		if !fn(&e) {
			count.Add(n)
			all = false
		}
	}
	take(&c.requests, events.Event{Kind: events.Request})
	if b := c.reasons[0].Load(); b != nil {
		for r := range b {
			take(&b[r], events.Event{Kind: events.NoFill, Reason: decision.Reason(r).String()})
		}
	}
	for s := range w.Steps {
		step := &w.Steps[s]
		for g := range step.Groups {
			for k := range step.Groups[g].Candidates {
				cand := &step.Groups[g].Candidates[k]
				for n := range cand.Creatives {
					take(&c.fills[int(cand.Slot)+n], events.Event{
						Kind: events.Fill, House: cand.Item.Tier.IsHouse(), Item: cand.Item.ID, Creative: cand.Creatives[n].Creative.ID,
						CPMMicros: cand.Item.CPM.Micros, Currency: cand.Item.CPM.Currency,
					})
				}
			}
		}
		if step.Kind != catalogue.Auction {
			continue
		}
		for k, src := range step.Sources {
			n := step.Ordinal + k - w.Candidates
			take(&c.bidFills[n], events.Event{Kind: events.Fill, Source: src.ID})
			if b := c.reasons[1+n].Load(); b != nil {
				for r := range b {
					take(&b[r], events.Event{Kind: events.Attempt, Source: src.ID, Reason: decision.Reason(r).String()})
				}
			}
		}
	}
	return all
}
