package privacy

import (
	"encoding/base64"
	"time"
)

// writer writes what bits reads: an encoder of its own, so that tests state the formats a second time.
type writer struct{ out []bool }

func (w *writer) uint(v, n int) *writer {
	for i := n - 1; i >= 0; i-- {
		w.out = append(w.out, v>>i&1 == 1)
	}
	return w
}

// String is base64url of whole bytes.
func (w *writer) String() string {
	b := make([]byte, (len(w.out)+7)/8)
	for i, one := range w.out {
		if one {
			b[i/8] |= 0x80 >> (i % 8)
		}
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// tc is a TC string to be written.
type tc struct {
	version           int // 0 is 2
	at                time.Time
	purposes          []int
	interest          []int
	special           []int
	vendors, li       []int
	disclosed         []int // nil leaves the segment out
	ranges            bool
	purpose, kind     int // a restriction
	restricted        []int
	publisherSegments bool
}

var before, after = time.Date(2026, 2, 28, 23, 59, 59, 0, time.UTC), time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func (t tc) String() string {
	if t.version == 0 {
		t.version = 2
	}
	if t.at.IsZero() {
		t.at = before
	}
	w := &writer{}
	ds := int(t.at.UnixMilli() / 100)
	w.uint(t.version, 6).uint(ds, 36).uint(ds, 36).uint(31, 12).uint(2, 12).uint(1, 6)
	w.uint('d'-'a', 6).uint('e'-'a', 6).uint(120, 12).uint(5, 6).uint(1, 1).uint(0, 1)
	w.flags(t.special, 12).flags(t.purposes, 24).flags(t.interest, 24).uint(0, 1).uint(0, 12)
	w.vendors(t.vendors, t.ranges).vendors(t.li, t.ranges)
	if t.restricted == nil {
		w.uint(0, 12)
	} else {
		w.uint(1, 12).uint(t.purpose, 6).uint(t.kind, 2).ranges(t.restricted)
	}
	s := w.String()
	if t.disclosed != nil {
		s += "." + (&writer{}).uint(1, 3).vendors(t.disclosed, t.ranges).String()
	}
	if t.publisherSegments {
		s += "." + (&writer{}).uint(3, 3).flags(nil, 24).flags(nil, 24).uint(0, 6).String()
	}
	return s
}

func (w *writer) flags(set []int, n int) *writer {
	for i := 1; i <= n; i++ {
		v := 0
		for _, s := range set {
			if s == i {
				v = 1
			}
		}
		w.uint(v, 1)
	}
	return w
}

func (w *writer) vendors(set []int, ranges bool) *writer {
	highest := 0
	for _, id := range set {
		highest = max(highest, id)
	}
	w.uint(highest, 16)
	if ranges {
		return w.uint(1, 1).ranges(set)
	}
	return w.uint(0, 1).flags(set, highest)
}

func (w *writer) ranges(set []int) *writer {
	w.uint(len(set), 12)
	for i, id := range set {
		if i%2 == 0 {
			w.uint(0, 1).uint(id, 16)
		} else {
			w.uint(1, 1).uint(id, 16).uint(id, 16)
		}
	}
	return w
}

// fib writes a number in Fibonacci coding.
func (w *writer) fib(v int) *writer {
	f := []int{1, 2}
	for f[len(f)-1] <= v {
		f = append(f, f[len(f)-1]+f[len(f)-2])
	}
	top := 0
	set := make([]int, len(f))
	for i := len(f) - 1; i >= 0; i-- {
		if f[i] <= v {
			v -= f[i]
			set[i] = 1
			top = max(top, i)
		}
	}
	for _, b := range set[:top+1] {
		w.uint(b, 1)
	}
	return w.uint(1, 1)
}

// gppOf writes a GPP string of sections with rising ids.
func gppOf(ids []int, texts ...string) string {
	w := (&writer{}).uint(3, 6).uint(1, 6).uint(len(ids), 12)
	last := 0
	for _, id := range ids {
		w.uint(0, 1).fib(id - last)
		last = id
	}
	s := w.String()
	for _, t := range texts {
		s += "~" + t
	}
	return s
}

// usSection writes a version and fields of two bits, padded as long as real ones are.
func usSection(fields ...int) string {
	w := (&writer{}).uint(1, 6)
	for _, f := range fields {
		w.uint(f, 2)
	}
	return w.uint(0, 24).String()
}

var gpcOn = (&writer{}).uint(1, 2).uint(1, 1).String()
