package logs

import (
	"bufio"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"patag/infra/sandbox/filter"
)

// Query selects entries.
type Query struct {
	// Projects are project IDs.
	Projects []string
	// Filter is in Google's logging query language.
	Filter string
	// Descending gives the newest entries first.
	Descending bool
	// Size is the most entries to return; 0 is 50, the most is 1000, as at Google.
	Size int
	// Token continues an earlier List of the same query.
	Token string
}

// ErrQuery marks errors that are the caller's: a filter or page token that cannot be honoured.
var ErrQuery = errors.New("invalid query")

// found is a matching entry with what it is sorted by.
type found struct {
	Timestamp time.Time
	InsertID  string
	raw       []byte
}

// List gives the entries that match, ordered by timestamp then insertId, and the token of the next page if there is one.
// Entries with the same log, timestamp and insertId are one entry.
func (l *Log) List(ctx context.Context, q Query) (entries []json.RawMessage, next string, err error) {
	f, err := Parse(q.Filter)
	if err != nil {
		return nil, "", fmt.Errorf("%w: %w", ErrQuery, err)
	}
	if q.Size <= 0 {
		q.Size = 50
	}
	q.Size = min(q.Size, 1000)
	c := &collector{limit: q.Size + 1, descending: q.Descending}
	if q.Token != "" {
		if c.after, err = parseToken(q.Token); err != nil {
			return nil, "", fmt.Errorf("%w: page token: %w", ErrQuery, err)
		}
	}
	from, to := f.TimeRange("timestamp")
	for _, name := range q.Projects {
		p, err := l.project(name, false)
		if err != nil {
			return nil, "", fmt.Errorf("%w: %w", ErrQuery, err)
		}
		if p == nil {
			continue
		}
		if err := p.search(ctx, f, from, to, c); err != nil {
			return nil, "", err
		}
	}
	c.trim()
	if len(c.found) > q.Size {
		c.found = c.found[:q.Size]
		next = c.found[q.Size-1].token()
	}
	for _, e := range c.found {
		entries = append(entries, e.raw)
	}
	return entries, next, nil
}

// collector keeps the first entries in the wanted order.
type collector struct {
	limit      int
	descending bool
	after      *found
	found      []found
}

func (c *collector) order(a, b found) int {
	n := cmp.Or(a.Timestamp.Compare(b.Timestamp), cmp.Compare(a.InsertID, b.InsertID))
	if c.descending {
		return -n
	}
	return n
}

// wants tells, before the costly part, whether an entry could be among the first.
func (c *collector) wants(f found) bool { return c.after == nil || c.order(f, *c.after) > 0 }

// skips tells whether no entry of a segment can be among the first any more.
func (c *collector) skips(s segment) bool {
	if len(c.found) < c.limit {
		return false
	}
	c.trim()
	last := c.found[len(c.found)-1].Timestamp
	if c.descending {
		return s.To.Before(last)
	}
	return s.From.After(last)
}

func (c *collector) add(f found) {
	c.found = append(c.found, f)
	if len(c.found) > 4*c.limit {
		c.trim()
	}
}

func (c *collector) trim() {
	slices.SortStableFunc(c.found, c.order)
	c.found = slices.CompactFunc(c.found, func(a, b found) bool { return c.order(a, b) == 0 })
	if len(c.found) > c.limit {
		c.found = c.found[:c.limit]
	}
}

func (p *project) search(ctx context.Context, f filter.Filter, from, to time.Time, c *collector) error {
	p.mu.Lock()
	err := p.write() // what was appended must be found
	segments := make([]segment, 0, len(p.segments)+1)
	for _, s := range append(slices.Clone(p.segments), p.active) {
		segments = append(segments, *s)
	}
	deleted := map[string]time.Time{}
	for name, st := range p.index.Names {
		if !st.Deleted.IsZero() {
			deleted[name] = st.Deleted
		}
	}
	p.mu.Unlock()
	if err != nil {
		return err
	}
	slices.SortFunc(segments, func(a, b segment) int {
		if c.descending {
			return b.To.Compare(a.To)
		}
		return a.From.Compare(b.From)
	})
	for _, s := range segments {
		if s.Count == 0 || (!from.IsZero() && s.To.Before(from)) || (!to.IsZero() && s.From.After(to)) || c.skips(s) {
			continue
		}
		if err := p.scan(ctx, s, f, deleted, c); err != nil {
			return err
		}
	}
	return nil
}

