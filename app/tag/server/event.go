package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/valyala/fasthttp"

	"patag/app/tag/events"
	"patag/app/tag/events/journal"
	"patag/app/tag/token"
)

// pixel is the smallest transparent GIF.
var pixel = []byte("GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;")

const pathEvent = "/v1/event/"

// eventKinds are those that browsers may send.
var eventKinds = map[string]events.Kind{
	"impression": events.Impression, "viewable": events.Viewable, "attempt": events.Attempt, "passback": events.Passback, "error": events.Error,
}

// event answers /v1/event/…: when it says yes, the event is on disk. HEAD checks the token and counts nothing.
func (s *Server) event(ctx *fasthttp.RequestCtx) {
	h := &ctx.Response.Header
	cors(h)
	set(h, cacheControl, noStore)
	kind, ok := eventKinds[string(ctx.Path()[len(pathEvent):])]
	if !ok {
		s.o.Metrics.rejected("not_found")
		fail(ctx, fasthttp.StatusNotFound, "there is no such event; use impression, viewable, attempt, passback or error")
		return
	}
	c, err := s.parse(kind, tokenOf(ctx))
	if err != nil {
		fail(ctx, tokenStatus(err), err.Error())
		return
	}
	if !ctx.IsHead() {
		if err := s.count(kind, &c, s.isInvalid(ctx)); err != nil {
			h.Set("Retry-After", "1")
			fail(ctx, fasthttp.StatusServiceUnavailable, "the event could not be recorded; try again")
			return
		}
	}
	if ctx.IsPost() {
		ctx.SetStatusCode(fasthttp.StatusNoContent)
		return
	}
	h.SetContentType(gifType)
	ctx.SetBody(pixel)
}

// parse verifies a token for a kind of event. Attempts and passbacks are a tag's only.
func (s *Server) parse(kind events.Kind, text string) (token.Claims, error) {
	c, err := s.o.Keys.Parse(text, time.Now(), TokenAge(kind))
	if err == nil && (kind == events.Attempt || kind == events.Passback) && (c.Source == "" || c.Item != "") {
		err = token.ErrForged
	}
	if err != nil {
		s.o.Metrics.event(kind, tokenOutcome(err))
	}
	return c, err
}

// maxWait is for how long an event waits to be safe; a disk that hangs longer has none to acknowledge.
const maxWait = 5 * time.Second

// count records an event and returns when it is safe. One that was acknowledged before is acknowledged again.
func (s *Server) count(kind events.Kind, c *token.Claims, bot bool) error {
	if s.seen.Has(c.ID, kind, c.Source) {
		s.o.Metrics.event(kind, "duplicate")
		return nil
	}
	e := events.Event{
		Kind: kind, Invalid: c.Invalid || bot, House: c.House, At: time.Now().UnixMilli(), Token: c.ID, Count: 1,
		CPMMicros: c.CPMMicros, Currency: c.Currency, Placement: c.Placement, Item: c.Item, Creative: c.Creative,
		Source: c.Source, Arm: c.Arm,
	}
	ctx, cancel := context.WithTimeout(context.Background(), maxWait)
	defer cancel()
	// A fresh buffer: the journal may hold it beyond a request that gives up.
	if err := s.o.Journal.Append(ctx, e.Append(make([]byte, 0, 192))); err != nil {
		s.o.Metrics.event(kind, "dropped")
		s.o.Metrics.dropped(err)
		return err
	}
	if !s.seen.Add(c.ID, kind, c.Source) {
		s.o.Metrics.event(kind, "duplicate")
		return nil
	}
	s.o.Metrics.event(kind, "accepted")
	s.o.Live.Add(&e)
	if kind == events.Impression && !e.Invalid {
		s.shown(c, e.At/1000)
	}
	return nil
}

