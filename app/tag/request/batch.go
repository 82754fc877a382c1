package request

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// MaxPlacements is how many placements one call may ask for.
const MaxPlacements = 32

// Batch is several ad requests of one page view.
type Batch struct {
	// Ads in the order of the page, at least one.
	Ads []*Ad
}

// body is the JSON of POST /v1/ads.
type body struct {
	Page struct {
		URL        string              `json:"url"`
		Categories []string            `json:"categories"`
		Keywords   []string            `json:"keywords"`
		View       string              `json:"view"`
		KeyValues  map[string][]string `json:"keyValues"`
	} `json:"page"`
	Consent struct {
		UserID      string `json:"userId"`
		Given       bool   `json:"given"`
		GDPR        *bool  `json:"gdpr"`
		GDPRConsent string `json:"gdprConsent"`
		GPP         string `json:"gpp"`
		GPPSID      []int  `json:"gppSid"`
		USPrivacy   string `json:"usPrivacy"`
		OptOut      bool   `json:"optOut"`
	} `json:"consent"`
	Placements []struct {
		ID        string              `json:"id"`
		KeyValues map[string][]string `json:"keyValues"`
	} `json:"placements"`
	// Country and Device are overrides for trying targeting out; servers honour them only where told to.
	Country string `json:"country"`
	Device  string `json:"device"`
}

// Parse reads a body. Unlike a query it is read strictly: an unknown field is an error, because it is written by programs.
func (b *Batch) Parse(data []byte) error {
	var in body
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return fmt.Errorf("body: %w", plain(err))
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("body: there is more after the JSON object")
	}
	switch n := len(in.Placements); {
	case n == 0:
		return errors.New("placements: name at least one")
	case n > MaxPlacements:
		return fmt.Errorf("placements: %d are more than %d", n, MaxPlacements)
	}
	var page Ad
	if err := in.page(&page); err != nil {
		return err
	}
	b.Ads = make([]*Ad, len(in.Placements))
	for i, p := range in.Placements {
		if p.ID == "" {
			return fmt.Errorf("placements[%d].id is missing", i)
		}
		ad := page
		ad.Placement = p.ID
		if err := ad.addMap(p.KeyValues); err != nil {
			return fmt.Errorf("placements[%d].keyValues: %w", i, err)
		}
		b.Ads[i] = &ad
	}
	return nil
}

// page reads what all placements share.
func (in *body) page(a *Ad) error {
	var sid []string
	for _, n := range in.Consent.GPPSID {
		sid = append(sid, fmt.Sprint(n))
	}
	gdpr := ""
	if in.Consent.GDPR != nil {
		gdpr = "0"
		if *in.Consent.GDPR {
			gdpr = "1"
		}
	}
	for _, err := range []error{
		a.setPage(in.Page.URL),
		bounded(&a.UserID, "consent.userId", in.Consent.UserID, maxUser),
		bounded(&a.Signals.TCString, "consent.gdprConsent", in.Consent.GDPRConsent, maxConsent),
		bounded(&a.Signals.GPP, "consent.gpp", in.Consent.GPP, maxConsent),
		bounded(&a.Signals.GPPSID, "consent.gppSid", strings.Join(sid, ","), maxWord),
		bounded(&a.Signals.USPrivacy, "consent.usPrivacy", in.Consent.USPrivacy, maxWord),
		a.addMap(in.Page.KeyValues),
	} {
		if err != nil {
			return err
		}
	}
	for _, c := range in.Page.Categories {
		if err := a.addCategory(c); err != nil {
			return fmt.Errorf("page.categories: %w", err)
		}
	}
	for _, w := range in.Page.Keywords {
		if err := a.addKeyword(w); err != nil {
			return fmt.Errorf("page.keywords: %w", err)
		}
	}
	a.Signals.GDPR, a.Signals.OptOut, a.Signals.Consent = gdpr, in.Consent.OptOut, in.Consent.Given
	a.PageView, a.Country, a.Device = pageView(in.Page.View), in.Country, in.Device
	return nil
}

// addMap adds pairs in the order of their keys, so that equal bodies make equal requests.
func (a *Ad) addMap(m map[string][]string) error {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		for _, v := range m[k] {
			if err := a.addKeyValue(k, v); err != nil {
				return err
			}
		}
	}
	return nil
}

// plain says what is wrong in terms of the body rather than of Go's types.
func plain(err error) error {
	var typ *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &typ):
		return fmt.Errorf("field %s cannot be a JSON %s", shorten(typ.Field), shorten(typ.Value))
	case errors.As(err, &syntax):
		return fmt.Errorf("not JSON at byte %d: %w", syntax.Offset, err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the JSON object ends too early")
	}
	return errors.New(shorten(strings.TrimPrefix(err.Error(), "json: ")))
}
