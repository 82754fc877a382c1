package inventory

import (
	"slices"
	"strings"
)

// Pages is a set of patterns of pages, looked up by hash: the cost of a match grows with how many different lengths the patterns
// have, not with their number.
type Pages struct {
	exact, under prefixes // under: patterns that start with *.
}

type prefixes struct {
	set     map[string]struct{}
	lengths []int // of set's members, ascending
}

func compilePages(patterns []string) *Pages {
	if len(patterns) == 0 {
		return nil
	}
	p := &Pages{}
	for _, s := range patterns {
		s = strings.ToLower(s)
		if rest, ok := strings.CutPrefix(s, "*."); ok {
			p.under.add(rest)
		} else {
			p.exact.add(s)
		}
	}
	return p
}

func (p *prefixes) add(s string) {
	if p.set == nil {
		p.set = map[string]struct{}{}
	}
	p.set[s] = struct{}{}
	if i, found := slices.BinarySearch(p.lengths, len(s)); !found {
		p.lengths = slices.Insert(p.lengths, i, len(s))
	}
}

func (p *prefixes) match(page string) bool {
	for _, n := range p.lengths {
		if n > len(page) {
			return false
		}
		if _, ok := p.set[page[:n]]; !ok {
			continue
		}
		// A pattern that is only a host is the whole host: news.example is not the start of news.example.org.
		if n == len(page) || page[n] == '/' || page[n] == ':' || strings.Contains(page[:n], "/") {
			return true
		}
	}
	return false
}

// Match says whether a page, host and path in lower case, matches one of the patterns.
func (p *Pages) Match(page string) bool {
	if page == "" {
		return false
	}
	if p.exact.match(page) {
		return true
	}
	if p.under.set == nil {
		return false
	}
	for i := 0; i < len(page) && page[i] != '/'; i++ {
		if page[i] == '.' && p.under.match(page[i+1:]) {
			return true
		}
	}
	return false
}
