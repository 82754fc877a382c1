package rtb

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/prebid/openrtb/v20/adcom1"
	"github.com/prebid/openrtb/v20/native1/request"
	"github.com/prebid/openrtb/v20/openrtb2"

	"patag/app/tag/catalogue"
	"patag/app/tag/decision"
	"patag/app/tag/inventory"
	"patag/app/tag/privacy"
)

// encode writes the request that a source would get.
func encode(t testing.TB, snap *inventory.Snapshot, r *decision.Request, source string) []byte {
	t.Helper()
	rd := &round{lot: lot{id: "req-1", placement: r.Placement, step: &r.Placement.Steps[0], now: r.Now, secure: !r.Visitor.Insecure}}
	raw := appendTail(appendHead(nil, rd, r), rd, snap.Source(source), 140)
	if !json.Valid(raw) {
		t.Fatalf("not JSON: %s", raw)
	}
	return raw
}

// strict reads a request with the library's types and refuses members that they do not have.
func strict(t testing.TB, raw []byte) *openrtb2.BidRequest {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	out := new(openrtb2.BidRequest)
	if err := d.Decode(out); err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
	return out
}

func ptr[T any](v T) *T { return &v }

// Every member that is written is what the library's types have for it, and nothing is missing or more.
func TestEncodedRequestIsWhatTheLibraryReads(t *testing.T) {
	w := newWorld(t, Options{}, document(t, []string{"https://a.example/rtb", "https://b.example/rtb"}, func(c *catalogue.Catalogue) {
		c.DemandSources[0].AllowedSeats, c.DemandSources[1].BlockedSeats = []string{"seat-a"}, []string{"seat-x"}
	}))
	r := w.request("box")
	r.Page, r.Categories, r.Keywords = "news.example/ü?", []string{"IAB12-1"}, []string{"vote", "élection"}
	r.Visitor = decision.Visitor{UserAgent: `Mozilla "5.0" \ <x>` + "\u2028", IP: netip.MustParseAddr("192.0.2.0"), Language: "de-AT", UserID: "visitor-1"}
	p := privacy.Decide(privacy.Signals{GDPR: "0", GPP: "DBAA", GPPSID: "7, 8,x,900", USPrivacy: "1YNN"}, 0)
	r.Privacy = &p
	got := strict(t, encode(t, w.snap, r, "s0"))
	want := &openrtb2.BidRequest{
		ID: "req-1", AT: 1, TMax: 140, Cur: []string{"EUR", "USD"}, WSeat: []string{"seat-a"}, BCat: []string{"IAB26"}, BAdv: []string{"bad.example"},
		Imp: []openrtb2.Imp{{
			ID: "1", TagID: "box", DisplayManager: "patag", Secure: ptr(int8(1)), BidFloor: 1.25, BidFloorCur: "EUR",
			Banner: &openrtb2.Banner{Format: []openrtb2.Format{{W: 300, H: 250}, {W: 320, H: 50}}, MIMEs: []string{"text/html", "application/javascript"}, TopFrame: 0, Pos: ptr(adcom1.PositionBelowFold)},
			PMP:    &openrtb2.PMP{Deals: []openrtb2.Deal{{ID: "deal-1", AT: 1, BidFloor: 2, BidFloorCur: "EUR", WSeat: []string{"seat-a"}, WADomain: []string{"shop.example"}}}},
		}},
		Site: &openrtb2.Site{ID: "news", Name: "Néws", Domain: "news.example", Cat: []string{"IAB12"}, PageCat: []string{"IAB12-1"}, Page: "https://news.example/ü?", Keywords: "vote,élection",
			Publisher: &openrtb2.Publisher{ID: "seller-1", Name: `Press "One"`, Domain: "press.example"}},
		Device: &openrtb2.Device{UA: r.Visitor.UserAgent, IP: "192.0.2.0", Language: "de-AT", JS: ptr(int8(1)), DeviceType: adcom1.DevicePhone, OS: "Android",
			Geo: &openrtb2.Geo{Type: adcom1.LocationIP, Country: "DEU", Region: "BY"}},
		User: &openrtb2.User{ID: "visitor-1"},
		Regs: &openrtb2.Regs{GDPR: ptr(int8(0)), USPrivacy: "1YNN", GPP: "DBAA", GPPSID: []int8{7, 8}},
		Source: &openrtb2.Source{FD: ptr(int8(0)), TID: "req-1", SChain: &openrtb2.SupplyChain{Complete: 1, Ver: "1.0",
			Nodes: []openrtb2.SupplyChainNode{{ASI: "exchange.example", SID: "seller-1", RID: "req-1", HP: ptr(int8(1))}}}},
	}
	if !p.Personalise { // an unknown GPP string: nothing personal
		want.User.ID = ""
	}
	a, _ := json.MarshalIndent(got, "", " ")
	b, _ := json.MarshalIndent(want, "", " ")
	if !bytes.Equal(a, b) || !reflect.DeepEqual(got, want) {
		t.Errorf("got  %s\nwant %s", a, b)
	}
	other := strict(t, encode(t, w.snap, r, "s1"))
	if other.WSeat != nil || len(other.BSeat) != 1 || other.Imp[0].PMP != nil {
		t.Errorf("the other source: seats %v %v, deals %+v", other.WSeat, other.BSeat, other.Imp[0].PMP)
	}
}

