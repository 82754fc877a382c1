// Package privacy says what may be done with a visitor: what may be stored, capped by, or sent to whom. In go the signals that came
// with a request (TCF, GPP, US privacy, Global Privacy Control, an opt-out); out come Permissions. It stores nothing about visitors;
// a Decider keeps strings that it has decoded, because a visitor's pages send the same one again and again. The rules are a table
// in docs/privacy.md.
package privacy

// Signals as they came with a request; empty where there are none.
type Signals struct {
	GDPR      string // "1" applies, "0" does not, "" unknown: then Country decides
	TCString  string // TCF 2.2 or 2.3
	GPP       string
	GPPSID    string // section ids that apply, comma separated
	USPrivacy string // such as 1YNN
	GPC       bool   // Sec-GPC: 1
	OptOut    bool   // the visitor opted out with us
	Country   string // ISO 3166-1 alpha-2, "" unknown
	// Consent: the page states that the visitor agreed to a user id being kept, for pages without a TCF dialogue. It counts only
	// where there is no TC string, and permits StoreID only.
	Consent bool
}

// Permissions follow from signals. The zero value permits nothing but contextual ads.
type Permissions struct {
	// StoreID: a user id may be read and kept as a hash, so that frequency caps work.
	StoreID bool
	// Personalise: a user id may be sent to demand sources, and ads chosen by it.
	Personalise bool
	// PreciseGeo: more than country and region may be sent.
	PreciseGeo bool
	// GDPR says whether consent rules apply: then a demand source needs Vendor.
	GDPR bool
	// Malformed: a signal came that could not be read, which counts as no permission.
	Malformed Malformed
	// Signals to pass on with bid requests and tags.
	Signals Signals

	tcf *consent
}

// Malformed is a set of signals that could not be read.
type Malformed uint8

// Signals that can be malformed.
const (
	MalformedTCF Malformed = 1 << iota
	MalformedGPP
	MalformedUSPrivacy
	MalformedGDPR // a gdpr flag other than 0 and 1
)

// String names the first signal of the set, as a label of metrics; "" for none.
func (m Malformed) String() string {
	for i, name := range [...]string{"tcf", "gpp", "us_privacy", "gdpr"} {
		if m&(1<<i) != 0 {
			return name
		}
	}
	return ""
}

// Vendor says whether a vendor of the TCF's list may get this visitor's bid request; 0 is a vendor without an id.
func (p *Permissions) Vendor(id int) bool {
	if p == nil {
		return false
	}
	return !p.GDPR || p.tcf.vendor(id)
}

// Decide applies the rules. own is our id on the TCF's vendor list, 0 if we have none and act for the publisher.
func Decide(s Signals, own int) Permissions {
	var p Permissions
	decide(&s, own, &p, parseTCF, parseGPP)
	return p
}

func decide(s *Signals, own int, p *Permissions, tcf func(string) *consent, gpp func(string) *sections) {
	*p = Permissions{Signals: *s}
	var g *sections
	if s.GPP != "" {
		if g = gpp(s.GPP); !g.ok {
			p.Malformed |= MalformedGPP
		}
	}
	p.GDPR = applies(s, g, p)
	us := usOptOut(s, g, p)
	if tc := tcString(s, g); tc != "" {
		p.tcf = tcf(tc)
		if !p.tcf.ok {
			p.Malformed |= MalformedTCF
		}
	}
	switch {
	case !p.GDPR:
		p.StoreID, p.Personalise, p.PreciseGeo = true, true, true
	case p.tcf != nil:
		p.StoreID = p.tcf.storeID(own)
		p.Personalise = p.StoreID && p.tcf.personalise()
		p.PreciseGeo = p.StoreID && p.tcf.preciseGeo()
	default:
		p.StoreID = s.Consent
	}
	if us || p.Malformed != 0 {
		p.Personalise, p.PreciseGeo = false, false
	}
	if s.GPC || s.OptOut || p.Malformed != 0 {
		p.StoreID, p.Personalise, p.PreciseGeo = false, false, false
	}
}

// applies says whether the GDPR does. The page's word counts first, then GPP's list of sections that apply, then the country; where
// nothing is known it does.
func applies(s *Signals, g *sections, p *Permissions) bool {
	switch s.GDPR {
	case "1":
		return true
	case "0":
		return false
	case "":
	default:
		p.Malformed |= MalformedGDPR
		return true
	}
	if s.GPPSID != "" {
		if listed(s.GPPSID, sectionTCF) {
			return true
		}
		for id := sectionUSP; id <= sectionLastUS; id++ {
			if listed(s.GPPSID, id) {
				return false
			}
		}
	}
	return s.Country == "" || inEurope(s.Country)
}

// inEurope is the European Economic Area with its outermost regions, the United Kingdom and Switzerland.
func inEurope(country string) bool {
	switch country {
	case "AT", "BE", "BG", "HR", "CY", "CZ", "DK", "EE", "FI", "FR", "DE", "GR", "HU", "IE", "IT", "LV", "LT", "LU", "MT", "NL", "PL",
		"PT", "RO", "SK", "SI", "ES", "SE", "IS", "LI", "NO", "GB", "CH", "AX", "GF", "GP", "MQ", "RE", "YT", "MF", "GI", "JE", "GG", "IM":
		return true
	}
	return false
}

// tcString is the page's own, or else GPP's.
func tcString(s *Signals, g *sections) string {
	if s.TCString == "" && g != nil {
		return g.tcf
	}
	return s.TCString
}

// usOptOut says whether a law of a US state keeps the visitor's data from being sold, shared or used for targeted advertising.
func usOptOut(s *Signals, g *sections, p *Permissions) bool {
	out := false
	if s.USPrivacy != "" {
		sale, ok := parseUSPrivacy(s.USPrivacy)
		if !ok {
			p.Malformed |= MalformedUSPrivacy
		}
		out = sale
	}
	if g == nil {
		return out
	}
	for id := sectionUSP; id <= sectionLastUS; id++ {
		applies := s.GPPSID == "" || listed(s.GPPSID, id)
		if applies && g.us[id-sectionUSP] == optedOut {
			out = true
		}
		// One that the page says applies but that is not there, or that is newer than this code, permits nothing.
		if s.GPPSID != "" && applies && g.us[id-sectionUSP] == absent {
			out = true
		}
	}
	return out || g.gpc
}

// listed says whether a comma separated list has a number.
func listed(list string, id int) bool {
	n, digits := 0, 0
	for i := 0; i <= len(list); i++ {
		switch {
		case i < len(list) && list[i] >= '0' && list[i] <= '9' && digits < 4:
			n, digits = n*10+int(list[i]-'0'), digits+1
		case i == len(list) || list[i] == ',':
			if digits > 0 && n == id {
				return true
			}
			n, digits = 0, 0
		case list[i] != ' ':
			digits = 4 // no number: skip to the next comma
			n = -1
		}
	}
	return false
}

// parseUSPrivacy reads version, notice, opt-out of sale and LSPA, such as 1YNN. What cannot be read is an opt-out.
func parseUSPrivacy(s string) (optOut, ok bool) {
	if len(s) != 4 || s[0] != '1' {
		return true, false
	}
	for i := 1; i < 4; i++ {
		switch s[i] {
		case 'Y', 'y', 'N', 'n', '-':
		default:
			return true, false
		}
	}
	return s[2] == 'Y' || s[2] == 'y', true
}
