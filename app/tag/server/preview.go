package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"net/url"
	"time"

	"github.com/valyala/fasthttp"

	"patag/app/tag/decision"
	"patag/app/tag/inventory"
	"patag/app/tag/token"
)

// lookOnly lets a decision see what is left of goals and caps without taking from it.
type lookOnly struct{ decision.Delivery }

func (lookOnly) Reserve(*inventory.Item) bool { return true }

// explanation is a decision with the reason of each candidate. It is made by the code that decides, and nothing of it is counted:
// no cap is used, no demand source is asked, no token is signed.
type explanation struct {
	Version int64 `json:"catalogueVersion"`
	*decision.Trace
	// Forced is the creative that a preview shows whatever the decision.
	Forced string `json:"forced,omitempty"`
}

// look decides without taking anything. Demand sources are not asked: they would count a bid request, and their notices cost.
func (s *Server) look(st *State, k *adWork) (explanation, decision.Decision) {
	e := explanation{Version: st.Snapshot.Version, Trace: &decision.Trace{}}
	engine := decision.Engine{Frequency: s.o.Frequency, Delivery: lookOnly{st.Delivery}}
	return e, engine.Decide(context.Background(), &k.dec, e.Trace)
}

// preview answers /v1/ad with a preview token: a page for people, JSON for programs, and with format=html the ad alone.
func (s *Server) preview(ctx *fasthttp.RequestCtx, st *State, p *inventory.Placement, k *adWork) {
	allowed, err := s.o.Keys.ParsePreview(k.req.Preview, time.Now())
	if err == nil && allowed.Placement != p.ID {
		err = token.ErrForged
	}
	if err != nil {
		fail(ctx, tokenStatus(err), "preview: "+err.Error())
		return
	}
	s.prepare(k, ctx, st, p, time.Now())
	override(&k.visitor, &k.req) // trying out is what previews are for
	k.dec.Country, k.dec.Region, k.dec.Device = k.visitor.Country, k.visitor.Region, k.visitor.Device
	seen, d := s.look(st, k)
	creative, err := shownBy(st, &allowed, &d)
	if err != nil {
		fail(ctx, fasthttp.StatusNotFound, "preview: "+err.Error())
		return
	}
	if allowed.LineItem != "" || allowed.Creative != "" {
		seen.Forced = creative.ID
	}
	h := &ctx.Response.Header
	set(h, cacheControl, noStore)
	set(h, robotsTag, noIndex)
	set(h, contentTypeOpts, noSniff)
	set(h, referrerPolicy, []byte("no-referrer")) // the token is in the URL
	switch {
	case k.req.HTML:
		writePreviewAd(ctx, creative)
	case bytes.Contains(ctx.Request.Header.Peek("Accept"), []byte("text/html")):
		s.writePreviewPage(ctx, &allowed, &seen, creative)
	default:
		writeExplanation(ctx, &seen)
	}
}

// shownBy is the creative that a preview shows; nil when the decision fills with none of the catalogue's.
func shownBy(st *State, p *token.Preview, d *decision.Decision) (*inventory.Creative, error) {
	switch {
	case p.Creative != "":
		if c := st.Snapshot.Creative(p.Creative); c != nil {
			return c, nil
		}
		return nil, fmt.Errorf("the catalogue has no creative %q any more", p.Creative)
	case p.LineItem != "":
		for _, w := range st.Snapshot.Waterfalls {
			if w.Placement.ID != p.Placement {
				continue
			}
			if c := creativeOf(w, p.LineItem); c != nil {
				return c, nil
			}
		}
		return nil, fmt.Errorf("line item %q has no creative for placement %q", p.LineItem, p.Placement)
	}
	return d.Creative, nil
}

func creativeOf(w *inventory.Waterfall, item string) *inventory.Creative {
	for i := range w.Steps {
		for j := range w.Steps[i].Groups {
			for _, c := range w.Steps[i].Groups[j].Candidates {
				if c.Item.ID == item && len(c.Creatives) > 0 {
					return c.Creatives[0].Creative
				}
			}
		}
	}
	return nil
}

// writePreviewAd writes a creative as a document in which nothing counts: clicks go to the landing page straight away.
func writePreviewAd(ctx *fasthttp.RequestCtx, c *inventory.Creative) {
	ctx.Response.Header.SetContentType(htmlType)
	set(&ctx.Response.Header, securityPolicy, sandboxed)
	if c == nil {
		ctx.SetStatusCode(fasthttp.StatusNoContent)
		return
	}
	landing := template.HTMLEscapeString(c.Landing)
	for i, part := range c.Markup {
		if i > 0 {
			ctx.WriteString(landing)
		}
		ctx.Write(part)
	}
}

