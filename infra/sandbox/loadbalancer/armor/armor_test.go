package armor

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"
)

const policy = `{"name":"edge","rules":[
 {"priority":2147483647,"action":"allow","match":{"versionedExpr":"SRC_IPS_V1","config":{"srcIpRanges":["*"]}}},
 {"priority":1000,"action":"deny(403)","match":{"versionedExpr":"SRC_IPS_V1","config":{"srcIpRanges":["192.0.2.0/24","2001:db8::/32"]}}},
 {"priority":1500,"action":"deny(404)","match":{"expr":{"expression":"request.path.startsWith('/admin') && !inIpRange(origin.ip, '10.0.0.0/8')"}}},
 {"priority":1600,"action":"deny(502)","preview":true,"match":{"expr":{"expression":"request.headers['user-agent'].lower().contains('bot') || request.method == \"TRACE\""}}},
 {"priority":1700,"action":"deny(403)","match":{"expr":{"expression":"evaluatePreconfiguredExpr('xss-stable')"}}},
 {"priority":2000,"action":"throttle","match":{"versionedExpr":"SRC_IPS_V1","config":{"srcIpRanges":["198.51.100.0/24"]}},
  "rateLimitOptions":{"conformAction":"allow","exceedAction":"deny(429)","enforceOnKey":"IP","rateLimitThreshold":{"count":2,"intervalSec":60}}},
 {"priority":2100,"action":"rate_based_ban","match":{"versionedExpr":"SRC_IPS_V1","config":{"srcIpRanges":["203.0.113.0/24"]}},
  "rateLimitOptions":{"conformAction":"allow","exceedAction":"deny(429)","enforceOnKey":"IP","banDurationSec":300,"rateLimitThreshold":{"count":1,"intervalSec":10}}}
]}`

func TestPolicy(t *testing.T) {
	p, unsupported, err := Compile([]byte(policy))
	if err != nil {
		t.Fatal(err)
	}
	if len(unsupported) != 1 || !strings.Contains(unsupported[0], "rule 1700") {
		t.Errorf("unsupported: %q, want rule 1700 alone", unsupported)
	}
	now := time.Now()
	for _, c := range []struct {
		what, ip, path, agent string
		after                 time.Duration
		status                int
		priority              int64
	}{
		{"anyone", "8.8.8.8", "/", "", 0, 0, 2147483647},
		{"denied range", "192.0.2.7", "/", "", 0, 403, 1000},
		{"denied IPv6 range", "2001:db8::1", "/", "", 0, 403, 1000},
		{"admin from outside", "8.8.8.8", "/admin/x", "", 0, 404, 1500},
		{"admin from inside", "10.1.2.3", "/admin/x", "", 0, 0, 2147483647},
		{"preview only", "8.8.8.8", "/", "GoogleBot", 0, 0, 2147483647},
		{"limited 1", "198.51.100.1", "/", "", 0, 0, 2000},
		{"limited 2", "198.51.100.1", "/", "", 0, 0, 2000},
		{"limited 3", "198.51.100.1", "/", "", 0, 429, 2000},
		{"limited, another address", "198.51.100.2", "/", "", 0, 0, 2000},
		{"limited, next window", "198.51.100.1", "/", "", time.Minute, 0, 2000},
		{"banned 1", "203.0.113.1", "/", "", 0, 0, 2100},
		{"banned 2", "203.0.113.1", "/", "", 0, 429, 2100},
		{"still banned", "203.0.113.1", "/", "", time.Minute, 429, 2100},
		{"no longer banned", "203.0.113.1", "/", "", 301 * time.Second, 0, 2100},
	} {
		h := http.Header{"User-Agent": {c.agent}}
		v := p.Evaluate(&Request{IP: netip.MustParseAddr(c.ip), Method: "GET", Path: c.path, Header: h.Get}, now.Add(c.after))
		if v.Status != c.status || v.Priority != c.priority {
			t.Errorf("%s: status %d by rule %d, want %d by %d", c.what, v.Status, v.Priority, c.status, c.priority)
		}
		if c.what == "preview only" && (v.Preview == nil || v.Preview.Priority != 1600 || v.Preview.Outcome != "DENY") {
			t.Errorf("preview: %+v", v.Preview)
		}
	}
}

func FuzzExpression(f *testing.F) {
	for _, s := range []string{`request.path.matches('^/a.*')`, `!(origin.ip == "1.2.3.4") || has(request.headers['x'])`, `inIpRange(origin.ip, '::/0')`, `((((`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, source string) {
		m, err := parseExpression(source)
		if err == nil {
			m.matches(&Request{IP: netip.MustParseAddr("1.2.3.4"), Path: "/a", Header: func(string) string { return "" }})
		}
	})
}
