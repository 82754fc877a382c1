// Package events is what is counted: requests, fills, no-fills, impressions, viewable impressions and clicks, and how one such
// fact is written into the journal. It knows neither the journal's files nor where counts go.
package events

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Kind of event.
type Kind uint8

// Kinds. The numbers are written to disk and never change their meaning.
const (
	Request Kind = iota + 1
	Fill
	NoFill
	Impression
	Viewable
	Click
	Attempt  // a demand source was asked: by the server, or by the browser
	Passback // a tag filled nothing and the next step was tried
	Error    // an ad did not render
	kindEnd
)

var kindNames = [kindEnd]string{Request: "request", Fill: "fill", NoFill: "no_fill", Impression: "impression", Viewable: "viewable", Click: "click",
	Attempt: "attempt", Passback: "passback", Error: "error"}

func (k Kind) String() string {
	if k < kindEnd {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Once says whether events of this kind come from browsers with a token and count once per token.
func (k Kind) Once() bool { return k == Impression || k == Viewable || k == Click }

// Event is one fact, or Count equal ones.
type Event struct {
	Kind Kind
	// Invalid traffic (bots) is counted apart, never dropped.
	Invalid bool
	House   bool
	At      int64  // Unix milliseconds
	Token   uint64 // of the fill; 0 for requests and no-fills
	Count   int64
	// CPMMicros and Currency are the price of fills and what follows from them.
	CPMMicros int64
	Currency  string
	// Ids; empty where a kind has none. Reason is set on NoFill.
	Placement, Item, Creative, Reason string
	// Source is the demand source of an attempt and of what follows from one, Arm the experiment/arm of the visitor.
	Source, Arm string
}

const (
	flagInvalid = 1
	flagHouse   = 2
	formatV1    = 1
)

// Append encodes e onto dst.
func (e *Event) Append(dst []byte) []byte {
	var flags byte
	if e.Invalid {
		flags |= flagInvalid
	}
	if e.House {
		flags |= flagHouse
	}
	dst = append(dst, formatV1, byte(e.Kind), flags)
	dst = binary.AppendVarint(dst, e.At)
	dst = binary.LittleEndian.AppendUint64(dst, e.Token)
	dst = binary.AppendVarint(dst, e.Count)
	dst = binary.AppendVarint(dst, e.CPMMicros)
	for _, s := range [...]string{e.Currency, e.Placement, e.Item, e.Creative, e.Reason} {
		s = s[:min(len(s), 255)]
		dst = append(dst, byte(len(s)))
		dst = append(dst, s...)
	}
	return dst
}

// ErrMalformed is returned for bytes that no Append wrote.
var ErrMalformed = errors.New("malformed event")

// Parse decodes what Append wrote.
func Parse(b []byte) (Event, error) {
	if len(b) < 3 || b[0] != formatV1 || b[1] == 0 || Kind(b[1]) >= kindEnd {
		return Event{}, ErrMalformed
	}
	e := Event{Kind: Kind(b[1]), Invalid: b[2]&flagInvalid != 0, House: b[2]&flagHouse != 0}
	b = b[3:]
	varint := func(into *int64) bool {
		v, n := binary.Varint(b)
		if n <= 0 {
			return false
		}
		*into, b = v, b[n:]
		return true
	}
	if !varint(&e.At) || len(b) < 8 {
		return Event{}, ErrMalformed
	}
	e.Token, b = binary.LittleEndian.Uint64(b), b[8:]
	if !varint(&e.Count) || !varint(&e.CPMMicros) {
		return Event{}, ErrMalformed
	}
	for _, into := range []*string{&e.Currency, &e.Placement, &e.Item, &e.Creative, &e.Reason} {
		if len(b) == 0 || len(b) < 1+int(b[0]) {
			return Event{}, ErrMalformed
		}
		*into, b = string(b[1:1+int(b[0])]), b[1+int(b[0]):]
	}
	if len(b) != 0 {
		return Event{}, ErrMalformed
	}
	return e, nil
}
