package privacy

import (
	"slices"
	"strings"
)

// Purposes of the TCF by number; a mask has bit n for purpose n.
const (
	purposeStore           = 1 // store and access information on a device: always by consent
	purposeBasicAds        = 2 // select ads with limited data, which includes limiting their frequency
	purposeProfile         = 3 // create profiles for personalised ads: by consent since TCF 2.2
	purposePersonalisedAds = 4 // use them: by consent since TCF 2.2
	purposeMeasure         = 7 // measure ad performance

	specialPreciseGeo = 1 // special feature
)

// mandatoryDisclosure is when strings without disclosed vendors ceased to be valid: 1 March 2026, in tenths of seconds of Unix time.
const mandatoryDisclosure = 17723232000

// maxVendor is the highest id that is looked at. The Global Vendor List ends below 2000; a higher one has no permission.
const maxVendor = 4095

// consent is a decoded TC string. The zero value permits nothing.
type consent struct {
	ok       bool
	purposes uint32 // by consent
	interest uint32 // by legitimate interest, transparency given and no objection
	special  uint32
	byVendor vendorSet // consent
	liVendor vendorSet // legitimate interest
	// disclosed is nil when the string predates the obligation and says nothing of it.
	disclosed vendorSet
	// limits are the publisher's restrictions of the purposes looked at.
	limits [len(limited)][numLimits]vendorSet
}

// limited are the purposes whose restrictions matter here.
var limited = [...]int{purposeStore, purposeBasicAds, purposeMeasure}

// Kinds of restriction; a fourth is undefined.
const (
	limitForbidden = iota
	limitConsent
	limitInterest
	numLimits
)

// vendorSet has a bit for each vendor id.
type vendorSet []uint64

func (s vendorSet) has(id int) bool {
	return id > 0 && id>>6 < len(s) && s[id>>6]&(1<<(id&63)) != 0
}

func (s *vendorSet) add(id int) {
	if id > maxVendor {
		return
	}
	for id>>6 >= len(*s) {
		*s = append(*s, 0)
	}
	(*s)[id>>6] |= 1 << (id & 63)
}

func (s *vendorSet) addRange(first, last int) {
	for id := first; id <= min(last, maxVendor); id++ {
		s.add(id)
	}
}

// may says whether a vendor may pursue a purpose; 0 is the publisher's own processor, whose purposes are the publisher's.
func (c *consent) may(id, purpose int) bool {
	consented, interested := c.purposes&(1<<purpose) != 0, c.interest&(1<<purpose) != 0
	switch purpose {
	case purposeStore, purposeProfile, purposePersonalisedAds:
		interested = false
	}
	if id == 0 {
		return consented || interested
	}
	if c.disclosed != nil && !c.disclosed.has(id) {
		return false
	}
	consented = consented && c.byVendor.has(id)
	interested = interested && c.liVendor.has(id)
	for i, p := range limited {
		if p == purpose {
			l := &c.limits[i]
			consented = consented && !l[limitInterest].has(id)
			interested = interested && !l[limitConsent].has(id)
			return (consented || interested) && !l[limitForbidden].has(id)
		}
	}
	return consented || interested
}

// vendor says whether a demand source may be asked to bid: it selects ads, at the least by context.
func (c *consent) vendor(id int) bool {
	return c != nil && c.ok && id > 0 && c.may(id, purposeBasicAds)
}

func (c *consent) storeID(own int) bool {
	return c.ok && c.may(own, purposeStore) && c.may(own, purposeBasicAds) && c.may(own, purposeMeasure)
}

// personalise is about the visitor; whether a source may receive the request at all is vendor's.
func (c *consent) personalise() bool {
	return c.ok && c.may(0, purposeProfile) && c.may(0, purposePersonalisedAds)
}

func (c *consent) preciseGeo() bool { return c.ok && c.special&(1<<specialPreciseGeo) != 0 }

// parseTCF decodes a TC string of version 2. What is wrong anywhere makes it permit nothing.
func parseTCF(s string) *consent {
	c := &consent{}
	core, rest, more := strings.Cut(s, ".")
	data, ok := decode(nil, core)
	if !ok || !c.core(&bits{data: data}) {
		return &consent{}
	}
	mandatory := c.disclosed != nil
	c.disclosed = nil
	for more {
		var segment string
		segment, rest, more = strings.Cut(rest, ".")
		if data, ok = decode(data[:0], segment); !ok || len(data) == 0 {
			return &consent{}
		}
		b := &bits{data: data}
		if b.uint(3) != 1 { // 1 is disclosed vendors; 2 allowed vendors and 3 the publisher's own purposes do not matter here
			continue
		}
		set := vendorSet{}
		if !vendors(b, &set) {
			return &consent{}
		}
		c.disclosed = set
	}
	if mandatory && c.disclosed == nil {
		return &consent{}
	}
	c.ok = true
	return c
}

// core reads the first segment. It leaves disclosed non-nil if the string must have that segment.
func (c *consent) core(b *bits) bool {
	if b.uint(6) != 2 {
		return false
	}
	created, updated := b.uint(36), b.uint(36)
	b.uint(12 + 12 + 6) // CMP, its version, its screen
	b.uint(12 + 12 + 6) // language, vendor list, policy
	b.uint(2)           // service specific, non-standard texts
	c.special = mask(b, 12)
	c.purposes = mask(b, 24)
	c.interest = mask(b, 24)
	b.uint(1 + 12) // purpose 1 not disclosed: it then has no bit, and counts as refused; publisher's country
	if !vendors(b, &c.byVendor) || !vendors(b, &c.liVendor) || !c.restrictions(b) || b.short {
		return false
	}
	if max(created, updated) >= mandatoryDisclosure {
		c.disclosed = vendorSet{}
	}
	return true
}

// mask reads n flags; the first is bit 1.
func mask(b *bits, n int) uint32 {
	var m uint32
	for i := 1; i <= n; i++ {
		if b.bool() {
			m |= 1 << i
		}
	}
	return m
}

// vendors reads a bit field or a list of ranges up to the highest id that it names first.
func vendors(b *bits, set *vendorSet) bool {
	highest := b.uint(16)
	if b.bool() {
		return idRanges(b, set, highest)
	}
	if b.left() < highest {
		return false
	}
	for id := 1; id <= highest; id++ {
		if b.bool() {
			set.add(id)
		}
	}
	return !b.short
}

func idRanges(b *bits, set *vendorSet, highest int) bool {
	for n := b.uint(12); n > 0; n-- {
		isRange := b.bool()
		first := b.uint(16)
		last := first
		if isRange {
			last = b.uint(16)
		}
		if b.short || first == 0 || last < first || last > highest {
			return false
		}
		set.addRange(first, last)
	}
	return !b.short
}

func (c *consent) restrictions(b *bits) bool {
	for n := b.uint(12); n > 0; n-- {
		var unused vendorSet
		set := &unused
		purpose, kind := b.uint(6), b.uint(2)
		if i := slices.Index(limited[:], purpose); i >= 0 && kind < numLimits {
			set = &c.limits[i][kind]
		}
		if !idRanges(b, set, 1<<16-1) {
			return false
		}
	}
	return !b.short
}
