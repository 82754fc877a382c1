package catalogue

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// Write writes a catalogue as a file that Parse reads. The same documents in the same order make the same bytes. It encodes one
// document at a time.
func Write(w io.Writer, c *Catalogue) error {
	out := &writer{w: bufio.NewWriterSize(w, 1<<16)}
	out.enc = json.NewEncoder(&out.doc)
	out.enc.SetEscapeHTML(false)
	out.enc.SetIndent("    ", "  ")
	out.text("{\n  \"settings\": ")
	settings := json.NewEncoder(&out.doc)
	settings.SetEscapeHTML(false)
	settings.SetIndent("  ", "  ")
	out.value(settings, c.Settings)
	list(out, "publishers", c.Publishers, true)
	list(out, "sites", c.Sites, true)
	list(out, "placements", c.Placements, true)
	list(out, "advertisers", c.Advertisers, true)
	list(out, "campaigns", c.Campaigns, true)
	list(out, "lineItems", c.LineItems, true)
	list(out, "creatives", c.Creatives, true)
	list(out, "demandPartners", c.DemandPartners, false)
	list(out, "demandSources", c.DemandSources, false)
	list(out, "deals", c.Deals, false)
	out.text("\n}\n")
	if out.err == nil {
		out.err = out.w.Flush()
	}
	if out.err != nil {
		return fmt.Errorf("write the catalogue: %w", out.err)
	}
	return nil
}

type writer struct {
	w   *bufio.Writer
	doc bytes.Buffer
	enc *json.Encoder
	err error
}

func (o *writer) text(s string) {
	if o.err == nil {
		_, o.err = o.w.WriteString(s)
	}
}

func (o *writer) value(enc *json.Encoder, v any) {
	if o.err != nil {
		return
	}
	o.doc.Reset()
	if o.err = enc.Encode(v); o.err == nil {
		_, o.err = o.w.Write(bytes.TrimRight(o.doc.Bytes(), "\n"))
	}
}

// list writes a collection; one that need not be there is left out when it is empty.
func list[T any](o *writer, name string, docs []T, always bool) {
	if len(docs) == 0 && !always {
		return
	}
	o.text(",\n  \"" + name + "\": [")
	for i := range docs {
		if i > 0 {
			o.text(",")
		}
		o.text("\n    ")
		o.value(o.enc, &docs[i])
	}
	if len(docs) > 0 {
		o.text("\n  ")
	}
	o.text("]")
}
