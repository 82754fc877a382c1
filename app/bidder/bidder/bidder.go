// Package bidder is one seat of a demand source over OpenRTB 2.6, for demonstrations, tests and load. In go bid requests; out come bids with
// inline creatives, or what the options want instead: no bids, errors, delays, silence. It counts what it is told of its bids. It keeps to
// the rules of a request: floors, currencies, blocked seats, categories and advertisers, sizes.
package bidder

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prebid/openrtb/v20/openrtb2"
	"github.com/prebid/openrtb/v20/openrtb3"
)

// Options of a bidder.
type Options struct {
	Seat string
	// Seed and a request's id decide every chance.
	Seed           uint64
	MinCPM, MaxCPM float64
	Currency       string // "" takes the first that a request allows
	// Shares, 0 to 1: of requests that are bid on, of bids that use a deal where there is one, of requests answered 500, and of requests
	// that are left without an answer for 30 s.
	Fill, Deals, Errors, Hang float64
	// Latency before each answer, and up to Jitter more.
	Latency, Jitter time.Duration
	// Categories narrow its brands; empty has all.
	Categories []string
	// PublicURL starts the URLs of notices; "" is the host that was asked.
	PublicURL string
}

// Defaults bid on everything at once.
func Defaults() Options {
	return Options{Seat: "demo", Seed: 1, MinCPM: 0.5, MaxCPM: 6, Fill: 1, Deals: 0.5}
}

// Bidder is an http.Handler.
type Bidder struct {
	o      Options
	brands []brand
	stats  stats
	mux    *http.ServeMux
}

const (
	maxBody = 1 << 20
	hang    = 30 * time.Second
)

// New makes a bidder.
func New(o Options) (*Bidder, error) {
	for name, share := range map[string]float64{"fill": o.Fill, "deals": o.Deals, "errors": o.Errors, "hang": o.Hang} {
		if !(share >= 0 && share <= 1) {
			return nil, fmt.Errorf("%s is %v; it is a share, from 0 to 1", name, share)
		}
	}
	if !(o.MinCPM > 0 && o.MinCPM <= o.MaxCPM && o.MaxCPM <= 10_000) {
		return nil, fmt.Errorf("prices from %v to %v: the least must be above 0 and not above the greatest, which is 10000 at most", o.MinCPM, o.MaxCPM)
	}
	if o.Latency < 0 || o.Jitter < 0 {
		return nil, fmt.Errorf("latency %v and jitter %v must not be negative", o.Latency, o.Jitter)
	}
	if o.Seat == "" {
		return nil, fmt.Errorf("a bidder needs a seat")
	}
	b := &Bidder{o: o, mux: http.NewServeMux()}
	for _, br := range brands {
		if len(o.Categories) == 0 || slices.ContainsFunc(o.Categories, br.in) {
			b.brands = append(b.brands, br)
		}
	}
	if len(b.brands) == 0 {
		return nil, fmt.Errorf("no brand is in categories %s; there are brands in %s", strings.Join(o.Categories, ", "), categories())
	}
	b.stats.init()
	b.mux.HandleFunc("POST /openrtb2", b.bid)
	b.mux.HandleFunc("GET /win", b.notice(kindWin))
	b.mux.HandleFunc("GET /bill", b.notice(kindBill))
	b.mux.HandleFunc("GET /loss", b.notice(kindLoss))
	b.mux.HandleFunc("GET /stats", b.report)
	ok := func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") }
	b.mux.HandleFunc("GET /livez", ok)
	b.mux.HandleFunc("GET /readyz", ok)
	return b, nil
}

// Handler is a bidder as a handler, for use inside another program; it panics on options that New refuses.
func Handler(o Options) http.Handler {
	b, err := New(o)
	if err != nil {
		panic(err)
	}
	return b
}

func (b *Bidder) ServeHTTP(w http.ResponseWriter, r *http.Request) { b.mux.ServeHTTP(w, r) }

func (b *Bidder) bid(w http.ResponseWriter, r *http.Request) {
	var req openrtb2.BidRequest
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&req)
	if err != nil || req.ID == "" || len(req.Imp) == 0 {
		b.stats.add(&b.stats.Malformed)
		http.Error(w, fmt.Sprintf("not a bid request with an id and an imp: %v", err), http.StatusBadRequest)
		return
	}
	b.stats.add(&b.stats.Requests)
	rng := b.random(req.ID)
	// Drawn first and always, so that one option does not change what another one decides.
	hangs, fails, fills := rng.Float64() < b.o.Hang, rng.Float64() < b.o.Errors, rng.Float64() < b.o.Fill
	wait := b.o.Latency + time.Duration(rng.Float64()*float64(b.o.Jitter))
	if hangs {
		wait = hang
		b.stats.add(&b.stats.Hung)
	}
	if wait > 0 {
		select {
		case <-time.After(wait):
		case <-r.Context().Done():
			b.stats.add(&b.stats.Abandoned)
			return
		}
	}
	w.Header().Set("X-Openrtb-Version", "2.6")
	if fails {
		b.stats.add(&b.stats.Errors)
		http.Error(w, "failing on purpose", http.StatusInternalServerError)
		return
	}
	resp := b.answer(r, &req, rng, fills)
	if resp == nil {
		b.stats.add(&b.stats.NoBids)
		w.WriteHeader(http.StatusNoContent)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(resp)
}

// random is the chances of one request.
func (b *Bidder) random(id string) *rand.Rand {
	h := fnv.New64a()
	io.WriteString(h, id)
	return rand.New(rand.NewPCG(b.o.Seed, h.Sum64()))
}

