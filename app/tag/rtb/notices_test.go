package rtb

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prebid/openrtb/v20/openrtb2"

	"patag/app/tag/decision"
)

// The winner gets its win notice, and a billing notice when it is billed; the losers learn why.
func TestWinLossAndBilling(t *testing.T) {
	say := func(price string) func(http.ResponseWriter, *openrtb2.BidRequest, string) {
		return func(w http.ResponseWriter, in *openrtb2.BidRequest, url string) {
			q := `&i=${AUCTION_ID}&p=${AUCTION_PRICE}&c=${AUCTION_CURRENCY}&s=${AUCTION_SEAT_ID}&l=${AUCTION_LOSS}`
			io.WriteString(w, strings.Replace(oneBid(`"price":`+price+`,"nurl":"`+url+`/won?x=1`+q+`","burl":"`+url+`/bill?x=1`+q+`","lurl":"`+url+`/lost?x=1`+q+`"`), "$ID", in.ID, 1))
		}
	}
	winner, loser := newInbox(t, say("4")), newInbox(t, say("3"))
	w := newWorld(t, Options{}, document(t, []string{winner.url, loser.url}, nil))
	r := w.request("box")
	step := &r.Placement.Steps[0]
	answers := w.Ask(t.Context(), r, step)
	w.Settle(r, step, answers, []decision.Reason{decision.Filled, decision.Eligible})
	w.Bill(answers[0].Source, answers[0].BillingURL)
	eventually(t, "three notices", func() bool { return len(winner.notices()) == 2 && len(loser.notices()) == 1 })
	id := answers[0].Bid.(*Bid).auction
	for what, got := range map[string]string{
		"/won?x=1&i=" + id + "&p=4&c=EUR&s=seat-a&l=0":   "",
		"/bill?x=1&i=" + id + "&p=4&c=EUR&s=seat-a&l=0":  "",
		"/lost?x=1&i=" + id + "&p=&c=EUR&s=seat-a&l=102": "the price that won is nobody's business",
	} {
		if !slices.Contains(append(winner.notices(), loser.notices()...), what) {
			t.Errorf("%s is not among %v %v %s", what, winner.notices(), loser.notices(), got)
		}
	}
	for kind, n := range map[string]float64{"win": 1, "billing": 1, "loss": 1} {
		eventually(t, kind+" counted", func() bool { return w.count("tag_rtb_notices_total", kind) == n })
	}
}

func TestLossCodes(t *testing.T) {
	for _, c := range []struct {
		r             decision.Reason
		deal, dealWon bool
		want          int
	}{
		{decision.Eligible, false, false, 102}, {decision.Eligible, false, true, 103}, {decision.Eligible, true, true, 102}, {decision.BelowFloor, false, false, 100},
		{decision.BelowFloor, true, false, 101}, {decision.BlockedSeat, false, false, 104}, {decision.BlockedByPublisher, false, false, 205},
		{decision.BlockedCategory, false, false, 209}, {decision.NotInDeal, true, false, 4}, {decision.TimedOut, false, false, 2}, {decision.HardCapped, false, false, 1},
	} {
		if got := lossCode(c.r, c.deal, c.dealWon); got != c.want {
			t.Errorf("%s, deal %v, a deal won %v: %d, want %d", c.r, c.deal, c.dealWon, got, c.want)
		}
	}
}

