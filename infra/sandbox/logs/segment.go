package logs

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// segment is one file of entries and the range of their timestamps, by which List skips files.
type segment struct {
	Number   uint64    `json:"-"`
	Size     int64     `json:"size"`
	Count    int64     `json:"count"`
	From, To time.Time // of the entries' timestamps
	Written  time.Time // when the last entry came, which is what retention counts from
}

func (s *segment) add(size int, t time.Time) {
	if s.Count == 0 || t.Before(s.From) {
		s.From = t
	}
	if s.Count == 0 || t.After(s.To) {
		s.To = t
	}
	s.Size += int64(size)
	s.Count++
	s.Written = time.Now()
}

// logState is what a project remembers of one log beside its entries.
type logState struct {
	// Deleted is the receive time up to which entries of the log count as deleted.
	Deleted time.Time `json:"deleted,omitzero"`
	// Again is true when entries came after the deletion.
	Again bool `json:"again,omitempty"`
}

type index struct {
	Names map[string]*logState `json:"names"`
}

type project struct {
	dir string
	o   *Options

	mu       sync.Mutex
	index    index
	segments []*segment // sealed, oldest first
	active   *segment
	file     *os.File
	buffer   bytes.Buffer // not yet in file
	lost     int64
	dirty    atomic.Bool // written but not synced
}

// bufferLimit bounds what is kept in memory when the disk takes nothing.
const bufferLimit = 16 << 20

func openProject(dir string, o *Options) (*project, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	p := &project{dir: dir, o: o, index: index{Names: map[string]*logState{}}}
	raw, err := os.ReadFile(p.path("index.json"))
	if err == nil {
		err = json.Unmarshal(raw, &p.index)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read %s: %w", p.path("index.json"), err)
	}
	files, err := filepath.Glob(p.path("*.jsonl"))
	if err != nil {
		return nil, err
	}
	slices.Sort(files)
	for i, file := range files {
		number, err := strconv.ParseUint(strings.TrimSuffix(filepath.Base(file), ".jsonl"), 10, 64)
		if err != nil {
			continue // not ours
		}
		s, err := p.load(number, i == len(files)-1)
		if err != nil {
			return nil, err
		}
		p.segments = append(p.segments, s)
	}
	var next uint64
	if n := len(p.segments); n > 0 {
		next = p.segments[n-1].Number + 1
		if last := p.segments[n-1]; last.Size < o.Segment { // go on with it
			p.segments, p.active = p.segments[:n-1], last
		}
	}
	if p.active == nil {
		p.active = &segment{Number: next}
	}
	p.file, err = os.OpenFile(p.segmentPath(p.active.Number), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	return p, err
}

func (p *project) path(name string) string { return filepath.Join(p.dir, name) }

func (p *project) segmentPath(n uint64) string { return p.path(fmt.Sprintf("%012d.jsonl", n)) }

func (p *project) sealPath(n uint64) string { return p.path(fmt.Sprintf("%012d.seal", n)) }

// load reads a segment's seal, or scans the segment when it was not sealed before a crash.
func (p *project) load(number uint64, last bool) (*segment, error) {
	s := &segment{Number: number}
	raw, err := os.ReadFile(p.sealPath(number))
	if err == nil && json.Unmarshal(raw, s) == nil {
		return s, nil
	}
	*s = segment{Number: number}
	f, err := os.Open(p.segmentPath(number))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 256<<10)
	var good, bad int64
	for {
		line, err := r.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("read %s: %w", f.Name(), err)
		}
		var e struct {
			LogName   string    `json:"logName"`
			Timestamp time.Time `json:"timestamp"`
		}
		switch {
		case len(line) == 0:
		case err == nil && json.Unmarshal(line, &e) == nil:
			s.add(len(line), e.Timestamp)
			if p.index.Names[e.LogName] == nil {
				p.index.Names[e.LogName] = &logState{}
			}
			good += int64(len(line))
		case err != nil: // a torn last line
			p.o.Logger.Warn("a half-written log entry is dropped", "file", f.Name(), "bytes", len(line))
			if last {
				if err := os.Truncate(f.Name(), good+bad); err != nil {
					return nil, err
				}
			}
		default: // a hole in the middle, which only a power cut can leave: readers skip it
			bad += int64(len(line))
			p.o.Logger.Warn("an unreadable log entry is skipped", "file", f.Name(), "offset", good+bad)
		}
		if err != nil {
			s.Size = good + bad
			if info, err := f.Stat(); err == nil {
				s.Written = info.ModTime()
			}
			return s, nil
		}
	}
}

