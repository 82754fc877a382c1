package rtb

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"testing"

	"github.com/prebid/openrtb/v20/openrtb2"

	"patag/app/tag/decision"
)

// An auction among five sources over loopback. Allocations are those of both sides: the sources run in this process.
func BenchmarkAuction(b *testing.B) {
	body := []byte(oneBid(""))
	var urls []string
	for range 5 {
		urls = append(urls, listen(b, func(w http.ResponseWriter, r *http.Request) { // answers any id: the bid is refused, as far along as can be
			io.Copy(io.Discard, r.Body)
			w.Write(body)
		}))
	}
	w := newWorld(b, Options{}, document(b, urls, nil))
	r := w.request("box")
	step := &r.Placement.Steps[0]
	b.ReportAllocs()
	for b.Loop() {
		if a := w.Ask(context.Background(), r, step); a[4].Problem != decision.BadBid {
			b.Fatal(a[4].Problem)
		}
	}
}

// Five bid requests, written by hand and by encoding/json from the library's types with the same content.
func BenchmarkEncode(b *testing.B) {
	w := newWorld(b, Options{}, document(b, []string{"https://a.example", "https://b.example", "https://c.example", "https://d.example", "https://e.example"}, nil))
	r := w.request("box")
	rd := &round{lot: lot{id: "req-1", placement: r.Placement, step: &r.Placement.Steps[0], now: r.Now, secure: true}}
	b.Run("hand", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			head := appendHead(make([]byte, 0, 1536), rd, r)
			for _, src := range rd.step.Sources {
				appendTail(append(make([]byte, 0, len(head)+768), head...), rd, src, 140)
			}
		}
	})
	b.Run("library", func(b *testing.B) {
		requests := make([]openrtb2.BidRequest, len(rd.step.Sources))
		for i, src := range rd.step.Sources {
			if err := json.Unmarshal(encode(b, w.snap, r, src.ID), &requests[i]); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportAllocs()
		for b.Loop() {
			for i := range requests { // filling the structs in is not even counted
				if _, err := json.Marshal(&requests[i]); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}
