// Package privacy says what may be done with a visitor: what may be stored, capped by, or sent to whom. In go the signals that came
// with a request (TCF, GPP, US privacy, Global Privacy Control, an opt-out); out come Permissions. It keeps nothing.
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
	// Signals to pass on with bid requests and tags.
	Signals Signals

	vendors vendorSet
}

// Vendor says whether a vendor of the TCF's list may get this visitor's bid request; 0 is a vendor without an id.
func (p *Permissions) Vendor(id int) bool {
	if p == nil {
		return false
	}
	return !p.GDPR || id > 0 && p.vendors.has(id)
}

// vendorSet is the ids that have consent or an undisputed legitimate interest, and are disclosed.
type vendorSet map[int]struct{}

func (s vendorSet) has(id int) bool {
	_, ok := s[id]
	return ok
}
