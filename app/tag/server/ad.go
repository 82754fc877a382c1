package server

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"patag/app/tag/catalogue"
	"patag/app/tag/decision"
	"patag/app/tag/inventory"
	"patag/app/tag/privacy"
	"patag/app/tag/request"
	"patag/app/tag/visitor"
)

// adWork is the memory of one ad request, reused.
type adWork struct {
	req     request.Ad
	dec     decision.Request
	visitor visitor.Visitor
	privacy privacy.Permissions
	kv      []uint32
	out     []byte
	base    []byte // what URLs start with
	// Tokens of the entry that is being written: click and impression differ from token where they carry a bid's URL.
	token, click, impression []byte
}

var adWorks = sync.Pool{New: func() any { return &adWork{out: make([]byte, 0, 4096), base: make([]byte, 0, 128)} }}

// ad answers GET /v1/ad.
func (s *Server) ad(ctx *fasthttp.RequestCtx, shed bool) {
	begin := time.Now()
	st := s.state.Load()
	if st == nil {
		s.o.Metrics.ad(adUnready, begin)
		fail(ctx, fasthttp.StatusServiceUnavailable, "no catalogue has been loaded yet; try again in a few seconds")
		return
	}
	k := adWorks.Get().(*adWork)
	defer adWorks.Put(k)
	// A copy: an auction may outlast its request's buffer.
	if err := k.req.Parse(string(ctx.URI().QueryString())); err != nil {
		s.o.Metrics.ad(adBad, begin)
		fail(ctx, fasthttp.StatusBadRequest, err.Error())
		return
	}
	p := st.Snapshot.Placement(k.req.Placement)
	if p == nil {
		s.o.Metrics.ad(adUnknown, begin)
		fail(ctx, fasthttp.StatusNotFound, "there is no such placement")
		return
	}
	if k.req.Preview != "" {
		s.preview(ctx, st, p, k)
		return
	}
	if ctx.IsHead() { // decides nothing and counts nothing
		adHeader(&ctx.Response.Header, k.req.HTML)
		return
	}
	s.prepare(k, ctx, st, p, begin)
	s.o.Metrics.asked(&k.visitor, &k.privacy)
	d, ok := s.decideOrShed(st, k, begin, shed)
	if !ok {
		s.refuse(ctx)
		return
	}
	k.out = k.out[:0]
	if k.req.HTML {
		s.writeHTML(ctx, k, &d)
	} else {
		k.out = append(s.answer(k.out, k, &d), '\n')
		writeJSON(ctx, k.out)
	}
	s.o.Metrics.done(&d, begin)
}

// prepare fills in what a decision depends on.
func (s *Server) prepare(k *adWork, ctx *fasthttp.RequestCtx, st *State, p *inventory.Placement, now time.Time) {
	s.visit(ctx, k)
	k.dec.Placement, k.dec.Now, k.dec.Seed = p, now.Unix(), rand.Uint64()
	k.dec.Page, k.dec.PageView, k.dec.Excluded = k.req.Page, k.req.PageView, nil
	k.dec.Visitor.Insecure = k.req.Insecure
	if k.dec.Page == "" {
		from := string(ctx.Referer())
		k.dec.Page, k.dec.Visitor.Insecure = request.Page(from), request.Insecure(from)
	}
	k.dec.Categories, k.dec.Keywords = k.req.Categories(), k.req.Keywords()
	k.kv = k.kv[:0]
	for _, kv := range k.req.KeyValues() {
		if id := st.Snapshot.KeyValueID(inventory.KeyValue{Key: kv.Key, Value: kv.Value}); id != 0 {
			k.kv = append(k.kv, id)
		}
	}
	k.dec.KeyValues = k.kv
	k.base = s.appendBase(k.base[:0], ctx)
}

// decideOrShed decides and counts; when there is too much to do, it takes the house ad.
func (s *Server) decideOrShed(st *State, k *adWork, now time.Time, shed bool) (decision.Decision, bool) {
	p := k.dec.Placement
	if shed {
		d, ok := s.shedding(st, p, now)
		if ok {
			s.o.Metrics.rejected("overload_house")
			st.Tally.Add(&d, k.visitor.Invalid != visitor.Valid)
		}
		return d, ok
	}
	ctx := context.Background() // not the request's: that one is used again when it has been answered
	if s.o.Auctions != nil && hasAuction(p) {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.o.Deadline)
		defer cancel()
	}
	e := s.engine(st)
	d := e.Decide(ctx, &k.dec, nil)
	st.Tally.Add(&d, k.visitor.Invalid != visitor.Valid)
	return d, true
}

// engine is what decisions ask.
func (s *Server) engine(st *State) decision.Engine {
	return decision.Engine{Frequency: s.o.Frequency, Delivery: st.Delivery, Auctions: s.o.Auctions}
}

// hasAuction says whether some waterfall of a placement asks demand sources.
func hasAuction(p *inventory.Placement) bool {
	if auctions(p.Steps) {
		return true
	}
	if p.Experiment != nil {
		for i := range p.Experiment.Arms {
			if auctions(p.Experiment.Arms[i].Waterfall.Steps) {
				return true
			}
		}
	}
	return false
}

func auctions(steps []inventory.Step) bool {
	for i := range steps {
		if steps[i].Kind == catalogue.Auction {
			return true
		}
	}
	return false
}

// adHeader sets the headers of an answer.
func adHeader(h *fasthttp.ResponseHeader, html bool) {
	set(h, cacheControl, noStore)
	set(h, contentTypeOpts, noSniff)
	if html {
		h.SetContentType(htmlType)
		set(h, securityPolicy, sandboxed)
		set(h, robotsTag, noIndex)
		set(h, referrerPolicy, strictRefer)
		return
	}
	cors(h)
	h.SetContentType(jsonType)
}

func writeJSON(ctx *fasthttp.RequestCtx, b []byte) {
	adHeader(&ctx.Response.Header, false)
	ctx.SetBody(b)
}

// writeHTML writes the server's fill as a document of its own, for frames without a script around them: it counts its impression
// itself. It is sandboxed by its own header, because it is advertisers' markup on our origin.
func (s *Server) writeHTML(ctx *fasthttp.RequestCtx, k *adWork, d *decision.Decision) {
	h := &ctx.Response.Header
	adHeader(h, true)
	if !d.Filled {
		h.Set("X-No-Fill", d.NoFill.String())
		ctx.SetStatusCode(fasthttp.StatusNoContent)
		return
	}
	s.fill(k, d)
	b := k.out
	if d.Bid != nil {
		for i, part := range bidMarkup(d.Bid) {
			if i > 0 {
				b = k.appendURL(b, pathClick, k.click)
			}
			b = append(b, part...)
		}
	} else {
		for i, part := range d.Creative.Markup {
			if i > 0 {
				b = k.appendURL(b, pathClick, k.click)
			}
			b = append(b, part...)
		}
	}
	b = append(b, `<img alt="" width="1" height="1" style="position:absolute;left:-9px" src="`...)
	b = k.appendURL(b, pathImpression, k.impression)
	b = append(b, `">`...)
	k.out = b
	ctx.SetBody(b)
}
