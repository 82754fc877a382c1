package proxy

import (
	"encoding/hex"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"patag/infra/sandbox/loadbalancer/armor"
)

// Record is all that is to be said of one request.
type Record struct {
	Start                       time.Time
	Latency, BackendLatency     time.Duration
	Method, Host, RequestURI    string
	Scheme, Protocol            string
	UserAgent, Referer          string
	RemoteIP, RemotePort        string
	ServerIP                    string
	Status                      int
	RequestSize, ResponseSize   int64
	HeaderSize                  int64
	ForwardingRule, TargetProxy string
	URLMap, Backend             string
	// Endpoint answered, or was the last that was tried.
	Endpoint string
	Retries  int
	// Detail is Google's statusDetails.
	Detail string
	Policy *armor.Verdict
	// LogRate is the backend's; Sampled draws from it.
	LogRate float64

	traceID string
	spanID  uint64
	options string
}

// Sampled draws whether the request is to be logged.
func (r *Record) Sampled() bool { return sampled(r.LogRate) }

// TraceID has 32 hexadecimal digits, SpanID 16.
func (r *Record) TraceID() string { return r.traceID }

// SpanID has 16 hexadecimal digits.
func (r *Record) SpanID() string {
	s := strconv.FormatUint(r.spanID, 16)
	return strings.Repeat("0", 16-len(s)) + s
}

// URL is as the log shows it.
func (r *Record) URL() string {
	if strings.HasPrefix(r.RequestURI, "/") {
		return r.Scheme + "://" + r.Host + r.RequestURI
	}
	return r.RequestURI
}

// trace takes over the client's trace (TRACE/SPAN;o=1) or begins one.
func (r *Record) trace(header string) {
	r.spanID = rand.Uint64()
	id, rest, _ := strings.Cut(header, "/")
	if len(id) == 32 && isHex(id) {
		r.traceID = id
		_, r.options, _ = strings.Cut(rest, ";")
		return
	}
	var raw [16]byte
	hi, lo := rand.Uint64(), rand.Uint64()
	for i := range 8 {
		raw[i], raw[8+i] = byte(hi>>(8*i)), byte(lo>>(8*i))
	}
	r.traceID = hex.EncodeToString(raw[:])
}

func (r *Record) traceHeader() string {
	s := r.traceID + "/" + strconv.FormatUint(r.spanID, 10)
	if r.options != "" {
		s += ";" + r.options
	}
	return s
}

func isHex(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F') {
			return false
		}
	}
	return true
}