func (p *project) append(line []byte, m meta) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.buffer.Len()+len(line) > bufferLimit {
		p.lost++
		return fmt.Errorf("the log buffer of %s is full: the disk takes no more entries; %d lost so far", filepath.Base(p.dir), p.lost)
	}
	st := p.index.Names[m.name]
	if st == nil || (!st.Deleted.IsZero() && !st.Again) {
		if st == nil {
			st = &logState{}
			p.index.Names[m.name] = st
		}
		st.Again = !st.Deleted.IsZero()
		if err := p.saveIndex(); err != nil {
			return err
		}
	}
	p.buffer.Write(line)
	p.active.add(len(line), m.timestamp)
	if p.active.Size >= p.o.Segment {
		return p.rotate()
	}
	return nil
}

// write empties the buffer into the file. A short write is finished by the next one.
func (p *project) write() error {
	if p.buffer.Len() == 0 {
		return nil
	}
	n, err := p.file.Write(p.buffer.Bytes())
	p.buffer.Next(n)
	p.dirty.Store(true)
	if err != nil {
		return fmt.Errorf("write log entries: %w", err)
	}
	return nil
}

func (p *project) flush(sync bool) error {
	p.mu.Lock()
	err := p.write()
	file := p.file
	p.mu.Unlock()
	if err != nil || !sync || !p.dirty.CompareAndSwap(true, false) {
		return err
	}
	// Outside the lock: an fsync on a busy disk must not hold up requests. A rotation may close the file meanwhile; it synced it then.
	if err := file.Sync(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("sync log entries: %w", err)
	}
	return nil
}

// rotate seals the active segment, begins the next and lets go of what is too old or too much.
func (p *project) rotate() error {
	if err := p.write(); err != nil {
		return err
	}
	next := &segment{Number: p.active.Number + 1}
	file, err := os.OpenFile(p.segmentPath(next.Number), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("begin a log segment: %w", err)
	}
	if err := errors.Join(p.file.Sync(), p.file.Close()); err != nil {
		p.o.Logger.Error("a log segment could not be closed cleanly", "error", err)
	}
	if err := writeJSON(p.sealPath(p.active.Number), p.active); err != nil {
		p.o.Logger.Warn("a log segment was not sealed; the next start will scan it", "error", err)
	}
	p.segments = append(p.segments, p.active)
	p.active, p.file = next, file
	p.retain(time.Now())
	return nil
}

func (p *project) retain(now time.Time) {
	var total int64
	for _, s := range p.segments {
		total += s.Size
	}
	for len(p.segments) > 0 {
		s := p.segments[0]
		if total <= p.o.Space && s.Written.After(now.Add(-p.o.Retention)) {
			return
		}
		if err := os.Remove(p.segmentPath(s.Number)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			p.o.Logger.Error("an old log segment could not be removed", "error", err)
			return
		}
		os.Remove(p.sealPath(s.Number)) // without its segment it is never read
		total -= s.Size
		p.segments = p.segments[1:]
	}
}

func (p *project) deleteLog(name string) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	st := p.index.Names[name]
	if st == nil || (!st.Deleted.IsZero() && !st.Again) {
		return false, nil
	}
	old := *st
	st.Deleted, st.Again = time.Now().UTC(), false
	if err := p.saveIndex(); err != nil {
		*st = old
		return true, err
	}
	return true, nil
}

func (p *project) saveIndex() error { return writeJSON(p.path("index.json"), p.index) }

func (p *project) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.file.Close()
}

// writeJSON replaces a file whole or not at all.
func writeJSON(path string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(raw)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}
