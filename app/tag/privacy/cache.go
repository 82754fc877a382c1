package privacy

import (
	"hash/maphash"
	"strings"
	"sync/atomic"
)

// Decider decides and remembers decoded strings. It is safe for concurrent use, takes no lock and has a fixed size: each string has
// one place, and the last one decoded for a place keeps it.
type Decider struct {
	own   int
	seed  maphash.Seed
	tcf   []atomic.Pointer[entry[consent]]
	gpp   []atomic.Pointer[entry[sections]]
	parse struct {
		tcf func(string) *consent
		gpp func(string) *sections
	}
}

type entry[T any] struct {
	text  string
	value *T
}

// places is how many strings are remembered of a kind. Strings made for it could take 12 KiB each, 12 MiB in
// all; those of real pages take about 1 KiB.
const places = 1024

// NewDecider makes a Decider for our id on the TCF's vendor list, 0 for none.
func NewDecider(own int) *Decider {
	d := &Decider{own: own, seed: maphash.MakeSeed(), tcf: make([]atomic.Pointer[entry[consent]], places), gpp: make([]atomic.Pointer[entry[sections]], places)}
	// Bound once: a method value made per request would be an allocation.
	d.parse.tcf = func(s string) *consent { return remembered(d.seed, d.tcf, s, parseTCF) }
	d.parse.gpp = func(s string) *sections { return remembered(d.seed, d.gpp, s, parseGPP) }
	return d
}

// Decide overwrites p with what s permits. It allocates nothing when the strings in s were seen lately.
func (d *Decider) Decide(s *Signals, p *Permissions) {
	decide(s, d.own, p, d.parse.tcf, d.parse.gpp)
}

func remembered[T any](seed maphash.Seed, places []atomic.Pointer[entry[T]], s string, parse func(string) *T) *T {
	at := &places[maphash.String(seed, s)%uint64(len(places))]
	if e := at.Load(); e != nil && e.text == s {
		return e.value
	}
	s = strings.Clone(s) // it is a part of a request, which it would keep in memory; sections point into it
	e := &entry[T]{text: s, value: parse(s)}
	at.Store(e)
	return e.value
}
