package rtb

import (
	"strings"
	"testing"

	"patag/app/tag/catalogue"
	"patag/app/tag/decision"
)

// What of a response fills, and why the rest does not: over HTTP, one bid each.
func TestBids(t *testing.T) {
	two := func(first, second string) string {
		a, b := oneBid(first), oneBid(second)
		inner := func(s string) string { return s[strings.Index(s, `"bid":[`)+7 : len(s)-4] }
		return strings.Replace(a, `"bid":[`, `"bid":[`+inner(b)+",", 1)
	}
	cur := func(code, text string) string { return strings.Replace(text, `"cur":"EUR"`, code, 1) }
	for _, c := range []struct {
		name, response string
		problem        decision.Reason
		cause          string // counted as refused
		check          func(*testing.T, decision.Answer)
	}{
		{"good", oneBid(``), decision.None, "", func(t *testing.T, a decision.Answer) {
			if a.CPM.Micros != 2_500_000 || a.CPM.Currency != "EUR" || a.BaseMicros != 2_500_000 || a.Seat != "seat-a" || a.CreativeID != "cr" || a.Markup != "<b>ad</b>" || a.Size.Width != 300 || a.Domains[0] != "shop.example" {
				t.Errorf("%+v", a)
			}
		}},
		{"other size of the placement", oneBid(`"w":320,"h":50`), decision.None, "", func(t *testing.T, a decision.Answer) {
			if a.Size.Height != 50 {
				t.Errorf("%+v", a.Size)
			}
		}},
		{"dollars", cur(`"cur":"USD"`, oneBid(``)), decision.None, "", func(t *testing.T, a decision.Answer) {
			if a.BaseMicros != 2_250_000 || a.CPM.Micros != 2_500_000 || a.CPM.Currency != "USD" {
				t.Errorf("%d %+v", a.BaseMicros, a.CPM)
			}
		}},
		{"no currency is dollars", cur(`"x":1`, oneBid(``)), decision.None, "", func(t *testing.T, a decision.Answer) {
			if a.BaseMicros != 2_250_000 {
				t.Errorf("%d", a.BaseMicros)
			}
		}},
		{"decimal price", oneBid(`"price":1.29`), decision.None, "", func(t *testing.T, a decision.Answer) {
			if a.CPM.Micros != 1_290_000 {
				t.Errorf("%d micros of 1.29", a.CPM.Micros)
			}
		}},
		{"deal", oneBid(`"dealid":"deal-1"`), decision.None, "", func(t *testing.T, a decision.Answer) {
			if a.Deal == nil || a.Deal.ID != "deal-1" {
				t.Errorf("%+v", a.Deal)
			}
		}},
		{"macros in markup", oneBid(`"adid":"x","adm":"<i>${AUCTION_PRICE} ${AUCTION_ID:B64} ${AUCTION_BID_ID} ${AUCTION_FOO} ${AUCTION_SEAT_ID} ${AUCTION_IMP_ID} ${AUCTION_CURRENCY} ${AUCTION_AD_ID}</i>"`), decision.None, "", func(t *testing.T, a decision.Answer) {
			if !strings.HasPrefix(a.Markup, "<i>2.5 ") || !strings.HasSuffix(a.Markup, " resp-1 ${AUCTION_FOO} seat-a 1 EUR x</i>") {
				t.Errorf("%s", a.Markup)
			}
		}},
		{"the better of two", two(`"id":"x","price":3`, `"id":"y","price":4`), decision.None, "outbid", func(t *testing.T, a decision.Answer) {
			if a.BaseMicros != 4_000_000 {
				t.Errorf("%d", a.BaseMicros)
			}
		}},
		{"the lower, where the better is blocked", two(`"id":"x","price":3`, `"id":"y","price":9,"adomain":["bad.example"]`), decision.None, "outbid", func(t *testing.T, a decision.Answer) {
			if a.BaseMicros != 3_000_000 {
				t.Errorf("%d", a.BaseMicros)
			}
		}},
		{"duplicate id", two(`"price":3`, `"price":4`), decision.None, "duplicate", nil},
		{"link to http, and a name", oneBid(`"adm":"<svg xmlns=\"http://www.w3.org/2000/svg\"></svg><a href=\"http://shop.example/\">x</a>"`), decision.None, "", nil},

		{"currency not asked for", cur(`"cur":"XTS"`, oneBid(``)), decision.BadBid, "currency", nil},
		{"unknown currency", cur(`"cur":"ZZZ"`, oneBid(``)), decision.BadBid, "currency", nil},
		{"another request's id", strings.Replace(oneBid(``), "$ID", "nope", 1), decision.BadBid, "response_id", nil},
		{"impression that was not asked for", oneBid(`"impid":"2"`), decision.BadBid, "impid", nil},
		{"no bid id", oneBid(`"id":""`), decision.BadBid, "impid", nil},
		{"price 0", oneBid(`"price":0`), decision.BadBid, "price", nil},
		{"price below a micro", oneBid(`"price":1e-9`), decision.BadBid, "price", nil},
		{"negative price", oneBid(`"price":-4`), decision.BadBid, "price", nil},
		{"price of a mistake", oneBid(`"price":1e17`), decision.BadBid, "price", nil},
		{"size", oneBid(`"w":728,"h":90`), decision.BadBid, "size", nil},
		{"no size where there are two", oneBid(`"w":null,"h":null`), decision.BadBid, "size", nil},
		{"no markup", oneBid(`"adm":" \n"`), decision.BadBid, "markup", nil},
		{"markup that is nothing but a macro without a value", oneBid(`"adm":"${AUCTION_MBR}"`), decision.BadBid, "markup", nil},
		{"huge markup", oneBid(`"adm":"` + strings.Repeat("x", maxMarkup+1) + `"`), decision.BadBid, "markup", nil},
		{"markup that macros make huge", oneBid(`"adid":"` + strings.Repeat("a", 4000) + `","adm":"` + strings.Repeat("${AUCTION_AD_ID}", 7000) + `"`), decision.BadBid, "markup", nil},
		{"video", oneBid(`"adm":"<VAST version=\"4.0\"></VAST>"`), decision.BadBid, "format", nil},
		{"native for display", oneBid(`"mtype":4`), decision.BadBid, "format", nil},
		{"no creative id", oneBid(`"crid":null`), decision.BadBid, "creative_id", nil},
		{"deal of nobody", oneBid(`"dealid":"made-up"`), decision.BadBid, "deal", nil},
		{"image without TLS", oneBid(`"adm":"<img src=\"HTTP://x.example/a.png\">"`), decision.BadBid, "not_secure", nil},
		{"script without TLS after a link", oneBid(`"adm":"<a href='http://a.example'>x</a><script src=http://b.example></script>"`), decision.BadBid, "not_secure", nil},
		{"seat with a line break", strings.Replace(oneBid(``), `"seat-a"`, `"a\nb"`, 1), decision.BadBid, "seat", nil},
		{"seat that is too long", strings.Replace(oneBid(``), "seat-a", strings.Repeat("s", 65), 1), decision.BadBid, "seat", nil},
		{"no bids", `{"id":"$ID","seatbid":[]}`, decision.NoBid, "", nil},
		{"a reason", `{"id":"$ID","nbr":8}`, decision.NoBid, "", nil},
		{"nothing", ``, decision.NoBid, "", nil},
		{"price as text", oneBid(`"price":"4"`), decision.BadBid, "", nil},
		{"price NaN", strings.Replace(oneBid(``), "2.5", "NaN", 1), decision.BadBid, "", nil},
		{"cut off", oneBid(``)[:60], decision.BadBid, "", nil},
		{"HTML", "<html>502</html>", decision.BadBid, "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, Options{}, document(t, []string{bidding(t, c.response)}, nil))
			a := w.one("box")
			if a.Problem != c.problem {
				t.Fatalf("%s, want %s", a.Problem, c.problem)
			}
			if (a.Problem == decision.None) != (a.Bid != nil) {
				t.Error("a bid and a problem")
			}
			if c.check != nil {
				c.check(t, a)
			}
			if c.cause != "" {
				eventually(t, "counted as "+c.cause, func() bool { return w.count("tag_rtb_refused_bids_total", c.cause) == 1 })
			}
		})
	}
}

