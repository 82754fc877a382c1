package archive

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc64"
	"io"

	"go.mongodb.org/mongo-driver/bson"
)

// ErrDamaged is wrapped by all errors that are about the archive's bytes.
var ErrDamaged = errors.New("the archive is damaged")

// Sink takes what an archive holds.
type Sink interface {
	// Collections is called once, before any document.
	Collections([]Collection) error
	// Document is called for each document; doc is valid during the call.
	Document(database, collection string, doc bson.Raw) error
}

type stream struct {
	hash hash.Hash64
	done bool
}

type reader struct {
	r   io.Reader
	buf []byte
}

// Read reads one archive to its end and hands it to s. It fails when the archive is damaged, cut off or followed by
// something else, or when s fails; s may have been given documents by then.
func Read(r io.Reader, s Sink) error {
	a := &reader{r: r}
	n, err := a.number()
	if err != nil || n != magic {
		return fmt.Errorf("%w: it does not begin as an archive does", ErrDamaged)
	}
	streams, err := a.prelude(s)
	if err != nil {
		return err
	}
	for {
		raw, end, err := a.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if end {
			return fmt.Errorf("%w: a terminator where a collection should begin", ErrDamaged)
		}
		if err := a.block(raw, streams, s); err != nil {
			return err
		}
	}
	for name, st := range streams {
		if !st.done {
			return fmt.Errorf("%w: it ends before collection %s does", ErrDamaged, name)
		}
	}
	return nil
}

func (a *reader) prelude(s Sink) (map[string]*stream, error) {
	raw, end, err := a.next()
	if err != nil || end {
		return nil, fmt.Errorf("%w: it has no header", ErrDamaged)
	}
	var h header
	if err := bson.Unmarshal(raw, &h); err != nil {
		return nil, fmt.Errorf("%w: header: %v", ErrDamaged, err)
	}
	if h.Version != version {
		return nil, fmt.Errorf("the archive has format version %q; %s is understood", h.Version, version)
	}
	streams := map[string]*stream{}
	var all []Collection
	for {
		raw, end, err := a.next()
		if err != nil {
			return nil, cut(err)
		}
		if end {
			break
		}
		var c Collection
		if err := bson.Unmarshal(raw, &c); err != nil {
			return nil, fmt.Errorf("%w: metadata: %v", ErrDamaged, err)
		}
		streams[c.Database+"."+c.Name] = &stream{hash: crc64.New(table)}
		all = append(all, c)
	}
	return streams, s.Collections(all)
}

// block reads the documents that follow a namespace document.
func (a *reader) block(raw bson.Raw, streams map[string]*stream, s Sink) error {
	var ns namespace
	if err := bson.Unmarshal(raw, &ns); err != nil {
		return fmt.Errorf("%w: namespace: %v", ErrDamaged, err)
	}
	name := ns.Database + "." + ns.Collection
	st := streams[name]
	if st == nil || st.done {
		return fmt.Errorf("%w: documents of %s, which is not open", ErrDamaged, name)
	}
	for {
		doc, end, err := a.next()
		if err != nil {
			return cut(err)
		}
		if end {
			break
		}
		if ns.EOF {
			return fmt.Errorf("%w: documents after the end of %s", ErrDamaged, name)
		}
		st.hash.Write(doc)
		if err := s.Document(ns.Database, ns.Collection, doc); err != nil {
			return err
		}
	}
	if ns.EOF {
		if st.hash.Sum64() != uint64(ns.CRC) {
			return fmt.Errorf("%w: the checksum of %s does not fit its documents", ErrDamaged, name)
		}
		st.done = true
	}
	return nil
}

func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: it is cut off", ErrDamaged)
	}
	return err
}

func (a *reader) number() (uint32, error) {
	var b [4]byte
	if _, err := io.ReadFull(a.r, b[:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return 0, fmt.Errorf("%w: it is cut off", ErrDamaged)
		}
		return 0, err
	}
	return binary.LittleEndian.Uint32(b[:]), nil
}

// next reads a document, or says that a terminator was read instead. The document is valid until the next call.
func (a *reader) next() (doc bson.Raw, end bool, err error) {
	n, err := a.number()
	if err != nil {
		return nil, false, err
	}
	if n == terminator {
		return nil, true, nil
	}
	if n < 5 || n > MaxDocument {
		return nil, false, fmt.Errorf("%w: a document of %d bytes", ErrDamaged, n)
	}
	// Grown as bytes come: a damaged length must not claim memory that nothing fills.
	a.buf = binary.LittleEndian.AppendUint32(a.buf[:0], n)
	for len(a.buf) < int(n) {
		at := len(a.buf)
		part := min(int(n)-at, 64<<10)
		a.buf = append(a.buf, make([]byte, part)...)
		if _, err := io.ReadFull(a.r, a.buf[at:]); err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return nil, false, fmt.Errorf("%w: it is cut off", ErrDamaged)
			}
			return nil, false, err
		}
	}
	doc = bson.Raw(a.buf)
	if err := doc.Validate(); err != nil {
		return nil, false, fmt.Errorf("%w: %v", ErrDamaged, err)
	}
	return doc, false, nil
}
