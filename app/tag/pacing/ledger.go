package pacing

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// RedisLedger keeps sums in Redis, through twemproxy or not: a hash per line item (t:<item>), and one of servers (t:servers/<minute>).
type RedisLedger struct {
	Redis  redis.Cmdable
	Server string // name of this one
}

const keepSums = 400 * 24 * time.Hour

var fields = []string{"impressions", "clicks", "micros", "met", "passed"}

func (c *Counts) values() [5]*int64 {
	return [5]*int64{&c.Impressions, &c.Clicks, &c.Micros, &c.Met, &c.Passed}
}

// Exchange implements Ledger.
func (l *RedisLedger) Exchange(ctx context.Context, add map[string]Counts, ids []string) (map[string]Counts, int, error) {
	// Servers of this minute and of the one before: whoever is alive is in one of them.
	minute := time.Now().Unix() / 60
	now, before := serversKey(minute), serversKey(minute-1)
	sums := make(map[string]Counts, len(ids))
	reads := make(map[string]*redis.SliceCmd, len(ids))
	var seen [2]*redis.StringSliceCmd
	_, err := l.Redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		for id, c := range add {
			for i, v := range c.values() {
				if *v != 0 {
					p.HIncrBy(ctx, key(id), fields[i], *v)
				}
			}
			p.Expire(ctx, key(id), keepSums)
		}
		for _, id := range ids {
			reads[id] = p.HMGet(ctx, key(id), fields...)
		}
		p.HSet(ctx, now, l.Server, 1)
		p.Expire(ctx, now, 5*time.Minute)
		seen[0], seen[1] = p.HKeys(ctx, now), p.HKeys(ctx, before)
		return nil
	})
	if err != nil {
		return nil, 0, fmt.Errorf("exchange delivered counts: %w", err)
	}
	for id, cmd := range reads {
		var c Counts
		into := c.values()
		for i, v := range cmd.Val() {
			text, ok := v.(string)
			if !ok {
				continue
			}
			if *into[i], err = strconv.ParseInt(text, 10, 64); err != nil {
				return nil, 0, errors.Join(fmt.Errorf("delivered counts of line item %q: %s", id, fields[i]), err)
			}
		}
		sums[id] = c
	}
	return sums, max(len(seen[0].Val()), len(seen[1].Val())), nil
}

func key(item string) string { return "t:" + item }

func serversKey(minute int64) string { return "t:servers/" + strconv.FormatInt(minute, 10) }
