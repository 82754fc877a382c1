package events

import (
	"hash/maphash"
	"sync"
)

// Seen remembers which events this process acknowledged lately, so that a pixel that a browser fetches twice costs neither the
// journal nor a frequency count. It is an economy, not the guarantee: counting once is settled when batches are shipped.
// When a shard is full its older half is forgotten.
type Seen struct{ shards [32]seenShard }

type seenShard struct {
	mu       sync.Mutex
	now, old map[seenKey]struct{}
}

type seenKey struct {
	token, source uint64
	kind          Kind
}

var seenSeed = maphash.MakeSeed()

func seenBy(token uint64, kind Kind, source string) seenKey {
	k := seenKey{token: token, kind: kind}
	if source != "" {
		k.source = maphash.String(seenSeed, source)
	}
	return k
}

const seenPerShard = 8192 // per generation: 32 shards × 2 × 8192 keys of 24 bytes are about 30 MB at worst

func (s *Seen) shard(token uint64) *seenShard { return &s.shards[token%uint64(len(s.shards))] }

// Has says whether the event was added lately.
func (s *Seen) Has(token uint64, kind Kind, source string) bool {
	sh := s.shard(token)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	k := seenBy(token, kind, source)
	if _, ok := sh.now[k]; ok {
		return true
	}
	_, ok := sh.old[k]
	return ok
}

// Add notes an event; it says whether it was new.
func (s *Seen) Add(token uint64, kind Kind, source string) bool {
	sh := s.shard(token)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	k := seenBy(token, kind, source)
	if _, ok := sh.now[k]; ok {
		return false
	}
	if _, ok := sh.old[k]; ok {
		return false
	}
	if sh.now == nil || len(sh.now) >= seenPerShard {
		sh.old, sh.now = sh.now, make(map[seenKey]struct{})
	}
	sh.now[k] = struct{}{}
	return true
}
