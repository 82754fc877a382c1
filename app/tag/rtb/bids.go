package rtb

import (
	"math"
	"math/bits"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/prebid/openrtb/v20/openrtb2"

	"patag/app/tag/catalogue"
	"patag/app/tag/decision"
	"patag/app/tag/inventory"
)

// Limits of a bid.
const (
	maxPrice   = 100_000.0 // CPM in its own currency: what is above is a mistake
	maxMarkup  = 128 << 10
	maxBids    = 64 // of one response; the rest is not looked at
	maxID      = 64 // ids that travel in tokens
	maxNotice  = 8 << 10
	maxDomains = 16
)

// refusal is a bid that cannot be shown.
type refusal struct {
	why why
	bid *Bid
}

// why a bid is refused: the bounded label values of a metric, and what its bidder is told.
type why int

const (
	whyResponse why = iota
	whyCurrency
	whyImpression
	whyPrice
	whyMarkup
	whyCreative
	whyFormat
	whySize
	whySecure
	whySeat
	whyDeal
	whyDuplicate
	whyNative
	whyOutbid // by another bid of the same response
	whys
)

var refusals = [whys]struct {
	name string
	code int
}{
	whyResponse: {"response_id", 5}, whyCurrency: {"currency", 3}, whyImpression: {"impid", 3}, whyPrice: {"price", 9},
	whyMarkup: {"markup", 7}, whyCreative: {"creative_id", 8}, whyFormat: {"format", 204}, whySize: {"size", 203},
	whySecure: {"not_secure", 207}, whySeat: {"seat", 3}, whyDeal: {"deal", 4}, whyDuplicate: {"duplicate", 3},
	whyNative: {"native", 200}, whyOutbid: {"outbid", 102},
}

// best picks a response's best bid that can be shown, and says what is wrong with the others. Bids that the decision would rule out
// come after all that it would not: the one that is picked then fills whenever one of them can.
func best(l *lot, src *inventory.Source, resp *openrtb2.BidResponse) (decision.Answer, []refusal) {
	top := decision.Answer{Source: src, Problem: decision.NoBid}
	var topOK bool
	var refused []refusal
	var seen map[string]bool
	rates := exchange(l, src, resp.Cur)
	n := 0
	for i := range resp.SeatBid {
		sb := &resp.SeatBid[i]
		for j := range sb.Bid {
			if n++; n > maxBids {
				break
			}
			b := &sb.Bid[j]
			note := newBid(l, resp, sb, b)
			var answer decision.Answer
			reason := whyResponse
			ok := false
			switch {
			case resp.ID != l.id:
			case seen[b.ID]:
				reason = whyDuplicate
			default:
				if seen == nil {
					seen = make(map[string]bool, 4)
				}
				seen[b.ID] = true
				answer, reason, ok = check(l, src, rates, sb.Seat, b, note)
			}
			if !ok {
				refused = append(refused, refusal{reason, note})
				continue
			}
			fine := acceptable(l, src, &answer)
			switch {
			case top.Problem != decision.None || fine && !topOK || fine == topOK && outbids(&answer, &top):
				if loser, ok := top.Bid.(*Bid); ok {
					refused = append(refused, refusal{whyOutbid, loser})
				}
				top, topOK = answer, fine
			default:
				refused = append(refused, refusal{whyOutbid, note})
			}
		}
	}
	if top.Problem == decision.NoBid && len(refused) > 0 {
		top.Problem = decision.BadBid
	}
	return top, refused
}

func outbids(a, b *decision.Answer) bool {
	pa, pb := a.Deal != nil && a.Deal.Preferred, b.Deal != nil && b.Deal.Preferred
	if pa != pb {
		return pa
	}
	return a.BaseMicros > b.BaseMicros
}

// rates is what a response's currency is worth; the zero value is one that is not accepted.
type rates struct {
	currency string
	micros   uint64 // of the snapshot's currency for one unit
}

