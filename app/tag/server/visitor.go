package server

import (
	"crypto/sha256"
	"encoding/binary"
	"net/http"
	"strings"

	"patag/app/tag/inventory"
	"patag/app/tag/request"
)

// visitor is what a request's headers say about who asks.
type visitor struct {
	country inventory.Country
	device  inventory.Device
	user    uint64
	bot     bool
}

func (s *Server) visit(r *http.Request, a *request.Ad) visitor {
	agent := r.Header.Get("User-Agent")
	v := visitor{
		country: inventory.ParseCountry(r.Header.Get(s.o.CountryHeader)),
		device:  deviceOf(agent),
		bot:     isBot(agent),
	}
	if s.o.Demo {
		if c := inventory.ParseCountry(a.Country); c != 0 {
			v.country = c
		}
		if d := inventory.ParseDevice(a.Device); d != 0 {
			v.device = d
		}
	}
	// Global Privacy Control outweighs what the page says about consent.
	if a.UserID != "" && a.Consent && r.Header.Get("Sec-Gpc") != "1" {
		v.user = userHash(a.UserID)
	}
	return v
}

// userHash is all that is ever kept of a user id. 0 means none.
func userHash(id string) uint64 {
	sum := sha256.Sum256([]byte(id))
	if h := binary.LittleEndian.Uint64(sum[:]); h != 0 {
		return h
	}
	return 1
}

// deviceOf reads the tokens that browsers have put into their names for a decade; what it does not know is a desktop.
func deviceOf(agent string) inventory.Device {
	switch {
	case strings.Contains(agent, "iPad"), strings.Contains(agent, "Tablet"),
		strings.Contains(agent, "Android") && !strings.Contains(agent, "Mobile"):
		return inventory.Tablet
	case strings.Contains(agent, "Mobi"), strings.Contains(agent, "iPhone"):
		return inventory.Mobile
	}
	return inventory.Desktop
}

// botMarks are what crawlers and HTTP libraries call themselves. Headless browsers are not among them: they are used to try ads.
var botMarks = []string{"bot", "Bot", "spider", "Spider", "crawl", "Crawl", "slurp", "Slurp", "facebookexternalhit", "python-requests", "Go-http-client"}

func isBot(agent string) bool {
	if agent == "" {
		return true
	}
	for _, m := range botMarks {
		if strings.Contains(agent, m) {
			return true
		}
	}
	return false
}

func inventoryKeyValue(kv request.KeyValue) inventory.KeyValue {
	return inventory.KeyValue{Key: kv.Key, Value: kv.Value}
}

// base appends scheme and host of this server as the client sees it. A host with other characters than hosts have is left out,
// which makes the URLs relative: it will be written into JSON and HTML unescaped.
func (s *Server) base(dst []byte, r *http.Request) []byte {
	if s.o.PublicURL != "" {
		return append(dst, s.o.PublicURL...)
	}
	for i := range len(r.Host) {
		c := r.Host[i]
		ok := c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '.' || c == '-' || c == ':' || c == '[' || c == ']'
		if !ok {
			return dst
		}
	}
	if r.Host == "" {
		return dst
	}
	if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" {
		dst = append(dst, "https://"...)
	} else {
		dst = append(dst, "http://"...)
	}
	return append(dst, r.Host...)
}
