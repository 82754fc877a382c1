package rtb

import (
	"encoding/json"
	"net/url"
	"strings"

	"github.com/prebid/openrtb/v20/native1"
	"github.com/prebid/openrtb/v20/native1/response"

	"patag/app/tag/catalogue"
	"patag/app/tag/decision"
)

// Ids of the assets that nativeRequest asks for.
const (
	assetTitle = 1 + iota
	assetImage
	assetSponsor
	assetBody
	assetAction
)

// nativeRequest is what a native placement wants: OpenRTB Native 1.2. A title, and who sponsors it, are required.
const nativeRequest = `{"ver":"1.2","context":1,"plcmttype":1,"assets":[` +
	`{"id":1,"required":1,"title":{"len":90}},` +
	`{"id":2,"img":{"type":3,"wmin":300,"hmin":200,"mimes":["image/jpeg","image/png","image/webp","image/gif"]}},` +
	`{"id":3,"required":1,"data":{"type":1,"len":40}},` +
	`{"id":4,"data":{"type":2,"len":140}},` +
	`{"id":5,"data":{"type":12,"len":20}}],` +
	`"eventtrackers":[{"event":1,"methods":[1]}]}`

// Limits of a native ad.
const (
	maxLanding  = 1024
	maxTrackers = 8
	maxNative   = 500 // bytes of one text
)

// nativeAnswer turns a native bid's markup into assets.
func nativeAnswer(l *lot, a *decision.Answer) (why, bool) {
	var doc struct {
		response.Response
		Native *response.Response `json:"native"` // as 1.0 and many bidders have it
	}
	if err := json.Unmarshal([]byte(a.Markup), &doc); err != nil {
		return whyNative, false
	}
	resp := &doc.Response
	if doc.Native != nil {
		resp = doc.Native
	}
	a.Markup = ""
	assets := &catalogue.NativeAssets{}
	for i := range resp.Assets {
		x := &resp.Assets[i]
		id := int64(0)
		if x.ID != nil {
			id = *x.ID
		}
		switch {
		case x.Title != nil && id == assetTitle:
			assets.Title = x.Title.Text
		case x.Img != nil && id == assetImage:
			assets.Image = x.Img.URL
		case x.Data != nil && id == assetSponsor:
			assets.Sponsor = x.Data.Value
		case x.Data != nil && id == assetBody:
			assets.Body = x.Data.Value
		case x.Data != nil && id == assetAction:
			assets.Action = x.Data.Value
		}
	}
	for _, text := range []*string{&assets.Title, &assets.Sponsor, &assets.Body, &assets.Action} {
		*text = clip(strings.TrimSpace(*text), maxNative)
	}
	if assets.Title == "" || assets.Sponsor == "" || len(resp.Link.URL) > maxLanding || !webURL(resp.Link.URL, l.secure) {
		return whyNative, false
	}
	if assets.Image != "" && !strings.HasPrefix(assets.Image, "data:image/") && !webURL(assets.Image, l.secure) {
		return whySecure, false
	}
	a.Native, a.Landing = assets, resp.Link.URL
	a.Trackers = trackers(resp, l.secure)
	a.ClickTrackers = usable(resp.Link.ClickTrackers, l.secure)
	return 0, true
}

// trackers are images to load when the ad is seen. Scripts were not asked for, and are not run.
func trackers(resp *response.Response, secure bool) []string {
	urls := usable(resp.ImpTrackers, secure)
	for _, t := range resp.EventTrackers {
		if t.Event == native1.EventTypeImpression && t.Method == native1.EventTrackingMethodImage {
			urls = append(urls, usable([]string{t.URL}, secure)...)
		}
	}
	return urls[:min(len(urls), maxTrackers)]
}

func usable(urls []string, secure bool) []string {
	var out []string
	for _, u := range urls[:min(len(urls), maxTrackers)] {
		if webURL(u, secure) {
			out = append(out, u)
		}
	}
	return out
}

// webURL says whether a browser may be sent to an address: https, or http where the page has no TLS or the host is this machine.
func webURL(s string, secure bool) bool {
	if len(s) > maxNotice || !printable(s) {
		return false
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil {
		return false
	}
	return u.Scheme == "https" || u.Scheme == "http" && (!secure || isLoopback(u.Hostname()))
}
