// Package request reads what a page asks for from a URL's query, by hand and without allocating where nothing is escaped:
// it runs once per ad request. It knows the wire format and nothing of the catalogue.
//
//	placement=ID  format=json|html  uid=TEXT  consent=1  kv.KEY=VALUE (repeated)  country=XX (where overrides are allowed)
package request

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// MaxKeyValues is how many key-values one request may pass.
const MaxKeyValues = 32

// Ad is one ad request as the page wrote it.
type Ad struct {
	Placement string
	// HTML asks for a document instead of JSON.
	HTML bool
	// UserID is a first-party id of the page; empty unless the page also states consent.
	UserID string
	// Country and Device are overrides for trying targeting out; servers honour them only where told to.
	Country, Device string

	n         int
	keyValues [MaxKeyValues]KeyValue
}

// KeyValue is one pair that the page passed.
type KeyValue struct{ Key, Value string }

// KeyValues of the request.
func (a *Ad) KeyValues() []KeyValue { return a.keyValues[:a.n] }

// ErrNoPlacement is answered when a request names no placement.
var ErrNoPlacement = errors.New("parameter placement is missing")

// Parse reads a raw query into a, which it overwrites. Unknown parameters are ignored, so that pages may add their own.
func (a *Ad) Parse(raw string) error {
	a.Placement, a.HTML, a.UserID, a.Country, a.Device, a.n = "", false, "", "", "", 0
	consent := false
	uid := ""
	for raw != "" {
		var pair string
		pair, raw, _ = strings.Cut(raw, "&")
		if pair == "" {
			continue
		}
		k, v, _ := strings.Cut(pair, "=")
		k, err := unescape(k)
		if err != nil {
			return fmt.Errorf("query: %w", err)
		}
		if v, err = unescape(v); err != nil {
			return fmt.Errorf("parameter %q: %w", k, err)
		}
		switch k {
		case "placement":
			a.Placement = v
		case "format":
			switch v {
			case "json", "":
				a.HTML = false
			case "html":
				a.HTML = true
			default:
				return fmt.Errorf("parameter format: %q is unknown; use json or html", v)
			}
		case "uid":
			if len(v) > 128 {
				return errors.New("parameter uid: longer than 128 bytes")
			}
			uid = v
		case "consent":
			consent = v == "1"
		case "country":
			a.Country = v
		case "device":
			a.Device = v
		default:
			key, ok := strings.CutPrefix(k, "kv.")
			if !ok {
				continue
			}
			if a.n == MaxKeyValues {
				return fmt.Errorf("more than %d key-values", MaxKeyValues)
			}
			a.keyValues[a.n] = KeyValue{key, v}
			a.n++
		}
	}
	if consent {
		a.UserID = uid
	}
	if a.Placement == "" {
		return ErrNoPlacement
	}
	return nil
}

func unescape(s string) (string, error) {
	if !strings.ContainsAny(s, "%+") {
		return s, nil
	}
	return url.QueryUnescape(s)
}
