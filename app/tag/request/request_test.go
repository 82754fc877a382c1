package request

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"

	"patag/app/tag/privacy"
)

func TestParse(t *testing.T) {
	var a Ad
	if err := a.Parse("placement=top&kv.section=sport&kv.tag=a%20b&kv.tag=c&uid=u+1&consent=1&format=html&other=%41"); err != nil {
		t.Fatal(err)
	}
	if a.Placement != "top" || !a.HTML || a.UserID != "u 1" || !a.Signals.Consent || len(a.KeyValues()) != 3 || a.KeyValues()[1] != (KeyValue{"tag", "a b"}) {
		t.Errorf("%+v", a)
	}
	if err := a.Parse("placement=x&uid=someone"); err != nil || a.Signals.Consent || a.HTML || len(a.KeyValues()) != 0 {
		t.Errorf("without consent, after another request: %+v, %v", a, err)
	}
	if err := a.Parse("kv.a=b"); !errors.Is(err, ErrNoPlacement) {
		t.Errorf("without a placement: %v", err)
	}
	for _, bad := range []string{"placement=%zz", "placement=a&format=xml", "placement=a&uid=" + strings.Repeat("u", 129), "placement=a" + strings.Repeat("&kv.k=v", MaxKeyValues+1),
		"placement=a&cat=" + strings.Repeat("IAB1,", MaxWords+1), "placement=a&kw=" + strings.Repeat("k", maxWord+1), "placement=a&page=" + strings.Repeat("p", maxPage+1),
		"placement=a&gdpr_consent=" + strings.Repeat("c", maxConsent+1), "placement=a&gdpr=yes"} {
		if err := a.Parse(bad); err == nil {
			t.Errorf("accepted %.40s", bad)
		}
	}
}

func TestPageAndSignals(t *testing.T) {
	var a Ad
	err := a.Parse("placement=x&page=https%3A%2F%2Fme%3Asecret%40News.Example%2FSport%2Fa%3Fq%3D1%23top&cat=iab17,IAB1-2,&kw=Cup,%20Final&pv=1f&gdpr=1&gdpr_consent=CPx&gpp=DBAA&gpp_sid=2,6&us_privacy=1YNN&optout=1")
	if err != nil {
		t.Fatal(err)
	}
	if a.Page != "news.example/sport/a" || a.Insecure || a.PageView != 0x1f {
		t.Errorf("page %q, view %x", a.Page, a.PageView)
	}
	if !slices.Equal(a.Categories(), []string{"IAB17", "IAB1-2"}) || !slices.Equal(a.Keywords(), []string{"cup", "final"}) {
		t.Errorf("categories %q, keywords %q", a.Categories(), a.Keywords())
	}
	if want := (privacy.Signals{GDPR: "1", TCString: "CPx", GPP: "DBAA", GPPSID: "2,6", USPrivacy: "1YNN", OptOut: true}); a.Signals != want {
		t.Errorf("signals %+v", a.Signals)
	}
	if err := a.Parse("placement=x&page=http://a.example"); err != nil || !a.Insecure {
		t.Errorf("a page without TLS: %+v, %v", a, err)
	}
	if err := a.Parse("placement=x"); err != nil || a.Insecure || a.Page != "" || a.PageView != 0 || len(a.Categories())+len(a.Keywords()) != 0 || a.Signals != (privacy.Signals{}) {
		t.Errorf("the request before is still seen: %+v, %v", a, err)
	}
}

func TestBatch(t *testing.T) {
	var b Batch
	if err := b.Parse([]byte(`{"page":{"url":"https://News.Example/a?b","categories":["IAB17"],"keywords":["Cup"],"view":"v","keyValues":{"section":["sport"]}},
		"consent":{"userId":"u","given":true,"gdpr":false,"gppSid":[2,6]},"placements":[{"id":"top","keyValues":{"pos":["1","2"]}},{"id":"side"}]}`)); err != nil {
		t.Fatal(err)
	}
	top, side := b.Ads[0], b.Ads[1]
	if top.Placement != "top" || side.Placement != "side" || len(top.KeyValues()) != 3 || len(side.KeyValues()) != 1 || side.Page != "news.example/a" ||
		side.UserID != "u" || !side.Signals.Consent || side.Signals.GDPR != "0" || side.Signals.GPPSID != "2,6" || side.PageView == 0 || side.PageView != top.PageView {
		t.Errorf("%+v %+v", top, side)
	}
	for bad, want := range map[string]string{
		`{`: "ends too early", `[]`: "array", `{"placements":[]}`: "at least one", `{"placements":[{"id":"a"}]} {}`: "more after",
		`{"placements":[{}]}`: "placements[0].id", `{"placements":[{"id":"a"}],"extra":1}`: "unknown field", `{"placements":[{"id":7}]}`: "placements.id cannot be a JSON number",
		`{"placements":[` + strings.Repeat(`{"id":"a"},`, MaxPlacements) + `{"id":"a"}]}`:                "33 are more than 32",
		`{"placements":[{"id":"a","keyValues":{"k":["` + strings.Repeat(`v","`, MaxKeyValues) + `"]}}]}`: "more than 32",
	} {
		if err := b.Parse([]byte(bad)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, want %q", bad, err, want)
		}
	}
}

// A body that is accepted has placements with ids, and stays within the limits of a query.
func FuzzBatch(f *testing.F) {
	f.Add([]byte(`{"page":{"url":"https://a.example/b","view":"1"},"consent":{"gdpr":true,"gppSid":[1]},"placements":[{"id":"a","keyValues":{"k":["v"]}}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var b Batch
		if err := b.Parse(data); err != nil {
			return
		}
		if len(b.Ads) == 0 || len(b.Ads) > MaxPlacements {
			t.Fatalf("%d ads", len(b.Ads))
		}
		for _, a := range b.Ads {
			if a.Placement == "" || len(a.UserID) > maxUser || strings.ContainsAny(a.Page, "?#") {
				t.Fatalf("%+v", a)
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add("placement=top&kv.section=sport&uid=u&consent=1")
	f.Add("placement=%41&&=&kv.=x&a=b=c")
	f.Fuzz(func(t *testing.T, raw string) {
		var a Ad
		if a.Parse(raw) != nil {
			return
		}
		// What the standard library accepts it must read in the same way.
		if q, err := url.ParseQuery(raw); err == nil {
			if ps := q["placement"]; ps[len(ps)-1] != a.Placement {
				t.Fatalf("placement %q, net/url says %q", a.Placement, ps)
			}
		}
	})
}