// shown does what follows from a valid impression: it uses a frequency cap up, and a bidder is told that it pays.
func (s *Server) shown(c *token.Claims, now int64) {
	st := s.state.Load()
	if st == nil {
		return
	}
	if c.User != 0 {
		if it := st.Snapshot.Item(c.Item); it != nil {
			s.o.Frequency.Count(c.User, now, it)
		}
	}
	if c.Billing != "" && s.o.Bill != nil {
		if src := st.Snapshot.Source(c.Source); src != nil {
			s.o.Bill(src, c.Billing)
		}
	}
}

// click counts a click and sends the browser to the creative's landing page, and nowhere else: the page comes from the catalogue or
// from what we signed for a bid, never from the URL. A click that cannot be counted is still followed. Bids and tags whose markup
// has links of its own use it to count only, and get an empty answer.
func (s *Server) click(ctx *fasthttp.RequestCtx) {
	h := &ctx.Response.Header
	cors(h)
	set(h, cacheControl, noStore)
	c, err := s.o.Keys.Parse(tokenOf(ctx), time.Now(), TokenAge(events.Click))
	if err != nil && !errors.Is(err, token.ErrExpired) {
		s.o.Metrics.event(events.Click, tokenOutcome(err))
		fail(ctx, tokenStatus(err), err.Error())
		return
	}
	landing, ok := s.landing(&c)
	switch {
	case !ok:
		s.o.Metrics.event(events.Click, "gone")
		fail(ctx, fasthttp.StatusGone, "this ad is no longer shown")
		return
	case err != nil:
		s.o.Metrics.event(events.Click, "expired")
	case !ctx.IsHead():
		s.count(events.Click, &c, s.isInvalid(ctx)) // a failure is counted in metrics
	}
	if landing == "" {
		ctx.SetStatusCode(fasthttp.StatusNoContent)
		return
	}
	set(h, referrerPolicy, strictRefer)
	h.Set("Location", landing)
	ctx.SetStatusCode(fasthttp.StatusFound)
}

// landing is where a click leads; "" for nowhere.
func (s *Server) landing(c *token.Claims) (string, bool) {
	if c.Source != "" {
		if c.Landing != "" && !isWeb(c.Landing) {
			return "", false
		}
		return c.Landing, true
	}
	st := s.state.Load()
	if st == nil {
		return "", false
	}
	cr := st.Snapshot.Creative(c.Creative)
	if cr == nil {
		return "", false
	}
	return cr.Landing, true
}

// tokenOf finds t= in the query: tokens need no unescaping, and what does is no token.
func tokenOf(ctx *fasthttp.RequestCtx) string {
	q := ctx.URI().QueryString()
	for len(q) > 0 {
		var pair []byte
		pair, q, _ = bytes.Cut(q, []byte("&"))
		if v, ok := bytes.CutPrefix(pair, []byte("t=")); ok {
			return string(v)
		}
	}
	return ""
}

func tokenStatus(err error) int {
	switch {
	case errors.Is(err, token.ErrForged):
		return fasthttp.StatusForbidden
	case errors.Is(err, token.ErrExpired):
		return fasthttp.StatusGone
	}
	return fasthttp.StatusBadRequest
}

func tokenOutcome(err error) string {
	switch {
	case errors.Is(err, token.ErrForged):
		return "forged"
	case errors.Is(err, token.ErrExpired):
		return "expired"
	}
	return "malformed"
}

// dropReason is a bounded label for a journal's refusal.
func dropReason(err error) string {
	switch {
	case errors.Is(err, journal.ErrFull):
		return "journal_full"
	case errors.Is(err, journal.ErrBusy):
		return "journal_busy"
	case errors.Is(err, journal.ErrClosed):
		return "stopping"
	case errors.Is(err, context.DeadlineExceeded):
		return "slow_disk"
	}
	return "disk"
}

// fail answers with one line of JSON.
func fail(ctx *fasthttp.RequestCtx, status int, message string) {
	adHeader(&ctx.Response.Header, false)
	ctx.SetStatusCode(status)
	body, err := json.Marshal(struct {
		Error string `json:"error"`
	}{message})
	if err != nil {
		body = []byte(`{"error":"unknown"}`)
	}
	ctx.SetBody(append(body, '\n'))
}
