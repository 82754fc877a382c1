package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"

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
func (s *Server) eventBatch(w http.ResponseWriter, r *http.Request) {
	data, ok := s.body(w, r)
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
		fail(w, http.StatusBadRequest, `the body must be {"events":[{"kind":"impression","token":"…"}]}`)
		return
	}
	if n := len(in.Events); n == 0 || n > maxEvents {
		fail(w, http.StatusBadRequest, fmt.Sprintf("events: 1 to %d are taken, not %d", maxEvents, n))
		return
	}
	invalid := s.isInvalid(r)
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
		wg.Go(func() { out.Results[i] = s.countOne(r, kind, &c, invalid) })
	}
	wg.Wait()
	body, err := json.Marshal(out)
	if err != nil {
		fail(w, http.StatusInternalServerError, "the answer could not be written")
		return
	}
	writeJSON(w, append(body, '\n'))
}

func (s *Server) countOne(r *http.Request, kind events.Kind, c *token.Claims, invalid bool) eventResult {
	if err := s.count(r.Context(), kind, c, invalid); err != nil {
		return eventResult{"failed", dropReason(err)}
	}
	return eventResult{Status: "recorded"}
}
