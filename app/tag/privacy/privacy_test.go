package privacy

import (
	"strings"
	"testing"
)

const own, partner = 42, 755

var everything = []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}

// all is a visitor who agreed to everything for us and one partner.
func all() tc {
	return tc{at: after, purposes: everything, special: []int{1}, vendors: []int{own, partner}, disclosed: []int{own, partner}}
}

func with(change func(*tc)) string {
	t := all()
	change(&t)
	return t.String()
}

func TestDecide(t *testing.T) {
	const (
		store = 1 << iota
		personal
		precise
		vendor // partner may bid
		gdpr
	)
	eu := func(s string) Signals { return Signals{GDPR: "1", TCString: s} }
	us := func(s Signals) Signals { s.Country = "US"; return s }
	tests := map[string]struct {
		in        Signals
		want      int
		malformed Malformed
	}{
		"nothing is known: the rules apply":                     {Signals{}, gdpr, 0},
		"Germany without a string":                              {Signals{Country: "DE"}, gdpr, 0},
		"Switzerland and the United Kingdom have the rules too": {Signals{Country: "CH"}, gdpr, 0},
		"the United States without a signal":                    {Signals{Country: "US"}, store | personal | precise | vendor, 0},
		"the page says that the rules do not apply":             {Signals{GDPR: "0", Country: "DE"}, store | personal | precise | vendor, 0},
		"the page says that they apply in the United States":    {us(Signals{GDPR: "1"}), gdpr, 0},
		"a flag that is neither":                                {us(Signals{GDPR: "x"}), gdpr, MalformedGDPR},
		"all agreed, TCF 2.3":                                   {eu(all().String()), store | personal | precise | vendor | gdpr, 0},
		"all agreed, as ranges":                                 {eu(with(func(t *tc) { t.ranges = true })), store | personal | precise | vendor | gdpr, 0},
		"with segments of the publisher":                        {eu(with(func(t *tc) { t.publisherSegments = true })), store | personal | precise | vendor | gdpr, 0},
		"TCF 2.2, before disclosure was mandatory":              {eu(with(func(t *tc) { t.at, t.disclosed = before, nil })), store | personal | precise | vendor | gdpr, 0},
		"TCF 2.3 without disclosed vendors is not valid":        {eu(with(func(t *tc) { t.disclosed = nil })), gdpr, MalformedTCF},
		"we were not disclosed":                                 {eu(with(func(t *tc) { t.disclosed = []int{partner} })), vendor | gdpr, 0},
		"the partner was not disclosed":                         {eu(with(func(t *tc) { t.disclosed = []int{own} })), store | personal | precise | gdpr, 0},
		"a disclosure before it was mandatory counts as well":   {eu(with(func(t *tc) { t.at, t.disclosed = before, []int{own} })), store | personal | precise | gdpr, 0},
		"no storing": {eu(with(func(t *tc) { t.purposes = everything[1:] })), vendor | gdpr, 0},
		"storing cannot be a legitimate interest": {eu(with(func(t *tc) { t.purposes, t.interest, t.li = everything[1:], everything, []int{own} })), vendor | gdpr, 0},
		"basic ads only":             {eu(with(func(t *tc) { t.purposes, t.special = []int{1, 2, 7}, nil })), store | vendor | gdpr, 0},
		"no measuring":               {eu(with(func(t *tc) { t.purposes = []int{1, 2, 3, 4} })), vendor | gdpr, 0},
		"profiles but not their use": {eu(with(func(t *tc) { t.purposes, t.special = []int{1, 2, 3, 7}, nil })), store | vendor | gdpr, 0},
		"profiles cannot be a legitimate interest": {eu(with(func(t *tc) {
			t.purposes, t.interest, t.li, t.special = []int{1, 2, 7}, everything, []int{own, partner}, nil
		})), store | vendor | gdpr, 0},
		"legitimate interest in basic ads and measuring":       {eu(with(func(t *tc) { t.purposes, t.interest, t.li, t.special = []int{1}, []int{2, 7}, []int{own, partner}, nil })), store | vendor | gdpr, 0},
		"an objection of ours only":                            {eu(with(func(t *tc) { t.purposes, t.interest, t.li, t.special = []int{1}, []int{2, 7}, []int{partner}, nil })), vendor | gdpr, 0},
		"consent for the purposes, not for us":                 {eu(with(func(t *tc) { t.vendors = []int{partner} })), vendor | gdpr, 0},
		"consent for the purposes, not for the partner":        {eu(with(func(t *tc) { t.vendors = []int{own} })), store | personal | precise | gdpr, 0},
		"the publisher forbids the partner basic ads":          {eu(with(func(t *tc) { t.purpose, t.kind, t.restricted = 2, 0, []int{partner} })), store | personal | precise | gdpr, 0},
		"the publisher wants interest where there is consent":  {eu(with(func(t *tc) { t.purpose, t.kind, t.restricted = 2, 2, []int{partner, own} })), gdpr, 0},
		"the publisher wants consent, and there is":            {eu(with(func(t *tc) { t.purpose, t.kind, t.restricted = 2, 1, []int{partner, own} })), store | personal | precise | vendor | gdpr, 0},
		"a restriction of a purpose that does not matter":      {eu(with(func(t *tc) { t.purpose, t.kind, t.restricted = 9, 0, []int{partner, own} })), store | personal | precise | vendor | gdpr, 0},
		"a string of version 1":                                {eu(with(func(t *tc) { t.version = 1 })), gdpr, MalformedTCF},
		"half a string":                                        {eu(all().String()[:30]), gdpr, MalformedTCF},
		"no base64":                                            {eu("C!" + all().String()), gdpr, MalformedTCF},
		"an empty segment":                                     {eu(all().String() + "."), gdpr, MalformedTCF},
		"everything agreed and Global Privacy Control":         {Signals{GDPR: "1", TCString: all().String(), GPC: true}, vendor | gdpr, 0},
		"everything agreed and opted out with us":              {Signals{GDPR: "1", TCString: all().String(), OptOut: true}, vendor | gdpr, 0},
		"the page states consent, and has no TCF":              {Signals{GDPR: "1", Consent: true}, store | gdpr, 0},
		"the page states consent, its string does not":         {Signals{GDPR: "1", Consent: true, TCString: with(func(t *tc) { t.purposes = nil })}, gdpr, 0},
		"the page states consent, with Global Privacy Control": {Signals{GDPR: "1", Consent: true, GPC: true}, gdpr, 0},
		"US privacy: not opted out":                            {us(Signals{USPrivacy: "1YNN"}), store | personal | precise | vendor, 0},
		"US privacy: opted out":                                {us(Signals{USPrivacy: "1YYN"}), store | vendor, 0},
		"US privacy: does not apply":                           {us(Signals{USPrivacy: "1---"}), store | personal | precise | vendor, 0},
		"US privacy: malformed":                                {us(Signals{USPrivacy: "1YY"}), vendor, MalformedUSPrivacy},
		"US privacy: another version":                          {us(Signals{USPrivacy: "2YNN"}), vendor, MalformedUSPrivacy},
		"Global Privacy Control in the United States":          {us(Signals{GPC: true}), vendor, 0},
		"opted out with us in the United States":               {us(Signals{OptOut: true}), vendor, 0},
		"GPP: TCF as a section":                                {Signals{GPP: gppOf([]int{2}, all().String()), GPPSID: "2"}, store | personal | precise | vendor | gdpr, 0},
		"GPP: its list says that the GDPR applies, in the US":  {us(Signals{GPP: gppOf([]int{2}, all().String()), GPPSID: "2"}), store | personal | precise | vendor | gdpr, 0},
		"GPP: its TCF section is malformed":                    {Signals{GPP: gppOf([]int{2}, "CPx"), GPPSID: "2"}, gdpr, MalformedTCF},
		"GPP: the page's own TC string goes first":             {Signals{TCString: all().String(), GPP: gppOf([]int{2}, with(func(t *tc) { t.purposes = nil })), GPPSID: "2"}, store | personal | precise | vendor | gdpr, 0},
		"GPP: US privacy string, opted out":                    {Signals{GPP: gppOf([]int{6}, "1YYN"), GPPSID: "6"}, store | vendor, 0},
		"GPP: US privacy string, not opted out":                {Signals{GPP: gppOf([]int{6}, "1YNN"), GPPSID: "6"}, store | personal | precise | vendor, 0},
		"GPP: national, nothing opted out":                     {Signals{GPP: gppOf([]int{7}, usSection(1, 1, 1, 1, 0, 0, 2, 2, 2)), GPPSID: "7"}, store | personal | precise | vendor, 0},
		"GPP: national, sale opted out":                        {Signals{GPP: gppOf([]int{7}, usSection(1, 1, 1, 1, 0, 0, 1, 2, 2)), GPPSID: "7"}, store | vendor, 0},
		"GPP: national, targeted advertising opted out":        {Signals{GPP: gppOf([]int{7}, usSection(1, 1, 1, 1, 0, 0, 2, 2, 1)), GPPSID: "7"}, store | vendor, 0},
		"GPP: national, Global Privacy Control":                {Signals{GPP: gppOf([]int{7}, usSection(1, 1, 1, 1, 0, 0, 2, 2, 2)+"."+gpcOn), GPPSID: "7"}, store | vendor, 0},
		"GPP: California, sharing opted out":                   {Signals{GPP: gppOf([]int{8}, usSection(1, 1, 0, 2, 1)), GPPSID: "8"}, store | vendor, 0},
		"GPP: California, nothing opted out":                   {Signals{GPP: gppOf([]int{8}, usSection(1, 1, 1, 2, 2, 1)), GPPSID: "8"}, store | personal | precise | vendor, 0},
		"GPP: Utah has one notice more":                        {Signals{GPP: gppOf([]int{11}, usSection(1, 1, 1, 1, 2, 2)), GPPSID: "11"}, store | personal | precise | vendor, 0},
		"GPP: Utah, opted out":                                 {Signals{GPP: gppOf([]int{11}, usSection(1, 1, 1, 1, 1, 2)), GPPSID: "11"}, store | vendor, 0},
		"GPP: an opt-out of a section that does not apply":     {Signals{Country: "US", GPP: gppOf([]int{7, 8}, usSection(1, 1, 1, 1, 0, 0, 2, 2, 2), usSection(1, 1, 0, 1, 1)), GPPSID: "7"}, store | personal | precise | vendor, 0},
		"GPP: without a list every section counts":             {Signals{Country: "US", GPP: gppOf([]int{7, 8}, usSection(1, 1, 1, 1, 0, 0, 2, 2, 2), usSection(1, 1, 0, 1, 1))}, store | vendor, 0},
		"GPP: a section that applies is missing":               {Signals{GPP: gppOf([]int{7}, usSection(1, 1, 1, 1, 0, 0, 2, 2, 2)), GPPSID: "8"}, store | vendor, 0},
		"GPP: a law newer than this code":                      {Signals{GPP: gppOf([]int{24}, "YAAA"), GPPSID: "24"}, store | vendor, 0},
		"GPP: malformed":                                       {us(Signals{GPP: "nothing"}), vendor, MalformedGPP},
		"GPP: a section is missing":                            {us(Signals{GPP: gppOf([]int{7})}), vendor, MalformedGPP},
		"GPP: a section more than listed":                      {us(Signals{GPP: gppOf([]int{6}, "1YNN", "1YNN")}), vendor, MalformedGPP},
		"GPP: a US section is cut":                             {us(Signals{GPP: gppOf([]int{7}, "B")}), vendor, MalformedGPP},
	}
	d := NewDecider(own)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := Decide(tt.in, own)
			got := 0
			for i, yes := range []bool{p.StoreID, p.Personalise, p.PreciseGeo, p.Vendor(partner), p.GDPR} {
				if yes {
					got |= 1 << i
				}
			}
			if got != tt.want || p.Malformed != tt.malformed {
				t.Errorf("got store, personalise, precise, vendor, gdpr = %05b and malformed %q, want %05b and %q", got, p.Malformed, tt.want, tt.malformed)
			}
			if p.Vendor(0) == p.GDPR || p.Vendor(partner+1) && p.GDPR || p.Vendor(-1) && p.GDPR {
				t.Error("a vendor without an id, or another one, may not be told anything under the GDPR")
			}
			for range 2 { // the second is remembered
				var q Permissions
				if d.Decide(&tt.in, &q); q.StoreID != p.StoreID || q.Personalise != p.Personalise || q.Vendor(partner) != p.Vendor(partner) || q.Malformed != p.Malformed {
					t.Errorf("a Decider permits %+v, Decide %+v", q, p)
				}
			}
		})
	}
}

