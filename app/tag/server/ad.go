package server

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	"patag/app/tag/decision"
	"patag/app/tag/request"
	"patag/app/tag/token"
)

// adWork is the memory of one ad request, reused.
type adWork struct {
	req   request.Ad
	dec   decision.Request
	kv    []uint32
	out   []byte
	urls  []byte
	token []byte
}

var adWorks = sync.Pool{New: func() any { return &adWork{out: make([]byte, 0, 4096), urls: make([]byte, 0, 512)} }}

// ad answers GET /v1/ad.
func (s *Server) ad(w http.ResponseWriter, r *http.Request) {
	begin := time.Now()
	st := s.state.Load()
	if st == nil {
		s.o.Metrics.ad(adUnready, begin)
		fail(w, http.StatusServiceUnavailable, "no catalogue has been loaded yet")
		return
	}
	k := adWorks.Get().(*adWork)
	defer adWorks.Put(k)
	if err := k.req.Parse(r.URL.RawQuery); err != nil {
		s.o.Metrics.ad(adBad, begin)
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	p := st.Snapshot.Placement(k.req.Placement)
	if p == nil {
		s.o.Metrics.ad(adUnknown, begin)
		fail(w, http.StatusNotFound, "there is no such placement")
		return
	}
	visitor := s.visit(r, &k.req)
	k.dec = decision.Request{
		Placement: p, Now: begin.Unix(), Country: visitor.country, Device: visitor.device,
		KeyValues: s.keyValues(k, st), User: visitor.user, Seed: rand.Uint64(),
	}
	e := decision.Engine{Frequency: s.o.Frequency, Delivery: st.Delivery}
	d := e.Decide(r.Context(), &k.dec, nil)
	st.Tally.Add(&d, visitor.bot)
	s.o.Metrics.decided(&d)
	k.out = k.out[:0]
	if d.Filled {
		s.urls(k, r, &d, visitor, begin)
	}
	if k.req.HTML {
		s.writeHTML(w, k, &d)
	} else {
		s.writeJSON(w, k, &d)
	}
	if d.Filled {
		s.o.Metrics.ad(adFilled, begin)
	} else {
		s.o.Metrics.ad(adNoFill, begin)
	}
}

func (s *Server) keyValues(k *adWork, st *State) []uint32 {
	k.kv = k.kv[:0]
	for _, kv := range k.req.KeyValues() {
		if id := st.Snapshot.KeyValueID(inventoryKeyValue(kv)); id != 0 {
			k.kv = append(k.kv, id)
		}
	}
	return k.kv
}

// urls writes the start of event URLs and the token into k.
func (s *Server) urls(k *adWork, r *http.Request, d *decision.Decision, v visitor, now time.Time) {
	claims := token.Claims{
		ID: rand.Uint64(), Issued: now.Unix(), Placement: k.dec.Placement.ID, Item: d.Item.ID, Creative: d.Creative.ID,
		House: d.House, Invalid: v.bot, CPMMicros: d.Item.CPM.Micros, Currency: d.Item.CPM.Currency,
	}
	if len(d.Item.Frequency) > 0 {
		claims.User = v.user
	}
	k.token = s.o.Keys.Append(k.token[:0], &claims)
	k.urls = s.base(k.urls[:0], r)
}

// writeJSON writes the answer for the loader. Everything in it is a number, an id of the catalogue, a token, or escaped when the
// catalogue was compiled.
func (s *Server) writeJSON(w http.ResponseWriter, k *adWork, d *decision.Decision) {
	b := append(k.out, `{"placement":"`...)
	b = append(b, k.dec.Placement.ID...)
	if !d.Filled {
		b = append(b, `","fill":false,"reason":"`...)
		b = append(b, d.NoFill.String()...)
		b = append(b, "\"}\n"...)
	} else {
		b = append(b, `","fill":true,"source":"`...)
		if d.House {
			b = append(b, `house`...)
		} else {
			b = append(b, `direct`...)
		}
		b = append(b, `","tier":"`...)
		b = append(b, d.Item.Tier...)
		b = append(b, `","lineItem":"`...)
		b = append(b, d.Item.ID...)
		b = append(b, `","creative":{"id":"`...)
		b = append(b, d.Creative.ID...)
		b = append(b, `","format":"`...)
		b = append(b, d.Creative.Format...)
		b = append(b, `","width":`...)
		b = strconv.AppendInt(b, int64(d.Creative.Size.Width), 10)
		b = append(b, `,"height":`...)
		b = strconv.AppendInt(b, int64(d.Creative.Size.Height), 10)
		b = append(b, `},"price":{"cpmMicros":`...)
		b = strconv.AppendInt(b, d.Item.CPM.Micros, 10)
		b = append(b, `,"currency":"`...)
		b = append(b, d.Item.CPM.Currency...)
		b = append(b, `"},"urls":{"impression":"`...)
		b = k.appendURL(b, pathImpression)
		b = append(b, `","viewable":"`...)
		b = k.appendURL(b, pathViewable)
		b = append(b, `","click":"`...)
		b = k.appendURL(b, pathClick)
		b = append(b, `"},`...)
		if d.Creative.NativeJSON != nil {
			b = append(b, `"native":`...)
			b = append(b, d.Creative.NativeJSON...)
			b = append(b, ',')
		}
		b = append(b, `"markup":"`...)
		for i, part := range d.Creative.MarkupJSON {
			if i > 0 {
				b = k.appendURL(b, pathClick)
			}
			b = append(b, part...)
		}
		b = append(b, "\"}\n"...)
	}
	k.out = b
	h := w.Header()
	cors(h)
	h["Content-Type"], h["Cache-Control"], h["X-Content-Type-Options"] = jsonType, noStore, noSniff
	h["Content-Length"] = []string{strconv.Itoa(len(b))}
	w.Write(b)
}

// writeHTML writes the ad as a document of its own, for frames without a script around them: it counts its impression itself.
// It is sandboxed by its own header, because it is advertisers' markup on our origin.
func (s *Server) writeHTML(w http.ResponseWriter, k *adWork, d *decision.Decision) {
	h := w.Header()
	h["Content-Type"], h["Cache-Control"], h["X-Content-Type-Options"] = htmlType, noStore, noSniff
	h["Content-Security-Policy"], h["X-Robots-Tag"], h["Referrer-Policy"] = sandboxed, noIndex, strictRefer
	if !d.Filled {
		h.Set("X-No-Fill", d.NoFill.String())
		w.WriteHeader(http.StatusNoContent)
		return
	}
	b := k.out
	for i, part := range d.Creative.Markup {
		if i > 0 {
			b = k.appendURL(b, pathClick)
		}
		b = append(b, part...)
	}
	b = append(b, `<img alt="" width="1" height="1" style="position:absolute;left:-9px" src="`...)
	b = k.appendURL(b, pathImpression)
	b = append(b, `">`...)
	k.out = b
	h["Content-Length"] = []string{strconv.Itoa(len(b))}
	w.Write(b)
}

const (
	pathImpression = "/v1/event/impression?t="
	pathViewable   = "/v1/event/viewable?t="
	pathClick      = "/v1/click?t="
)

func (k *adWork) appendURL(b []byte, path string) []byte {
	b = append(b, k.urls...)
	b = append(b, path...)
	return append(b, k.token...)
}
