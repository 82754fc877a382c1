package inventory

import (
	"slices"

	"patag/app/tag/catalogue"
)

// Country is an ISO 3166-1 alpha-2 code as a number; 0 is unknown.
type Country uint16

// ParseCountry reads two letters in either case; all else is unknown.
func ParseCountry(s string) Country {
	if len(s) != 2 {
		return 0
	}
	a, b := s[0]|0x20, s[1]|0x20
	if a < 'a' || a > 'z' || b < 'a' || b > 'z' {
		return 0
	}
	return Country(a)<<8 | Country(b)
}

// String is the code in upper case, "" when unknown.
func (c Country) String() string {
	if c == 0 {
		return ""
	}
	return string([]byte{byte(c>>8) &^ 0x20, byte(c) &^ 0x20})
}

// Device is a set of device kinds; a request has exactly one.
type Device uint8

// Devices.
const (
	Desktop Device = 1 << iota
	Mobile
	Tablet
)

// ParseDevice reads desktop, mobile or tablet; 0 for all else.
func ParseDevice(s string) Device {
	switch s {
	case "desktop":
		return Desktop
	case "mobile":
		return Mobile
	case "tablet":
		return Tablet
	}
	return 0
}

func (d Device) String() string {
	switch d {
	case Desktop:
		return "desktop"
	case Mobile:
		return "mobile"
	case Tablet:
		return "tablet"
	}
	return ""
}

// Targeting as numbers. Empty parts let everything pass.
type Targeting struct {
	IncludeCountries, ExcludeCountries []Country
	IncludeDevices, ExcludeDevices     Device
	// IncludeKeyValues has one group per key: one of each must be present. ExcludeKeyValues: none may be.
	IncludeKeyValues [][]uint32
	ExcludeKeyValues []uint32
}

// CountryOK says whether a country passes. An unknown one passes only where no country is required.
func (t *Targeting) CountryOK(c Country) bool {
	if len(t.IncludeCountries) > 0 && !slices.Contains(t.IncludeCountries, c) {
		return false
	}
	return c == 0 || !slices.Contains(t.ExcludeCountries, c)
}

// DeviceOK says whether a device passes.
func (t *Targeting) DeviceOK(d Device) bool {
	if t.IncludeDevices != 0 && t.IncludeDevices&d == 0 {
		return false
	}
	return t.ExcludeDevices&d == 0
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

func overlap(a, b []uint32) bool {
	for _, x := range a {
		if slices.Contains(b, x) {
			return true
		}
	}
	return false
}

func (b *builder) targeting(t *catalogue.Targeting) Targeting {
	out := Targeting{
		IncludeCountries: countries(t.Countries.Include),
		ExcludeCountries: countries(t.Countries.Exclude),
		IncludeDevices:   devices(t.Devices.Include),
		ExcludeDevices:   devices(t.Devices.Exclude),
	}
	for _, key := range sortedKeys(t.KeyValues.Include) {
		out.IncludeKeyValues = append(out.IncludeKeyValues, b.keyValueIDs(key, t.KeyValues.Include[key]))
	}
	for _, key := range sortedKeys(t.KeyValues.Exclude) {
		out.ExcludeKeyValues = append(out.ExcludeKeyValues, b.keyValueIDs(key, t.KeyValues.Exclude[key])...)
	}
	return out
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

func countries(codes []string) []Country {
	var out []Country
	for _, c := range codes {
		out = append(out, ParseCountry(c))
	}
	return out
}

func devices(names []string) Device {
	var d Device
	for _, n := range names {
		d |= ParseDevice(n)
	}
	return d
}

func sortedKeys(m map[string][]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// Region is an ISO 3166-2 code such as DE-BY, packed; 0 is unknown.
type Region uint64

// Browser is a set of browsers; a request has at most one.
type Browser uint16

// Browsers.
const (
	Chrome Browser = 1 << iota
	Safari
	Firefox
	Edge
	Opera
	Samsung
	OtherBrowser
)

// System is a set of operating systems; a request has at most one.
type System uint16

// Systems.
const (
	Windows System = 1 << iota
	MacOS
	Linux
	Android
	IOS
	ChromeOS
	OtherSystem
)

// ParseRegion reads a country code, a dash and one to three letters or digits, in either case; all else is unknown.
func ParseRegion(s string) Region {
	if len(s) < 4 || len(s) > 6 || s[2] != '-' || ParseCountry(s[:2]) == 0 {
		return 0
	}
	var r Region
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z':
			c &^= 0x20
		case c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-' && i == 2:
		default:
			return 0
		}
		r = r<<8 | Region(c)
	}
	return r
}

// String is the code in upper case, "" when unknown.
func (r Region) String() string {
	var b []byte
	for ; r != 0; r >>= 8 {
		b = append([]byte{byte(r)}, b...)
	}
	return string(b)
}