// The specifications' own examples.
func TestPublishedStrings(t *testing.T) {
	// TCF: "IAB Tech Lab: Consent string and vendor list formats v2", the example with all segments; it predates 2.3.
	const full = "COtybn4PA_zT4KjACBENAPCIAEBAAECAAIAAAAAAAAAA"
	if c := parseTCF(full); !c.ok {
		t.Error("the example of a core string is refused")
	}
	const segments = "COvFyGBOvFyGBAbAAAENAPCAAOAAAAAAAAAAAEEUACCKAAA.IFoEUQQgAIQwgIwQABAEAAAAOIAACAIAAAAQAIAgEAACEAAAAAgAQBAAAAAAAGBAAgAAAAAAAFAAECAAAgAAQARAEQAAAAAJAAIAAgAAAYQEAAAQmAgBC3ZAYzUw"
	c := parseTCF(segments)
	if !c.ok {
		t.Fatal("the example with disclosed vendors is refused")
	}
	// Its core: purposes 1 to 3, vendors 2, 6 and 8 by consent, 2, 6 and 8 or others by interest; disclosed by segment type 1.
	for id, want := range map[int]bool{2: true, 6: true, 8: true, 3: false, 7: false} {
		if c.byVendor.has(id) != want {
			t.Errorf("vendor %d has consent: %v, want %v", id, !want, want)
		}
	}
	if c.purposes != 1<<1|1<<2|1<<3 {
		t.Errorf("purposes are %b, want 1, 2 and 3", c.purposes)
	}
	if !c.disclosed.has(2) || c.disclosed.has(1) {
		t.Errorf("disclosed: %v", c.disclosed)
	}
	// GPP: "Consent String Specification", examples 1 and 2.
	for text, want := range map[string]string{
		"DBABMA~CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAAA":       "CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAAA",
		"DBACNYA~CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAAA~1YNN": "CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAAA",
	} {
		g := parseGPP(text)
		if !g.ok || g.tcf != want {
			t.Errorf("%s: ok %v, TC string %q", text, g.ok, g.tcf)
		}
		if strings.HasSuffix(text, "1YNN") && g.us[0] != notOptedOut {
			t.Errorf("%s: the US privacy string is read as %d", text, g.us[0])
		}
		if !parseTCF(g.tcf).ok {
			t.Errorf("%s: its TC string is refused", text)
		}
	}
}

