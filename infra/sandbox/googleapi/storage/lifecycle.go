package storage

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"google.golang.org/api/storage/v1"

	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/store"
)

// rule is one parsed lifecycle rule.
type rule struct {
	action, class string
	when          storage.BucketLifecycleRuleCondition
}

// parseRules checks a bucket's lifecycle as Google does when it is set.
func parseRules(b googleapi.Doc) ([]rule, error) {
	var rules []rule
	for _, d := range b.Docs("lifecycle", "rule") {
		var raw storage.BucketLifecycleRule
		if err := d.To(&raw); err != nil {
			return nil, err
		}
		if raw.Action == nil || raw.Condition == nil || len(d.Doc("condition")) == 0 {
			return nil, googleapi.InvalidArgument("A lifecycle rule must have an action and at least one condition.")
		}
		r := rule{raw.Action.Type, raw.Action.StorageClass, *raw.Condition}
		switch r.action {
		case "Delete", "AbortIncompleteMultipartUpload":
		case "SetStorageClass":
			if !storageClasses[r.class] {
				return nil, googleapi.InvalidArgument("A lifecycle rule sets the unknown storage class %q.", r.class)
			}
		default:
			return nil, googleapi.InvalidArgument("Invalid lifecycle action type: %q", r.action)
		}
		if r.when.MatchesPattern != "" {
			return nil, googleapi.Unimplemented("The sandbox does not simulate the lifecycle condition matchesPattern.")
		}
		for _, day := range []string{r.when.CreatedBefore, r.when.CustomTimeBefore, r.when.NoncurrentTimeBefore} {
			if day == "" {
				continue
			}
			if _, err := time.Parse(time.DateOnly, day); err != nil {
				return nil, googleapi.InvalidArgument("A lifecycle condition has the date %q; the form is YYYY-MM-DD.", day)
			}
		}
		rules = append(rules, r)
	}
	return rules, nil
}