func exchange(l *lot, src *inventory.Source, currency string) rates {
	if currency == "" {
		currency = "USD" // says the standard
	}
	in := l.placement.In
	if !slices.Contains(src.Currencies, currency) && (len(src.Currencies) > 0 || currency != in.Currency) {
		return rates{}
	}
	if currency == in.Currency {
		return rates{currency, 1_000_000}
	}
	if rate := in.Rates[currency]; rate > 0 {
		return rates{currency, uint64(rate)}
	}
	return rates{}
}

// check makes an answer of a bid that can be shown.
func check(l *lot, src *inventory.Source, rate rates, seat string, b *openrtb2.Bid, note *Bid) (decision.Answer, why, bool) {
	a := decision.Answer{Source: src, Seat: seat, Format: l.placement.Format, Bid: note, BillingURL: note.billing()}
	no := func(w why) (decision.Answer, why, bool) { return decision.Answer{}, w, false }
	if rate.micros == 0 {
		return no(whyCurrency)
	}
	if b.ID == "" || b.ImpID != impID {
		return no(whyImpression)
	}
	if !(b.Price > 0 && b.Price <= maxPrice) || math.IsNaN(b.Price) {
		return no(whyPrice)
	}
	// Rounded down: never more than was bid. The small addition undoes the binary form of decimal fractions.
	micros := int64(b.Price*1e6 + 1e-3)
	if a.CPM = (catalogue.Money{Micros: micros, Currency: rate.currency}); micros == 0 {
		return no(whyPrice)
	}
	a.BaseMicros = base(micros, rate.micros, src.Adjustment)
	if len(seat) > maxID || !printable(seat) {
		return no(whySeat)
	}
	if b.CrID == "" {
		return no(whyCreative)
	}
	a.CreativeID = clip(b.CrID, maxID)
	if b.DealID != "" {
		for _, d := range l.step.Deals {
			if d.ID == b.DealID && d.Source == src.ID {
				a.Deal = d
			}
		}
		if a.Deal == nil {
			return no(whyDeal)
		}
	}
	for _, d := range b.ADomain[:min(len(b.ADomain), maxDomains)] {
		if d = strings.ToLower(strings.TrimSpace(d)); d != "" {
			a.Domains = append(a.Domains, d)
		}
	}
	a.Categories = b.Cat
	if strings.TrimSpace(b.AdM) == "" || len(b.AdM) > maxMarkup || !utf8.ValidString(b.AdM) {
		return no(whyMarkup)
	}
	// Macros may make it longer, or nothing at all.
	if note.fill(b.AdM, func(s string) { a.Markup = s }); strings.TrimSpace(a.Markup) == "" || len(a.Markup) > maxMarkup {
		return no(whyMarkup)
	}
	if l.placement.Format == catalogue.Native {
		if b.MType != 0 && b.MType != openrtb2.MarkupNative {
			return no(whyFormat)
		}
		if w, ok := nativeAnswer(l, &a); !ok {
			return no(w)
		}
		return a, 0, true
	}
	if b.MType != 0 && b.MType != openrtb2.MarkupBanner || notBanner(a.Markup) {
		return no(whyFormat)
	}
	a.Size = catalogue.Size{Width: int(b.W), Height: int(b.H)}
	if b.W == 0 && b.H == 0 && len(l.placement.Sizes) == 1 {
		a.Size = l.placement.Sizes[0]
	}
	if !slices.Contains(l.placement.Sizes, a.Size) {
		return no(whySize)
	}
	if l.secure && insecure(a.Markup) {
		return no(whySecure)
	}
	return a, 0, true
}

