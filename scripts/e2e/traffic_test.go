package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"
)

// traffic is visitors who come at a steady rate, however long others take: each asks for an ad and reports its
// impression, as the loader does. Every second one comes over a connection of its own.
type traffic struct {
	url         string
	kept, fresh *http.Client
	end         chan struct{}
	wait        sync.WaitGroup

	mu sync.Mutex
	tally
	lastGood time.Time
}

// tally is what visitors saw.
type tally struct {
	requests, failed int
	firstFailure     string
	// acknowledged impressions, by when; unsure are those that were tried and never acknowledged.
	acknowledged []time.Time
	unsure       int
	// gap is the longest time without any good answer, slowest the longest good answer.
	gap, slowest time.Duration
}

func (c tally) String() string {
	return fmt.Sprintf("%d of %d requests failed, longest gap %s, slowest answer %s", c.failed, c.requests,
		c.gap.Round(10*time.Millisecond), c.slowest.Round(10*time.Millisecond))
}

// browser is what visitors say they are: what calls itself a Go client is counted as a robot.
const browser = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"

// persistence is how long a visitor tries to report an impression.
const persistence = 90 * time.Second

// newTraffic is visitors who have not been sent yet: most keep their connections, some come with new ones.
func newTraffic(url string) *traffic {
	return &traffic{
		url: url, end: make(chan struct{}), lastGood: time.Now(),
		kept:  &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 100}},
		fresh: &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}},
	}
}

// send starts the visitors.
func send(url string, perSecond int) *traffic {
	w := newTraffic(url)
	w.wait.Go(func() {
		tick := time.NewTicker(time.Second / time.Duration(perSecond))
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-w.end:
				return
			case <-tick.C:
				w.wait.Go(func() { w.visit(n) })
			}
		}
	})
	return w
}

// stop ends the coming of visitors and waits for those that are there.
func (w *traffic) stop() tally {
	close(w.end)
	w.wait.Wait()
	w.kept.CloseIdleConnections()
	return w.tally
}

func (w *traffic) visit(n int) {
	client := w.kept
	if n%2 == 0 {
		client = w.fresh
	}
	body, err := w.ask(client, w.url)
	if err != nil {
		return
	}
	var ad struct {
		Chain []struct{ URLs struct{ Impression string } }
	}
	if err := json.Unmarshal(body, &ad); err != nil || len(ad.Chain) == 0 || ad.Chain[0].URLs.Impression == "" {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.note(fmt.Errorf("an ad without an impression URL: %.300s", body), 0)
		return
	}
	impression := ad.Chain[0].URLs.Impression
	for begun := time.Now(); ; time.Sleep(500 * time.Millisecond) {
		_, err := w.ask(client, impression)
		w.mu.Lock()
		late := time.Since(begun) > persistence
		switch {
		case err == nil:
			w.acknowledged = append(w.acknowledged, time.Now())
		case late:
			w.unsure++
		}
		w.mu.Unlock()
		if err == nil || late {
			break
		}
	}
	if n%8 == 0 { // a browser may fetch a pixel twice, and reach another server with it; it counts once
		_, _ = w.ask(w.fresh, impression) // noted by ask
	}
}

func (w *traffic) ask(client *http.Client, url string) ([]byte, error) {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", browser)
	start := time.Now()
	resp, err := client.Do(req)
	var body []byte
	if err == nil {
		defer resp.Body.Close()
		if body, err = io.ReadAll(resp.Body); err == nil && resp.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s: %.200s", resp.Status, body)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.note(err, time.Since(start))
	return body, err
}

func (w *traffic) note(err error, took time.Duration) {
	w.requests++
	if err != nil {
		if w.failed++; w.failed == 1 {
			w.firstFailure = err.Error()
		}
		return
	}
	now := time.Now()
	w.gap, w.slowest, w.lastGood = max(w.gap, now.Sub(w.lastGood)), max(w.slowest, took), now
}

// flawless fails when a request did.
func (c tally) flawless(t *testing.T) {
	t.Helper()
	if c.failed > 0 || c.requests == 0 {
		t.Errorf("%v; the first: %s", c, c.firstFailure)
	}
}
