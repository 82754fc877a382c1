package server

import (
	"net"

	"github.com/valyala/fasthttp"
)

// adsTxt answers /ads.txt: of the site or host that site= names, else of the host that was asked for. Publishers redirect the file on
// their own domain here, which the specification allows once.
func (s *Server) adsTxt(ctx *fasthttp.RequestCtx) {
	st := s.state.Load()
	if st == nil {
		fail(ctx, fasthttp.StatusServiceUnavailable, "no catalogue has been loaded yet; try again in a few seconds")
		return
	}
	name := string(ctx.QueryArgs().Peek("site"))
	if name == "" {
		name = string(ctx.Host())
		if host, _, err := net.SplitHostPort(name); err == nil {
			name = host
		}
	}
	text := st.Snapshot.Supply.AdsTxt(name)
	if text == nil {
		fail(ctx, fasthttp.StatusNotFound, "no site of this host is known; name one with site=ID or site=DOMAIN")
		return
	}
	supplyFile(ctx, textType, text)
}

func (s *Server) sellersJSON(ctx *fasthttp.RequestCtx) {
	st := s.state.Load()
	if st == nil {
		fail(ctx, fasthttp.StatusServiceUnavailable, "no catalogue has been loaded yet; try again in a few seconds")
		return
	}
	supplyFile(ctx, jsonType, st.Snapshot.Supply.SellersJSON)
}

func supplyFile(ctx *fasthttp.RequestCtx, typ string, b []byte) {
	h := &ctx.Response.Header
	cors(h)
	h.SetContentType(typ)
	set(h, contentTypeOpts, noSniff)
	set(h, cacheControl, []byte("public, max-age=3600"))
	ctx.Response.SetBodyRaw(b) // a snapshot's, which nobody changes
}
