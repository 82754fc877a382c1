// Package request reads what a page asks for: one ad from a URL's query (Ad.Parse), by hand and without allocating where nothing
// is escaped, because it runs once per ad request; several from a JSON body (Batch.Parse). It knows the wire format and its limits
// and nothing of the catalogue. The parameters, their units and limits are described in the served OpenAPI document.
package request

import (
	"errors"
	"fmt"
	"hash/fnv"
	"net/url"
	"strconv"
	"strings"

	"patag/app/tag/privacy"
)

// Limits of one request; more is an error rather than cut, so that a page's author hears of it.
const (
	MaxKeyValues = 32
	MaxWords     = 32 // categories, and keywords
	maxWord      = 64
	maxPage      = 2048
	maxUser      = 128
	maxConsent   = 4096
)

// Ad is one ad request as the page wrote it.
type Ad struct {
	Placement string
	// HTML asks for a document instead of JSON.
	HTML bool
	// UserID is a first-party id of the page; whether it may be used follows from Signals.
	UserID string
	// Signals are the privacy signals of the page; those of headers and address are added by package visitor.
	Signals privacy.Signals
	// Page is the page's URL without scheme, query and fragment, lower case; "" when not passed.
	Page string
	// Insecure: that URL says that the page has no TLS.
	Insecure bool
	// PageView tells views of a page apart; 0 when not passed.
	PageView uint64
	// Preview is a signed permission to see why; see package server.
	Preview string
	// Country and Device are overrides for trying targeting out; servers honour them only where told to.
	Country, Device string

	keyValues            [MaxKeyValues]KeyValue
	categories, keywords [MaxWords]string
	n, nCat, nWord       int
}

// KeyValue is one pair that the page passed.
type KeyValue struct{ Key, Value string }

// KeyValues of the request.
func (a *Ad) KeyValues() []KeyValue { return a.keyValues[:a.n] }

// Categories of the page, IAB content categories in upper case.
func (a *Ad) Categories() []string { return a.categories[:a.nCat] }

// Keywords of the page in lower case.
func (a *Ad) Keywords() []string { return a.keywords[:a.nWord] }

// ErrNoPlacement is answered when a request names no placement.
var ErrNoPlacement = errors.New("parameter placement is missing")

// reset forgets the request before without clearing the arrays behind it.
func (a *Ad) reset() {
	a.Placement, a.HTML, a.UserID, a.Signals = "", false, "", privacy.Signals{}
	a.Insecure, a.Page, a.PageView, a.Preview, a.Country, a.Device = false, "", 0, "", "", ""
	a.n, a.nCat, a.nWord = 0, 0, 0
}

// Parse reads a raw query into a, which it overwrites. Unknown parameters are ignored, so that pages may add their own.
func (a *Ad) Parse(raw string) error {
	a.reset()
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
			return fmt.Errorf("parameter %q: %w", shorten(k), err)
		}
		if err := a.set(k, v); err != nil {
			return err
		}
	}
	if a.Placement == "" {
		return ErrNoPlacement
	}
	return nil
}

func (a *Ad) set(k, v string) error {
	switch k {
	case "placement":
		a.Placement = v
	case "format":
		return a.setFormat(v)
	case "uid":
		return bounded(&a.UserID, k, v, maxUser)
	case "consent":
		a.Signals.Consent = v == "1"
	case "page":
		return a.setPage(v)
	case "cat":
		return a.each(v, k, a.addCategory)
	case "kw":
		return a.each(v, k, a.addKeyword)
	case "pv":
		a.PageView = pageView(v)
	case "gdpr":
		return bounded(&a.Signals.GDPR, k, v, 1)
	case "gdpr_consent":
		return bounded(&a.Signals.TCString, k, v, maxConsent)
	case "gpp":
		return bounded(&a.Signals.GPP, k, v, maxConsent)
	case "gpp_sid":
		return bounded(&a.Signals.GPPSID, k, v, maxWord)
	case "us_privacy":
		return bounded(&a.Signals.USPrivacy, k, v, maxWord)
	case "optout":
		a.Signals.OptOut = v == "1"
	case "preview":
		a.Preview = v
	case "country":
		a.Country = v
	case "device":
		a.Device = v
	default:
		if key, ok := strings.CutPrefix(k, "kv."); ok {
			return a.addKeyValue(key, v)
		}
	}
	return nil
}