// base converts a bid to the snapshot's currency and takes the source's adjustment off, rounding down.
func base(micros int64, rate uint64, adjustment int64) int64 {
	hi, lo := bits.Mul64(uint64(micros), rate)
	if hi >= 1_000_000 {
		return 0
	}
	q, _ := bits.Div64(hi, lo, 1_000_000)
	if adjustment > 0 && adjustment != 100 {
		if hi, lo = bits.Mul64(q, uint64(adjustment)); hi >= 100 {
			return 0
		}
		q, _ = bits.Div64(hi, lo, 100)
	}
	if q > 1<<62 {
		return 0
	}
	return int64(q)
}

// acceptable says whether the decision would let a bid fill, as far as that can be known here. It is only for picking among the bids of
// one response: the decision has the say.
func acceptable(l *lot, src *inventory.Source, a *decision.Answer) bool {
	floor := l.step.FloorMicros
	if d := a.Deal; d != nil {
		floor = max(floor, d.FloorMicros)
		if !d.Open(l.now) || len(d.Seats) > 0 && !slices.Contains(d.Seats, a.Seat) {
			return false
		}
		if len(d.Domains) > 0 && (len(a.Domains) == 0 || slices.ContainsFunc(a.Domains, func(s string) bool { return !slices.Contains(d.Domains, s) })) {
			return false
		}
	}
	safety := &l.placement.On.Publisher.Safety
	return a.BaseMicros >= floor &&
		!slices.Contains(src.BlockedSeats, a.Seat) && (len(src.AllowedSeats) == 0 || slices.Contains(src.AllowedSeats, a.Seat)) &&
		(len(safety.Domains) == 0 || len(a.Domains) > 0) && !slices.ContainsFunc(a.Domains, safety.Domain) &&
		!safety.Categories.Overlap(inventory.ParseCategories(a.Categories))
}

// notBanner says whether markup is of another kind than HTML: a native ad or a video.
func notBanner(markup string) bool {
	s := strings.TrimSpace(markup)
	return s[0] == '{' || len(s) > 5 && strings.EqualFold(s[:5], "<vast")
}

// insecure says whether markup would load something without TLS on a page that has it. Links may lead there; names of XML namespaces
// are no addresses, and browsers trust loopback addresses.
func insecure(markup string) bool {
	for at := 0; ; {
		i := indexFold(markup[at:], "http://")
		if i < 0 {
			return false
		}
		i += at
		rest := markup[i+len("http://"):]
		if !hasPrefixFold(rest, "www.w3.org/") && !loopback(rest) && !inLink(markup[:i]) {
			return true
		}
		at = i + len("http://")
	}
}

func loopback(rest string) bool {
	end := strings.IndexAny(rest, "/:?#\"' >")
	if end < 0 {
		end = len(rest)
	}
	return isLoopback(rest[:end])
}

// maxTagStart is how far before its address a link's tag may start: looking further back for each address would take a long time for
// markup made for that.
const maxTagStart = 2 << 10

// inLink says whether what follows is the address of a link.
func inLink(before string) bool {
	before = before[max(0, len(before)-maxTagStart):]
	before = strings.TrimRight(before, "\"' \\")
	if !hasSuffixFold(before, "href=") {
		return false
	}
	tag := before[strings.LastIndexByte(before, '<')+1:]
	return hasPrefixFold(tag, "a ") || hasPrefixFold(tag, "a\n") || hasPrefixFold(tag, "area ")
}

func indexFold(s, lower string) int {
	for i := 0; i+len(lower) <= len(s); i++ {
		if s[i]|0x20 == lower[0] && strings.EqualFold(s[i:i+len(lower)], lower) {
			return i
		}
	}
	return -1
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

func hasSuffixFold(s, suffix string) bool {
	return len(s) >= len(suffix) && strings.EqualFold(s[len(s)-len(suffix):], suffix)
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] == 0x7f {
			return false
		}
	}
	return utf8.ValidString(s)
}

// clip shortens text to n bytes at most, between characters.
func clip(s string, n int) string {
	if len(s) > n {
		for n > 0 && !utf8.RuneStart(s[n]) {
			n--
		}
		s = s[:n]
	}
	return strings.ToValidUTF8(s, "")
}
