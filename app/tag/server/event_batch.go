package server

import (
	"encoding/json"
	"fmt"
	"sync"

	"github.com/valyala/fasthttp"

	"patag/app/tag/events"
	"patag/app/tag/token"
)

// maxEvents is how many events one call may bring.
const maxEvents = 64

// eventResult is what became of one event of a batch.
type eventResult struct {
	Status string `json:"status"` // recorded, refused (for good) or failed (try again)
	Reason string `json:"reason,omitempty"`
}

// eventBatch answers POST /v1/event: several events at once, as a page sends them when it is left. They are written to the journal
// side by side, so that they share a sync.
func (s *Server) eventBatch(ctx *fasthttp.RequestCtx) {
	data, ok := s.body(ctx)
	if !ok {
		return
	}
	var in struct {
		Events []struct {
			Kind  string `json:"kind"`
			Token string `json:"token"`
		} `json:"events"`
	}
	if err := json.Unmarshal(data, &in); err != nil {
		fail(ctx, fasthttp.StatusBadRequest, `the body must be {"events":[{"kind":"impression","token":"…"}]}`)
		return
	}
	if n := len(in.Events); n == 0 || n > maxEvents {
		fail(ctx, fasthttp.StatusBadRequest, fmt.Sprintf("events: 1 to %d are taken, not %d", maxEvents, n))
		return
	}
	invalid := s.isInvalid(ctx)
	out := struct {
		Results []eventResult `json:"results"`
	}{make([]eventResult, len(in.Events))}
	var wg sync.WaitGroup
	for i, e := range in.Events {
		kind, ok := eventKinds[e.Kind]
		if !ok {
			out.Results[i] = eventResult{"refused", "unknown_kind"}
			continue
		}
		c, err := s.parse(kind, e.Token)
		if err != nil {
			out.Results[i] = eventResult{"refused", tokenOutcome(err)}
			continue
		}
		wg.Go(func() { out.Results[i] = s.countOne(kind, &c, invalid) })
	}
	wg.Wait()
	body, err := json.Marshal(out)
	if err != nil {
		fail(ctx, fasthttp.StatusInternalServerError, "the answer could not be written")
		return
	}
	writeJSON(ctx, append(body, '\n'))
}

func (s *Server) countOne(kind events.Kind, c *token.Claims, invalid bool) eventResult {
	if err := s.count(kind, c, invalid); err != nil {
		return eventResult{"failed", dropReason(err)}
	}
	return eventResult{Status: "recorded"}
}
