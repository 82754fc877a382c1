package decision

import (
	"context"

	"patag/app/tag/catalogue"
	"patag/app/tag/inventory"
)

// judge says for every candidate why the request alone rules it out; Eligible where it does not.
func (s *scratch) judge(delivery Delivery) {
	steps, reasons := s.w.Steps, s.reasons
	for i := range steps {
		step := &steps[i]
		for j := range step.Groups {
			candidates := step.Groups[j].Candidates
			for k := range candidates {
				c := &candidates[k]
				reason := barReasons[c.Barred]
				if reason == None {
					reason = s.item(c.Item, delivery)
				}
				if reason == Eligible && len(c.Item.Frequency) > 0 {
					if s.r.User == 0 {
						reason = FrequencyUnknownUser
					} else {
						s.capped = append(s.capped, c.Item)
						s.ordinal = append(s.ordinal, c.Ordinal)
					}
				}
				reasons[c.Ordinal] = reason
			}
		}
		for j := range step.Sources {
			reasons[step.Ordinal+j] = NotAsked
		}
	}
}

// item says why the request alone rules a line item out.
func (s *scratch) item(it *inventory.Item, delivery Delivery) Reason {
	if !it.InFlight(s.r.Now) {
		return OutOfFlight
	}
	if it.Targeting.Parts != 0 {
		if reason := s.target(&it.Targeting); reason != Eligible {
			return reason
		}
	}
	if it.Avoid != nil {
		if reason := s.avoid(it.Avoid); reason != Eligible {
			return reason
		}
	}
	if len(it.Groups) > 0 && shareGroup(it.Groups, s.r.Excluded) {
		return ExclusionGroup
	}
	if it.GoalIndex >= 0 {
		return delivery.Open(it, s.r.Seed)
	}
	return Eligible
}

// target holds a request against targeting, part by part.
func (s *scratch) target(t *inventory.Targeting) Reason {
	r, p := s.r, t.Parts
	switch {
	case p&inventory.ByDayPart != 0 && !t.DayPartsOK(r.Now):
		return DayPart
	case p&inventory.ByCountry != 0 && !t.CountryOK(r.Country):
		return Country
	case p&inventory.ByRegion != 0 && !t.RegionOK(r.Region):
		return Region
	case p&inventory.ByDevice != 0 && !t.DeviceOK(r.Device):
		return Device
	case p&inventory.ByBrowser != 0 && !t.BrowserOK(r.Browser):
		return Browser
	case p&inventory.BySystem != 0 && !t.SystemOK(r.System):
		return System
	case p&inventory.ByPage != 0 && !t.PageOK(r.Page):
		return Page
	case p&inventory.ByCategory != 0 && !t.CategoriesOK(s.pageCategories()):
		return Category
	case p&inventory.ByKeyValues != 0 && !t.KeyValuesOK(r.KeyValues):
		return KeyValues
	}
	return Eligible
}

// avoid holds a page against what an advertiser keeps off.
func (s *scratch) avoid(a *inventory.Avoid) Reason {
	if len(a.Categories) > 0 && a.Categories.Overlap(s.pageCategories()) {
		return BlockedCategory
	}
	if a.Words() && a.Keywords(s.pageWords()) {
		return BlockedKeyword
	}
	return Eligible
}

// pageCategories are the site's and the page's.
func (s *scratch) pageCategories() inventory.Categories {
	site := s.r.Placement.On.Categories
	if len(s.r.Categories) == 0 {
		return site
	}
	if !s.haveCategories {
		s.categories = inventory.AppendCategories(append(s.categories[:0], site...), s.r.Categories)
		s.haveCategories = true
	}
	return s.categories
}

func (s *scratch) pageWords() []byte {
	if !s.haveWords {
		s.words = inventory.AppendWords(s.words[:0], s.r.Page)
		for _, k := range s.r.Keywords {
			s.words = inventory.AppendWords(s.words, k)
		}
		s.haveWords = true
	}
	return s.words
}

func shareGroup(a, b []uint32) bool {
	for _, x := range a {
		for _, y := range b {
			if x == y {
				return true
			}
		}
	}
	return false
}

// source says why a demand source is not asked; Eligible when it is.
func (s *scratch) source(step *inventory.Step, i int) Reason {
	if bar := step.Bars[i]; bar != inventory.NotBarred {
		return barReasons[bar]
	}
	src := step.Sources[i]
	if src.Targeting.Parts != 0 {
		if reason := s.target(&src.Targeting); reason != Eligible {
			return reason
		}
	}
	if !s.r.Privacy.Vendor(src.VendorID) {
		return NotPermitted
	}
	return Eligible
}

// ask looks all frequency caps up at once: one round trip per decision, and none for requests that meet no capped item.
func (s *scratch) ask(ctx context.Context, frequency FrequencyCaps) {
	n := len(s.capped)
	if n == 0 {
		return
	}
	if cap(s.over) < n {
		s.over = make([]bool, n)
	}
	s.over = s.over[:n]
	clear(s.over)
	frequency.Over(ctx, s.r.User, s.r.Now, s.capped, s.over)
	for i, over := range s.over {
		if over {
			s.reasons[s.ordinal[i]] = FrequencyCapped
		}
	}
}

func isTag(step *inventory.Step) bool { return step.Kind == catalogue.Tag }