// Bidders write notice URLs, and we are inside the cluster: nothing but the source itself and the public Internet is reached.
func TestNoticesCannotReachInside(t *testing.T) {
	var reached atomic.Int64
	victim := listen(t, func(http.ResponseWriter, *http.Request) { reached.Add(1) })
	secure := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer secure.Close()
	own := newInbox(t, func(http.ResponseWriter, *openrtb2.BidRequest, string) {})
	redirecting := listen(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, victim, http.StatusFound) })
	w := newWorld(t, Options{}, document(t, []string{own.url, redirecting}, nil))
	src := w.snap.Source("s0")
	_, port, _ := strings.Cut(strings.TrimPrefix(secure.URL, "https://"), ":")
	forbidden := []string{
		victim + "/x", secure.URL, "https://localhost:" + port, "https://[::1]:" + port, "https://[::ffff:127.0.0.1]:" + port, "https://169.254.169.254/computeMetadata/v1/",
		"https://10.0.0.1/", "https://user@example.com/", "file:///etc/passwd", "ftp://example.com/", "gopher://x", "//nothing", "https://0.0.0.0:" + port, "https://[64:ff9b::a00:1]/",
		strings.Replace(own.url, "http://", "https://", 1), "https://x\r\ny/",
	}
	for _, u := range forbidden {
		w.Bill(src, u)
	}
	w.Bill(src, own.url+"/ok#fragment")
	w.Bill(w.snap.Source("s1"), redirecting+"/r")
	eventually(t, "all are sent or refused", func() bool {
		return w.count("tag_rtb_notices_total", "sent")+w.count("tag_rtb_notices_total", "failed")+w.count("tag_rtb_notices_total", "forbidden") >= float64(len(forbidden)+2)
	})
	if reached.Load() != 0 {
		t.Errorf("reached %d times", reached.Load())
	}
	if got := own.notices(); len(got) != 1 || got[0] != "/ok" {
		t.Errorf("own host: %v", got)
	}
	if n := w.count("tag_rtb_notices_total", "forbidden"); n != float64(len(forbidden)) {
		t.Errorf("%v of %d forbidden", n, len(forbidden))
	}
}

func TestPublicAddresses(t *testing.T) {
	for s, want := range map[string]bool{
		"8.8.8.8": true, "2001:4860:4860::8888": true, "127.0.0.1": false, "10.1.2.3": false, "172.16.0.1": false, "192.168.1.1": false, "169.254.169.254": false, "100.64.0.1": false,
		"0.0.0.0": false, "255.255.255.255": false, "224.0.0.1": false, "::1": false, "::": false, "fe80::1": false, "fd00::1": false, "fd20:ce::254": false, "::ffff:10.0.0.1": false,
		"64:ff9b::7f00:1": false, "2002:7f00:1::": false, "2001::1": false, "198.18.0.1": false, "192.0.0.170": false, "ff02::1": false,
	} {
		if got := public(netip.MustParseAddr(s)); got != want {
			t.Errorf("%s is public: %v", s, got)
		}
	}
}

// A source's notices that hang neither block nor pile up.
func TestNoticesAreBounded(t *testing.T) {
	var out, most atomic.Int64
	src := listen(t, func(_ http.ResponseWriter, r *http.Request) {
		n := out.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		<-r.Context().Done()
		out.Add(-1)
	})
	w := newWorld(t, Options{MaxNotices: 10}, document(t, []string{src}, nil))
	begin := time.Now()
	for range 200 {
		w.Bill(w.snap.Source("s0"), src+"/n")
	}
	if took := time.Since(begin); took > time.Second {
		t.Errorf("200 notices blocked for %s", took)
	}
	if n := w.count("tag_rtb_notices_total", "dropped"); n < 180 || n > 190 {
		t.Errorf("%v dropped of 200 with room for 10 and two under way", n)
	}
	eventually(t, "two are under way", func() bool { return out.Load() == noticeWorkers })
	if most.Load() != noticeWorkers {
		t.Errorf("%d at a time", most.Load())
	}
}

func TestMacros(t *testing.T) {
	n := &Bid{auction: "a b&c", seat: "s", price: "1.5", currency: "EUR"}
	for in, want := range map[string]string{
		"": "", "x": "x", "${AUCTION_ID}": "a+b%26c", "${AUCTION_PRICE:B64}": "MS41", "${AUCTION_PRICE:BF}": "${AUCTION_PRICE:BF}", "${AUCTION_": "${AUCTION_", "${AUCTION_ID": "${AUCTION_ID",
		"${AUCTION_SEAT_ID}${AUCTION_SEAT_ID}": "ss", "${OTHER}": "${OTHER}", "${AUCTION_MBR}!": "!",
	} {
		if got := n.expand(in, n.price, "0", true); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	if u, err := url.Parse(n.expand("http://x/?i=${AUCTION_ID}&j=1", n.price, "0", true)); err != nil || u.Query().Get("i") != "a b&c" || u.Query().Get("j") != "1" {
		t.Errorf("%v %v", u, err)
	}
}
