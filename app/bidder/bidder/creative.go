package bidder

import (
	"bytes"
	"encoding/json"
	"html/template"
	"net/url"
	"strings"

	"github.com/prebid/openrtb/v20/native1"
	"github.com/prebid/openrtb/v20/native1/request"
	"github.com/prebid/openrtb/v20/native1/response"
)

// brand is an advertiser that does not exist.
type brand struct {
	id, name, domain, category    string
	title, body, action           string
	dark, light, accent, emblemAt string // colours, and the path of its emblem in a box of 48 by 48
}

var brands = []brand{
	{"coffee", "Nordlys Coffee", "nordlys-coffee.example", "IAB8-5", "Roasted under northern light", "Small batches, sent the day they are roasted.", "Taste it",
		"#2b1a12", "#7a4a2b", "#ffd9a0", "M10 18h22v12a8 8 0 0 1-8 8h-6a8 8 0 0 1-8-8zM32 21h4a5 5 0 0 1 0 10h-4M16 6v6M22 4v8M28 6v6"},
	{"bikes", "Velora Bikes", "velora-bikes.example", "IAB17-3", "The city is shorter on two wheels", "Light frames, one belt, no grease on your trousers.", "Find yours",
		"#06283d", "#1363df", "#b9f3e4", "M12 34m-8 0a8 8 0 1 0 16 0a8 8 0 1 0-16 0M36 34m-8 0a8 8 0 1 0 16 0a8 8 0 1 0-16 0M12 34l8-16h12l4 16M20 18l8 16M18 14h6"},
	{"travel", "Isla & Tide", "isla-tide.example", "IAB20-18", "Out of office, into the sea", "Forty islands by slow boat and night train.", "See the routes",
		"#0b3954", "#087e8b", "#ffe66d", "M24 6v26M24 8l14 22H24M22 14L10 30h12M6 36c6 6 12 0 18 4s12 2 18-4"},
	{"garden", "Fern & Field", "fern-field.example", "IAB10-7", "A garden on every sill", "Seeds, soil and a plan for the light you have.", "Start small",
		"#12372a", "#436850", "#fbfada", "M24 44V20M24 30C12 30 8 22 8 12c12 0 16 8 16 18M24 26c0-10 4-16 16-16 0 10-4 16-16 16"},
}

func categories() string {
	var out []string
	for i := range brands {
		out = append(out, brands[i].category)
	}
	return strings.Join(out, ", ")
}

// in says whether a category, or the one above it, is the brand's.
func (b *brand) in(category string) bool {
	return category == b.category || strings.HasPrefix(b.category, category+"-")
}

// bannerMarkup adapts to flat, tall and square sizes. Nothing in it is loaded from anywhere.
var bannerMarkup = template.Must(template.New("banner").Parse(`<style>
*{box-sizing:border-box}.ad{display:flex;width:{{.W}}px;height:{{.H}}px;padding:{{.Pad}}px;gap:{{.Pad}}px;flex-direction:{{if .Flat}}row{{else}}column{{end}};align-items:{{if .Flat}}center{{else}}flex-start{{end}};justify-content:space-between;
overflow:hidden;position:relative;color:#fff;text-decoration:none;font:500 {{.Text}}px/1.3 system-ui,sans-serif;background:radial-gradient(circle at 85% 15%,{{.Light}},{{.Dark}} 75%)}
.ad svg{flex:none;width:{{.Emblem}}px;height:{{.Emblem}}px;fill:none;stroke:{{.Accent}};stroke-width:2.5;stroke-linecap:round;stroke-linejoin:round}
.ad>span{flex:{{if .Flat}}1{{else}}none;margin-top:auto{{end}};min-width:0}.ad span span{display:block;margin-top:.35em;opacity:.88}
.ad b{display:block;font-size:{{.Head}}px;line-height:1.15;letter-spacing:-.01em;text-wrap:balance}.ad i{font-style:normal;flex:none;padding:.5em 1em;border-radius:99px;color:{{.Dark}};background:{{.Accent}};font-weight:700;white-space:nowrap}
.ad small{position:absolute;right:4px;top:2px;font-size:9px;opacity:.6}</style>
<a class="ad" href="https://{{.Domain}}/?from=ad" target="_blank" rel="noopener sponsored" data-price="${AUCTION_PRICE}"><svg viewBox="0 0 48 48" aria-hidden="true"><path d="{{.Path}}"/></svg>
<span><b>{{.Title}}</b>{{if .Body}}<span>{{.Body}}</span>{{end}}</span>{{if .Action}}<i>{{.Action}}</i>{{end}}<small>Ad{{if .Name}} · {{.Name}}{{end}}</small></a>`))

