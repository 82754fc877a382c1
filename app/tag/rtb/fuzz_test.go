package rtb

import (
	"math"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"patag/app/tag/decision"
)

// Whatever a bidder answers: what fills keeps the rules, and nothing that a bidder writes is a notice to a place it must not reach.
func FuzzResponse(f *testing.F) {
	for _, s := range []string{
		oneBid(``), oneBid(`"dealid":"deal-1","nurl":"https://x.example/${AUCTION_ID}","burl":"http://127.0.0.1/","lurl":"x"`), oneBid(`"adm":"${AUCTION_MBR}"`),
		oneBid(`"adm":"<a href='http://x'><img src=HTTP://y>"`), oneBid(`"mtype":4,"adm":"{\"native\":{\"assets\":[{\"id\":1,\"title\":{\"text\":\"T\"}},{\"id\":3,\"data\":{\"value\":\"B\"}}],\"link\":{\"url\":\"https://l.example\"}}}"`),
		`{"id":"req-1","cur":"USD","seatbid":[{"bid":[{},{"price":1e308},{"price":-0}]},{}]}`, ``, `null`, `[]`, `{"id":1}`,
	} {
		f.Add([]byte(strings.Replace(s, "$ID", "req-1", 1)), true)
		f.Add([]byte(strings.Replace(s, "$ID", "req-1", 1)), false)
	}
	snap := document(f, []string{"https://dsp.example/rtb"}, nil)
	src := snap.Source("s0")
	n := notices{}
	from, _ := url.Parse(src.Endpoint)
	f.Fuzz(func(t *testing.T, data []byte, secure bool) {
		resp, err := parse(data)
		if err != nil || resp == nil {
			return
		}
		for _, name := range []string{"box", "story"} {
			p := snap.Placement(name)
			l := lot{id: "req-1", placement: p, step: &p.Steps[0], now: time.Now().Unix(), secure: secure}
			a, refused := best(&l, src, resp)
			bids := []*Bid{}
			for i := range refused {
				bids = append(bids, refused[i].bid)
				if refused[i].why < 0 || refused[i].why >= whys {
					t.Fatalf("cause %d", refused[i].why)
				}
			}
			if (a.Problem == decision.None) != (a.Bid != nil) {
				t.Fatalf("%+v", a)
			}
			if a.Problem == decision.None {
				bids = append(bids, a.Bid.(*Bid))
				if a.CPM.Micros <= 0 || a.BaseMicros < 0 || a.CPM.Micros > maxPrice*1e6 || float64(a.BaseMicros) > math.Ceil(maxPrice*1e6) || a.CreativeID == "" || len(a.CreativeID) > maxID || len(a.Seat) > maxID || !utf8.ValidString(a.Seat+a.CreativeID) {
					t.Fatalf("%+v", a)
				}
				if name == "box" && (len(a.Markup) > maxMarkup || strings.TrimSpace(a.Markup) == "" || !(a.Size == p.Sizes[0] || a.Size == p.Sizes[1])) {
					t.Fatalf("%+v", a)
				}
				if name == "story" && (a.Native == nil || a.Native.Title == "" || !webURL(a.Landing, secure)) {
					t.Fatalf("%+v", a)
				}
			}
			for _, b := range bids {
				for _, u := range []string{b.nurl, b.burl, b.lost(102)} {
					if to, transport, err := n.route(from, u); err == nil && transport == n.own && n.own != nil && !strings.EqualFold(to.Host, from.Host) {
						t.Fatalf("%q is let through", u)
					}
					if len(u) > 1<<20 {
						t.Fatalf("a notice of %d bytes", len(u))
					}
				}
			}
		}
	})
}
