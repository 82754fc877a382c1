package server

import (
	"math/rand/v2"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"patag/app/tag/catalogue"
	"patag/app/tag/decision"
	"patag/app/tag/inventory"
	"patag/app/tag/token"
	"patag/app/tag/visitor"
)

// Paths of the URLs of an answer.
const (
	pathImpression = "/v1/event/impression?t="
	pathViewable   = "/v1/event/viewable?t="
	pathAttempt    = "/v1/event/attempt?t="
	pathPassback   = "/v1/event/passback?t="
	pathError      = "/v1/event/error?t="
	pathClick      = "/v1/click?t="
)

// claims are what the tokens of a decision have in common; ID is new for each entry of the chain.
func (k *adWork) claims(d *decision.Decision) token.Claims {
	return token.Claims{ID: rand.Uint64(), Issued: k.dec.Now, Placement: k.dec.Placement.ID, Arm: d.Arm, Invalid: k.visitor.Invalid != visitor.Valid}
}

// fill signs the tokens of what the server filled with: click and impression have their own where they carry a bid's URL.
func (s *Server) fill(k *adWork, d *decision.Decision) {
	c := k.claims(d)
	if d.Bid == nil {
		c.Item, c.Creative, c.House = d.Item.ID, d.Creative.ID, d.House
		c.CPMMicros, c.Currency = d.Item.CPM.Micros, d.Item.CPM.Currency
		if len(d.Item.Frequency) > 0 {
			c.User = k.dec.User
		}
		s.sign(k, &c)
		return
	}
	b := d.Bid
	c.Source, c.Seat, c.Creative, c.CPMMicros, c.Currency = b.Source.ID, b.Seat, b.CreativeID, b.CPM.Micros, b.CPM.Currency
	if b.Deal != nil {
		c.Deal = b.Deal.ID
	}
	s.sign(k, &c)
	if isWeb(b.Landing) {
		c.Landing = b.Landing
		k.click = s.o.Keys.Append(k.click[:0], &c)
		c.Landing = ""
	}
	if isWeb(b.BillingURL) {
		c.Billing = b.BillingURL
		k.impression = s.o.Keys.Append(k.impression[:0], &c)
	}
}

// tag signs the token of a tag.
func (s *Server) tag(k *adWork, d *decision.Decision, src *inventory.Source) {
	c := k.claims(d)
	c.Source, c.CPMMicros, c.Currency = src.ID, src.CPM.Micros, src.CPM.Currency
	s.sign(k, &c)
}

func (s *Server) sign(k *adWork, c *token.Claims) {
	k.token = s.o.Keys.Append(k.token[:0], c)
	k.click = append(k.click[:0], k.token...)
	k.impression = append(k.impression[:0], k.token...)
}

// isWeb says whether a URL of a bidder may be sent a browser or a notice to.
func isWeb(u string) bool {
	return (strings.HasPrefix(u, "https://") || strings.HasPrefix(u, "http://")) && len(u) <= token.MaxLanding
}

// answer appends the JSON answer to one request. What is not escaped here is a number, an id of the catalogue, a token, or was
// escaped when the catalogue was compiled.
func (s *Server) answer(b []byte, k *adWork, d *decision.Decision) []byte {
	b = append(b, `{"placement":"`...)
	b = append(b, k.dec.Placement.ID...)
	if !d.Filled && len(d.Tags) == 0 {
		b = append(b, `","fill":false,"reason":"`...)
		b = append(b, d.NoFill.String()...)
		b = append(b, '"')
		return append(appendArm(b, d.Arm), '}')
	}
	b = append(b, `","fill":true`...)
	b = appendArm(b, d.Arm)
	b = append(b, `,"chain":[`...)
	for i := range d.Tags {
		if i > 0 {
			b = append(b, ',')
		}
		b = s.appendTag(b, k, d, &d.Tags[i])
	}
	if d.Filled {
		if len(d.Tags) > 0 {
			b = append(b, ',')
		}
		s.fill(k, d)
		if d.Bid != nil {
			b = appendBid(b, k, d.Bid)
		} else {
			b = appendItem(b, k, d)
		}
	}
	return append(b, "]}"...)
}

func appendArm(b []byte, arm string) []byte {
	if arm == "" {
		return b
	}
	b = append(b, `,"arm":"`...)
	return append(append(b, arm...), '"')
}

func appendItem(b []byte, k *adWork, d *decision.Decision) []byte {
	if d.House {
		b = append(b, `{"source":"house","tier":"`...)
	} else {
		b = append(b, `{"source":"direct","tier":"`...)
	}
	b = append(b, d.Item.Tier...)
	b = append(b, `","lineItem":"`...)
	b = append(b, d.Item.ID...)
	b = append(b, `","creative":{"id":"`...)
	b = append(b, d.Creative.ID...)
	b = append(b, `",`...)
	b = appendShape(b, d.Creative.Format, d.Creative.Size)
	b = appendPrice(b, d.Item.CPM)
	b = k.appendURLs(b, false)
	if d.Creative.NativeJSON != nil {
		b = append(b, `"native":`...)
		b = append(b, d.Creative.NativeJSON...)
		b = append(b, ',')
	}
	b = append(b, `"markup":"`...)
	for i, part := range d.Creative.MarkupJSON {
		if i > 0 {
			b = k.appendURL(b, pathClick, k.click)
		}
		b = append(b, part...)
	}
	return append(b, `"}`...)
}