func (p *project) scan(ctx context.Context, s segment, f filter.Filter, deleted map[string]time.Time, c *collector) error {
	file, err := os.Open(p.segmentPath(s.Number))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // retention was quicker
	}
	if err != nil {
		return err
	}
	defer file.Close()
	r := bufio.NewReaderSize(io.LimitReader(file, s.Size), 256<<10)
	for n := 0; ; n++ {
		if n%512 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil // a line without its end is still being written
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", file.Name(), err)
		}
		var doc map[string]any
		if json.Unmarshal(line, &doc) != nil {
			continue // told at the start
		}
		e := found{InsertID: str(doc["insertId"]), raw: line[:len(line)-1]}
		if e.Timestamp, err = time.Parse(time.RFC3339Nano, str(doc["timestamp"])); err != nil || !c.wants(e) {
			continue
		}
		if until, ok := deleted[str(doc["logName"])]; ok {
			if got, err := time.Parse(time.RFC3339Nano, str(doc["receiveTimestamp"])); err == nil && !got.After(until) {
				continue
			}
		}
		if f.Match(doc) {
			c.add(e)
		}
	}
}

func str(v any) string { s, _ := v.(string); return s }

func (f found) token() string {
	raw, _ := json.Marshal(f) // two plain fields: cannot fail
	return base64.RawURLEncoding.EncodeToString(raw)
}

func parseToken(token string) (*found, error) {
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return nil, err
	}
	var f found
	return &f, json.Unmarshal(raw, &f)
}

var sequence atomic.Uint64

// newInsertID orders entries of one instant as they came.
func newInsertID(now time.Time) string {
	return strconv.FormatInt(now.UnixNano(), 36) + fmt.Sprintf("%06d", sequence.Add(1)%1_000_000)
}

// Severities in their order.
var Severities = []string{"DEFAULT", "DEBUG", "INFO", "NOTICE", "WARNING", "ERROR", "CRITICAL", "ALERT", "EMERGENCY"}

var fields = func() map[string]bool {
	m := map[string]bool{}
	for _, f := range []string{"logName", "resource", "protoPayload", "textPayload", "jsonPayload", "timestamp", "receiveTimestamp",
		"severity", "insertId", "httpRequest", "labels", "operation", "trace", "spanId", "traceSampled", "sourceLocation",
		"split", "errorGroups", "metadata", "apphub", "apphubDestination", "apphubSource"} {
		m[f] = true
	}
	return m
}()

// Parse reads a query of Cloud Logging. What is not supported is an error that names it.
func Parse(text string) (filter.Filter, error) {
	return filter.Parse(text, filter.Dialect{
		Fields: fields, FoldCase: true, Text: true,
		Enums:    map[string][]string{"severity": Severities},
		Defaults: map[string]any{"severity": "DEFAULT", "traceSampled": false},
		Calls:    map[string]func([]string) (func(map[string]any) bool, error){"log_id": logID, "ip_in_net": ipInNet},
	})
}

func logID(args []string) (func(map[string]any) bool, error) {
	if len(args) != 1 {
		return nil, errors.New("takes one argument, the log's ID")
	}
	return func(doc map[string]any) bool { return ID(str(doc["logName"])) == args[0] }, nil
}

func ipInNet(args []string) (func(map[string]any) bool, error) {
	if len(args) != 2 {
		return nil, errors.New("takes a field and a network")
	}
	_, network, err := net.ParseCIDR(args[1])
	if err != nil {
		return nil, err
	}
	return func(doc map[string]any) bool {
		for _, v := range filter.Lookup(doc, args[0]) {
			if ip := net.ParseIP(str(v)); ip != nil && network.Contains(ip) {
				return true
			}
		}
		return false
	}, nil
}
