package images

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// answer is what /v1/ad says, as far as the tests look at it: of the chain, the server's own fill.
type answer struct {
	Fill   bool
	Reason string
	entry
}

type entry struct {
	Source   string
	LineItem string
	URLs     struct{ Impression, Viewable, Click string }
}

// UnmarshalJSON reads the last entry of the chain.
func (a *answer) UnmarshalJSON(b []byte) error {
	var in struct {
		Fill   bool
		Reason string
		Chain  []entry
	}
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	*a = answer{Fill: in.Fill, Reason: in.Reason}
	if n := len(in.Chain); n > 0 {
		a.entry = in.Chain[n-1]
	}
	return nil
}

func (w *world) ad(server, query string) answer {
	w.t.Helper()
	body, code, err := get(w.url(server, "/v1/ad?"+query))
	if err != nil || code != http.StatusOK {
		w.t.Fatalf("ad from %s: %d %v %s", server, code, err, body)
	}
	var a answer
	if err := json.Unmarshal(body, &a); err != nil {
		w.t.Fatalf("ad from %s: %v: %s", server, err, body)
	}
	return a
}

// total adds a column of the report up over a placement's lines.
func (w *world) total(placement, column string) (int64, error) {
	out, err := w.run("tag", "/tag", "report", "--csv=-", "--mongo-uri", w.mongoURI())
	if err != nil {
		return 0, fmt.Errorf("report: %v: %s", err, out)
	}
	rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	if err != nil {
		return 0, err
	}
	at := -1
	for i, c := range rows[0] {
		if c == column {
			at = i
		}
	}
	var sum int64
	for _, r := range rows[1:] {
		if r[0] != placement {
			continue
		}
		n, err := strconv.ParseInt(r[at], 10, 64)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

func (w *world) reports(placement, column string, want int64, within time.Duration) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("the report counts %d %s of %s", want, column, placement), within, func() error {
		got, err := w.total(placement, column)
		if err == nil && got != want {
			err = fmt.Errorf("it counts %d", got)
		}
		return err
	})
}

func (w *world) importCatalogue(text string) string {
	w.t.Helper()
	w.write("tag", "/catalogue.json", text)
	out, err := w.run("tag", "/tag", "catalogue", "import", "/catalogue.json", "--mongo-uri", w.mongoURI(), "--wait", "10s")
	if err != nil {
		w.t.Fatalf("import: %v: %s", err, out)
	}
	return out
}

