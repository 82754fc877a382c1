package inventory

import (
	"slices"
	"strings"

	"patag/app/tag/catalogue"
)

// Targeting as numbers. Parts says which parts narrow at all: most line items target one or two things, and a decision looks at
// no others. Sites are not among them: whether a site is targeted is known when the catalogue is compiled.
type Targeting struct {
	Parts Part

	IncludeCountries, ExcludeCountries []Country
	IncludeRegions, ExcludeRegions     []Region
	IncludeDevices, ExcludeDevices     Device
	IncludeBrowsers, ExcludeBrowsers   Browser
	IncludeSystems, ExcludeSystems     System
	IncludePages, ExcludePages         *Pages
	IncludeCategories                  Categories
	ExcludeCategories                  Categories
	DayParts                           []DayPart
	// IncludeKeyValues has one group per key: one of each must be present. ExcludeKeyValues: none may be.
	IncludeKeyValues [][]uint32
	ExcludeKeyValues []uint32

	includeSites, excludeSites []string
}

// Part is a set of parts of a Targeting.
type Part uint16

// Parts.
const (
	ByDayPart Part = 1 << iota
	ByCountry
	ByRegion
	ByDevice
	ByBrowser
	BySystem
	ByPage
	ByCategory
	ByKeyValues
)

// CountryOK says whether a country passes. An unknown one passes only where no country is required.
func (t *Targeting) CountryOK(c Country) bool {
	if len(t.IncludeCountries) > 0 && !slices.Contains(t.IncludeCountries, c) {
		return false
	}
	return c == 0 || !slices.Contains(t.ExcludeCountries, c)
}

// RegionOK says whether a region passes, as CountryOK.
func (t *Targeting) RegionOK(r Region) bool {
	if len(t.IncludeRegions) > 0 && !slices.Contains(t.IncludeRegions, r) {
		return false
	}
	return r == 0 || !slices.Contains(t.ExcludeRegions, r)
}

// DeviceOK says whether a device passes.
func (t *Targeting) DeviceOK(d Device) bool { return pass(t.IncludeDevices, t.ExcludeDevices, d) }

// BrowserOK says whether a browser passes.
func (t *Targeting) BrowserOK(b Browser) bool { return pass(t.IncludeBrowsers, t.ExcludeBrowsers, b) }

// SystemOK says whether an operating system passes.
func (t *Targeting) SystemOK(s System) bool { return pass(t.IncludeSystems, t.ExcludeSystems, s) }

func pass[T Device | Browser | System](include, exclude, x T) bool {
	return (include == 0 || include&x != 0) && exclude&x == 0
}

// PageOK says whether a page passes: host and path in lower case. An unknown one passes only where no page is required.
func (t *Targeting) PageOK(page string) bool {
	if t.IncludePages != nil && !t.IncludePages.Match(page) {
		return false
	}
	return t.ExcludePages == nil || !t.ExcludePages.Match(page)
}

// CategoriesOK says whether a page of these categories passes.
func (t *Targeting) CategoriesOK(page Categories) bool {
	if len(t.IncludeCategories) > 0 && !t.IncludeCategories.Overlap(page) {
		return false
	}
	return !t.ExcludeCategories.Overlap(page)
}

// DayPartsOK says whether one of the day parts holds at a time in Unix seconds.
func (t *Targeting) DayPartsOK(now int64) bool {
	for i := range t.DayParts {
		if t.DayParts[i].Holds(now) {
			return true
		}
	}
	return len(t.DayParts) == 0
}

// KeyValuesOK says whether a page's key-values, as ids of the same snapshot, pass.
func (t *Targeting) KeyValuesOK(page []uint32) bool {
	for _, any := range t.IncludeKeyValues {
		if !overlap(any, page) {
			return false
		}
	}
	return !overlap(t.ExcludeKeyValues, page)
}

// SiteOK says whether a site passes, by id.
func (t *Targeting) SiteOK(site string) bool {
	if len(t.includeSites) > 0 && !slices.Contains(t.includeSites, site) {
		return false
	}
	return !slices.Contains(t.excludeSites, site)
}

func overlap(a, b []uint32) bool {
	for _, x := range a {
		if slices.Contains(b, x) {
			return true
		}
	}
	return false
}

func (b *builder) targeting(t *catalogue.Targeting) (Targeting, error) {
	out := Targeting{
		IncludeCountries: each(t.Countries.Include, ParseCountry), ExcludeCountries: each(t.Countries.Exclude, ParseCountry),
		IncludeRegions: each(t.Regions.Include, ParseRegion), ExcludeRegions: each(t.Regions.Exclude, ParseRegion),
		IncludeDevices: union(t.Devices.Include, ParseDevice), ExcludeDevices: union(t.Devices.Exclude, ParseDevice),
		IncludeBrowsers: union(t.Browsers.Include, ParseBrowser), ExcludeBrowsers: union(t.Browsers.Exclude, ParseBrowser),
		IncludeSystems: union(t.Systems.Include, ParseSystem), ExcludeSystems: union(t.Systems.Exclude, ParseSystem),
		IncludePages: compilePages(t.Pages.Include), ExcludePages: compilePages(t.Pages.Exclude),
		IncludeCategories: ParseCategories(t.Categories.Include), ExcludeCategories: ParseCategories(t.Categories.Exclude),
		includeSites: t.Sites.Include, excludeSites: t.Sites.Exclude,
	}
	for i := range t.DayParts {
		d, err := b.dayPart(&t.DayParts[i])
		if err != nil {
			return Targeting{}, err
		}
		out.DayParts = append(out.DayParts, d)
	}
	for _, key := range sortedKeys(t.KeyValues.Include) {
		out.IncludeKeyValues = append(out.IncludeKeyValues, b.keyValueIDs(key, t.KeyValues.Include[key]))
	}
	for _, key := range sortedKeys(t.KeyValues.Exclude) {
		out.ExcludeKeyValues = append(out.ExcludeKeyValues, b.keyValueIDs(key, t.KeyValues.Exclude[key])...)
	}
	narrows := func(l *catalogue.Lists, p Part) {
		if len(l.Include)+len(l.Exclude) > 0 {
			out.Parts |= p
		}
	}
	narrows(&t.Countries, ByCountry)
	narrows(&t.Regions, ByRegion)
	narrows(&t.Devices, ByDevice)
	narrows(&t.Browsers, ByBrowser)
	narrows(&t.Systems, BySystem)
	narrows(&t.Pages, ByPage)
	narrows(&t.Categories, ByCategory)
	if len(t.DayParts) > 0 {
		out.Parts |= ByDayPart
	}
	if len(t.KeyValues.Include)+len(t.KeyValues.Exclude) > 0 {
		out.Parts |= ByKeyValues
	}
	return out, nil
}

// keyValueIDs numbers pairs from 1 in the order of their first mention.
func (b *builder) keyValueIDs(key string, values []string) []uint32 {
	ids := make([]uint32, len(values))
	for i, v := range values {
		kv := KeyValue{key, v}
		id, ok := b.s.keyValues[kv]
		if !ok {
			id = uint32(len(b.s.keyValues) + 1)
			b.s.keyValues[kv] = id
		}
		ids[i] = id
	}
	return ids
}

func each[T any](values []string, parse func(string) T) []T {
	var out []T
	for _, v := range values {
		out = append(out, parse(v))
	}
	return out
}

func union[T Device | Browser | System](names []string, parse func(string) T) T {
	var out T
	for _, n := range names {
		out |= parse(n)
	}
	return out
}

func lower(values []string) []string { return each(values, strings.ToLower) }

func sortedKeys(m map[string][]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
