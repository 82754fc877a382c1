package hardcap

import (
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"patag/app/tag/faulttest/parts"
	"patag/app/tag/inventory"
	"patag/app/tag/redisproxy"
)

// Ten servers share a cap in the real Redis behind the real twemproxy; some die with what they hold, Redis goes away and comes back.
// Never one too many, and what is not served is only what the dead ones held and what an outage's lost answers may have taken.
func TestSharedCapIsNeverExceeded(t *testing.T) {
	server := parts.Redis(t)
	proxy := parts.Twemproxy(t, server)
	const limit = 20_000
	it := &inventory.Item{ID: "shared", MaxImpressions: limit}
	snap := &inventory.Snapshot{Capped: []*inventory.Item{it}}
	rdb := redisproxy.New(redisproxy.Options{Addr: proxy.Addr})
	defer rdb.Close()
	quiet := slog.New(slog.DiscardHandler)
	start := func() (*Manager, *View) {
		m := New(rdb, quiet)
		return m, m.View(t.Context(), snap)
	}
	managers, views := make([]*Manager, 10), make([]*View, 10)
	for i := range managers {
		managers[i], views[i] = start()
	}
	served, deaths := 0, 0
	for round := 0; round < 4000 && served < limit; round++ {
		i := rand.N(len(managers))
		for range rand.N(60) {
			if views[i].Reserve(it) {
				served++
			}
		}
		switch {
		case round%50 == 49:
			managers[i], views[i] = start() // the one before died with what it held
			deaths++
		case round == 120:
			server.Kill()
			for range 3 {
				managers[i].refill(t.Context())
			}
			for n := range views { // what is held is served; then they stop
				for views[n].Reserve(it) {
					served++
				}
			}
			server.Start()
			// twemproxy and the client find it again.
			for until := time.Now().Add(5 * time.Second); rdb.Get(t.Context(), "cap:shared").Err() != nil && time.Now().Before(until); {
				time.Sleep(50 * time.Millisecond)
			}
		default:
			managers[i].refill(t.Context())
		}
	}
	for range 3 {
		for i := range managers {
			managers[i].refill(t.Context())
			for views[i].Reserve(it) {
				served++
			}
		}
	}
	// Redis with everysec may forget a second when it is killed: that is the operator's choice and not seen by this test, in which
	// nothing was leased in the second before.
	lost := (deaths + 10) * int(block(limit)) * 2
	if served > limit || served < limit-lost {
		t.Errorf("%d served of a cap of %d; at most %d may be missing after %d deaths", served, limit, lost, deaths)
	}
	t.Logf("%d of %d served, %d deaths, one outage", served, limit, deaths)
}
