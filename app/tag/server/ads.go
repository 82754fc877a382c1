package server

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"time"

	"patag/app/tag/decision"
	"patag/app/tag/request"
	"patag/app/tag/visitor"
)

// ads answers POST /v1/ads: several placements of one page view, in their order. Decisions are made one after the other, so that an
// exclusion group that one fill takes is closed to the next; their auctions are asked at the same time.
func (s *Server) ads(w http.ResponseWriter, r *http.Request, shed bool) {
	begin := time.Now()
	st := s.state.Load()
	if st == nil {
		s.o.Metrics.ad(adUnready, begin)
		fail(w, http.StatusServiceUnavailable, "no catalogue has been loaded yet; try again in a few seconds")
		return
	}
	data, ok := s.body(w, r)
	if !ok {
		return
	}
	var batch request.Batch
	if err := batch.Parse(data); err != nil {
		s.o.Metrics.ad(adBad, begin)
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	works := make([]*adWork, len(batch.Ads)) // nil where there is no such placement
	for i, a := range batch.Ads {
		p := st.Snapshot.Placement(a.Placement)
		if p == nil {
			s.o.Metrics.ad(adUnknown, begin)
			continue
		}
		k := adWorks.Get().(*adWork)
		defer adWorks.Put(k)
		works[i], k.req = k, *a
		s.prepare(k, r, st, p, begin)
		s.o.Metrics.asked(&k.visitor, &k.privacy)
	}
	decisions, ok := s.decideAll(r.Context(), st, works, begin, shed)
	if !ok {
		s.refuse(w)
		return
	}
	out := append(make([]byte, 0, 2048*len(works)), `{"ads":[`...)
	for i, k := range works {
		if i > 0 {
			out = append(out, ',')
		}
		if k == nil {
			out = append(out, `{"placement":"`...)
			out = appendText(out, batch.Ads[i].Placement)
			out = append(out, `","fill":false,"reason":"unknown_placement"}`...)
			continue
		}
		d := &decisions[0]
		decisions = decisions[1:]
		out = s.answer(out, k, d)
		s.o.Metrics.done(d, begin)
	}
	writeJSON(w, append(out, "]}\n"...))
}

// decideAll decides and counts for the placements that exist; not ok when there is too much to do even for house ads.
func (s *Server) decideAll(ctx context.Context, st *State, works []*adWork, begin time.Time, shed bool) ([]decision.Decision, bool) {
	decisions := make([]decision.Decision, 0, len(works))
	requests := make([]decision.Request, 0, len(works))
	for _, k := range works {
		if k == nil {
			continue
		}
		requests = append(requests, k.dec)
		if shed {
			d, ok := s.shedding(st, k.dec.Placement, begin)
			if !ok {
				return nil, false
			}
			decisions = append(decisions, d)
		}
	}
	if !shed {
		ctx, cancel := context.WithTimeout(ctx, s.o.Deadline)
		defer cancel()
		e := s.engine(st)
		decisions = e.DecideAll(ctx, requests, nil)
	}
	n := 0
	for _, k := range works {
		if k == nil {
			continue
		}
		if shed {
			s.o.Metrics.rejected("overload_house")
		}
		st.Tally.Add(&decisions[n], k.visitor.Invalid != visitor.Valid)
		n++
	}
	return decisions, true
}

// body reads a JSON body within its limit. text/plain is accepted: pages send it without asking for permission first, which saves
// them a round trip.
func (s *Server) body(w http.ResponseWriter, r *http.Request) ([]byte, bool) {
	if typ := r.Header.Get("Content-Type"); typ != "" {
		if media, _, err := mime.ParseMediaType(typ); err != nil || media != "application/json" && media != "text/plain" {
			s.o.Metrics.rejected("media_type")
			fail(w, http.StatusUnsupportedMediaType, "the body must be application/json (or text/plain with JSON in it)")
			return nil, false
		}
	}
	data, err := io.ReadAll(r.Body)
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		s.o.Metrics.rejected("body_too_large")
		fail(w, http.StatusRequestEntityTooLarge, "the body is longer than 65536 bytes")
		return nil, false
	case err != nil:
		s.o.Metrics.rejected("body_unreadable")
		fail(w, http.StatusBadRequest, "the body did not arrive whole")
		return nil, false
	}
	return data, true
}
