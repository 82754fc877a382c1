package visits

import (
	"fmt"
	"strings"
	"testing"
)

const answer = `{"placement":"p","fill":true,"chain":[{"source":"tag","urls":{"impression":"http://h/v1/event/impression?t=TAG%d"}},` +
	`{"source":"direct","urls":{"impression":"http://h/v1/event/impression?t=I%[1]d","viewable":"http://h/v1/event/viewable?t=V%[1]d","click":"http://h/v1/click?t=C%[1]d"}}]}`

// Each filled ad has one impression, of the last entry of its chain; what is not acknowledged is sent again and counted once.
func TestEventsFollowAds(t *testing.T) {
	v := New(Options{Host: "h", Placements: []string{"p"}, Events: true, Seed: 3})
	seen := map[string]int{}
	for n := range 20_000 {
		raw, id := v.Next()
		line, _, _ := strings.Cut(string(raw), "\r\n")
		if id == 0 {
			if !strings.HasPrefix(line, "GET /v1/ad?placement=p&") {
				t.Fatalf("asked %q", line)
			}
			v.Done(0, 200, fmt.Appendf(nil, answer, n))
			continue
		}
		seen[line]++
		if strings.Contains(line, "TAG") {
			t.Fatalf("%q is of an entry that did not show", line)
		}
		if n%50 == 0 {
			v.Done(id, 0, nil)
			seen[line]--
			continue
		}
		v.Done(id, 204, nil)
	}
	acked := 0
	for _, n := range v.Acked {
		acked += n
	}
	twice := 0
	for _, n := range seen {
		if n > 2 {
			t.Fatal("an event is acknowledged three times")
		}
		if n == 2 {
			twice++
		}
	}
	if v.Repeated == 0 || twice != v.Repeated || acked == 0 || v.Acked["click"] == 0 || v.Unsure["impression"] != 0 {
		t.Errorf("%d seen twice; counts %+v", twice, v.Counts)
	}
	if rest := v.Filled - v.Acked["impression"]; rest < 0 || rest > v.Rest() {
		t.Errorf("%d impressions are neither acknowledged nor waiting", rest)
	}
}

func TestRefusedAdsHaveNoEvents(t *testing.T) {
	v := New(Options{Host: "h", Placements: []string{"p"}, Events: true})
	for _, body := range []string{"", `{"fill":false,"reason":"paced"}`, `{"chain":[{"urls":{"impression":"`} {
		v.Next()
		v.Done(0, 200, []byte(body))
	}
	v.Next()
	v.Done(0, 503, fmt.Appendf(nil, answer, 1))
	if v.Rest() != 0 || v.Refused != 1 || v.Ads != 4 {
		t.Errorf("%d events wait; counts %+v", v.Rest(), v.Counts)
	}
}