// Run applies the lifecycle rules now and every interval (Google takes up to a day) until ctx ends.
func (s *Server) Run(ctx context.Context, interval time.Duration) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		s.sweep(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// uploadLife is how long an unfinished upload can be resumed, as at Google.
const uploadLife = 7 * 24 * time.Hour

// Sweep carries out what lifecycle rules and the age of unfinished uploads demand at a time.
func (s *Server) Sweep(ctx context.Context, now time.Time) error {
	var buckets []googleapi.Doc
	err := s.core.Store().View(func(tx store.Tx) (err error) { buckets, err = googleapi.Children(tx, "storage/b"); return err })
	if err != nil {
		return err
	}
	for _, b := range buckets {
		rules, err := parseRules(b)
		if err != nil {
			return err
		}
		if len(rules) > 0 {
			if err := s.sweepBucket(ctx, b.String("name"), rules, now); err != nil {
				return err
			}
		}
	}
	return s.sweepUploads(now)
}

type version struct {
	rec  record
	live bool
}

func (s *Server) sweepBucket(ctx context.Context, bucket string, rules []rule, now time.Time) error {
	byName := map[string][]version{}
	err := s.core.Store().View(func(tx store.Tx) error {
		for _, prefix := range []string{liveKey(bucket, ""), oldPrefix(bucket, "")} {
			err := tx.List(prefix, func(key string, raw []byte) error {
				var rec record
				if err := json.Unmarshal(raw, &rec); err != nil {
					return err
				}
				name := rec.Object.String("name")
				byName[name] = append(byName[name], version{rec, strings.HasPrefix(key, "storage-live/")})
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, versions := range byName {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		slices.SortFunc(versions, func(a, b version) int {
			return int(b.rec.Object.Int("generation") - a.rec.Object.Int("generation"))
		})
		for newer, v := range versions {
			if err := s.apply(v, newer, rules, now); err != nil {
				return err
			}
		}
	}
	return nil
}

// apply does to one version what the strongest matching rule says: deletion goes before a change of class.
func (s *Server) apply(v version, newer int, rules []rule, now time.Time) error {
	var class string
	for _, r := range rules {
		if !r.matches(v, newer, now) {
			continue
		}
		switch r.action {
		case "Delete":
			return s.expire(v)
		case "SetStorageClass":
			class = r.class
		}
	}
	if class == "" || class == v.rec.Object.String("storageClass") {
		return nil
	}
	return s.onVersion(v, func(tx store.Tx, rec record, key string) ([]string, error) {
		rec.Object["storageClass"], rec.Object["timeStorageClassUpdated"] = class, stamp(now)
		return nil, tx.Put(key, rec)
	})
}

func (s *Server) expire(v version) error {
	return s.onVersion(v, func(tx store.Tx, rec record, _ string) ([]string, error) {
		litter, err := s.remove(tx, rec, v.live, false)
		if isHeld(err) {
			return nil, nil // holds and retention are stronger
		}
		return litter, err
	})
}

func isHeld(err error) bool {
	e, ok := err.(*googleapi.Error)
	return ok && e.Code == 403
}

// onVersion runs fn on a version if it is still what the sweep saw.
func (s *Server) onVersion(v version, fn func(tx store.Tx, rec record, key string) ([]string, error)) error {
	obj := v.rec.Object
	key := liveKey(obj.String("bucket"), obj.String("name"))
	if !v.live {
		key = oldKey(obj.String("bucket"), obj.String("name"), obj.Int("generation"))
	}
	var litter []string
	err := s.core.Store().Update(func(tx store.Tx) error {
		var rec record
		found, err := tx.Get(key, &rec)
		if err != nil || !found || rec.Object["generation"] != obj["generation"] || rec.Object["metageneration"] != obj["metageneration"] {
			return err
		}
		litter, err = fn(tx, rec, key)
		return err
	})
	if err == nil {
		s.discard(litter)
	}
	return err
}

func (r rule) matches(v version, newer int, now time.Time) bool {
	obj, c := v.rec.Object, r.when
	olderThan := func(field string, days int64) bool {
		t, err := time.Parse(time.RFC3339, obj.String(field))
		return err == nil && now.Sub(t) >= time.Duration(days)*24*time.Hour
	}
	before := func(field, day string) bool {
		t, err := time.Parse(time.RFC3339, obj.String(field))
		d, bad := time.Parse(time.DateOnly, day)
		return err == nil && bad == nil && t.Before(d)
	}
	name := obj.String("name")
	switch {
	case c.Age != nil && !olderThan("timeCreated", *c.Age),
		c.CreatedBefore != "" && !before("timeCreated", c.CreatedBefore),
		c.IsLive != nil && *c.IsLive != v.live,
		c.NumNewerVersions > 0 && int64(newer) < c.NumNewerVersions,
		c.DaysSinceNoncurrentTime > 0 && (v.live || !olderThan("timeDeleted", c.DaysSinceNoncurrentTime)),
		c.NoncurrentTimeBefore != "" && (v.live || !before("timeDeleted", c.NoncurrentTimeBefore)),
		c.DaysSinceCustomTime > 0 && !olderThan("customTime", c.DaysSinceCustomTime),
		c.CustomTimeBefore != "" && !before("customTime", c.CustomTimeBefore),
		len(c.MatchesStorageClass) > 0 && !slices.Contains(c.MatchesStorageClass, obj.String("storageClass")),
		len(c.MatchesPrefix) > 0 && !slices.ContainsFunc(c.MatchesPrefix, func(p string) bool { return strings.HasPrefix(name, p) }),
		len(c.MatchesSuffix) > 0 && !slices.ContainsFunc(c.MatchesSuffix, func(p string) bool { return strings.HasSuffix(name, p) }):
		return false
	}
	// A deletion rule by age alone would take a versioned bucket's live object and then, at the next sweep, its noncurrent
	// version as well: so does Google's.
	return true
}

func (s *Server) sweepUploads(now time.Time) error {
	var old []string
	err := s.core.Store().View(func(tx store.Tx) error {
		return tx.List("storage-upload/", func(key string, raw []byte) error {
			var ses session
			if err := json.Unmarshal(raw, &ses); err != nil {
				return err
			}
			if t, err := time.Parse(time.RFC3339, ses.Time); err != nil || now.Sub(t) > uploadLife {
				old = append(old, ses.ID)
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	for _, id := range old {
		if err := s.core.Store().Delete(sessionKey(id)); err != nil {
			return err
		}
		s.uploads.Delete(id)
		if err := os.Remove(s.files.uploadPath(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
