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

// Parse reads a catalogue in JSON and checks it. Unknown fields are problems: a misspelt field would be a targeting rule
// that silently does nothing. The error is Problems when the documents are at fault.
func Parse(r io.Reader) (*Catalogue, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read the catalogue: %w", err)
	}
	if len(data) > MaxFile {
		return nil, fmt.Errorf("the catalogue is larger than %d MiB", MaxFile>>20)
	}
	p := &parser{data: data, dec: json.NewDecoder(bytes.NewReader(data))}
	p.dec.DisallowUnknownFields()
	c, err := p.catalogue()
	if err != nil {
		return nil, fmt.Errorf("the catalogue is not a JSON object: %w", describe(data, err))
	}
	// References into a document that did not parse would be reported as missing: show the cause alone.
	if len(p.problems) > 0 {
		return nil, p.problems
	}
	if err := Check(c); err != nil {
		return nil, err
	}
	return c, nil
}

// parser decodes documents one by one straight from the file: large catalogues are held once as text and once as documents, and a
// mistake is told with the document's id.
type parser struct {
	data     []byte
	dec      *json.Decoder
	problems Problems
}

func (p *parser) catalogue() (*Catalogue, error) {
	if err := p.open('{'); err != nil {
		return nil, err
	}
	c, seen := &Catalogue{}, map[string]bool{}
	read := c.readers(p)
	for p.dec.More() {
		token, err := p.dec.Token()
		if err != nil {
			return nil, err
		}
		name := token.(string) // the decoder lets nothing else stand here
		if seen[name] {
			p.bad(name, "stands twice in the file")
		}
		seen[name] = true
		reader := read[name]
		if reader == nil {
			p.bad(name, "unknown collection; there are settings, "+strings.Join(Collections, ", "))
			reader = func() error { var skipped json.RawMessage; return p.dec.Decode(&skipped) }
		}
		if err := reader(); err != nil {
			return nil, err
		}
	}
	if _, err := p.dec.Token(); err != nil {
		return nil, err
	}
	if _, err := p.dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("line %d: something follows its end", p.line())
	}
	return c, nil
}

// Collections in the order in which files have them, after the settings.
var Collections = []string{
	"publishers", "sites", "placements", "advertisers", "campaigns", "lineItems", "creatives", "demandPartners", "demandSources", "deals",
}

func (c *Catalogue) readers(p *parser) map[string]func() error {
	return map[string]func() error{
		"settings": func() error {
			_, err := decode(p, "settings", "", &c.Settings)
			return err
		},
		"publishers":     func() error { return take(p, "publishers", &c.Publishers) },
		"sites":          func() error { return take(p, "sites", &c.Sites) },
		"placements":     func() error { return take(p, "placements", &c.Placements) },
		"advertisers":    func() error { return take(p, "advertisers", &c.Advertisers) },
		"campaigns":      func() error { return take(p, "campaigns", &c.Campaigns) },
		"lineItems":      func() error { return take(p, "lineItems", &c.LineItems) },
		"creatives":      func() error { return take(p, "creatives", &c.Creatives) },
		"demandPartners": func() error { return take(p, "demandPartners", &c.DemandPartners) },
		"demandSources":  func() error { return take(p, "demandSources", &c.DemandSources) },
		"deals":          func() error { return take(p, "deals", &c.Deals) },
	}
}

func (p *parser) open(want json.Delim) error {
	token, err := p.dec.Token()
	if err != nil {
		return err
	}
	if token != want {
		return fmt.Errorf("line %d: %q stands where %q is expected", p.line(), fmt.Sprint(token), want.String())
	}
	return nil
}

func (p *parser) bad(collection, message string) {
	p.problems = append(p.problems, Problem{Collection: collection, Message: message})
}

func (p *parser) line() int { return bytes.Count(p.data[:p.dec.InputOffset()], []byte("\n")) + 1 }

// take decodes the documents of one collection.
func take[T any](p *parser, name string, into *[]T) error {
	before := p.dec.InputOffset()
	if token, err := p.dec.Token(); err != nil || token != json.Delim('[') {
		if err == nil && token != nil {
			p.bad(name, "must be a list of documents")
			return p.skip(token)
		}
		return err // null is an empty list
	}
	// Documents are a hundred bytes and more: a guess that spares the copies that append would make.
	*into = make([]T, 0, min(1<<16, (int64(len(p.data))-before)>>8))
	for i := 0; p.dec.More(); i++ {
		var doc T
		ok, err := decode(p, name, fmt.Sprintf("#%d", i+1), &doc)
		if err != nil {
			return err
		}
		if ok {
			*into = append(*into, doc)
		}
	}
	_, err := p.dec.Token()
	return err
}

// skip reads on to the end of a value of which one token was read.
func (p *parser) skip(token json.Token) error {
	for depth := 0; ; {
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
		var err error
		if token, err = p.dec.Token(); err != nil {
			return err
		}
	}
}

// decode reads one document. What is wrong with it alone is a problem, and reading goes on behind it; an error ends all.
func decode[T any](p *parser, collection, position string, doc *T) (ok bool, err error) {
	begin := p.dec.InputOffset()
	err = p.dec.Decode(doc)
	var syntax *json.SyntaxError
	switch {
	case err == nil:
		return true, nil
	case errors.As(err, &syntax), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return false, err
	}
	raw := bytes.TrimLeft(p.data[begin:p.dec.InputOffset()], " \t\r\n,:")
	problem := Problem{Collection: collection, Document: position}
	if position != "" {
		problem.Document = idOf(raw, position)
	}
	err = describe(raw, err)
	problem.Field, problem.Message = fieldOf(err), err.Error()
	p.problems = append(p.problems, problem)
	return false, nil
}

func idOf(doc json.RawMessage, position string) string {
	var d struct{ ID any }
	if json.Unmarshal(doc, &d); d.ID != nil {
		if id, ok := d.ID.(string); ok && id != "" {
			return id
		}
	}
	return position
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
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("line %d: it ends too early", bytes.Count(raw, []byte("\n"))+1)
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return &fieldError{strings.Trim(name, `"`), "unknown field"}
	}
	return errors.New(strings.TrimPrefix(err.Error(), "json: "))
}
