package faulttest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	mrand "math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"patag/app/tag/faulttest/parts"
)

// clients are what browsers know: which events were acknowledged, and which they sent without learning what became of them.
type clients struct {
	servers []*tagServer
	mu      sync.Mutex
	acked   map[string]string // URL without host: kind
	unsure  map[string]string
	ads     int
}

// send sends an event to some server, not always the one that served the ad.
func (c *clients) send(ctx context.Context, kind, path string) {
	server := c.servers[mrand.N(len(c.servers))]
	code, _, err := get(ctx, "http://"+server.addr+path)
	ok := err == nil && (code == 200 || code == 204 || code == 302)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case ok:
		c.acked[path] = kind
		delete(c.unsure, path)
	case c.acked[path] == "":
		c.unsure[path] = kind
	}
}

// browse asks for ads and sends what follows from them until ctx ends; some events twice, as browsers do.
func (c *clients) browse(ctx context.Context) {
	placements := []string{"demo-top", "demo-side", "demo-native", "demo-tag"}
	for ctx.Err() == nil {
		server := c.servers[mrand.N(len(c.servers))]
		code, body, err := get(ctx, "http://"+server.addr+"/v1/ad?placement="+placements[mrand.N(len(placements))])
		var ad struct {
			Chain []struct{ URLs map[string]string }
		}
		if err != nil || code != 200 || json.Unmarshal(body, &ad) != nil {
			time.Sleep(5 * time.Millisecond)
			continue
		}
		c.mu.Lock()
		c.ads++
		c.mu.Unlock()
		for _, step := range ad.Chain {
			for kind, full := range step.URLs {
				u, err := url.Parse(full)
				if err != nil || kind != "impression" && mrand.N(3) > 0 {
					continue
				}
				for range 1 + mrand.N(2) {
					c.send(ctx, kind, u.RequestURI())
				}
			}
		}
	}
}

// settle sends again what is not known to be counted, as a page that is still open does.
func (c *clients) settle(t *testing.T) {
	t.Helper()
	for range 20 {
		c.mu.Lock()
		again := make(map[string]string, len(c.unsure))
		for path, kind := range c.unsure {
			again[path] = kind
		}
		c.mu.Unlock()
		if len(again) == 0 {
			return
		}
		for path, kind := range again {
			c.send(t.Context(), kind, path)
		}
	}
	t.Fatalf("%d events are never acknowledged", len(c.unsure))
}

// Two tag servers, killed again and again under load, Redis and the store away for a while: the reports say exactly what clients saw
// acknowledged, each event once, although many were sent twice and to both servers.
func TestReportsEqualWhatClientsSawAcknowledged(t *testing.T) {
	kills, outage := 5, 1500*time.Millisecond
	if os.Getenv("PATAG_SOAK") != "" {
		kills, outage = 200, 10*time.Second
	} else if testing.Short() {
		kills = 2
	}
	redis := []*parts.Part{parts.Redis(t), parts.Redis(t), parts.Redis(t)}
	proxy, store := parts.Twemproxy(t, redis...), parts.FerretDB(t)
	mongo := "mongodb://" + store.Addr + "/patag"
	path := build(t)
	if out, err := exec.Command(path, "catalogue", "import", "--demo", "--wait", "20s", "--mongo-uri", mongo).CombinedOutput(); err != nil {
		t.Fatalf("import: %v\n%s", err, out)
	}
	c := &clients{acked: map[string]string{}, unsure: map[string]string{}}
	keys := keyFile(t)
	for _, name := range []string{"tag-a", "tag-b"} {
		c.servers = append(c.servers, newTagServer(t, path, name, keys, proxy.Addr, mongo))
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() { c.browse(ctx) })
	}
	for n := range kills {
		time.Sleep(between(200*time.Millisecond, 1200*time.Millisecond))
		victim := c.servers[mrand.N(len(c.servers))]
		victim.kill()
		victim.start()
		switch {
		case n%25 == kills%25/2:
			away(t, redis[mrand.N(len(redis))], outage)
		case n%25 == kills%25/2+1:
			away(t, store, outage)
		}
	}
	time.Sleep(500 * time.Millisecond)
	stop()
	wg.Wait()
	for _, s := range c.servers {
		s.ready()
	}
	c.settle(t)
	for _, s := range c.servers {
		s.stop() // the last segments are shipped
	}
	want := map[string]int64{}
	for _, kind := range c.acked {
		want[kind]++
	}
	got := total(t, path, mongo)
	if got["impressions"] == 0 || got["clicks"] == 0 {
		t.Fatal("nothing was counted: the test shows nothing")
	}
	for kind, column := range map[string]string{"impression": "impressions", "viewable": "viewables", "click": "clicks", "error": "errors", "passback": "passbacks"} {
		if got[column] != want[kind] {
			t.Errorf("%s: %d in the reports, %d acknowledged", column, got[column], want[kind])
		}
	}
	// A client may have got an answer whose request died with the tally, so requests are not exact: told, and never above.
	t.Logf("%d kills, %d ads, acknowledged %v, reports %v", kills, c.ads, want, got)
}

func away(t *testing.T, p *parts.Part, d time.Duration) {
	t.Helper()
	p.Kill()
	time.Sleep(d)
	p.Start()
}

func total(t *testing.T, path, mongo string) map[string]int64 {
	t.Helper()
	var r struct{ Total map[string]any }
	out, err := exec.Command(path, "report", "--json", "--by", "placement", "--mongo-uri", mongo).Output()
	if err == nil {
		err = json.Unmarshal(out, &r)
	}
	if err != nil {
		t.Fatalf("report: %v\n%s", err, out)
	}
	counts := map[string]int64{}
	for k, v := range r.Total {
		if n, ok := v.(float64); ok {
			counts[k] = int64(n)
		}
	}
	if counts["invalid"] != 0 {
		t.Errorf("%d events are invalid traffic", counts["invalid"])
	}
	return counts
}

func keyFile(t *testing.T) string {
	t.Helper()
	secret := make([]byte, 32)
	rand.Read(secret)
	path := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(path, fmt.Appendln(nil, hex.EncodeToString(secret)), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