func TestBidAdjustmentTakesItsShare(t *testing.T) {
	snap := document(t, []string{bidding(t, oneBid(`"price":3.333333`))}, func(c *catalogue.Catalogue) { c.DemandSources[0].BidAdjustment = 90 })
	if a := newWorld(t, Options{}, snap).one("box"); a.BaseMicros != 2_999_999 || a.CPM.Micros != 3_333_333 {
		t.Errorf("%d of %d; want 90 %%, rounded down", a.BaseMicros, a.CPM.Micros)
	}
}

func TestInsecurePagesMayLoadWithoutTLS(t *testing.T) {
	w := newWorld(t, Options{}, document(t, []string{bidding(t, oneBid(`"adm":"<img src=\"http://x.example/a.png\">"`))}, nil))
	r := w.request("box")
	r.Visitor.Insecure = true
	if a := w.Ask(t.Context(), r, &r.Placement.Steps[0]); a[0].Problem != decision.None {
		t.Error(a[0].Problem)
	}
}

func TestNativeBids(t *testing.T) {
	asset := func(extra string) string {
		return `{\"assets\":[{\"id\":1,\"title\":{\"text\":\" Title \"}},{\"id\":3,\"data\":{\"value\":\"Brand\"}}` + extra + `],\"link\":{\"url\":\"https://shop.example/l\",\"clicktrackers\":[\"https://c.example/c\"]},\"imptrackers\":[\"https://i.example/i\",\"http://plain.example/\"],\"eventtrackers\":[{\"event\":1,\"method\":1,\"url\":\"https://e.example/e\"},{\"event\":1,\"method\":2,\"url\":\"https://js.example/x.js\"}]}`
	}
	for _, c := range []struct {
		name, adm string
		problem   decision.Reason
	}{
		{"bare", asset(`,{\"id\":2,\"img\":{\"url\":\"https://img.example/a.png\"}}`), decision.None},
		{"wrapped as in 1.0", `{\"native\":` + asset(``) + `}`, decision.None},
		{"image without TLS", asset(`,{\"id\":2,\"img\":{\"url\":\"http://img.example/a.png\"}}`), decision.BadBid},
		{"without a title", `{\"assets\":[{\"id\":3,\"data\":{\"value\":\"Brand\"}}],\"link\":{\"url\":\"https://shop.example/\"}}`, decision.BadBid},
		{"script as a landing page", strings.Replace(asset(``), "https://shop.example/l", "javascript:alert(1)", 1), decision.BadBid},
		{"credentials in the landing page", strings.Replace(asset(``), "https://shop", "https://bank.example@shop", 1), decision.BadBid},
		{"HTML", "<b>x</b>", decision.BadBid},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newWorld(t, Options{}, document(t, []string{bidding(t, oneBid(`"w":null,"h":null,"adm":"`+c.adm+`"`))}, nil)).one("story")
			if a.Problem != c.problem {
				t.Fatalf("%s, want %s", a.Problem, c.problem)
			}
			if c.problem != decision.None {
				return
			}
			if a.Native == nil || a.Native.Title != "Title" || a.Native.Sponsor != "Brand" || a.Landing != "https://shop.example/l" || a.Markup != "" {
				t.Errorf("%+v %+v", a.Native, a)
			}
			if got := strings.Join(a.Trackers, " "); got != "https://i.example/i https://e.example/e" || strings.Join(a.ClickTrackers, " ") != "https://c.example/c" {
				t.Errorf("trackers %q, clicks %q: images over TLS only", got, a.ClickTrackers)
			}
		})
	}
}

// Looking for addresses takes no longer for markup that is made to be slow to read.
func TestInsecureIsLinear(t *testing.T) {
	markup := strings.Repeat(`href=http://`, maxMarkup/12)
	allocs := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			insecure("<a " + markup)
		}
	})
	if took := allocs.NsPerOp(); took > 60e6 {
		t.Errorf("128 KiB took %d ms", took/1e6)
	}
}
