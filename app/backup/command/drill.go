package command

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/bson/primitive"
	"go.mongodb.org/mongo-driver/mongo"
)

// drillPrefix names the databases of drills: drill_<seconds since 1970, in base 36>_<backup>.
const drillPrefix = "drill_"

// stale is when a drill's database is the rest of one that was killed: the Job's own deadline is an hour.
const stale = 2 * time.Hour

// drill restores a backup into a database of its own, compares, and drops that again, also when it is not equal. Each drill has
// its own database: one that was restored before would prove nothing.
func (s *settings) drill(ctx context.Context) (answer any, err error) {
	client, _, b, err := s.both(ctx)
	if err != nil {
		return nil, err
	}
	defer client.Disconnect(context.WithoutCancel(ctx))
	m, err := s.chosen(ctx, b)
	if err != nil {
		return nil, err
	}
	if err := s.sweepDrills(ctx, client, time.Now()); err != nil {
		return nil, err
	}
	s.id, s.into = m.ID, drillName(time.Now(), m.ID)
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
		defer cancel()
		if dropErr := client.Database(s.into).Drop(end); dropErr != nil {
			answer, err = nil, errors.Join(err, fmt.Errorf("drop database %s: %w", s.into, dropErr))
			return
		}
		s.say("dropped database %s", s.into)
	}()
	return s.restore(ctx)
}

func drillName(at time.Time, id string) string {
	return drillPrefix + strconv.FormatInt(at.Unix(), 36) + "_" + strings.ToLower(id)
}

// sweepDrills drops what drills that were killed left.
func (s *settings) sweepDrills(ctx context.Context, client *mongo.Client, now time.Time) error {
	names, err := client.ListDatabaseNames(ctx, bson.D{{Key: "name", Value: primitive.Regex{Pattern: "^" + drillPrefix}}})
	if err != nil {
		return fmt.Errorf("look for what earlier drills left: %w", err)
	}
	for _, name := range names {
		text, _, ok := strings.Cut(strings.TrimPrefix(name, drillPrefix), "_")
		at, err := strconv.ParseInt(text, 36, 64)
		if !strings.HasPrefix(name, drillPrefix) || !ok || err != nil || now.Sub(time.Unix(at, 0)) < stale {
			continue
		}
		if err := client.Database(name).Drop(ctx); err != nil {
			return fmt.Errorf("drop database %s, which a drill left: %w", name, err)
		}
		s.say("dropped database %s, which a drill left", name)
	}
	return nil
}
