package server

import (
	"context"
	"mime"
	"time"

	"github.com/valyala/fasthttp"

	"patag/app/tag/decision"
	"patag/app/tag/request"
	"patag/app/tag/visitor"
)

// ads answers POST /v1/ads: several placements of one page view, in their order. Decisions are made one after the other, so that an
// exclusion group that one fill takes is closed to the next; their auctions are asked at the same time.
func (s *Server) ads(ctx *fasthttp.RequestCtx, shed bool) {
	begin := time.Now()
	st := s.state.Load()
	if st == nil {
		s.o.Metrics.ad(adUnready, begin)
		fail(ctx, fasthttp.StatusServiceUnavailable, "no catalogue has been loaded yet; try again in a few seconds")
		return
	}
	data, ok := s.body(ctx)
	if !ok {
		return
	}
	var batch request.Batch
	if err := batch.Parse(data); err != nil {
		s.o.Metrics.ad(adBad, begin)
		fail(ctx, fasthttp.StatusBadRequest, err.Error())
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
		s.prepare(k, ctx, st, p, begin)
		s.o.Metrics.asked(&k.visitor, &k.privacy)
	}
	decisions, ok := s.decideAll(st, works, begin, shed)
	if !ok {
		s.refuse(ctx)
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
	writeJSON(ctx, append(out, "]}\n"...))
}

// decideAll decides and counts for the placements that exist; not ok when there is too much to do even for house ads.
func (s *Server) decideAll(st *State, works []*adWork, begin time.Time, shed bool) ([]decision.Decision, bool) {
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
		ctx, cancel := context.WithTimeout(context.Background(), s.o.Deadline)
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

// body is a JSON body; it is the request's memory. text/plain is accepted: pages send it without asking for permission first, which
// saves them a round trip.
func (s *Server) body(ctx *fasthttp.RequestCtx) ([]byte, bool) {
	if typ := ctx.Request.Header.ContentType(); len(typ) > 0 {
		if media, _, err := mime.ParseMediaType(string(typ)); err != nil || media != "application/json" && media != "text/plain" {
			s.o.Metrics.rejected("media_type")
			fail(ctx, fasthttp.StatusUnsupportedMediaType, "the body must be application/json (or text/plain with JSON in it)")
			return nil, false
		}
	}
	return ctx.PostBody(), true
}
