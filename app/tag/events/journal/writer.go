package journal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// run is the only goroutine that touches the open segment.
func (j *Journal) run() {
	defer close(j.dead)
	defer j.lock.Close()
	for {
		select {
		case r := <-j.reqs:
			j.serve(r)
		case <-j.quit:
			// Senders that passed the check before quit may still be in the queue: serve them, then seal.
			for {
				select {
				case r := <-j.reqs:
					j.serve(r)
					continue
				default:
				}
				break
			}
			if err := j.seal(); err != nil {
				j.log.Error("journal: seal at the end", "err", err)
			}
			return
		}
	}
}

// serve gathers what waits behind r and writes it with one sync.
func (j *Journal) serve(r request) {
	j.requests = append(j.requests[:0], r)
	for len(j.requests) < cap(j.reqs) {
		select {
		case more := <-j.reqs:
			j.requests = append(j.requests, more)
			continue
		default:
		}
		break
	}
	j.buf = j.buf[:0]
	n, seal := 0, false
	for _, r := range j.requests {
		if r.seal {
			seal = true
			continue
		}
		j.frame(r.payload)
		for _, p := range r.more {
			j.frame(p)
		}
		n += 1 + len(r.more)
	}
	var err error
	if n > 0 {
		err = j.write(int64(n))
	}
	for _, r := range j.requests {
		if !r.seal {
			r.done <- err
		}
	}
	var sealErr error
	if seal || j.written >= j.opt.SegmentBytes {
		sealErr = j.seal()
	}
	for _, r := range j.requests {
		if r.seal {
			r.done <- sealErr
		}
	}
	clear(j.requests)
	if cap(j.buf) > 8<<20 {
		j.buf = nil
	}
}

func (j *Journal) frame(payload []byte) {
	j.buf = binary.LittleEndian.AppendUint32(j.buf, uint32(len(payload)))
	j.buf = binary.LittleEndian.AppendUint32(j.buf, crc32.Checksum(payload, castagnoli))
	j.buf = append(j.buf, payload...)
}

// write appends j.buf as a whole or not at all.
func (j *Journal) write(records int64) error {
	if j.size.Load()+int64(len(j.buf)) > j.opt.MaxBytes {
		return fmt.Errorf("%w: %d of %d bytes wait to be carried away", ErrFull, j.size.Load(), j.opt.MaxBytes)
	}
	if j.f == nil {
		if err := j.start(); err != nil {
			return err
		}
	}
	_, err := j.f.WriteAt(j.buf, j.written)
	if err == nil {
		err = j.f.Sync()
	}
	if err != nil {
		// After a failed sync the kernel may have dropped the pages and say nothing the next time: never write on in this
		// file. What is whole before this write was synced; cut behind it and seal it.
		j.abandon()
		return fmt.Errorf("journal: write: %w", err)
	}
	j.written += int64(len(j.buf))
	j.records += records
	j.size.Add(int64(len(j.buf)))
	return nil
}

func (j *Journal) start() error {
	j.seq++
	j.id = newID()
	path := filepath.Join(j.dir, fmt.Sprintf("%012d-%s%s", j.seq, j.id, openSuffix))
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	header := append([]byte(magic), j.id[:]...)
	header = binary.LittleEndian.AppendUint32(header, crc32.Checksum(header, castagnoli))
	if _, err = f.Write(header); err == nil {
		err = syncDir(j.dir)
	}
	if err != nil {
		f.Close()
		os.Remove(path)
		return fmt.Errorf("journal: start a segment: %w", err)
	}
	j.f, j.written, j.records = f, int64(headerSize), 0
	j.size.Add(int64(headerSize))
	return nil
}

// seal closes the open segment; an empty one vanishes.
func (j *Journal) seal() error {
	if j.f == nil {
		return nil
	}
	path := j.f.Name()
	err := j.f.Close()
	j.f = nil
	if j.records == 0 {
		j.size.Add(-j.written)
		os.Remove(path)
		return nil
	}
	if err != nil {
		return fmt.Errorf("journal: close: %w", err)
	}
	if err := os.Rename(path, strings.TrimSuffix(path, openSuffix)+sealedSuffix); err != nil {
		return fmt.Errorf("journal: seal: %w", err)
	}
	return syncDir(j.dir)
}

func (j *Journal) abandon() {
	if err := j.f.Truncate(j.written); err != nil {
		j.log.Error("journal: cut behind a failed write; the next start will do it", "segment", j.f.Name(), "err", err)
		j.f.Close() // stays .open: repaired at the next start
		j.f = nil
		time.Sleep(retryAfter)
		return
	}
	if err := j.f.Sync(); err != nil {
		j.log.Error("journal: sync behind a failed write", "segment", j.f.Name(), "err", err)
	}
	if err := j.seal(); err != nil {
		j.log.Error("journal: seal behind a failed write", "err", err)
	}
	time.Sleep(retryAfter)
}
