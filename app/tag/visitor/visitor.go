// Package visitor says who asks, as far as an HTTP request tells: a truncated address, country and region, device, browser and
// operating system, and whether the request is known to be invalid traffic. In go a request's headers; out comes a Visitor of
// numbers and slices of those headers. It looks nothing up but its own database of addresses, keeps nothing, and never sees the
// whole address again once it is truncated.
package visitor

import (
	"bytes"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"

	"github.com/valyala/fasthttp"

	"patag/app/tag/inventory"
	"patag/app/tag/privacy"
)

// Visitor is what is known of who asks.
type Visitor struct {
	// IP is truncated: /24 of IPv4, /48 of IPv6. It is invalid where the address is unknown.
	IP      netip.Addr
	Country inventory.Country
	Region  inventory.Region
	Device  inventory.Device
	Browser inventory.Browser
	System  inventory.System

	UserAgent string
	Language  string // the first of Accept-Language, such as de-AT
	// GPC is Global Privacy Control; OptOut is our own opt-out cookie.
	GPC, OptOut bool
	// Invalid is why the request counts as invalid traffic; Valid where nothing is known against it.
	Invalid Invalid
}

// Reader reads visitors. Its fields are set before it is used; the zero value trusts no header about addresses.
type Reader struct {
	// ForwardedFor is which entry of X-Forwarded-For, from the right, is the client's address: 2 behind Google's load balancer,
	// which appends "client, load balancer". 0 takes the connection's address. What stands further left came from the client and is
	// never looked at.
	ForwardedFor int
	// CountryHeader and RegionHeader are set by the load balancer: a country code, and a region as US-CA or, as Google's
	// client_region_subdivision has it, USCA. They are asked where the database knows nothing. "" where there is none.
	CountryHeader, RegionHeader string

	geo         atomic.Pointer[geo]
	dataCentres atomic.Pointer[ranges]
}

// OptOutCookie is set to 1 by a visitor's opt-out.
const OptOutCookie = "pa_optout"

// Read overwrites dst with what headers and the connection's address tell. What it keeps of them is copied.
func (rd *Reader) Read(h *fasthttp.RequestHeader, from net.Addr, dst *Visitor) {
	*dst = Visitor{}
	dst.UserAgent = string(h.UserAgent())
	dst.Language = firstLanguage(h.Peek("Accept-Language"))
	dst.GPC = string(h.Peek("Sec-Gpc")) == "1"
	dst.OptOut = string(h.Cookie(OptOutCookie)) == "1"
	marks := readAgent(dst.UserAgent)
	dst.Device, dst.Browser, dst.System = marks.kind()
	marks |= hints(h, dst)
	addr := rd.address(h, from)
	rd.place(addr, h, dst)
	dst.Invalid = judge(h, dst.UserAgent, marks)
	if dst.Invalid == Valid {
		if d := rd.dataCentres.Load(); d != nil && d.contains(addr) {
			dst.Invalid = DataCentre
		}
	}
	dst.IP = Truncate(addr)
}

// Sign adds what headers tell to the signals that a page passed. Either is enough to say no.
func (v *Visitor) Sign(s *privacy.Signals) {
	s.GPC = s.GPC || v.GPC
	s.OptOut = s.OptOut || v.OptOut
	s.Country = countryCode(v.Country)
}

// Truncate is all of an address that is kept or sent: /24 of IPv4, /48 of IPv6.
func Truncate(a netip.Addr) netip.Addr {
	a = a.Unmap()
	bits := 48
	if a.Is4() {
		bits = 24
	}
	p, err := a.WithZone("").Prefix(bits)
	if err != nil {
		return netip.Addr{}
	}
	return p.Addr()
}

// address is the client's, whole.
func (rd *Reader) address(h *fasthttp.RequestHeader, from net.Addr) netip.Addr {
	if rd.ForwardedFor > 0 {
		// The last header counts: a load balancer appends to it, and a client may have sent others before.
		if v := h.PeekAll("X-Forwarded-For"); len(v) > 0 {
			if entry, ok := fromRight(string(v[len(v)-1]), rd.ForwardedFor); ok {
				if a, ok := parseAddr(entry); ok {
					return a
				}
				return netip.Addr{} // the load balancer writes addresses only: whose this is, nobody knows
			}
		}
	}
	if tcp, ok := from.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// fromRight is the n-th entry of a comma separated list, counted from its end.
func fromRight(list string, n int) (string, bool) {
	for {
		i := strings.LastIndexByte(list, ',')
		if n--; n == 0 {
			return strings.TrimSpace(list[i+1:]), true
		}
		if i < 0 {
			return "", false
		}
		list = list[:i]
	}
}

// parseAddr reads an address with or without port, such as 192.0.2.1, 192.0.2.1:80, 2001:db8::1 and [2001:db8::1]:80.
func parseAddr(s string) (netip.Addr, bool) {
	if s == "" {
		return netip.Addr{}, false
	}
	switch colon := strings.LastIndexByte(s, ':'); {
	case s[0] == '[':
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return netip.Addr{}, false
		}
		s = s[1:end]
	case colon >= 0 && strings.IndexByte(s, ':') == colon:
		s = s[:colon]
	}
	a, err := netip.ParseAddr(s)
	return a.Unmap(), err == nil
}

// place fills in country and region from the database, else from the load balancer's headers. The two are not mixed.
func (rd *Reader) place(a netip.Addr, h *fasthttp.RequestHeader, dst *Visitor) {
	if g := rd.geo.Load(); g != nil && a.IsValid() {
		if dst.Country, dst.Region = g.lookup(a); dst.Country != 0 {
			return
		}
	}
	if rd.CountryHeader != "" {
		dst.Country = inventory.ParseCountry(string(h.Peek(rd.CountryHeader)))
	}
	if rd.RegionHeader != "" {
		r := parseSubdivision(string(h.Peek(rd.RegionHeader)))
		if c := r.country(); c != 0 && (dst.Country == 0 || dst.Country == c) {
			dst.Country, dst.Region = c, inventory.Region(r)
		}
	}
}

// region is an inventory.Region that can tell its country.
type region inventory.Region

// country is the first two letters of a region, as inventory.Country has them.
func (r region) country() inventory.Country {
	for r > 0xffffff { // two letters and the dash
		r >>= 8
	}
	if r <= 0xffff {
		return 0
	}
	return inventory.Country(r>>8) | 0x2020
}

// parseSubdivision reads US-CA, usca and USCA; all else is unknown.
func parseSubdivision(s string) region {
	if len(s) > 2 && len(s) <= 5 && s[2] != '-' {
		var b [6]byte
		n := copy(b[:], s[:2])
		b[n] = '-'
		n += 1 + copy(b[n+1:], s[2:])
		return region(inventory.ParseRegion(string(b[:n])))
	}
	return region(inventory.ParseRegion(s))
}

// firstLanguage is the first tag of Accept-Language; "" where it is none.
func firstLanguage(s []byte) string {
	if i := bytes.IndexAny(s, ",;"); i >= 0 {
		s = s[:i]
	}
	s = bytes.TrimSpace(s)
	if len(s) < 2 || len(s) > 16 {
		return ""
	}
	for i := range len(s) {
		if c := s[i]; !(c == '-' || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z') {
			return ""
		}
	}
	return string(s)
}
