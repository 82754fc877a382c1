package inventory

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"patag/app/tag/catalogue"
)

// fitKey is a line item and what all placements of one publisher, format and sizes share: with many placements the same question
// comes thousands of times.
type fitKey struct {
	booked *booked
	shape  int
}

type fit struct {
	creatives []WeightedCreative
	bar       Bar // that bars the item from all such placements
}

func (b *builder) shape(p *Placement) int {
	key := fmt.Sprint(p.Publisher, p.Format, p.Sizes)
	id, ok := b.shapes[key]
	if !ok {
		id = len(b.shapes)
		b.shapes[key] = id
	}
	return id
}

func (b *builder) candidate(bk *booked, p *Placement, shape int, floor int64) Candidate {
	key := fitKey{bk, shape}
	f, ok := b.fits[key]
	if !ok {
		f = b.fit(bk, p)
		b.fits[key] = f
	}
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
	for _, w := range bk.creatives {
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
		if u, err := url.Parse(c.Landing); err == nil && s.Domain(u.Hostname()) {
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