func (a *Ad) setFormat(v string) error {
	switch v {
	case "json", "":
		a.HTML = false
	case "html":
		a.HTML = true
	default:
		return fmt.Errorf("parameter format: %q is unknown; use json or html", shorten(v))
	}
	return nil
}

func (a *Ad) setPage(v string) error {
	if len(v) > maxPage {
		return fmt.Errorf("parameter page: longer than %d bytes", maxPage)
	}
	a.Page, a.Insecure = Page(v), Insecure(v)
	return nil
}

func (a *Ad) addKeyValue(k, v string) error {
	if a.n == MaxKeyValues {
		return fmt.Errorf("more than %d key-values", MaxKeyValues)
	}
	a.keyValues[a.n] = KeyValue{k, v}
	a.n++
	return nil
}

func (a *Ad) addCategory(v string) error {
	return add(a.categories[:], &a.nCat, "categories", strings.ToUpper(v))
}

func (a *Ad) addKeyword(v string) error {
	return add(a.keywords[:], &a.nWord, "keywords", strings.ToLower(v))
}

func add(into []string, n *int, what, v string) error {
	if v = strings.TrimSpace(v); v == "" {
		return nil
	}
	if len(v) > maxWord {
		return fmt.Errorf("%s: %q is longer than %d bytes", what, shorten(v), maxWord)
	}
	if *n == len(into) {
		return fmt.Errorf("more than %d %s", len(into), what)
	}
	into[*n] = v
	*n++
	return nil
}

func (a *Ad) each(list, param string, fn func(string) error) error {
	for list != "" {
		var v string
		v, list, _ = strings.Cut(list, ",")
		if err := fn(v); err != nil {
			return fmt.Errorf("parameter %s: %w", param, err)
		}
	}
	return nil
}

func bounded(into *string, name, v string, limit int) error {
	if len(v) > limit {
		return fmt.Errorf("parameter %s: longer than %d bytes", name, limit)
	}
	*into = v
	return nil
}

// Page is a URL in the form in which pages are targeted: host and path in lower case, without scheme, user, query and fragment.
func Page(u string) string {
	if _, rest, ok := strings.Cut(u, "://"); ok {
		u = rest
	}
	if i := strings.IndexAny(u, "?#"); i >= 0 {
		u = u[:i]
	}
	host, _, _ := strings.Cut(u, "/")
	if i := strings.LastIndexByte(host, '@'); i >= 0 {
		u = u[i+1:]
	}
	return strings.ToLower(u)
}

// Insecure says whether a page's URL has no TLS.
func Insecure(u string) bool { return strings.HasPrefix(u, "http://") }

// pageView is a number for the text that a page uses; 0 is kept for none.
func pageView(v string) uint64 {
	if v == "" {
		return 0
	}
	if n, err := strconv.ParseUint(v, 16, 64); err == nil && n != 0 {
		return n
	}
	h := fnv.New64a()
	h.Write([]byte(v))
	return max(h.Sum64(), 1)
}

// shorten keeps error texts, which quote what came, short.
func shorten(s string) string {
	if len(s) > 40 {
		return strings.ToValidUTF8(s[:40], "") + "…"
	}
	return s
}

func unescape(s string) (string, error) {
	if !strings.ContainsAny(s, "%+") {
		return s, nil
	}
	v, err := url.QueryUnescape(s)
	if err != nil {
		return "", fmt.Errorf("invalid escape in %q", shorten(s))
	}
	return v, nil
}
