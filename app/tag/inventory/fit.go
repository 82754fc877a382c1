package inventory

import (
	"slices"
	"strconv"
	"strings"

	"patag/app/tag/catalogue"
)

// fit is which creatives of a line item show in placements of one publisher, format and sizes. Each item remembers its last: a site's
// placements follow each other, so the same question comes again and again.
type fit struct {
	shape     int // 0 before the first
	creatives []WeightedCreative
	bar       Bar // that bars the item from all such placements
}

func (b *builder) shape(p *Placement) int {
	key := append(append(append(b.key[:0], p.Publisher...), ' '), p.Format...)
	for _, s := range p.Sizes {
		key = strconv.AppendInt(append(key, ' '), int64(s.Width), 10)
		key = strconv.AppendInt(append(key, 'x'), int64(s.Height), 10)
	}
	b.key = key
	id, ok := b.shapes[string(key)]
	if !ok {
		id = len(b.shapes) + 1
		b.shapes[string(key)] = id
	}
	return id
}

func (b *builder) candidate(bk *booked, p *Placement, shape int, floor int64) Candidate {
	if bk.fit.shape != shape {
		bk.fit = b.fit(bk, p)
		bk.fit.shape = shape
	}
	f := &bk.fit
	c := Candidate{Item: bk.item, Creatives: f.creatives, Barred: f.bar}
	if bk.paused {
		c.Barred = BarPaused
		return c
	}
	switch {
	case slices.Contains(bk.advertiser.BlockedSites, p.Site):
		c.Barred = BarSite
	case f.bar != NotBarred:
	case bk.item.Avoid != nil && bk.item.Avoid.Categories.Overlap(p.On.Categories):
		c.Barred = BarCategory
	case !bk.item.Targeting.SiteOK(p.Site):
		c.Barred = BarTarget
	case bk.item.Tier != catalogue.Sponsorship && bk.item.BaseMicros < floor:
		c.Barred = BarFloor
	}
	return c
}

// fit picks the creatives of an item that may show in a placement. Where all that fit are blocked, the first one's reason bars the item.
func (b *builder) fit(bk *booked, p *Placement) fit {
	safety := &p.On.Publisher.Safety
	doc := catalogue.Placement{Format: p.Format, Sizes: p.Sizes}
	var f fit
	blocked := NotBarred
	for i, w := range bk.creatives {
		cr := catalogue.Creative{Format: w.Creative.Format, Size: w.Creative.Size}
		if !cr.Fits(&doc) {
			continue
		}
		if bar := b.block(safety, bk, w.Creative); bar != NotBarred {
			if blocked == NotBarred {
				blocked = bar
			}
			continue
		}
		if len(f.creatives) == i { // none left out so far: a view of the item's own list
			f.creatives = bk.creatives[: i+1 : i+1]
			continue
		}
		f.creatives = append(f.creatives, w)
	}
	if len(f.creatives) == 0 {
		f.bar = blocked
	}
	return f
}

// block says why a publisher keeps a creative off.
func (b *builder) block(s *Safety, bk *booked, c *Creative) Bar {
	if len(s.Domains) > 0 {
		if s.Domain(bk.advertiser.Domain) {
			return BarPublisher
		}
		if s.Domain(c.host) {
			return BarPublisher
		}
	}
	if s.Categories.Overlap(c.Categories) {
		return BarCategory
	}
	if len(s.keywords) > 0 && hasKeyword(s.keywords, b.creativeWords(c.ID)) {
		return BarKeyword
	}
	return NotBarred
}

func (b *builder) creativeWords(id string) []byte {
	words, ok := b.words[id]
	if !ok {
		doc := b.creatives[id]
		words = AppendWords(AppendWords(nil, doc.Name), doc.HTML)
		if n := doc.Native; n != nil {
			for _, t := range []string{n.Title, n.Body, n.Sponsor, n.Action} {
				words = AppendWords(words, t)
			}
		}
		b.words[id] = words
	}
	return words
}

func blockedDomains(docs []string) []string {
	var out []string
	for _, d := range docs {
		if d = strings.ToLower(strings.TrimPrefix(d, ".")); d != "" {
			out = append(out, d)
		}
	}
	return out
}
