package rtb

import (
	"encoding/base64"
	"net/url"
	"strconv"
	"strings"

	"github.com/prebid/openrtb/v20/openrtb2"

	"patag/app/tag/decision"
)

// maxMacro is how long the value of a macro may be: bidders write values and the texts that repeat them.
const maxMacro = 128

// Bid is what is kept of a bid to tell its bidder what became of it.
type Bid struct {
	nurl, burl, lurl               string
	auction, bidID, id, seat, adID string
	price, currency                string
}

func newBid(l *lot, resp *openrtb2.BidResponse, sb *openrtb2.SeatBid, b *openrtb2.Bid) *Bid {
	n := &Bid{
		auction: l.id, bidID: clip(resp.BidID, maxMacro), id: clip(b.ID, maxMacro), seat: clip(sb.Seat, maxMacro), adID: clip(b.AdID, maxMacro),
		price: strconv.FormatFloat(b.Price, 'f', -1, 64), currency: clip(resp.Cur, maxMacro),
	}
	if n.currency == "" {
		n.currency = "USD"
	}
	// First price: what is bid is what is paid, so the URLs can be filled in at once.
	n.fillURL(b.NURL, func(s string) { n.nurl = s })
	n.fillURL(b.BURL, func(s string) { n.burl = s })
	if len(b.LURL) <= maxNotice {
		n.lurl = b.LURL
	}
	return n
}

func (n *Bid) billing() string { return n.burl }

// lost is the URL that tells a loss. The price that won is nobody's business.
func (n *Bid) lost(code int) string {
	if n == nil || n.lurl == "" {
		return ""
	}
	return n.expand(n.lurl, "", strconv.Itoa(code), true)
}

func (n *Bid) fillURL(s string, set func(string)) {
	if s == "" || len(s) > maxNotice {
		return
	}
	if s = n.expand(s, n.price, "0", true); len(s) <= maxNotice {
		set(s)
	}
}

func (n *Bid) fill(s string, set func(string)) { set(n.expand(s, n.price, "0", false)) }

// expand fills OpenRTB's substitution macros in; unknown ones stay. ${NAME:B64} asks for base64, the only encoding there is here.
func (n *Bid) expand(s, price, loss string, escape bool) string {
	const open = "${AUCTION_"
	at := strings.Index(s, open)
	if at < 0 {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) + 32)
	for at >= 0 {
		b.WriteString(s[:at])
		s = s[at:]
		end := strings.IndexByte(s, '}')
		if end < 0 {
			break
		}
		name, encoding, _ := strings.Cut(s[len(open):end], ":")
		value, known := n.macro(name, price, loss)
		switch {
		case !known || encoding != "" && encoding != "B64":
			b.WriteString(s[:end+1])
		case encoding == "B64":
			b.WriteString(base64.RawURLEncoding.EncodeToString([]byte(value)))
		case escape:
			b.WriteString(url.QueryEscape(value))
		default:
			b.WriteString(value)
		}
		s = s[end+1:]
		at = strings.Index(s, open)
	}
	b.WriteString(s)
	return b.String()
}

func (n *Bid) macro(name, price, loss string) (string, bool) {
	switch name {
	case "ID":
		return n.auction, true
	case "BID_ID":
		return n.bidID, true
	case "IMP_ID":
		return impID, true
	case "SEAT_ID":
		return n.seat, true
	case "AD_ID":
		return n.adID, true
	case "PRICE":
		return price, true
	case "CURRENCY":
		return n.currency, true
	case "LOSS":
		return loss, true
	case "MBR", "MIN_TO_WIN", "MULTIPLIER":
		return "", true // optional, and not told
	}
	return "", false
}

const lossExpired = 2

// lossCode is OpenRTB's code for why a bid lost.
func lossCode(r decision.Reason, deal, dealWon bool) int {
	switch r {
	case decision.Eligible: // outranked
		if dealWon && !deal {
			return 103
		}
		return 102
	case decision.TimedOut:
		return lossExpired
	case decision.BadBid:
		return 3
	case decision.NotInDeal:
		return 4
	case decision.BelowFloor:
		if deal {
			return 101
		}
		return 100
	case decision.BlockedSeat:
		return 104
	case decision.BlockedByPublisher, decision.ExclusionGroup:
		return 205
	case decision.BlockedCategory:
		return 209
	case decision.BlockedKeyword:
		return 200
	}
	return 1
}