// answer makes the bids; nil is no answer at all, the shortest way not to bid.
func (b *Bidder) answer(r *http.Request, req *openrtb2.BidRequest, rng *rand.Rand, fills bool) *openrtb2.BidResponse {
	resp := &openrtb2.BidResponse{ID: req.ID, BidID: fmt.Sprintf("%s-%x", b.o.Seat, rng.Uint64())}
	refuse := func(n openrtb3.NoBidReason) *openrtb2.BidResponse {
		b.stats.add(&b.stats.NoBids)
		resp.NBR = n.Ptr()
		return resp
	}
	if !fills {
		return nil
	}
	resp.Cur = b.currency(req)
	if resp.Cur == "" || len(req.WSeat) > 0 && !slices.Contains(req.WSeat, b.o.Seat) || slices.Contains(req.BSeat, b.o.Seat) {
		return refuse(openrtb3.NoBidInvalidRequest)
	}
	br, ok := b.brand(req, rng)
	if !ok {
		return refuse(openrtb3.NoBidBlockedPublisher)
	}
	sb := openrtb2.SeatBid{Seat: b.o.Seat}
	for i := range req.Imp {
		if bid, ok := b.impression(r, req, &req.Imp[i], br, resp.Cur, rng); ok {
			sb.Bid = append(sb.Bid, bid)
			b.stats.bid(bid.ID)
		}
	}
	if len(sb.Bid) == 0 {
		return nil
	}
	resp.SeatBid = []openrtb2.SeatBid{sb}
	return resp
}

func (b *Bidder) currency(req *openrtb2.BidRequest) string {
	switch {
	case b.o.Currency == "" && len(req.Cur) > 0:
		return req.Cur[0]
	case b.o.Currency == "":
		return "USD"
	case len(req.Cur) == 0 || slices.Contains(req.Cur, b.o.Currency):
		return b.o.Currency
	}
	return ""
}

func (b *Bidder) brand(req *openrtb2.BidRequest, rng *rand.Rand) (*brand, bool) {
	var open []*brand
	for i := range b.brands {
		br := &b.brands[i]
		if !slices.ContainsFunc(req.BCat, br.in) && !slices.Contains(req.BAdv, br.domain) {
			open = append(open, br)
		}
	}
	if len(open) == 0 {
		return nil, false
	}
	return open[rng.IntN(len(open))], true
}

func (b *Bidder) impression(r *http.Request, req *openrtb2.BidRequest, imp *openrtb2.Imp, br *brand, cur string, rng *rand.Rand) (openrtb2.Bid, bool) {
	bid := openrtb2.Bid{
		ID: fmt.Sprintf("%016x", rng.Uint64()), ImpID: imp.ID, CrID: br.id, CID: "campaign-" + br.id, AdID: br.id,
		ADomain: []string{br.domain}, Cat: []string{br.category}, Price: cents(b.o.MinCPM + rng.Float64()*(b.o.MaxCPM-b.o.MinCPM)),
	}
	floor, floorCur := imp.BidFloor, imp.BidFloorCur
	if imp.PMP != nil && rng.Float64() < b.o.Deals {
		for _, d := range imp.PMP.Deals {
			if (len(d.WSeat) == 0 || slices.Contains(d.WSeat, b.o.Seat)) && (len(d.WADomain) == 0 || slices.Contains(d.WADomain, br.domain)) {
				bid.DealID, floor, floorCur = d.ID, d.BidFloor, d.BidFloorCur
				break
			}
		}
	}
	if floorCur == "" {
		floorCur = "USD"
	}
	if floor > 0 && floorCur == cur && bid.Price < floor { // of other currencies the exchange judges
		return bid, false
	}
	switch {
	case imp.Native != nil:
		adm, ok := br.native(imp.Native.Request)
		if !ok {
			return bid, false
		}
		bid.MType, bid.AdM = openrtb2.MarkupNative, adm
	case imp.Banner != nil:
		w, h, ok := size(imp.Banner, rng)
		if !ok {
			return bid, false
		}
		bid.MType, bid.W, bid.H, bid.AdM = openrtb2.MarkupBanner, w, h, br.banner(w, h)
	default:
		return bid, false
	}
	base := b.o.PublicURL
	if base == "" {
		base = "http://" + r.Host
		if r.TLS != nil {
			base = "https://" + r.Host
		}
	}
	query := "?bid=" + bid.ID + "&auction=${AUCTION_ID}&price=${AUCTION_PRICE}&cur=${AUCTION_CURRENCY}"
	bid.NURL, bid.BURL = base+"/win"+query, base+"/bill"+query
	bid.LURL = base + "/loss?bid=" + bid.ID + "&auction=${AUCTION_ID}&reason=${AUCTION_LOSS}"
	return bid, true
}

func size(banner *openrtb2.Banner, rng *rand.Rand) (int64, int64, bool) {
	var open []openrtb2.Format
	for _, f := range banner.Format {
		if f.W > 0 && f.H > 0 {
			open = append(open, f)
		}
	}
	switch {
	case len(open) > 0:
		f := open[rng.IntN(len(open))]
		return f.W, f.H, true
	case banner.W != nil && banner.H != nil && *banner.W > 0 && *banner.H > 0:
		return *banner.W, *banner.H, true
	}
	return 0, 0, false
}

func cents(v float64) float64 { return float64(int64(v*100+0.5)) / 100 }