// The life of the data path on the images themselves: import, serve from two servers, count once, cap, lose each part and get it back.
func TestDataPath(t *testing.T) {
	w := newWorld(t)
	w.data()
	if out, err := w.run("tag", "/tag", "catalogue", "import", "--demo", "--mongo-uri", w.mongoURI(), "--wait", "10s"); err != nil || !strings.Contains(out, "imported as version 1") {
		t.Fatalf("first import: %v: %s", err, out)
	}
	if out, err := w.run("tag", "/tag", "catalogue", "import", "--demo", "--mongo-uri", w.mongoURI()); err != nil || !strings.Contains(out, "unchanged") {
		t.Fatalf("second import: %v: %s", err, out)
	}
	w.tag("a")
	w.tag("b")

	// Each impression is sent twice to each server, and counts once.
	const n = 40
	for i := range n {
		a := w.ad([]string{"a", "b"}[i%2], "placement=demo-top")
		if !a.Fill || a.Source != "direct" {
			t.Fatalf("demo-top: %+v", a)
		}
		_, token, _ := strings.Cut(a.URLs.Impression, "?")
		for _, s := range []string{"a", "b", "b", "a"} {
			if err := status(w.url(s, "/v1/event/impression?"+token), http.StatusOK); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.reports("demo-top", "impressions", n, 15*time.Second)
	w.reports("demo-top", "requests", n, 15*time.Second)
	w.reports("demo-top", "fills", n, 15*time.Second)

	// A frequency cap of three holds over both servers, and after it the next best fills.
	capped := 0
	for i := range 12 {
		a := w.ad([]string{"a", "b"}[i%2], "placement=demo-side&consent=1&uid=reader-1")
		if a.LineItem != "morgenrot-side" {
			if a.LineItem != "radhaus-side" {
				t.Fatalf("after the cap %s filled, want radhaus-side", a.LineItem)
			}
			continue
		}
		capped++
		if err := status(a.URLs.Impression, http.StatusOK); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Millisecond) // counts reach Redis in the background
	}
	if capped != 3 {
		t.Errorf("an item capped at 3 was shown %d times over two servers", capped)
	}

	t.Run("Redis lost", func(t *testing.T) { w.survives(t, "demo-top", "redis-0", "redis-1", "redis-2") })
	t.Run("twemproxy lost", func(t *testing.T) { w.survives(t, "demo-top", "proxy") })
	t.Run("Mongo lost", func(t *testing.T) { w.survives(t, "demo-top", "mongo") })
	t.Run("cold start without Mongo", func(t *testing.T) {
		w.stop("mongo", syscall.SIGKILL)
		w.stop("b", syscall.SIGTERM)
		w.restart("b")
		w.ready("b")
		if a := w.ad("b", "placement=demo-top"); !a.Fill {
			t.Errorf("nothing served from the last good catalogue: %+v", a)
		}
		w.restart("mongo")
	})
	t.Run("killed under load", func(t *testing.T) { w.killedUnderLoad(t) })
}

// survives takes parts away, checks that ads are served and events acknowledged without them, gives them back and finds each
// acknowledged event in the report once.
func (w *world) survives(t *testing.T, placement string, parts ...string) {
	before, err := w.total(placement, "impressions")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range parts {
		w.stop(p, syscall.SIGKILL)
	}
	const n = 30
	var slowest time.Duration
	for i := range n {
		s := []string{"a", "b"}[i%2]
		begin := time.Now()
		a := w.ad(s, "placement="+placement)
		slowest = max(slowest, time.Since(begin))
		if !a.Fill {
			t.Fatalf("without %v nothing is served: %+v", parts, a)
		}
		if err := status(a.URLs.Impression, http.StatusOK); err != nil {
			t.Fatal(err)
		}
		_, token, _ := strings.Cut(a.URLs.Impression, "?")
		if err := status(w.url(map[string]string{"a": "b", "b": "a"}[s], "/v1/event/impression?"+token), http.StatusOK); err != nil {
			t.Fatal(err)
		}
	}
	if slowest > 200*time.Millisecond {
		t.Errorf("the slowest ad took %s without %v", slowest, parts)
	}
	time.Sleep(3 * time.Second) // let shipping fail at least once
	for _, p := range parts {
		w.restart(p)
	}
	w.reports(placement, "impressions", before+n, 30*time.Second)
}

// killedUnderLoad kills a server at moments it did not choose. Everything that was acknowledged is counted once; of what was sent
// and not acknowledged, some may be.
func (w *world) killedUnderLoad(t *testing.T) {
	before, err := w.total("demo-native", "impressions")
	if err != nil {
		t.Fatal(err)
	}
	var acked, unknown atomic.Int64
	for round := range 5 {
		var wg sync.WaitGroup
		stop := make(chan struct{})
		for range 8 {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					body, code, err := get(w.url("a", "/v1/ad?placement=demo-native"))
					if err != nil || code != http.StatusOK {
						continue
					}
					var a answer
					if json.Unmarshal(body, &a) != nil || !a.Fill {
						continue
					}
					if status(a.URLs.Impression, http.StatusOK) == nil {
						acked.Add(1)
					} else {
						unknown.Add(1)
					}
				}
			})
		}
		time.Sleep(time.Duration(150+round*170) * time.Millisecond)
		w.stop("a", syscall.SIGKILL)
		close(stop)
		wg.Wait()
		w.restart("a")
		w.ready("a")
	}
	if acked.Load() < 100 {
		t.Fatalf("only %d events acknowledged: no load", acked.Load())
	}
	low, high := before+acked.Load(), before+acked.Load()+unknown.Load()
	w.eventually(fmt.Sprintf("the report counts %d to %d impressions", low, high), 30*time.Second, func() error {
		got, err := w.total("demo-native", "impressions")
		if err == nil && (got < low || got > high) {
			err = fmt.Errorf("it counts %d", got)
		}
		return err
	})
	time.Sleep(3 * time.Second)
	if got, err := w.total("demo-native", "impressions"); err != nil || got > high {
		t.Errorf("later the report counts %d, %v; at most %d are right", got, err, high)
	}
	t.Logf("5 kills, %d acknowledged, %d sent without an answer", acked.Load(), unknown.Load())
}

