// Package counters counts in two places. Tally counts requests, fills and no-fills of one snapshot in atomics, without a lock, and
// turns them into events every second. Live carries all counts to Redis, where they can be read within a second or two of the
// fact; it may be off by what a crash loses. The truth for reports is the journal and what is made of it.
package counters

import (
	"sync/atomic"

	"patag/app/tag/decision"
	"patag/app/tag/events"
	"patag/app/tag/inventory"
)

// Tally counts decisions of one snapshot.
type Tally struct {
	snapshot *inventory.Snapshot
	counts   [2][]atomic.Uint32 // by invalid or not, by slot
	dirty    [2][]atomic.Bool   // by placement: draining 100,000 placements looks at a byte each, not at all their slots
}

// NewTally makes a tally for a snapshot.
func NewTally(s *inventory.Snapshot) *Tally {
	t := &Tally{snapshot: s}
	for i := range t.counts {
		t.counts[i] = make([]atomic.Uint32, s.Slots)
		t.dirty[i] = make([]atomic.Bool, len(s.Placements))
	}
	return t
}

// Add counts one request of a placement and what was decided.
func (t *Tally) Add(p *inventory.Placement, slot int, invalid bool) {
	i := 0
	if invalid {
		i = 1
	}
	t.counts[i][p.Slot].Add(1)
	t.counts[i][slot].Add(1)
	// A load first: the flag is mostly set already, and a store would take the cache line from other cores.
	if d := &t.dirty[i][p.Index]; !d.Load() {
		d.Store(true)
	}
}

// Drain takes all counts and hands each to fn as an event without a time. What fn refuses is put back for the next time.
func (t *Tally) Drain(fn func(e *events.Event) bool) {
	for i := range t.counts {
		for n, p := range t.snapshot.Placements {
			// Cleared before counting: what comes during the drain sets it again.
			if !t.dirty[i][n].Swap(false) {
				continue
			}
			if !t.drain(i, p, fn) {
				t.dirty[i][n].Store(true)
			}
		}
	}
}

func (t *Tally) drain(i int, p *inventory.Placement, fn func(e *events.Event) bool) bool {
	all := true
	take := func(slot int, e events.Event) {
		n := t.counts[i][slot].Swap(0)
		if n == 0 {
			return
		}
		e.Count, e.Invalid, e.Placement = int64(n), i == 1, p.ID
		if !fn(&e) {
			t.counts[i][slot].Add(n)
			all = false
		}
	}
	take(p.Slot, events.Event{Kind: events.Request})
	for _, r := range decision.NoFillReasons() {
		take(p.Slot+1+int(r), events.Event{Kind: events.NoFill, Reason: r.String()})
	}
	for s := range p.Steps {
		for g := range p.Steps[s].Groups {
			for c := range p.Steps[s].Groups[g].Candidates {
				cand := &p.Steps[s].Groups[g].Candidates[c]
				for k := range cand.Creatives {
					take(cand.Slot+k, events.Event{
						Kind: events.Fill, House: cand.Item.Tier.IsHouse(), Item: cand.Item.ID, Creative: cand.Creatives[k].Creative.ID,
						CPMMicros: cand.Item.CPM.Micros, Currency: cand.Item.CPM.Currency,
					})
				}
			}
		}
	}
	return all
}
