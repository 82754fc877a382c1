package pacing

import (
	"fmt"
	"testing"

	"patag/app/tag/faulttest/parts"
	"patag/app/tag/redisproxy"
)

// Two servers add to the sums of the same item, through the real twemproxy, and each sees both.
func TestRedisLedgerAddsServersUp(t *testing.T) {
	proxy := parts.Twemproxy(t, parts.Redis(t), parts.Redis(t))
	rdb := redisproxy.New(redisproxy.Options{Addr: proxy.Addr})
	defer rdb.Close()
	a, b := &RedisLedger{Redis: rdb, Server: "a"}, &RedisLedger{Redis: rdb, Server: "b"}
	ids := []string{"none"}
	add := map[string]Counts{}
	for i := range 20 {
		id := fmt.Sprint("item-", i)
		ids, add[id] = append(ids, id), Counts{Impressions: 3, Clicks: 1, Micros: 6000, Met: 10, Passed: 4}
	}
	if _, _, err := a.Exchange(t.Context(), add, ids); err != nil {
		t.Fatal(err)
	}
	sums, servers, err := b.Exchange(t.Context(), add, ids)
	if err != nil || servers != 2 {
		t.Fatalf("%d servers, %v; want 2", servers, err)
	}
	for _, id := range ids[1:] {
		if want := (Counts{6, 2, 12000, 20, 8}); sums[id] != want {
			t.Errorf("%s: %+v, want %+v", id, sums[id], want)
		}
	}
	if sums["none"] != (Counts{}) {
		t.Errorf("an item that nobody delivered: %+v", sums["none"])
	}
}
