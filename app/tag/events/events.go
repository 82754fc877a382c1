// Package events is what is counted: requests, attempts, fills, no-fills, passbacks, impressions, viewable impressions, clicks and
// errors, and how one such fact is written into the journal. It knows neither the journal's files nor where counts go.
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

// Event is one fact, or Count equal ones.
type Event struct {
	Kind Kind
	// Invalid traffic (bots) is counted apart, never dropped.
	Invalid bool
	House   bool
	At      int64  // Unix milliseconds
	Token   uint64 // of the fill or of the tag that is tried; 0 for what a server counted itself
	Count   int64
	// CPMMicros and Currency are the price of fills and what follows from them.
	CPMMicros int64
	Currency  string
	// Ids; empty where a kind has none. Reason is set on NoFill.
	Placement, Item, Creative, Reason string
	// Source is the demand source of an attempt and of what follows from one, Arm the experiment/arm of the visitor.
	Source, Arm string
}

// Once says whether the event comes from a browser with a token, and so counts once per token, kind and source; others are sums
// of what a server did itself. Attempts, passbacks and errors are of either sort: those of a server carry no token.
func (e *Event) Once() bool {
	switch e.Kind {
	case Impression, Viewable, Click:
		return true
	case Attempt, Passback, Error:
		return e.Token != 0
	}
	return false
}

const (
	flagInvalid = 1
	flagHouse   = 2
	// formatV1 is read on: a journal outlives an upgrade. It had no Source and no Arm.
	formatV1 = 1
	formatV2 = 2
)

// Append encodes e onto dst. Ids longer than 255 bytes are cut; the catalogue allows 64.
func (e *Event) Append(dst []byte) []byte {
	var flags byte
	if e.Invalid {
		flags |= flagInvalid
	}
	if e.House {
		flags |= flagHouse
	}
	dst = append(dst, formatV2, byte(e.Kind), flags)
	dst = binary.AppendVarint(dst, e.At)
	dst = binary.LittleEndian.AppendUint64(dst, e.Token)
	dst = binary.AppendVarint(dst, e.Count)
	dst = binary.AppendVarint(dst, e.CPMMicros)
	for _, s := range [...]string{e.Currency, e.Placement, e.Item, e.Creative, e.Reason, e.Source, e.Arm} {
		s = s[:min(len(s), 255)]
		dst = append(dst, byte(len(s)))
		dst = append(dst, s...)
	}
	return dst
}

// ErrMalformed is returned for bytes that no Append wrote.
var ErrMalformed = errors.New("malformed event")

// Parse decodes what Append wrote, in this version or one before.
func Parse(b []byte) (Event, error) {
	if len(b) < 3 || b[0] != formatV1 && b[0] != formatV2 || b[1] == 0 || Kind(b[1]) >= kindEnd {
		return Event{}, ErrMalformed
	}
	format := b[0]
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
	texts := [...]*string{&e.Currency, &e.Placement, &e.Item, &e.Creative, &e.Reason, &e.Source, &e.Arm}
	n := len(texts)
	if format == formatV1 {
		n -= 2
	}
	for _, into := range texts[:n] {
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
