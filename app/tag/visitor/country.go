package visitor

import "patag/app/tag/inventory"

// codes are all two-letter codes, so that naming a country allocates nothing.
var codes = func() *[26 * 26]string {
	var t [26 * 26]string
	for i := range t {
		t[i] = string([]byte{'A' + byte(i/26), 'A' + byte(i%26)})
	}
	return &t
}()

func countryCode(c inventory.Country) string {
	a, b := byte(c>>8)|0x20, byte(c)|0x20
	if a < 'a' || a > 'z' || b < 'a' || b > 'z' {
		return ""
	}
	return codes[int(a-'a')*26+int(b-'a')]
}
