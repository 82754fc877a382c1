// Package visits is a Script of attack: browsers that ask for ads and send the events that follow. In goes a share of events; out
// come requests, and counts of what was acknowledged, to hold against the reports. It knows the wire format and nothing else of
// the tag server.
package visits

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
)

// Options of the visits.
type Options struct {
	Host       string
	Placements []string
	Users      int // how many visitors there are
	// Events: impressions for each ad that filled, and viewables and clicks for a share of them; some are sent twice.
	Events bool
	Seed   uint64
}

// Kinds of events that are sent.
var kinds = [...]string{"impression", "viewable", "click"}

// Visits makes requests in turn.
type Visits struct {
	o        Options
	rng      *rand.Rand
	ads      [][]byte
	next     int
	waiting  []event
	again    []event // wait until a while after the first time
	underWay map[uint64]event
	id       uint64
	Counts
}

// Counts are what browsers know.
type Counts struct {
	Ads, Filled, Refused int
	Repeated             int            // events that were sent again and answered with success again
	Acked                map[string]int // events by kind
	Unsure               map[string]int // sent, and never answered with success
}

type event struct {
	kind  string
	raw   []byte
	tries int
	again bool // a repetition, which must not count
}

const prepared = 4096

const agent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36"

// New prepares requests: making them anew each time would cost more than sending them.
func New(o Options) *Visits {
	if o.Users == 0 {
		o.Users = 100_000
	}
	v := &Visits{o: o, rng: rand.New(rand.NewPCG(o.Seed, 1)), underWay: map[uint64]event{}}
	v.Acked, v.Unsure = map[string]int{}, map[string]int{}
	for range prepared {
		v.ads = append(v.ads, v.request(v.Path()))
	}
	return v
}

var countries = []string{"DE", "DE", "DE", "AT", "CH", "FR", "GB", "US"}
var sections = []string{"culture", "economy", "local", "politics", "sport", "travel"}

// Path of a random ad request: a visitor with consent, a page, a key-value.
func (v *Visits) Path() string {
	return fmt.Sprintf("/v1/ad?placement=%s&page=https%%3A%%2F%%2Fnews.example%%2F%s%%2Fa&uid=u%d&consent=1&gdpr=0&kv.section=%s",
		v.o.Placements[v.rng.IntN(len(v.o.Placements))], sections[v.rng.IntN(len(sections))], v.rng.IntN(v.o.Users), sections[v.rng.IntN(len(sections))])
}

// Headers that a browser and Google's load balancer send.
func (v *Visits) Headers() [][2]string {
	return [][2]string{{"Host", v.o.Host}, {"User-Agent", agent}, {"Accept", "*/*"}, {"Accept-Language", "de-AT,de;q=0.9,en;q=0.5"},
		{"X-Client-Geo-Country", countries[v.rng.IntN(len(countries))]}}
}

func (v *Visits) request(path string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\n", path)
	for _, h := range v.Headers() {
		fmt.Fprintf(&b, "%s: %s\r\n", h[0], h[1])
	}
	b.WriteString("\r\n")
	return []byte(b.String())
}

// repeatAfter is how many repetitions wait before the first of them is sent.
const repeatAfter = 20

// Next implements attack.Script. Events go first, so that each follows its ad soon.
func (v *Visits) Next() ([]byte, uint64) {
	if len(v.again) > repeatAfter {
		v.waiting = append(v.waiting, v.again[0])
		v.again = v.again[1:]
	}
	if n := len(v.waiting); n > 0 {
		e := v.waiting[0]
		v.waiting = v.waiting[1:]
		v.id++
		v.underWay[v.id] = e
		return e.raw, v.id
	}
	v.next++
	v.Ads++
	return v.ads[v.next%prepared], 0
}

// Done implements attack.Script. An event without a receipt is sent again, as a page that is still open does.
func (v *Visits) Done(id uint64, status int, body []byte) {
	ok := status >= 200 && status < 400
	if id == 0 {
		switch {
		case !ok:
			v.Refused++
		case v.o.Events:
			v.follow(body)
		}
		return
	}
	e := v.underWay[id]
	delete(v.underWay, id)
	if ok {
		if e.again {
			v.Repeated++
		} else {
			v.Acked[e.kind]++
		}
		return
	}
	if e.tries++; e.tries < 20 {
		v.waiting = append(v.waiting, e)
		return
	}
	if !e.again {
		v.Unsure[e.kind]++
	}
}

// Rest is how many events wait or are under way.
func (v *Visits) Rest() int { return len(v.waiting) + len(v.underWay) }

// follow queues the events of the last entry of a chain, which is the one that shows: its impression, for 60 % a viewable, for 1 % a click.
func (v *Visits) follow(body []byte) {
	at := bytes.LastIndex(body, []byte(`"urls":{`))
	if at < 0 {
		return
	}
	v.Filled++
	for i, kind := range kinds {
		if i == 1 && v.rng.IntN(100) >= 60 || i == 2 && v.rng.IntN(100) >= 1 {
			continue
		}
		if path := url(body[at:], kind); path != nil {
			e := event{kind: kind, raw: v.request(string(path))}
			if v.waiting = append(v.waiting, e); v.rng.IntN(100) < 2 {
				e.again = true
				v.again = append(v.again, e)
			}
		}
	}
}

// url is the path of an event's URL in an answer.
func url(b []byte, kind string) []byte {
	_, rest, ok := bytes.Cut(b, []byte(`"`+kind+`":"`))
	if !ok {
		return nil
	}
	u, _, ok := bytes.Cut(rest, []byte(`"`))
	if !ok {
		return nil
	}
	if i := bytes.Index(u, []byte("/v1/")); i >= 0 {
		return u[i:]
	}
	return nil
}
