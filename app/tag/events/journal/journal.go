// Package journal is an append-only log of records on local disk. Append returns when the record is synced: one fsync serves all
// that arrived while the last one ran. Records go into segments; a sealed segment never changes again and has a random id, so
// that whoever carries segments away can do so exactly once by that id. After a crash the segment that was open is cut behind its
// last whole record (nothing after that was acknowledged) and sealed.
//
// A segment is a header (magic, id, its CRC-32C) and frames: length (4 bytes, little endian), CRC-32C of the payload, payload.
package journal

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Options of a journal. Zero values mean the defaults.
type Options struct {
	SegmentBytes int64 // seal a segment at this size; default 2 MiB: its batch stays far below a document's 16 MB
	MaxBytes     int64 // of all segments together; beyond it Append fails with ErrFull; default 256 MiB
	Queue        int   // records waiting for the disk; default 4096
	Logger       *slog.Logger
}

// Errors of Append.
var (
	ErrFull   = errors.New("the journal is full")
	ErrBusy   = errors.New("the journal's queue is full")
	ErrClosed = errors.New("the journal is closed")
)

// MaxRecord is the longest payload, in bytes.
const MaxRecord = 1 << 16

const (
	magic        = "PTAGJ001"
	headerSize   = len(magic) + 16 + 4
	frameSize    = 8
	openSuffix   = ".open"
	sealedSuffix = ".sealed"
	tailSuffix   = ".tail"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ID of a segment.
type ID [16]byte

func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Segment is a sealed segment.
type Segment struct {
	ID   ID
	Path string
	Size int64
}

type request struct {
	payload []byte
	more    [][]byte // of the same fate
	seal    bool
	done    chan error
}

// Journal appends. Its methods may be called from any goroutine.
type Journal struct {
	dir  string
	opt  Options
	log  *slog.Logger
	reqs chan request
	quit chan struct{}
	dead chan struct{}
	once sync.Once

	size atomic.Int64 // of all segments

	// owned by the writer
	f        *os.File
	lock     *os.File
	seq      uint64
	id       ID
	written  int64 // whole frames in f
	records  int64
	buf      []byte
	requests []request
}

// Open opens the journal in dir, which it makes if need be, and seals what a crash left open. One process may have it open.
func Open(dir string, o Options) (*Journal, error) {
	if o.SegmentBytes == 0 {
		o.SegmentBytes = 2 << 20
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = 256 << 20
	}
	if o.Queue == 0 {
		o.Queue = 4096
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the journal's folder: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the journal: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("the journal in %s is in use by another process; give each its own TAG_JOURNAL_DIR", dir)
	}
	j := &Journal{dir: dir, opt: o, log: o.Logger, lock: lock, reqs: make(chan request, o.Queue), quit: make(chan struct{}), dead: make(chan struct{})}
	if err := j.recover(); err != nil {
		lock.Close()
		return nil, err
	}
	go j.run()
	return j, nil
}

func (j *Journal) names(suffix string) ([]string, error) {
	entries, err := os.ReadDir(j.dir)
	if err != nil {
		return nil, fmt.Errorf("list the journal: %w", err)
	}
	var out []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), suffix) {
			out = append(out, e.Name())
		}
	}
	sort.Strings(out)
	return out, nil
}

// recover seals segments that a crash left open and finds out how much is there.
func (j *Journal) recover() error {
	open, err := j.names(openSuffix)
	if err != nil {
		return err
	}
	for _, name := range open {
		if err := j.repair(filepath.Join(j.dir, name)); err != nil {
			return err
		}
	}
	sealed, err := j.names(sealedSuffix)
	if err != nil {
		return err
	}
	for _, name := range sealed {
		fi, err := os.Stat(filepath.Join(j.dir, name))
		if err != nil {
			return fmt.Errorf("journal: %w", err)
		}
		j.size.Add(fi.Size())
		var seq uint64
		if _, err := fmt.Sscanf(name, "%d-", &seq); err == nil && seq > j.seq {
			j.seq = seq
		}
	}
	return nil
}

func (j *Journal) repair(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("journal: read what a crash left: %w", err)
	}
	n, records, _ := scan(data, nil)
	if records == 0 {
		// Not one whole record: nothing in it was acknowledged.
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("journal: %w", err)
		}
		return nil
	}
	if n < int64(len(data)) {
		// A torn last write is expected. Anything else is a disk's fault: keep the bytes for whoever looks into it.
		j.log.Warn("journal: a segment ends in an incomplete record, as after a crash", "segment", path, "whole", n, "cut", int64(len(data))-n)
		if err := os.WriteFile(strings.TrimSuffix(path, openSuffix)+tailSuffix, data[n:], 0o600); err != nil {
			return fmt.Errorf("journal: keep the cut tail: %w", err)
		}
		if err := os.Truncate(path, n); err != nil {
			return fmt.Errorf("journal: cut the torn record: %w", err)
		}
	}
	if err := syncFile(path); err != nil {
		return err
	}
	if err := os.Rename(path, strings.TrimSuffix(path, openSuffix)+sealedSuffix); err != nil {
		return fmt.Errorf("journal: seal: %w", err)
	}
	return syncDir(j.dir)
}