func appendBid(b []byte, k *adWork, a *decision.Answer) []byte {
	b = append(b, `{"source":"auction","demandSource":"`...)
	b = append(b, a.Source.ID...)
	b = append(b, `","creative":{"id":"`...)
	b = appendText(b, a.CreativeID)
	b = append(b, `",`...)
	b = appendShape(b, a.Format, a.Size)
	b = appendPrice(b, toldPrice(k.dec.Placement.In, a))
	b = k.appendURLs(b, false)
	if a.Native != nil {
		b = appendNative(b, a.Native)
	}
	b = append(b, `"markup":"`...)
	for i, part := range bidMarkup(a) {
		if i > 0 {
			b = k.appendURL(b, pathClick, k.click)
		}
		b = appendText(b, part)
	}
	return append(b, `"}`...)
}

func (s *Server) appendTag(b []byte, k *adWork, d *decision.Decision, t *decision.TagStep) []byte {
	s.tag(k, d, t.Source)
	p := k.dec.Placement
	b = append(b, `{"source":"tag","demandSource":"`...)
	b = append(b, t.Source.ID...)
	b = append(b, `","timeoutMs":`...)
	b = strconv.AppendInt(b, t.Deadline.Milliseconds(), 10)
	b = append(b, `,"creative":{`...)
	b = appendShape(b, p.Format, size(p))
	b = appendPrice(b, t.Source.CPM)
	b = k.appendURLs(b, true)
	b = append(b, `"markup":"`...)
	for _, part := range t.Source.Tag {
		b = append(b, part.JSON...)
		b = k.appendMacro(b, part.Macro)
	}
	return append(b, `"}`...)
}

// appendMacro appends a macro's value. All values are safe in HTML attributes, in JavaScript strings, in URLs and in JSON: what comes
// from outside is escaped for a URL, which is where tags put it.
func (k *adWork) appendMacro(b []byte, macro string) []byte {
	switch macro {
	case "CLICK":
		return k.appendURL(b, pathClick, k.click)
	case "PASSBACK": // template strings, so that it fits between both kinds of quotes
		return append(b, "parent.postMessage({pa:`passback`},`*`)"...)
	case "WIDTH":
		return strconv.AppendInt(b, int64(size(k.dec.Placement).Width), 10)
	case "HEIGHT":
		return strconv.AppendInt(b, int64(size(k.dec.Placement).Height), 10)
	case "PAGE":
		return append(b, url.QueryEscape(k.dec.Page)...)
	case "CONSENT":
		return append(b, url.QueryEscape(k.req.Signals.TCString)...)
	case "GDPR":
		return append(b, url.QueryEscape(k.req.Signals.GDPR)...)
	case "GPP":
		return append(b, url.QueryEscape(k.req.Signals.GPP)...)
	case "US_PRIVACY":
		return append(b, url.QueryEscape(k.req.Signals.USPrivacy)...)
	case "CACHEBUSTER":
		return strconv.AppendUint(b, rand.Uint64(), 36)
	}
	return b
}

func size(p *inventory.Placement) catalogue.Size {
	if len(p.Sizes) == 0 {
		return catalogue.Size{}
	}
	return p.Sizes[0]
}

// appendShape ends the creative object and begins the price.
func appendShape(b []byte, f catalogue.Format, size catalogue.Size) []byte {
	b = append(b, `"format":"`...)
	b = append(b, f...)
	b = append(b, `","width":`...)
	b = strconv.AppendInt(b, int64(size.Width), 10)
	b = append(b, `,"height":`...)
	b = strconv.AppendInt(b, int64(size.Height), 10)
	return append(b, "},"...)
}

func appendPrice(b []byte, m catalogue.Money) []byte {
	b = append(b, `"price":{"cpmMicros":`...)
	b = strconv.AppendInt(b, m.Micros, 10)
	b = append(b, `,"currency":"`...)
	b = appendText(b, m.Currency) // a bid's comes from outside
	return append(b, `"},`...)
}

func (k *adWork) appendURLs(b []byte, tag bool) []byte {
	b = append(b, `"urls":{"impression":"`...)
	b = k.appendURL(b, pathImpression, k.impression)
	b = append(b, `","viewable":"`...)
	b = k.appendURL(b, pathViewable, k.token)
	b = append(b, `","click":"`...)
	b = k.appendURL(b, pathClick, k.click)
	if tag {
		b = append(b, `","attempt":"`...)
		b = k.appendURL(b, pathAttempt, k.token)
		b = append(b, `","passback":"`...)
		b = k.appendURL(b, pathPassback, k.token)
	}
	b = append(b, `","error":"`...)
	b = k.appendURL(b, pathError, k.token)
	return append(b, `"},`...)
}

func (k *adWork) appendURL(b []byte, path string, token []byte) []byte {
	b = append(b, k.base...)
	b = append(b, path...)
	return append(b, token...)
}

// appendText escapes text for a JSON string. U+2028 and U+2029 are escaped too, which JavaScript before 2019 took for line ends.
func appendText(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= 0x20 && c != '"' && c != '\\' {
				i++
				continue
			}
			b = append(b, s[start:i]...)
			switch c {
			case '"', '\\':
				b = append(b, '\\', c)
			case '\n':
				b = append(b, '\\', 'n')
			default:
				b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			}
			i++
			start = i
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			b = append(append(b, s[start:i]...), `\ufffd`...)
			start = i + 1
		case r == '\u2028' || r == '\u2029':
			b = append(append(b, s[start:i]...), `\u202`...)
			b = append(b, hex[r&15])
			start = i + n
		}
		i += n
	}
	return append(b, s[start:]...)
}
