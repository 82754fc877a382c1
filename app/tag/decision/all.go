package decision

import (
	"context"
	"slices"

	"patag/app/tag/catalogue"
	"patag/app/tag/inventory"
)

// DecideAll decides for several placements of one page view, in order: what one takes of exclusion groups is taken for those after it.
// Auctions that are sure to be come to are asked at the same time, so that a page waits for the slowest and not for all of them.
// traces is nil or has one per request.
func (e *Engine) DecideAll(ctx context.Context, requests []Request, traces []Trace) []Decision {
	asked := make([]*early, len(requests))
	for i := range requests {
		asked[i] = e.foresee(ctx, &requests[i])
	}
	out := make([]Decision, len(requests))
	var taken []uint32
	for i := range requests {
		r := requests[i] // a copy: the auction may still be reading the original
		r.Excluded = slices.Concat(r.Excluded, taken)
		var trace *Trace
		if traces != nil {
			trace = &traces[i]
		}
		e.decide(ctx, &r, trace, asked[i], &out[i])
		taken = append(taken, out[i].Groups(r.Placement.In)...)
	}
	for i, a := range asked {
		if a == nil || a.used {
			continue
		}
		// The frequency caps' answer changed in between. Its bids lost.
		<-a.done
		outcomes := make([]Reason, len(a.answers))
		for j := range a.answers {
			if outcomes[j] = a.answers[j].Problem; outcomes[j] == None {
				outcomes[j] = Eligible
			}
		}
		e.Auctions.Settle(&requests[i], a.step, a.answers, outcomes)
	}
	return out
}

// foresee starts the first auction that the request is going to come to; nil when there is none before a fill.
func (e *Engine) foresee(ctx context.Context, r *Request) *early {
	if e.Auctions == nil || r.Placement.Paused {
		return nil
	}
	w := assign(r)
	if !slices.ContainsFunc(w.Steps, func(st inventory.Step) bool { return st.Kind == catalogue.Auction }) {
		return nil
	}
	s := scratches.Get().(*scratch)
	defer s.end()
	s.begin(r, w)
	s.judge(e.Delivery)
	s.ask(ctx, e.Frequency)
	index, step := s.firstAuction()
	if step == nil {
		return nil
	}
	a := &early{index: index, step: step, done: make(chan struct{})}
	go func() {
		defer close(a.done)
		a.answers = e.Auctions.Ask(ctx, r, step)
	}()
	return a
}

func (s *scratch) firstAuction() (int, *inventory.Step) {
	if s.w.Runs != nil {
		for _, run := range s.w.Runs {
			filled := false
			for _, u := range run {
				step := &s.w.Steps[u.Step]
				if u.Group >= 0 {
					filled = filled || s.open(&step.Groups[u.Group])
				} else if step.Kind == catalogue.Auction {
					if some := s.admit(step); some != nil {
						return u.Step, some
					}
				}
			}
			if filled {
				return 0, nil
			}
		}
		return 0, nil
	}
	for i := range s.w.Steps {
		step := &s.w.Steps[i]
		if step.Kind == catalogue.Auction {
			if some := s.admit(step); some != nil {
				return i, some
			}
		}
		for j := range step.Groups {
			if s.open(&step.Groups[j]) {
				return 0, nil
			}
		}
	}
	return 0, nil
}

// open says whether a group has an eligible candidate.
func (s *scratch) open(g *inventory.Group) bool {
	return slices.ContainsFunc(g.Candidates, func(c inventory.Candidate) bool { return s.reasons[c.Ordinal] == Eligible })
}