func TestDecideAllocatesNothingForKnownStrings(t *testing.T) {
	d := NewDecider(own)
	s := Signals{GDPR: "1", TCString: all().String(), GPP: gppOf([]int{7}, usSection(1, 1, 1, 1, 0, 0, 2, 2, 2)), GPPSID: "2,7", USPrivacy: "1YNN", Country: "DE"}
	var p Permissions
	d.Decide(&s, &p)
	if n := testing.AllocsPerRun(200, func() { d.Decide(&s, &p) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestListed(t *testing.T) {
	for list, want := range map[string]bool{"2": true, "6,2": true, " 2 , 7": true, "22": false, "12": false, "": false, "x2": false, "2x": false, "99992": false, "2,": true} {
		if got := listed(list, 2); got != want {
			t.Errorf("%q lists 2: %v", list, got)
		}
	}
}

func FuzzTCF(f *testing.F) {
	f.Add(all().String())
	f.Add(with(func(t *tc) { t.ranges, t.purpose, t.kind, t.restricted = true, 2, 1, []int{7, 9} }))
	f.Add("COtybn4PA_zT4KjACBENAPCIAEBAAECAAIAAAAAAAAAA")
	f.Fuzz(func(t *testing.T, s string) {
		c := parseTCF(s)
		if !c.ok && (c.storeID(own) || c.personalise() || c.vendor(partner) || c.preciseGeo()) {
			t.Fatal("a string that is refused permits something")
		}
		for _, set := range []vendorSet{c.byVendor, c.liVendor, c.disclosed} {
			if len(set) > maxVendor/64+1 {
				t.Fatalf("a set of %d words", len(set))
			}
		}
	})
}

func FuzzGPP(f *testing.F) {
	f.Add("DBACNYA~CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAAA~1YNN", "2,6", "1YNN")
	f.Add(gppOf([]int{7, 8}, usSection(1, 1, 1, 1, 0, 0, 2, 2, 2)+"."+gpcOn, usSection(1, 1, 0, 1, 1)), "7", "")
	f.Fuzz(func(t *testing.T, gpp, sid, usp string) {
		s := Signals{GPP: gpp, GPPSID: sid, USPrivacy: usp, Country: "US"}
		p := Decide(s, own)
		if p.Malformed != 0 && (p.StoreID || p.Personalise || p.PreciseGeo) {
			t.Fatal("a malformed signal permits something")
		}
		if p.Personalise && !p.StoreID {
			t.Fatal("an id may be sent that may not be stored")
		}
	})
}

func BenchmarkDecideKnown(b *testing.B) {
	d := NewDecider(own)
	s := Signals{GDPR: "1", TCString: all().String(), Country: "DE"}
	var p Permissions
	for b.Loop() {
		d.Decide(&s, &p)
	}
}

func BenchmarkParseTCF(b *testing.B) {
	s := all().String()
	for b.Loop() {
		parseTCF(s)
	}
}