// A hard cap holds over two servers, to the last impression, and a wrong catalogue changes nothing.
func TestHardCapAndBadCatalogue(t *testing.T) {
	w := newWorld(t)
	w.data()
	const most = 50
	text := fmt.Sprintf(`{"settings":{"currency":"EUR"},"publishers":[{"id":"p","name":"P"}],"sites":[{"id":"s","publisher":"p","name":"S"}],
	 "placements":[{"id":"x","site":"s","name":"X","format":"display","sizes":[{"width":300,"height":250}],"waterfall":[{"kind":"direct"},{"kind":"house"}]}],
	 "advertisers":[{"id":"a","name":"A"}],"campaigns":[{"id":"c","advertiser":"a","name":"C"}],
	 "lineItems":[{"id":"capped","campaign":"c","name":"Capped","tier":"standard","cpm":{"micros":1000000,"currency":"EUR"},"placements":["x"],"maxImpressions":%d,"creatives":[{"id":"k"}]},
	  {"id":"house","campaign":"c","name":"House","tier":"house","cpm":{"micros":0,"currency":"EUR"},"placements":["x"],"creatives":[{"id":"k"}]}],
	 "creatives":[{"id":"k","advertiser":"a","name":"K","format":"display","size":{"width":300,"height":250},"html":"<p>k</p>","landing":"https://a.example/"}]}`, most)
	w.importCatalogue(text)
	w.tag("a")
	w.tag("b")
	var direct, house atomic.Int64
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 40 {
				body, code, err := get(w.url([]string{"a", "b"}[i%2], "/v1/ad?placement=x"))
				var a answer
				if err != nil || code != http.StatusOK || json.Unmarshal(body, &a) != nil || !a.Fill {
					t.Errorf("ad: %d %v %s", code, err, body)
					return
				}
				if a.Source == "direct" {
					direct.Add(1)
				} else {
					house.Add(1)
				}
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	wg.Wait()
	if direct.Load() > most {
		t.Errorf("a cap of %d was overrun: %d", most, direct.Load())
	}
	for range 200 { // what the other server's lease still held
		if direct.Load() == most {
			break
		}
		for _, s := range []string{"a", "b"} {
			if w.ad(s, "placement=x").Source == "direct" {
				direct.Add(1)
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	if direct.Load() != most {
		t.Errorf("a cap of %d was served %d times", most, direct.Load())
	}

	w.write("tag", "/bad.json", strings.Replace(text, `"standard"`, `"gold"`, 1))
	out, err := w.run("tag", "/tag", "catalogue", "import", "/bad.json", "--mongo-uri", w.mongoURI())
	if want := `tag: lineItems "capped": tier: "gold" is no tier; use sponsorship, standard, price or house`; err == nil || !strings.Contains(out, want) {
		t.Errorf("a wrong catalogue: %v: %s\nwant %s", err, out, want)
	}
	if a := w.ad("a", "placement=x"); a.LineItem != "house" {
		t.Errorf("after a refused import: %+v", a)
	}
	// A catalogue without the placement takes effect within a poll or two.
	w.importCatalogue(strings.ReplaceAll(text, `"x"`, `"y"`))
	w.eventually("the new catalogue is in use", 5*time.Second, func() error { return status(w.url("a", "/v1/ad?placement=x"), http.StatusNotFound) })
	if a := w.ad("a", "placement=y"); !a.Fill {
		t.Errorf("the new placement: %+v", a)
	}
}
