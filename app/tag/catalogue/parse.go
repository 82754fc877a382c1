package catalogue

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Problem is one thing wrong with one document. Its text is one line: collection, document, field, what is wrong.
type Problem struct {
	Collection string // as in the file: "lineItems"
	Document   string // its id, or its position ("#3") when it has none
	Field      string // path within the document; may be empty
	Message    string
}

func (p Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.Collection)
	if p.Document != "" {
		fmt.Fprintf(&b, " %q", p.Document)
	}
	if p.Field != "" {
		b.WriteString(": " + p.Field)
	}
	b.WriteString(": " + p.Message)
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\r' {
			return ' '
		}
		return r
	}, b.String())
}

// Problems is all that is wrong with a catalogue. A catalogue with problems is refused whole.
type Problems []Problem

func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// MaxFile is the largest catalogue file that Parse reads, in bytes: 100,000 placements fit with room to spare.
const MaxFile = 512 << 20

// Parse reads a catalogue in JSON and validates it. Unknown fields are problems: a misspelt field would be a targeting rule
// that silently does nothing. The error is Problems when the documents are at fault.
func Parse(r io.Reader) (*Catalogue, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read the catalogue: %w", err)
	}
	if len(data) > MaxFile {
		return nil, fmt.Errorf("the catalogue is larger than %d MiB", MaxFile>>20)
	}
	var collections map[string]json.RawMessage
	if err := json.Unmarshal(data, &collections); err != nil {
		return nil, fmt.Errorf("the catalogue is not a JSON object: %w", describe(data, err))
	}
	var c Catalogue
	var ps Problems
	if raw, ok := collections["settings"]; ok {
		if err := strict(raw, &c.Settings); err != nil {
			ps = append(ps, Problem{Collection: "settings", Field: fieldOf(err), Message: err.Error()})
		}
		delete(collections, "settings")
	}
	take(collections, "publishers", &c.Publishers, &ps)
	take(collections, "sites", &c.Sites, &ps)
	take(collections, "placements", &c.Placements, &ps)
	take(collections, "advertisers", &c.Advertisers, &ps)
	take(collections, "campaigns", &c.Campaigns, &ps)
	take(collections, "lineItems", &c.LineItems, &ps)
	take(collections, "creatives", &c.Creatives, &ps)
	for name := range collections {
		ps = append(ps, Problem{Collection: name, Message: "unknown collection; there are settings, publishers, sites, placements, advertisers, campaigns, lineItems, creatives"})
	}
	// References into a document that did not parse would be reported as missing: show the cause alone.
	if len(ps) > 0 {
		return nil, ps
	}
	if err := Validate(&c); err != nil {
		return nil, err
	}
	return &c, nil
}

// take decodes the documents of one collection, one by one, so that a mistake is told with the document's id.
func take[T any](collections map[string]json.RawMessage, name string, into *[]T, ps *Problems) {
	raw, ok := collections[name]
	delete(collections, name)
	if !ok {
		return
	}
	var docs []json.RawMessage
	if err := json.Unmarshal(raw, &docs); err != nil {
		*ps = append(*ps, Problem{Collection: name, Message: "must be a list of documents"})
		return
	}
	*into = make([]T, len(docs))
	for i, doc := range docs {
		if err := strict(doc, &(*into)[i]); err != nil {
			*ps = append(*ps, Problem{Collection: name, Document: idOf(doc, i), Field: fieldOf(err), Message: err.Error()})
		}
	}
}

func idOf(doc json.RawMessage, i int) string {
	var d struct{ ID string }
	if json.Unmarshal(doc, &d); d.ID != "" {
		return d.ID
	}
	return fmt.Sprintf("#%d", i+1)
}

func strict(raw json.RawMessage, into any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return describe(raw, err)
	}
	return nil
}

// fieldError keeps the path that encoding/json found apart from its message.
type fieldError struct{ field, message string }

func (e *fieldError) Error() string { return e.message }

func fieldOf(err error) string {
	var f *fieldError
	if errors.As(err, &f) {
		return f.field
	}
	return ""
}

// describe says what encoding/json means in words that need no Go.
func describe(raw []byte, err error) error {
	var wrong *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &wrong):
		return &fieldError{wrong.Field, fmt.Sprintf("a %s cannot stand here, a value of type %s is expected", wrong.Value, wrong.Type)}
	case errors.As(err, &syntax):
		upTo := raw[:min(int(syntax.Offset), len(raw))]
		return fmt.Errorf("line %d: %s", bytes.Count(upTo, []byte("\n"))+1, syntax)
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return &fieldError{strings.Trim(name, `"`), "unknown field"}
	}
	return errors.New(strings.TrimPrefix(err.Error(), "json: "))
}
