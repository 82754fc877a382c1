package inventory

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html/template"
	"net/url"
	"strings"

	"patag/app/tag/catalogue"
)

// clickMacro is where creatives want the click URL.
const clickMacro = "{{CLICK}}"

// head opens every ad document: links leave the frame, and the page's background shows through.
const head = `<!doctype html><html><head><meta charset="utf-8"><base target="_blank"><style>html,body{margin:0;padding:0;overflow:hidden}</style></head><body>`
const tail = `</body></html>`

// nativeMarkup lays native assets out for pages that do not do it themselves.
var nativeMarkup = template.Must(template.New("native").Parse(head + `<style>
a{display:flex;gap:14px;align-items:center;padding:12px;color:inherit;text-decoration:none;font:14px/1.4 system-ui,sans-serif}
img{width:96px;height:72px;object-fit:cover;border-radius:6px;flex:none}
b{display:block;font-size:16px;line-height:1.25}small{color:#6b6b6b;display:block}span{display:block}i{font-style:normal;font-weight:600}
</style><a href="{{.Click}}" rel="noopener sponsored">{{with .Image}}<img alt="" src="{{.}}">{{end}}<span><small>Sponsored by {{.Sponsor}}</small><b>{{.Title}}</b>{{with .Body}}<span>{{.}}</span>{{end}}{{with .Action}}<i>{{.}} ›</i>{{end}}</span></a>` + tail))

// clickHole stands for the click URL while the template runs: a URL that the template engine leaves as it is.
const clickHole = "https://click.invalid/hole"

func compileCreative(doc *catalogue.Creative) (*Creative, error) {
	c := &Creative{ID: doc.ID, Advertiser: doc.Advertiser, Landing: doc.Landing, Format: doc.Format, Size: doc.Size,
		Categories: ParseCategories(doc.Categories)}
	if u, err := url.Parse(doc.Landing); err == nil {
		c.host = u.Hostname()
	}
	switch doc.Format {
	case catalogue.Native:
		var err error
		if c.Markup, err = LayOutNative(doc.Native); err != nil {
			return nil, err
		}
		if c.NativeJSON, err = json.Marshal(doc.Native); err != nil {
			return nil, fmt.Errorf("encode native assets: %w", err)
		}
	default:
		c.Markup = bytes.Split([]byte(head+doc.HTML+tail), []byte(clickMacro))
	}
	for _, part := range c.Markup {
		quoted, err := quote(string(part))
		if err != nil {
			return nil, err
		}
		c.MarkupJSON = append(c.MarkupJSON, quoted)
	}
	return c, nil
}

// LayOutNative makes a document of native assets, cut where the click URL goes.
func LayOutNative(assets *catalogue.NativeAssets) ([][]byte, error) {
	var out bytes.Buffer
	var image template.URL // of schemes that run nothing; those of bids have been validated by nobody else
	if strings.HasPrefix(assets.Image, "https://") || strings.HasPrefix(assets.Image, "http://") || strings.HasPrefix(assets.Image, "data:image/") {
		image = template.URL(assets.Image)
	}
	err := nativeMarkup.Execute(&out, struct {
		catalogue.NativeAssets
		Image template.URL
		Click string
	}{*assets, image, clickHole})
	if err != nil {
		return nil, fmt.Errorf("lay out native assets: %w", err)
	}
	return bytes.Split(out.Bytes(), []byte(clickHole)), nil
}

// Document makes a document of markup that has links of its own, such as a bid's.
func Document(markup string) string { return head + markup + tail }

// quote escapes text for a JSON string, without the quotes.
func quote(text string) ([]byte, error) {
	var quoted bytes.Buffer
	enc := json.NewEncoder(&quoted)
	enc.SetEscapeHTML(false) // the answer is JSON and says so; escaping each < would make it a tenth longer
	if err := enc.Encode(text); err != nil {
		return nil, fmt.Errorf("encode markup: %w", err)
	}
	return quoted.Bytes()[1 : quoted.Len()-2], nil // without quotes and newline
}
