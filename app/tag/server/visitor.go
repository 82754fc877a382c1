package server

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/valyala/fasthttp"

	"patag/app/tag/decision"
	"patag/app/tag/inventory"
	"patag/app/tag/request"
	"patag/app/tag/visitor"
)

// visit reads who asks into the decision's request, as far as privacy permits.
func (s *Server) visit(ctx *fasthttp.RequestCtx, k *adWork) {
	s.o.Visitors.Read(&ctx.Request.Header, ctx.RemoteAddr(), &k.visitor)
	v, a, d := &k.visitor, &k.req, &k.dec
	if s.o.Demo {
		override(v, a)
	}
	v.Sign(&a.Signals)
	s.o.Privacy.Decide(&a.Signals, &k.privacy)
	d.Country, d.Region, d.Device, d.Browser, d.System = v.Country, v.Region, v.Device, v.Browser, v.System
	d.Privacy, d.User = &k.privacy, 0
	d.Visitor = decision.Visitor{UserAgent: v.UserAgent, IP: v.IP, Language: v.Language}
	if a.UserID == "" {
		return
	}
	if k.privacy.StoreID {
		d.User = userHash(a.UserID)
	}
	if k.privacy.Personalise {
		d.Visitor.UserID = a.UserID
	}
}

// userHash is all that is ever kept of a user id. 0 means none.
func userHash(id string) uint64 {
	sum := sha256.Sum256([]byte(id))
	if h := binary.LittleEndian.Uint64(sum[:]); h != 0 {
		return h
	}
	return 1
}

// appendBase appends scheme and host of this server as the client sees it. A host with other characters than hosts have is left out,
// which makes the URLs relative: it will be written into JSON and HTML unescaped.
func (s *Server) appendBase(dst []byte, ctx *fasthttp.RequestCtx) []byte {
	if s.o.PublicURL != "" {
		return append(dst, s.o.PublicURL...)
	}
	host := ctx.Request.Header.Host()
	for _, c := range host {
		ok := c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '.' || c == '-' || c == ':' || c == '[' || c == ']'
		if !ok {
			return dst
		}
	}
	if len(host) == 0 {
		return dst
	}
	if string(ctx.Request.Header.Peek("X-Forwarded-Proto")) == "https" {
		dst = append(dst, "https://"...)
	} else {
		dst = append(dst, "http://"...)
	}
	return append(dst, host...)
}

// isInvalid says whether an event comes from known invalid traffic, whatever its token says.
func (s *Server) isInvalid(ctx *fasthttp.RequestCtx) bool {
	var v visitor.Visitor
	s.o.Visitors.Read(&ctx.Request.Header, ctx.RemoteAddr(), &v)
	return v.Invalid != visitor.Valid
}

// override takes country= and device= of a request that tries targeting out.
func override(v *visitor.Visitor, a *request.Ad) {
	if c := inventory.ParseCountry(a.Country); c != 0 && c != v.Country {
		v.Country, v.Region = c, 0
	}
	if d := inventory.ParseDevice(a.Device); d != 0 {
		v.Device = d
	}
}
