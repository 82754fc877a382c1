package privacy

import "strings"

// Ids of GPP's sections.
const (
	sectionTCF   = 2
	sectionUSP   = 6 // the US privacy string, as it is
	sectionUSNat = 7 // national

	sectionUSKnow = 23 // Minnesota, the last one read here
	sectionLastUS = 40 // what is registered between is taken for a state's
)

// answer of a US section.
type answer uint8

const (
	absent answer = iota
	notOptedOut
	optedOut
)

// sections is a decoded GPP string.
type sections struct {
	ok  bool
	tcf string // section 2
	us  [sectionLastUS - sectionUSP + 1]answer
	gpc bool // in one of them
}

// maxSections is more than GPP has.
const maxSections = 64

// parseGPP decodes a GPP string: a header that lists the sections, and the sections, with ~ between. What is wrong anywhere makes it
// permit nothing.
func parseGPP(s string) *sections {
	head, rest, more := strings.Cut(s, "~")
	data, ok := decode(nil, head)
	if !ok {
		return &sections{}
	}
	ids, ok := header(&bits{data: data})
	if !ok {
		return &sections{}
	}
	g := &sections{ok: true}
	for _, id := range ids {
		if !more {
			return &sections{}
		}
		var text string
		text, rest, more = strings.Cut(rest, "~")
		if !g.section(id, text) {
			return &sections{}
		}
	}
	if more { // a section that the header does not list
		return &sections{}
	}
	return g
}

// header is type 3, version 1 and a range of ids, each coded as its distance from the one before.
func header(b *bits) ([]int, bool) {
	if b.uint(6) != 3 || b.uint(6) != 1 {
		return nil, false
	}
	var ids []int
	last := 0
	for n := b.uint(12); n > 0; n-- {
		first, end := 0, 0
		if b.bool() {
			first = last + b.fibonacci()
			end = first + b.fibonacci()
		} else {
			first = last + b.fibonacci()
			end = first
		}
		if b.short || end-first >= maxSections || len(ids)+end-first >= maxSections {
			return nil, false
		}
		for id := first; id <= end; id++ {
			ids = append(ids, id)
		}
		last = end
	}
	return ids, !b.short
}

func (g *sections) section(id int, text string) bool {
	switch {
	case id == sectionTCF:
		g.tcf = text
		return text != ""
	case id == sectionUSP:
		out, ok := parseUSPrivacy(text)
		g.us[0] = said(out)
		return ok
	case id >= sectionUSNat && id <= sectionUSKnow:
		return g.state(id, text)
	case id <= sectionLastUS && id > sectionUSKnow:
		g.us[id-sectionUSP] = optedOut // a law this code does not know: the visitor may have opted out
	}
	return true // Canada's and others' are passed on, not read
}

// state reads a US section: the core, and whether Global Privacy Control was on.
func (g *sections) state(id int, text string) bool {
	core, sub, more := strings.Cut(text, ".")
	data, ok := decode(nil, core)
	if !ok {
		return false
	}
	b := &bits{data: data}
	if v := b.uint(6); v == 0 {
		return false
	}
	at, n := optOutsAt(id)
	b.at = at
	out := false
	for range n {
		out = b.uint(2) == 1 || out
	}
	if b.short {
		return false
	}
	g.us[id-sectionUSP] = said(out)
	for more {
		var text string
		text, sub, more = strings.Cut(sub, ".")
		if data, ok = decode(data[:0], text); !ok || len(data) == 0 {
			return false
		}
		if b := (&bits{data: data}); b.uint(2) == 1 && b.bool() {
			g.gpc = true
		}
	}
	return true
}

// optOutsAt is where a section's opt-outs of sale, sharing and targeted advertising are: the bit of the first, and how many. They
// follow the notices, whose number differs from law to law.
func optOutsAt(id int) (at, n int) {
	switch id {
	case sectionUSNat:
		return 18, 3 // sale, sharing, targeted advertising
	case 11, 18: // Utah and Iowa have a notice about sensitive data before
		return 14, 2
	}
	return 12, 2
}

func said(out bool) answer {
	if out {
		return optedOut
	}
	return notOptedOut
}
