package bidder

import (
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"sync"
)

type kind uint8

const (
	kindWin kind = 1 << iota
	kindBill
	kindLoss
)

// maxBids is how many bids are remembered; notices of older ones count as unknown.
const maxBids = 1 << 17

// Stats is what GET /stats answers. WonMicros and BilledMicros are CPMs summed up, in millionths of the bids' currency.
type Stats struct {
	Requests, Malformed, Bids, NoBids, Errors, Hung, Abandoned int64
	Wins, Billed, Losses                                       int64
	WonMicros, BilledMicros                                    int64
	LossReasons                                                map[string]int64
	// DuplicateNotices are of a kind that the bid had had; UnknownNotices of no bid that is remembered.
	DuplicateNotices, UnknownNotices int64
}

type stats struct {
	mu sync.Mutex
	Stats
	told map[string]kind // by bid
	ring []string
	next int
}

func (s *stats) init() {
	s.told = make(map[string]kind)
	s.LossReasons = make(map[string]int64)
}

func (s *stats) add(n *int64) {
	s.mu.Lock()
	*n++
	s.mu.Unlock()
}

// bid remembers a bid.
func (s *stats) bid(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Bids++
	if len(s.ring) < maxBids {
		s.ring = append(s.ring, id)
	} else {
		delete(s.told, s.ring[s.next])
		s.ring[s.next] = id
		s.next = (s.next + 1) % maxBids
	}
	s.told[id] = 0
}

func (b *Bidder) notice(k kind) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		price, _ := strconv.ParseFloat(q.Get("price"), 64)
		b.stats.notice(k, q.Get("bid"), price, q.Get("reason"))
		w.WriteHeader(http.StatusNoContent)
	}
}

func (s *stats) notice(k kind, id string, price float64, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, known := s.told[id]
	switch {
	case !known:
		s.UnknownNotices++
		return
	case before&k != 0:
		s.DuplicateNotices++
		return
	}
	s.told[id] = before | k
	micros := int64(0)
	if price > 0 && price < 1e6 {
		micros = int64(math.Round(price * 1e6))
	}
	switch k {
	case kindWin:
		s.Wins++
		s.WonMicros += micros
	case kindBill:
		s.Billed++
		s.BilledMicros += micros
	case kindLoss:
		s.Losses++
		if n, err := strconv.Atoi(reason); err != nil || n < 0 || n > 999 {
			reason = "other"
		}
		s.LossReasons[reason]++
	}
}

// Stats so far.
func (b *Bidder) Stats() Stats {
	b.stats.mu.Lock()
	defer b.stats.mu.Unlock()
	out := b.stats.Stats
	out.LossReasons = make(map[string]int64, len(b.stats.LossReasons))
	for k, v := range b.stats.LossReasons {
		out.LossReasons[k] = v
	}
	return out
}

func (b *Bidder) report(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.Encode(b.Stats())
}
