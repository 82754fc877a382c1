package catalogue

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

var (
	certPattern  = regexp.MustCompile(`^[A-Za-z0-9]{1,64}$`)
	macroPattern = regexp.MustCompile(`\{\{[^{}]*\}\}`)
)

// TagMacros are what the HTML of a tag source may ask for.
var TagMacros = []string{
	"{{CLICK}}", "{{PASSBACK}}", "{{WIDTH}}", "{{HEIGHT}}", "{{PAGE}}", "{{CONSENT}}", "{{GDPR}}", "{{GPP}}", "{{US_PRIVACY}}", "{{CACHEBUSTER}}",
}

const maxVendor = 1<<16 - 1 // ids of the TCF are 16 bits

func (v *validator) partner(p *DemandPartner) {
	v.at("demandPartners", p.ID)
	v.named(p.Name)
	v.domain("domain", p.Domain)
	if p.Account != "" {
		if !adsTxtAccount.MatchString(p.Account) {
			v.bad("account", "must have no spaces, commas, semicolons or #, and at most 128 characters")
		}
		if p.Domain == "" {
			v.bad("domain", "is missing: an account without it makes no line of ads.txt")
		}
	}
	if p.Relationship != "" {
		v.oneOf("relationship", p.Relationship, relationships)
	}
	if p.CertID != "" && !certPattern.MatchString(p.CertID) {
		v.bad("certificationAuthorityId", "must be 1 to 64 letters and digits")
	}
	if p.VendorID < 0 || p.VendorID > maxVendor {
		v.bad("vendorId", "must be from 1 to %d, or 0 for none", maxVendor)
	}
}

func (v *validator) source(s *DemandSource) {
	v.at("demandSources", s.ID)
	v.named(s.Name)
	v.refers("partner", s.Partner, "demand partner", v.partners[s.Partner])
	v.targeting(&s.Targeting)
	switch s.Kind {
	case OpenRTB:
		v.bidder(s)
	case ThirdTag:
		v.tag(s)
	default:
		v.bad("kind", "%q is no kind of source; use openrtb or tag", s.Kind)
	}
}

func (v *validator) bidder(s *DemandSource) {
	if s.HTML != "" || s.CPM != nil {
		v.bad("kind", "a source of kind openrtb has neither html nor cpm")
	}
	v.endpoint(s.Endpoint)
	v.period("timeout", s.Timeout, 10*time.Millisecond, 2*time.Second)
	if s.MaxQPS < 0 || s.MaxQPS > 1e6 {
		v.bad("maxQps", "must be from 1 to 1000000, or 0 for no bound")
	}
	for i, cur := range s.Currencies {
		v.currency(fmt.Sprintf("currencies[%d]", i), cur)
	}
	v.list("allowedSeats", s.AllowedSeats, isWord, aWord)
	v.list("blockedSeats", s.BlockedSeats, isWord, aWord)
	for i, seat := range s.BlockedSeats {
		if slices.Contains(s.AllowedSeats, seat) {
			v.badAt("blockedSeats", i, "%q is allowed, too", seat)
		}
	}
	if s.BidAdjustment < 0 || s.BidAdjustment > 100 {
		v.bad("bidAdjustment", "must be from 1 to 100 percent, or 0 for 100")
	}
}

func (v *validator) endpoint(raw string) {
	if raw == "" {
		v.bad("endpoint", "is missing")
		return
	}
	u, ok := absolute(raw)
	switch {
	case !ok:
		v.bad("endpoint", "%q is not an absolute URL", raw)
	case u.Scheme != "https" && !(u.Scheme == "http" && isNear(u.Hostname())):
		v.bad("endpoint", "must start with https:// (http:// only to loopback hosts and names inside the cluster)")
	}
}

// isNear says whether a host is this machine or a Kubernetes service: what is sent there does not cross the internet.
func isNear(host string) bool {
	return isLoopback(host) || isDomain(host) && (!strings.Contains(host, ".") || strings.HasSuffix(host, ".svc") || strings.HasSuffix(host, ".cluster.local"))
}

func (v *validator) tag(s *DemandSource) {
	if s.Endpoint != "" || s.Timeout != "" || s.MaxQPS != 0 || s.BidAdjustment != 0 || len(s.Currencies)+len(s.AllowedSeats)+len(s.BlockedSeats) > 0 {
		v.bad("kind", "a source of kind tag has no endpoint, timeout, maxQps, currencies, seats or bidAdjustment")
	}
	if strings.TrimSpace(s.HTML) == "" {
		v.bad("html", "is missing")
	}
	if len(s.HTML) > MaxHTML {
		v.bad("html", "is larger than %d KiB", MaxHTML>>10)
	}
	for _, m := range macroPattern.FindAllString(s.HTML, -1) {
		if !slices.Contains(TagMacros, m) {
			v.bad("html", "%s is no macro; there are %s", m, strings.Join(TagMacros, ", "))
		}
	}
	if s.CPM != nil {
		v.money("cpm", *s.CPM)
	}
}

func (v *validator) deal(d *Deal) {
	v.at("deals", d.ID)
	v.named(d.Name)
	src := v.sources[d.Source]
	v.refers("source", d.Source, "demand source", src != nil)
	if src != nil && src.Kind != OpenRTB {
		v.bad("source", "demand source %q is of kind %q; deals are made with sources of kind openrtb", d.Source, src.Kind)
	}
	v.money("floor", d.Floor)
	if len(d.Placements) == 0 {
		v.bad("placements", "needs at least one")
	}
	for i, p := range d.Placements {
		if v.placements[p] == nil {
			v.badAt("placements", i, "there is no placement %q", p)
		}
	}
	v.list("seats", d.Seats, isWord, aWord)
	v.list("domains", d.Domains, isDomain, aDomain)
	v.flights(d.Flights)
}