func TestNativeRequestIsWhatTheLibraryReads(t *testing.T) {
	w := newWorld(t, Options{}, document(t, []string{"https://a.example/rtb"}, nil))
	got := strict(t, encode(t, w.snap, w.request("story"), "s0"))
	imp := got.Imp[0]
	if imp.Banner != nil || imp.Native == nil || imp.Native.Ver != "1.2" || imp.BidFloor != 0 {
		t.Fatalf("%+v", imp)
	}
	d := json.NewDecoder(strings.NewReader(imp.Native.Request))
	d.DisallowUnknownFields()
	var in request.Request
	if err := d.Decode(&in); err != nil || len(in.Assets) != 5 || in.Assets[0].Title == nil || in.Assets[1].Img == nil || in.Assets[2].Data == nil || len(in.EventTrackers) != 1 {
		t.Errorf("%v %+v", err, in)
	}
}

// What a bidder learns of a visitor follows from what he permits; what it must know to keep the law it is always told.
func TestPrivacy(t *testing.T) {
	w := newWorld(t, Options{}, document(t, []string{"https://a.example/rtb"}, nil))
	for _, c := range []struct {
		name    string
		signals privacy.Signals
		id      bool
		lmt     bool
	}{
		{"outside of the GDPR", privacy.Signals{GDPR: "0"}, true, false},
		{"GDPR without consent", privacy.Signals{GDPR: "1"}, false, false},
		{"unknown country", privacy.Signals{}, false, false},
		{"GDPR, broken consent", privacy.Signals{GDPR: "1", TCString: "CPbroken"}, false, false},
		{"GPC", privacy.Signals{GDPR: "0", GPC: true}, false, true},
		{"opted out with us", privacy.Signals{GDPR: "0", OptOut: true}, false, true},
		{"US opt-out", privacy.Signals{GDPR: "0", USPrivacy: "1YYN"}, false, false},
	} {
		p := privacy.Decide(c.signals, 0)
		r := w.request("box")
		r.Privacy, r.Visitor.UserID = &p, "visitor-1"
		raw := encode(t, w.snap, r, "s0")
		got := strict(t, raw)
		if has := bytes.Contains(raw, []byte("visitor-1")); has != c.id {
			t.Errorf("%s: the id is sent: %v", c.name, has)
		}
		if got.User.EIDs != nil || bytes.Contains(raw, []byte("eids")) || bytes.Contains(raw, []byte(`"buyeruid"`)) {
			t.Errorf("%s: other ids: %s", c.name, raw)
		}
		if g := got.Device.Geo; g == nil || g.Lat != nil || g.Lon != nil || g.City != "" || g.ZIP != "" || g.Metro != "" {
			t.Errorf("%s: geo %+v", c.name, g)
		}
		if lmt := got.Device.Lmt != nil && *got.Device.Lmt == 1; lmt != c.lmt {
			t.Errorf("%s: lmt %v", c.name, lmt)
		}
		if *got.Regs.GDPR == 1 != p.GDPR || got.User.Consent != c.signals.TCString || got.Regs.USPrivacy != c.signals.USPrivacy {
			t.Errorf("%s: %+v %q", c.name, got.Regs, got.User.Consent)
		}
		if gpc := bytes.Contains(raw, []byte(`"ext":{"gpc":"1"}`)); gpc != c.signals.GPC {
			t.Errorf("%s: gpc %v", c.name, gpc)
		}
	}
	r := w.request("box")
	r.Visitor = decision.Visitor{IP: netip.MustParseAddr("2001:db8:1::"), Insecure: true}
	r.Country, r.Region = 0, 0
	got := strict(t, encode(t, w.snap, r, "s0"))
	if got.Device.IPv6 != "2001:db8:1::" || got.Device.IP != "" || got.Device.Geo != nil || *got.Imp[0].Secure != 0 || !strings.HasPrefix(got.Site.Page, "http://") {
		t.Errorf("%+v %+v", got.Device, got.Imp[0])
	}
}

func TestConfidentialPublishersAreNotNamed(t *testing.T) {
	w := newWorld(t, Options{}, document(t, []string{"https://a.example/rtb"}, func(c *catalogue.Catalogue) { c.Publishers[0].Confidential = true }))
	if p := strict(t, encode(t, w.snap, w.request("box"), "s0")).Site.Publisher; p.ID != "seller-1" || p.Name != "" || p.Domain != "" {
		t.Errorf("%+v", p)
	}
}

func TestAppendMicros(t *testing.T) {
	for in, want := range map[int64]string{0: "0", 1: "0.000001", 1_000_000: "1", 1_250_000: "1.25", 12_000_010: "12.00001", 999_999: "0.999999"} {
		if got := string(appendMicros(nil, in)); got != want {
			t.Errorf("%d: %s, want %s", in, got, want)
		}
	}
}

// Texts of pages and browsers may be anything; the request stays JSON.
func FuzzEncode(f *testing.F) {
	f.Add("Mozilla", "news.example/a", "vote", "de", "C", "1,2")
	f.Add("\xff\x00\"\\", "</script>", ",", "\u2028", "\n", "-1,999999999999")
	snap := document(f, []string{"https://a.example/rtb"}, nil)
	f.Fuzz(func(t *testing.T, agent, page, word, language, consent, sections string) {
		p := privacy.Decide(privacy.Signals{GDPR: "0", TCString: consent, GPPSID: sections}, 0)
		r := &decision.Request{Placement: snap.Placement("box"), Now: time.Now().Unix(), Privacy: &p, Page: page, Keywords: []string{word}, Categories: []string{word},
			Visitor: decision.Visitor{UserAgent: agent, Language: language, UserID: word}}
		got := strict(t, encode(t, snap, r, "s0"))
		if want := strings.ToValidUTF8(agent, "\ufffd"); got.Device.UA != want && len(agent) == len(want) {
			t.Errorf("%q became %q", agent, got.Device.UA)
		}
	})
}