// Append writes a record and returns when it is on disk. An error means that it must be taken as not written.
// The journal keeps payload until Append returns, and beyond it when ctx ended first: callers do not reuse it then.
func (j *Journal) Append(ctx context.Context, payload []byte) error {
	if len(payload) == 0 || len(payload) > MaxRecord {
		return fmt.Errorf("journal: a record of %d bytes; 1 to %d are possible", len(payload), MaxRecord)
	}
	return j.send(ctx, request{payload: payload, done: make(chan error, 1)})
}

// AppendAll is Append for many records: all are written, with one sync, or none.
func (j *Journal) AppendAll(ctx context.Context, payloads [][]byte) error {
	if len(payloads) == 0 {
		return nil
	}
	for _, p := range payloads {
		if len(p) == 0 || len(p) > MaxRecord {
			return fmt.Errorf("journal: a record of %d bytes; 1 to %d are possible", len(p), MaxRecord)
		}
	}
	return j.send(ctx, request{payload: payloads[0], more: payloads[1:], done: make(chan error, 1)})
}

// Seal closes the open segment, if it has records, so that it can be carried away.
func (j *Journal) Seal(ctx context.Context) error {
	return j.send(ctx, request{seal: true, done: make(chan error, 1)})
}

func (j *Journal) send(ctx context.Context, r request) error {
	select {
	case <-j.quit:
		return ErrClosed
	default:
	}
	select {
	case j.reqs <- r:
	default:
		return ErrBusy
	}
	select {
	case err := <-r.done:
		return err
	case <-j.dead:
		select {
		case err := <-r.done:
			return err
		default:
			return ErrClosed
		}
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Size is the bytes of all segments; Backlog how many records wait.
func (j *Journal) Size() int64  { return j.size.Load() }
func (j *Journal) Backlog() int { return len(j.reqs) }

// Close writes what waits, seals and closes.
func (j *Journal) Close() error {
	j.once.Do(func() { close(j.quit) })
	<-j.dead
	return nil
}

// Sealed lists the sealed segments, oldest first.
func (j *Journal) Sealed() ([]Segment, error) {
	names, err := j.names(sealedSuffix)
	if err != nil {
		return nil, err
	}
	var out []Segment
	for _, name := range names {
		path := filepath.Join(j.dir, name)
		fi, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("journal: %w", err)
		}
		_, hexID, _ := strings.Cut(strings.TrimSuffix(name, sealedSuffix), "-")
		var id ID
		if n, err := hex.Decode(id[:], []byte(hexID)); err != nil || n != len(id) {
			return nil, fmt.Errorf("journal: %s is no segment of ours; move it away", path)
		}
		out = append(out, Segment{id, path, fi.Size()})
	}
	return out, nil
}

// Read calls fn with each record of a sealed segment, in order. The payload is valid during the call only.
func (j *Journal) Read(s Segment, fn func(payload []byte) error) error {
	data, err := os.ReadFile(s.Path)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	n, _, err := scan(data, fn)
	if err != nil {
		return err
	}
	if n != int64(len(data)) {
		return fmt.Errorf("journal: segment %s is damaged at byte %d of %d: %w", s.Path, n, len(data), ErrDamaged)
	}
	return nil
}

// ErrDamaged says that a sealed segment has changed since it was sealed. The records before the damage have been read.
var ErrDamaged = errors.New("checksum does not match")

// Remove deletes a segment that has been carried away.
func (j *Journal) Remove(s Segment) error {
	if err := os.Remove(s.Path); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	j.size.Add(-s.Size)
	return nil
}

// SetAside renames a damaged segment so that it is not read again, and keeps it.
func (j *Journal) SetAside(s Segment) error {
	if err := os.Rename(s.Path, strings.TrimSuffix(s.Path, sealedSuffix)+".damaged"); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	j.size.Add(-s.Size)
	return nil
}

// scan walks frames and says how many bytes are whole. It never reads past data and never allocates by a length it read.
func scan(data []byte, fn func([]byte) error) (whole, records int64, err error) {
	if len(data) < headerSize || string(data[:len(magic)]) != magic ||
		crc32.Checksum(data[:headerSize-4], castagnoli) != binary.LittleEndian.Uint32(data[headerSize-4:]) {
		return 0, 0, nil
	}
	at := headerSize
	for len(data)-at >= frameSize {
		size := int(binary.LittleEndian.Uint32(data[at:]))
		if size == 0 || size > MaxRecord || size > len(data)-at-frameSize {
			break
		}
		payload := data[at+frameSize : at+frameSize+size]
		if crc32.Checksum(payload, castagnoli) != binary.LittleEndian.Uint32(data[at+4:]) {
			break
		}
		if fn != nil {
			if err := fn(payload); err != nil {
				return int64(at), records, err
			}
		}
		at += frameSize + size
		records++
	}
	return int64(at), records, nil
}

func newID() (id ID) {
	rand.Read(id[:])
	return id
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("journal: sync: %w", err)
	}
	return nil
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("journal: sync the folder: %w", err)
	}
	return nil
}

// retryAfter is how long the writer waits after a failed write before it tries the disk again.
const retryAfter = 200 * time.Millisecond