func writeExplanation(ctx *fasthttp.RequestCtx, e *explanation) {
	body, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		fail(ctx, fasthttp.StatusInternalServerError, "the explanation could not be written")
		return
	}
	cors(&ctx.Response.Header)
	ctx.Response.Header.SetContentType(jsonType)
	ctx.SetBody(append(body, '\n'))
}

// previewPage is for people: what shows, and step by step why each candidate fell out.
var previewPage = template.Must(template.New("preview").Parse(`<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Preview of {{.Seen.Placement}}</title><style>
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:64rem;padding:0 1rem;color:#1a1a1a}
table{border-collapse:collapse;width:100%;margin:1rem 0}th,td{text-align:left;padding:.4rem .6rem;border-bottom:1px solid #ddd}
td.n{text-align:right;font-variant-numeric:tabular-nums}tr.filled{background:#e6f4ea}tr.late{color:#777}iframe{border:1px solid #ccc;max-width:100%}p.note{color:#555}
</style></head><body><h1>Preview of {{.Seen.Placement}}</h1>
<p class="note">Nothing on this page is counted. Catalogue version {{.Seen.Version}}{{with .Seen.Country}}, country {{.}}{{end}}{{with .Seen.Device}}, {{.}}{{end}}{{with .Seen.Arm}}, arm {{.}}{{end}}. The link ends {{.Until}}.</p>
{{if .Frame}}<p>{{if .Seen.Forced}}Shown because the link says so: creative {{.Seen.Forced}}.{{else}}Line item {{.Seen.LineItem}}, creative {{.Seen.Creative}}.{{end}}</p>
<iframe title="ad" sandbox="allow-scripts allow-popups" width="{{.Width}}" height="{{.Height}}" src="{{.Frame}}"></iframe>
{{else if .Seen.Tags}}<p>Only third-party tags fill here: {{range .Seen.Tags}}{{.}} {{end}}</p>{{else}}<p>Nothing fills: {{.Seen.NoFill}}.</p>{{end}}
<table><tr><th>Step</th><th>Kind</th><th>Candidate</th><th>CPM in micros</th><th>Floor</th><th>Outcome</th></tr>
{{range .Seen.Attempts}}<tr class="{{if eq .Outcome "filled"}}filled{{else if .NotReached}}late{{end}}"><td>{{.Step}}</td><td>{{.Kind}}{{with .Tier}} ({{.}}){{end}}</td><td>{{.LineItem}}{{.Source}}</td><td class="n">{{.CPMMicros}}</td><td class="n">{{if .FloorMicros}}{{.FloorMicros}}{{end}}</td><td>{{.Outcome}}{{if .NotReached}}, not reached{{end}}</td></tr>
{{end}}</table></body></html>`))

func (s *Server) writePreviewPage(ctx *fasthttp.RequestCtx, p *token.Preview, seen *explanation, c *inventory.Creative) {
	ctx.Response.Header.SetContentType(htmlType)
	ctx.Response.Header.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	data := struct {
		Seen          *explanation
		Frame, Until  string
		Width, Height int
	}{Seen: seen, Until: p.Until.UTC().Format("2006-01-02 15:04 UTC"), Width: 480, Height: 160}
	if c != nil {
		forced := token.Preview{Placement: p.Placement, Creative: c.ID, Until: p.Until} // the frame shows what the table says
		data.Frame = PreviewURL("", s.o.Keys, &forced) + "&format=html"
		if c.Size.Width > 0 {
			data.Width, data.Height = c.Size.Width, c.Size.Height
		}
	}
	if err := previewPage.Execute(ctx, data); err != nil {
		s.o.Logger.Debug("a preview was not written whole", "err", err)
	}
}

// PreviewURL makes a link to a preview. base is scheme and host.
func PreviewURL(base string, keys *token.Keys, p *token.Preview) string {
	return base + "/v1/ad?placement=" + url.QueryEscape(p.Placement) + "&preview=" + keys.Preview(p)
}

// CheckPreview says what is wrong with a wish for a preview: bounds of its time, and whether the ids can be signed.
func CheckPreview(p *token.Preview, lasts time.Duration) error {
	switch {
	case p.Placement == "":
		return errors.New("name a placement")
	case p.LineItem != "" && p.Creative != "":
		return errors.New("name a line item or a creative, not both")
	case len(p.Placement) > 64 || len(p.LineItem) > 64 || len(p.Creative) > 64:
		return errors.New("ids have at most 64 bytes")
	case lasts < time.Minute || lasts > token.MaxPreview:
		return fmt.Errorf("a preview lasts from 1m to %s, not %s", token.MaxPreview, lasts)
	}
	return nil
}
