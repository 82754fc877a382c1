package inventory

import "slices"

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

// Region is an ISO 3166-2 code such as DE-BY, packed; 0 is unknown.
type Region uint64

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

// Device is a set of device kinds; a request has exactly one.
type Device uint8

// Devices.
const (
	Desktop Device = 1 << iota
	Mobile
	Tablet
)

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

// Names in the order of the bits.
var (
	deviceNames  = []string{"desktop", "mobile", "tablet"}
	browserNames = []string{"chrome", "safari", "firefox", "edge", "opera", "samsung", "other"}
	systemNames  = []string{"windows", "macos", "linux", "android", "ios", "chromeos", "other"}
)

// ParseDevice reads desktop, mobile or tablet; 0 for all else.
func ParseDevice(s string) Device { return parseBit[Device](deviceNames, s) }

// ParseBrowser reads a browser's name as targeting has it; 0 for all else.
func ParseBrowser(s string) Browser { return parseBit[Browser](browserNames, s) }

// ParseSystem reads an operating system's name as targeting has it; 0 for all else.
func ParseSystem(s string) System { return parseBit[System](systemNames, s) }

func (d Device) String() string  { return bitName(deviceNames, d) }
func (b Browser) String() string { return bitName(browserNames, b) }
func (s System) String() string  { return bitName(systemNames, s) }

func parseBit[T Device | Browser | System](names []string, s string) T {
	if i := slices.Index(names, s); i >= 0 {
		return 1 << i
	}
	return 0
}

// bitName is "" for what is not exactly one bit.
func bitName[T Device | Browser | System](names []string, x T) string {
	for i, n := range names {
		if x == 1<<i {
			return n
		}
	}
	return ""
}
