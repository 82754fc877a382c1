package visitor

import (
	"bytes"
	"strings"

	"github.com/valyala/fasthttp"
)

// Invalid is why a request is known to be invalid traffic. Such requests are answered and counted, apart from the others.
type Invalid uint8

// Reasons, in the order in which they are looked for.
const (
	Valid      Invalid = iota
	NoAgent            // no User-Agent
	Bot                // a crawler or monitor that says so
	Headless           // a browser under remote control that says so
	Library            // an HTTP library or a program that is no browser
	Prefetch           // the browser loads ahead of a visit that may never be
	HeadMethod         // HEAD asks for no ad
	DataCentre         // from an address range of the configured file
	numInvalid
)

var invalidNames = [numInvalid]string{"", "no_agent", "bot", "headless", "library", "prefetch", "head", "data_centre"}

// String is the reason as a label of metrics; "" for valid.
func (i Invalid) String() string {
	if i < numInvalid {
		return invalidNames[i]
	}
	return ""
}

// InvalidReasons are all reasons, for metrics that want every label there from the start.
func InvalidReasons() []Invalid {
	return []Invalid{NoAgent, Bot, Headless, Library, Prefetch, HeadMethod, DataCentre}
}

func judge(h *fasthttp.RequestHeader, agent string, m marks) Invalid {
	switch {
	case agent == "":
		return NoAgent
	case m&markBot != 0:
		return Bot
	case m&markHeadless != 0:
		return Headless
	case !strings.HasPrefix(agent, "Mozilla/") && !strings.HasPrefix(agent, "Opera/"):
		return Library // every browser has called itself Mozilla since the nineties
	case ahead(h):
		return Prefetch
	case h.IsHead():
		return HeadMethod
	}
	return Valid
}

// ahead says whether a browser loads before anybody looks. Prerendered pages send prefetch;prerender.
func ahead(h *fasthttp.RequestHeader) bool {
	return bytes.HasPrefix(h.Peek("Sec-Purpose"), []byte("prefetch")) || string(h.Peek("Purpose")) == "prefetch" ||
		string(h.Peek("X-Purpose")) == "preview" || string(h.Peek("X-Moz")) == "prefetch"
}
