package ship

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"patag/app/tag/events"
)

// RedisClaims keeps claims in Redis (7.0 or later, for SET … NX GET), through twemproxy or not.
type RedisClaims struct {
	Redis redis.Cmdable
	// Keep is how long claims of a kind are remembered: the age that its tokens may reach, and how long segments may wait.
	Keep func(events.Kind) time.Duration
}

// Claim implements Claims.
func (c RedisClaims) Claim(ctx context.Context, owner string, keys []Key) ([]bool, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	cmds := make([]*redis.StatusCmd, len(keys))
	_, err := c.Redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, k := range keys {
			cmds[i] = p.SetArgs(ctx, k.text(), owner, redis.SetArgs{Mode: "NX", Get: true, TTL: c.Keep(k.Kind)})
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, err
	}
	owned := make([]bool, len(keys))
	for i, cmd := range cmds {
		before, err := cmd.Result()
		switch {
		case errors.Is(err, redis.Nil):
			owned[i] = true // there was none before
		case err != nil:
			return nil, fmt.Errorf("claim an event: %w", err)
		default:
			owned[i] = before == owner
		}
	}
	return owned, nil
}

// text is the key in Redis: e:<token>:<kind>, and :<source> where there is one.
func (k Key) text() string {
	b := strconv.AppendUint([]byte("e:"), k.Token, 36)
	b = strconv.AppendInt(append(b, ':'), int64(k.Kind), 10)
	if k.Source != "" {
		b = append(append(b, ':'), k.Source...)
	}
	return string(b)
}
