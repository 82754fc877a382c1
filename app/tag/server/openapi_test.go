package server

import (
	"bytes"
	"encoding/json"
	"mime"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// contract checks answers against the served document. Every request that the tests of this package make through a fixture is held
// to it.
type contract struct {
	doc      map[string]any
	compiler *jsonschema.Compiler
	schemas  map[string]*jsonschema.Schema
}

var loadContract = sync.OnceValues(func() (*contract, error) {
	c := &contract{compiler: jsonschema.NewCompiler(), schemas: map[string]*jsonschema.Schema{}}
	c.compiler.DefaultDraft(jsonschema.Draft2020)
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(openapiAsset().plain))
	if err != nil {
		return nil, err
	}
	c.doc = doc.(map[string]any)
	return c, c.compiler.AddResource("https://tag.test/openapi.json", doc)
})

// at follows a JSON pointer's parts and references of the document.
func (c *contract) at(parts ...string) (map[string]any, string) {
	node, pointer := c.doc, ""
	for _, p := range parts {
		next, ok := node[p].(map[string]any)
		if !ok {
			return nil, ""
		}
		node, pointer = next, pointer+"/"+strings.NewReplacer("~", "~0", "/", "~1").Replace(p)
		if ref, ok := node["$ref"].(string); ok {
			pointer = strings.TrimPrefix(ref, "#")
			node, _ = c.at(strings.Split(pointer, "/")[1:]...)
		}
	}
	return node, pointer
}

// check fails the test when an answer is none that the document promises.
func (c *contract) check(t testing.TB, r *http.Request, w *httptest.ResponseRecorder) {
	t.Helper()
	path := r.URL.Path
	if strings.HasPrefix(path, pathEvent) {
		path = "/v1/event/{kind}"
	}
	path = documented(path)
	if item, _ := c.at("paths", path); item == nil {
		if path != "/demo" && w.Code != http.StatusNotFound {
			t.Errorf("%s is answered %d and not in the document", path, w.Code)
		}
		return
	}
	method := strings.ToLower(r.Method)
	if method == "head" || method == "options" || w.Code == http.StatusMethodNotAllowed {
		return
	}
	response, pointer := c.at("paths", path, method, "responses", strconv.Itoa(w.Code))
	if response == nil {
		t.Errorf("%s %s: the answer %d is not in the document", r.Method, path, w.Code)
		return
	}
	content, _ := response["content"].(map[string]any)
	if w.Body.Len() == 0 {
		return
	}
	media, _, err := mime.ParseMediaType(w.Header().Get("Content-Type"))
	if err != nil || content[media] == nil {
		t.Errorf("%s %s: %d with content type %q, which is not in the document", r.Method, path, w.Code, w.Header().Get("Content-Type"))
		return
	}
	if schema, ok := content[media].(map[string]any)["schema"]; ok && schema != nil && media == "application/json" {
		c.validate(t, pointer+"/content/application~1json/schema", w.Body.Bytes())
	}
}

func (c *contract) validate(t testing.TB, pointer string, body []byte) {
	t.Helper()
	schema := c.schemas[pointer]
	if schema == nil {
		var err error
		if schema, err = c.compiler.Compile("https://tag.test/openapi.json#" + pointer); err != nil {
			t.Fatalf("the schema at %s: %v", pointer, err)
		}
		c.schemas[pointer] = schema
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		t.Errorf("not JSON: %v: %.300s", err, body)
		return
	}
	if err := schema.Validate(value); err != nil {
		t.Errorf("the answer is not what the document promises: %v\n%.600s", err, body)
	}
}

// The check itself must be able to fail.
func TestContractRefuses(t *testing.T) {
	c, err := loadContract()
	if err != nil {
		t.Fatal(err)
	}
	for body, code := range map[string]int{
		`{"placement":"a","fill":true}`: 200, `{"placement":"a","fill":false}`: 200, `{"placement":"a","fill":false,"reason":"x","extra":1}`: 200,
		`{"placement":"a","fill":true,"chain":[{"source":"direct"}]}`: 200, `{"error":"x"}`: 418, `{"message":"x"}`: 404, `not JSON`: 200,
	} {
		w := httptest.NewRecorder()
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		w.WriteString(body)
		var seen failures
		c.check(&seen, httptest.NewRequest("GET", "/v1/ad", nil), w)
		if seen.n == 0 {
			t.Errorf("%d %s passes", code, body)
		}
	}
}

// failures counts what a check finds.
type failures struct {
	testing.TB
	n int
}

func (f *failures) Helper()               {}
func (f *failures) Errorf(string, ...any) { f.n++ }

// documented is a path as the document has it: hashes are parameters there.
func documented(path string) string {
	return regexp.MustCompile(`-[0-9a-f]{12}\.`).ReplaceAllString(path, "-{hash}.")
}

// Every route is in the document with its methods, and the document promises none that is not there.
func TestDocumentAndRoutesAgree(t *testing.T) {
	f := newFixture(t)
	c, err := loadContract()
	if err != nil {
		t.Fatal(err)
	}
	paths := c.doc["paths"].(map[string]any)
	routes := map[string]*route{}
	for path, at := range f.routes() {
		routes[documented(path)] = at
	}
	for path, at := range routes {
		if path == "/demo" {
			continue
		}
		for _, m := range at.methods {
			if op, _ := c.at("paths", path, strings.ToLower(m)); op == nil && m != http.MethodHead {
				t.Errorf("%s %s is not in the document", m, path)
			}
		}
	}
	for path, item := range paths {
		if path == "/v1/event/{kind}" || path == "/healthz" {
			continue
		}
		at := routes[path]
		if at == nil {
			t.Errorf("the document has %s, the server has not", path)
			continue
		}
		for method := range item.(map[string]any) {
			if method != "parameters" && !strings.Contains(strings.Join(at.methods, " "), strings.ToUpper(method)) {
				t.Errorf("the document has %s %s, the server has not", method, path)
			}
		}
	}
	var served struct{ OpenAPI string }
	w := f.do("GET", "/openapi.json")
	if err := json.Unmarshal(w.Body.Bytes(), &served); err != nil || served.OpenAPI != "3.1.0" {
		t.Errorf("served: %v %q", err, served.OpenAPI)
	}
	kinds, _ := c.at("components", "schemas", "EventKind")
	if n := len(kinds["enum"].([]any)); n != len(eventKinds) {
		t.Errorf("the document has %d kinds of events, the server %d", n, len(eventKinds))
	}
}
