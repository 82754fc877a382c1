package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"patag/app/tag/catalogue"
	"patag/app/tag/demo"
)

const intro = `# Catalogue

<!-- Written by ` + "`go run ./scripts/cataloguedoc`" + ` from the comments in app/tag/catalogue; a test checks that it is current. -->

What there is to sell and to show, as one JSON file or as documents of the store. ` + "`tag catalogue validate FILE`" + ` checks a file and
prints every problem with document and field; ` + "`import`" + ` makes the store hold exactly this catalogue, or changes nothing; ` + "`export`" + `
writes it back; ` + "`generate`" + ` makes one of any size for tests. Servers take a new version within seconds, without a restart.

Ids are 1 to 64 letters, digits, dots, dashes or underscores. Money is in micros: ` + "`{\"micros\": 2500000, \"currency\": \"EUR\"}`" + ` is 2.50 EUR.
An unknown field is refused: a misspelt one would be a rule that does nothing. Import also looks into markup: it refuses hosts of
` + "`settings.blockedHosts`" + `, javascript: URLs, self-refresh, <base>, navigation of the page, and parts that load over http:.

| collection | one document is |
|---|---|
`

// markdown is the document, made from the sources under root.
func markdown(root string) (string, error) {
	types, err := read(filepath.Join(root, "app", "tag", "catalogue", "catalogue.go"))
	if err != nil {
		return "", err
	}
	c, err := demo.Catalogue("")
	if err != nil {
		return "", err
	}
	var out strings.Builder
	out.WriteString(intro)
	top := types["Catalogue"]
	for _, f := range top.fields {
		fmt.Fprintf(&out, "| [`%s`](#%s) | %s |\n", f.name, strings.ToLower(f.name), cell(types[f.elem].doc))
	}
	shown := map[string]bool{"Catalogue": true}
	values := reflect.ValueOf(*c)
	for i, f := range top.fields {
		fmt.Fprintf(&out, "\n## %s\n", f.name)
		section(&out, types, f.elem, shown, false)
		example, err := exampleOf(values.Field(i))
		if err != nil {
			return "", fmt.Errorf("example of %s: %w", f.name, err)
		}
		fmt.Fprintf(&out, "\n```json\n%s\n```\n", example)
	}
	return out.String(), nil
}

// section tells a type, and then the types that it is made of and that were not told yet.
func section(out *strings.Builder, types map[string]structType, name string, shown map[string]bool, nested bool) {
	if shown[name] {
		return
	}
	shown[name] = true
	t := types[name]
	if nested {
		fmt.Fprintf(out, "\n### %s\n", name)
	}
	fmt.Fprintf(out, "\n%s\n\n| field | type | |\n|---|---|---|\n", t.doc)
	for _, f := range t.fields {
		kind := f.kind
		if !f.optional {
			kind += "; required"
		}
		fmt.Fprintf(out, "| `%s` | %s | %s |\n", f.name, cell(kind), cell(f.doc))
	}
	for _, f := range t.fields {
		if _, ok := types[f.elem]; ok {
			section(out, types, f.elem, shown, true)
		}
	}
}

func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;").Replace(strings.TrimSpace(s))
}

// exampleOf is the document with the most fields, its long texts cut.
func exampleOf(v reflect.Value) (string, error) {
	docs := []any{v.Interface()}
	if v.Kind() == reflect.Slice {
		docs = nil
		for i := range v.Len() {
			docs = append(docs, v.Index(i).Interface())
		}
	}
	var best string
	most := -1
	for _, doc := range docs {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(doc); err != nil {
			return "", err
		}
		if n := strings.Count(b.String(), "\n"); n > most {
			best, most = strings.TrimSpace(b.String()), n
		}
	}
	if most < 0 {
		return "", fmt.Errorf("the demo catalogue has none")
	}
	lines := strings.Split(best, "\n")
	for i, l := range lines {
		if runes := []rune(l); len(runes) > 160 {
			lines[i] = string(runes[:150]) + ` …"` + strings.TrimLeft(l[len(strings.TrimRight(l, ",")):], " ")
		}
	}
	return strings.Join(lines, "\n"), nil
}

type structType struct {
	doc    string
	fields []field
}

type field struct {
	name, kind, elem, doc string // elem is the type's name without lists and pointers
	optional              bool
}

// read parses the types of a Go file.
func read(file string) (map[string]structType, error) {
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	types, words := map[string]structType{}, constants(f)
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.TYPE {
			continue
		}
		for _, s := range g.Specs {
			t := s.(*ast.TypeSpec)
			if st, ok := t.Type.(*ast.StructType); ok {
				types[t.Name.Name] = structType{flat(g.Doc), fields(st, words)}
			}
		}
	}
	if len(types["Catalogue"].fields) != reflect.TypeFor[catalogue.Catalogue]().NumField() {
		return nil, fmt.Errorf("%s: the fields of Catalogue were not found", file)
	}
	return types, nil
}

// constants are the words that each type of text may be.
func constants(f *ast.File) map[string][]string {
	words := map[string][]string{}
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		for _, s := range g.Specs {
			v := s.(*ast.ValueSpec)
			t, typed := v.Type.(*ast.Ident)
			if !typed || len(v.Values) != 1 {
				continue
			}
			if lit, ok := v.Values[0].(*ast.BasicLit); ok {
				words[t.Name] = append(words[t.Name], strings.Trim(lit.Value, `"`))
			}
		}
	}
	return words
}

func fields(st *ast.StructType, words map[string][]string) []field {
	var out []field
	for _, f := range st.Fields.List {
		tag := reflect.StructTag(strings.Trim(f.Tag.Value, "`")).Get("json")
		name, opts, _ := strings.Cut(tag, ",")
		kind, elem := kindOf(f.Type)
		if of := words[elem]; len(of) > 0 {
			kind = strings.Replace(kind, elem, "one of "+strings.Join(of, ", "), 1)
			elem = ""
		}
		doc := flat(f.Doc)
		if doc == "" {
			doc = flat(f.Comment)
		}
		out = append(out, field{name, kind, elem, doc, slices.Contains([]string{"omitempty", "omitzero"}, opts)})
	}
	return out
}

// kindOf says a type in words, and its name without lists and pointers.
func kindOf(e ast.Expr) (kind, elem string) {
	switch e := e.(type) {
	case *ast.StarExpr:
		return kindOf(e.X)
	case *ast.ArrayType:
		kind, elem = kindOf(e.Elt)
		return "list of " + kind, elem
	case *ast.MapType:
		kind, elem = kindOf(e.Value)
		return "object of " + kind, elem
	case *ast.SelectorExpr:
		return "time (RFC 3339)", "" // time.Time
	case *ast.Ident:
		switch e.Name {
		case "int", "int64":
			return "number", ""
		case "bool":
			return "true or false", ""
		case "string":
			return "text", ""
		}
		return e.Name, e.Name
	}
	return fmt.Sprintf("%T", e), ""
}

func flat(c *ast.CommentGroup) string {
	if c == nil {
		return ""
	}
	return strings.Join(strings.Fields(c.Text()), " ")
}
