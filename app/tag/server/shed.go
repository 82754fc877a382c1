package server

import (
	"reflect"
	"time"

	"patag/app/tag/catalogue"
	"patag/app/tag/decision"
	"patag/app/tag/inventory"
)

// house is the house ad of a placement that shows when there is no time to decide: found when a state is published, it costs a
// look-up and neither Redis nor an auction.
type house struct {
	step      int
	candidate *inventory.Candidate
}

// houses finds for each placement the first house ad that anyone may see at any time.
func houses(s *inventory.Snapshot) []house {
	out := make([]house, len(s.Placements))
	for i, p := range s.Placements {
		if !p.Paused {
			out[i] = houseOf(p)
		}
	}
	return out
}

func houseOf(p *inventory.Placement) house {
	for n := range p.Steps {
		if p.Steps[n].Kind != catalogue.House {
			continue
		}
		for g := range p.Steps[n].Groups {
			group := &p.Steps[n].Groups[g]
			for c := range group.Candidates {
				if unconditional(&group.Candidates[c]) {
					return house{n, &group.Candidates[c]}
				}
			}
		}
	}
	return house{}
}

// unconditional says whether nothing about a request or a count can rule a candidate out.
func unconditional(c *inventory.Candidate) bool {
	it := c.Item
	return c.Barred == inventory.NotBarred && len(c.Creatives) > 0 && it.CapIndex < 0 && it.GoalIndex < 0 && len(it.Frequency) == 0 &&
		it.Avoid == nil && len(it.Groups) == 0 && reflect.ValueOf(it.Targeting).IsZero()
}

// hardLimit is up to how many requests at a time ads are house ads; above, everything is refused.
func (s *Server) hardLimit() int64 { return int64(s.o.MaxInFlight + max(s.o.MaxInFlight/4, 1)) }

// shedding decides without deciding. ok is false when not even a house ad can be had.
func (s *Server) shedding(st *State, p *inventory.Placement, now time.Time) (d decision.Decision, ok bool) {
	h := st.houses[p.Index]
	if h.candidate == nil || !h.candidate.Item.InFlight(now.Unix()) {
		return d, false
	}
	return decision.Decision{
		Filled: true, House: true, Step: h.step, Waterfall: &p.Waterfall, Item: h.candidate.Item,
		Creative: h.candidate.Creatives[0].Creative, Slot: int(h.candidate.Slot),
	}, true
}
