package request

import (
	"errors"
	"net/url"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	var a Ad
	if err := a.Parse("placement=top&kv.section=sport&kv.tag=a%20b&kv.tag=c&uid=u+1&consent=1&format=html&other=%41"); err != nil {
		t.Fatal(err)
	}
	if a.Placement != "top" || !a.HTML || a.UserID != "u 1" || len(a.KeyValues()) != 3 || a.KeyValues()[1] != (KeyValue{"tag", "a b"}) {
		t.Errorf("%+v", a)
	}
	if err := a.Parse("placement=x&uid=someone"); err != nil || a.UserID != "" || a.HTML || len(a.KeyValues()) != 0 {
		t.Errorf("without consent, after another request: %+v, %v", a, err)
	}
	if err := a.Parse("kv.a=b"); !errors.Is(err, ErrNoPlacement) {
		t.Errorf("without a placement: %v", err)
	}
	for _, bad := range []string{"placement=%zz", "placement=a&format=xml", "placement=a&uid=" + strings.Repeat("u", 129), "placement=a" + strings.Repeat("&kv.k=v", MaxKeyValues+1)} {
		if err := a.Parse(bad); err == nil {
			t.Errorf("accepted %.40s", bad)
		}
	}
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