func (b *brand) banner(w, h int64) string {
	flat := w > 2*h
	data := struct {
		W, H, Pad, Text, Head, Emblem     int64
		Flat                              bool
		Name, Domain, Title, Body, Action string
		Path                              string
		Dark, Light, Accent               template.CSS
	}{
		W: w, H: h, Pad: min(20, max(6, min(w, h)/9)), Flat: flat, Text: max(11, min(15, min(w, h)/18)), Head: max(12, min(24, w/13)),
		Emblem: max(24, min(64, min(w, h)/5)), Name: b.name, Domain: b.domain, Title: b.title, Body: b.body, Action: b.action, Path: b.emblemAt,
		Dark: template.CSS(b.dark), Light: template.CSS(b.light), Accent: template.CSS(b.accent),
	}
	if flat { // emblem, text and action side by side
		data.Head, data.Emblem, data.Text = max(13, min(32, w/29, h/3)), max(24, min(110, h*6/10)), max(11, min(17, h/6))
	}
	if h < 90 || w < 160 {
		data.Body = ""
	}
	if h < 60 {
		data.Name = "" // its line would lie over the action
	}
	if flat && w < 320 || h < 40 {
		data.Action = ""
	}
	var out bytes.Buffer
	if err := bannerMarkup.Execute(&out, data); err != nil {
		panic(err) // the template and its data are this file's
	}
	return out.String()
}

// picture is the image of native ads.
func (b *brand) picture() string {
	svg := `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 600 400"><defs><radialGradient id="g" cx=".8" cy=".2"><stop stop-color="` + b.light + `"/><stop offset="1" stop-color="` + b.dark +
		`"/></radialGradient></defs><path fill="url(#g)" d="M0 0h600v400H0z"/><g transform="translate(204 104) scale(4)" fill="none" stroke="` + b.accent + `" stroke-width="2" stroke-linecap="round" stroke-linejoin="round"><path d="` + b.emblemAt + `"/></g></svg>`
	return "data:image/svg+xml," + url.PathEscape(svg)
}

// native answers a native request with the assets that it asks for; false where it requires what there is not.
func (b *brand) native(ask string) (string, bool) {
	var req struct {
		request.Request
		Native *request.Request `json:"native"`
	}
	if json.Unmarshal([]byte(ask), &req) != nil {
		return "", false
	}
	r := &req.Request
	if req.Native != nil {
		r = req.Native
	}
	resp := response.Response{Ver: "1.2", Link: response.Link{URL: "https://" + b.domain + "/?from=native"}}
	for i := range r.Assets {
		a := &r.Assets[i]
		out := response.Asset{ID: &a.ID, Required: a.Required}
		switch {
		case a.Title != nil:
			out.Title = &response.Title{Text: b.title}
		case a.Img != nil && a.Img.Type != native1.ImageAssetTypeIcon:
			out.Img = &response.Image{URL: b.picture(), W: 600, H: 400}
		case a.Data != nil && b.data(a.Data.Type) != "":
			out.Data = &response.Data{Value: b.data(a.Data.Type)}
		case a.Required == 1:
			return "", false
		default:
			continue
		}
		resp.Assets = append(resp.Assets, out)
	}
	adm, err := json.Marshal(&resp)
	return string(adm), err == nil
}

func (b *brand) data(t native1.DataAssetType) string {
	switch t {
	case native1.DataAssetTypeSponsored:
		return b.name
	case native1.DataAssetTypeDesc:
		return b.body
	case native1.DataAssetTypeCTAText:
		return b.action
	}
	return ""
}
