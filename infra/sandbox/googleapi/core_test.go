package googleapi

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	compute "google.golang.org/api/compute/v0.beta"
	container "google.golang.org/api/container/v1beta1"

	"patag/infra/sandbox/store"
)

func newCore(t *testing.T) *Core {
	t.Helper()
	st, err := store.Open(filepath.Join(t.TempDir(), "api.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	core, err := New(Options{Store: st, Authenticator: AuthenticatorFunc(func(token string) (string, error) {
		if token != "good" {
			return "", errors.New("unknown token")
		}
		return "admin@example.com", nil
	})})
	if err != nil {
		t.Fatal(err)
	}
	return core
}

func call(t *testing.T, h http.Handler, method, path, token, body string) (int, map[string]any) {
	t.Helper()
	req := httptest.NewRequest(method, path, strings.NewReader(body))
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, req)
	var v map[string]any
	raw, _ := io.ReadAll(rec.Body)
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatalf("%s %s: %v in %q", method, path, err, raw)
	}
	return rec.Code, v
}

func TestRouting(t *testing.T) {
	core := newCore(t)
	s := core.Service("thing")
	echo := func(pattern string) Handler {
		return func(_ context.Context, r *Request) (any, error) {
			return Doc{"pattern": pattern, "key": r.Key(), "a": r.Var("a"), "b": r.Var("b"), "principal": r.Principal}, nil
		}
	}
	for _, p := range []string{
		"{version=v1|v1beta1}/projects/{project}/as/{a}",
		"{version=v1|v1beta1}/projects/{project}/as/{a}:poke",
		"{version=v1|v1beta1}/projects/{project}/as/special",
		"thing/v1/b/{a}/o/{b*}",
		"v1/rest/{a**}",
		"v1/rest/{a**}:poke",
	} {
		s.Handle("GET", p, echo(p))
	}
	num := ProjectNumber(DefaultProject)
	for _, c := range []struct{ path, pattern, key, a, b string }{
		{"/thing/v1/projects/x/as/1", "{version=v1|v1beta1}/projects/{project}/as/{a}", "thing/projects/x/as/1", "1", ""},
		{"/thing/v1beta1/projects/x/as/1:poke", "{version=v1|v1beta1}/projects/{project}/as/{a}:poke", "thing/projects/x/as/1", "1", ""},
		{"/thing/v1/projects/x/as/special", "{version=v1|v1beta1}/projects/{project}/as/special", "thing/projects/x/as/special", "", ""},
		{"/thing/v1/projects/" + num + "/as/1", "{version=v1|v1beta1}/projects/{project}/as/{a}", "thing/projects/" + DefaultProject + "/as/1", "1", ""},
		{"/thing/thing/v1/b/bucket/o/x%2Fy:poke", "thing/v1/b/{a}/o/{b*}", "thing/b/bucket/o/x/y:poke", "bucket", "x/y:poke"},
		{"/thing/v1/rest/x/y", "v1/rest/{a**}", "thing/rest/x/y", "x/y", ""},
		{"/thing/v1/rest/x/y:poke", "v1/rest/{a**}:poke", "thing/rest/x/y", "x/y", ""},
	} {
		code, v := call(t, core, "GET", c.path, "good", "")
		if code != 200 || v["pattern"] != c.pattern || v["key"] != c.key || v["a"] != c.a || v["b"] != c.b {
			t.Errorf("%s: %d %v", c.path, code, v)
		}
	}
	for path, want := range map[string]int{
		"/thing/v2/projects/x/as/1":                   501,
		"/thing/v1/projects/x/as/1:other":             501,
		"/thing/v1/projects/x/as/1/more":              501,
		"/nothing/v1/projects/x":                      501,
		"/thing/v1/projects//as/1":                    501,
		"/thing/v1/projects/x/as/1?access_token=good": 200,
	} {
		req := httptest.NewRequest("GET", path, nil)
		if !strings.Contains(path, "access_token") {
			req.Header.Set("Authorization", "Bearer good")
		}
		rec := httptest.NewRecorder()
		core.ServeHTTP(rec, req)
		if rec.Code != want {
			t.Errorf("%s: %d, want %d", path, rec.Code, want)
		}
	}
	if code, v := call(t, core, "DELETE", "/thing/v1/projects/x/as/1", "good", ""); code != 501 || !strings.Contains(Doc(v).String("error", "message"), "GET") {
		t.Errorf("wrong method: %d %v", code, v)
	}
}

func TestTokenIsRequired(t *testing.T) {
	core := newCore(t)
	core.Service("x").Handle("GET", "v1/y", func(context.Context, *Request) (any, error) { return nil, nil })
	core.Service("x").HandlePublic("GET", "v1/open", func(context.Context, *Request) (any, error) { return nil, nil })
	for _, token := range []string{"", "bad"} {
		code, v := call(t, core, "GET", "/x/v1/y", token, "")
		if code != 401 || Doc(v).String("error", "status") != "UNAUTHENTICATED" {
			t.Errorf("token %q: %d %v", token, code, v)
		}
	}
	if code, _ := call(t, core, "GET", "/x/v1/y", "good", ""); code != 200 {
		t.Errorf("good token: %d", code)
	}
	if code, _ := call(t, core, "GET", "/x/v1/open", "", ""); code != 200 {
		t.Errorf("public call: %d", code)
	}
	if code, _ := call(t, core, "GET", "/x/v1/unknown", "", ""); code != 401 {
		t.Errorf("unknown call without token: %d, want 401 as it tells nothing", code)
	}
}

func TestPanicAndErrors(t *testing.T) {
	core := newCore(t)
	s := core.Service("x")
	s.Handle("GET", "v1/panic", func(context.Context, *Request) (any, error) { panic("boom") })
	s.Handle("GET", "v1/plain", func(context.Context, *Request) (any, error) { return nil, errors.New("disk on fire") })
	s.Handle("GET", "v1/taken", func(context.Context, *Request) (any, error) { return nil, AlreadyExists("The name %q is taken.", "n") })
	for path, want := range map[string]struct {
		code   int
		reason string
	}{"panic": {500, "backendError"}, "plain": {500, "backendError"}, "taken": {409, "alreadyExists"}} {
		code, v := call(t, core, "GET", "/x/v1/"+path, "good", "")
		if code != want.code || Doc(v).Docs("error", "errors")[0].String("reason") != want.reason {
			t.Errorf("%s: %d %v", path, code, v)
		}
	}
}

func TestDecodeStrictly(t *testing.T) {
	for _, c := range []struct{ name, in, out, err string }{
		{"plain", `{"name":"n","mtu":1460,"autoCreateSubnetworks":false}`, `{"autoCreateSubnetworks":false,"mtu":1460,"name":"n"}`, ""},
		{"number as string", `{"mtu":"1460"}`, `{"mtu":1460}`, ""},
		{"64 bits as number", `{"id":12345678901234567890}`, `{"id":"12345678901234567890"}`, ""},
		{"64 bits as string", `{"id":"12345678901234567890"}`, `{"id":"12345678901234567890"}`, ""},
		{"proto name", `{"auto_create_subnetworks":true}`, `{"autoCreateSubnetworks":true}`, ""},
		{"null", `{"description":null}`, `{"description":null}`, ""},
		{"empty", ``, `{}`, ""},
		{"unknown", `{"nam":"n"}`, "", `Unknown name "nam" at 'resource': Cannot find field.`},
		{"nested unknown", `{"routingConfig":{"mode":"X"}}`, "", `Unknown name "mode" at 'resource.routing_config'`},
		{"case matters", `{"Name":"n"}`, "", `Unknown name "Name"`},
		{"string for object", `{"routingConfig":"X"}`, "", `Invalid value at 'resource.routing_config' (NetworkRoutingConfig), "X"`},
		{"text for number", `{"mtu":"much"}`, "", `Invalid value at 'resource.mtu' (TYPE_INT32), "much"`},
		{"fraction", `{"mtu":1.5}`, "", `TYPE_INT32`},
		{"too large", `{"mtu":5000000000}`, "", `TYPE_INT32`},
		{"number for text", `{"name":1}`, "", `(TYPE_STRING), 1`},
		{"scalar for list", `{"peerings":{}}`, "", `resource.peerings`},
		{"not an object", `[]`, "", "root element must be a message"},
		{"broken", `{"name":`, "", "Invalid JSON payload received"},
		{"trailing", `{} {}`, "", "unexpected data"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, err := DecodeDoc([]byte(c.in), &compute.Network{}, "resource")
			if c.err != "" {
				var e *Error
				if !errors.As(err, &e) || e.Code != 400 || !strings.Contains(e.Message, c.err) {
					t.Fatalf("error %v, want %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if raw, _ := json.Marshal(d); string(raw) != c.out {
				t.Errorf("%s, want %s", raw, c.out)
			}
		})
	}
	var req container.CreateClusterRequest
	err := decodeInto([]byte(`{"cluster":{"defaultMaxPodsConstraint":{"maxPodsPerNode":"110"},"nodePools":[{"initialNodeCount":"three"}]}}`), &req, "")
	if err == nil || !strings.Contains(err.Error(), `Invalid value at 'cluster.node_pools[0].initial_node_count' (TYPE_INT32), "three"`) {
		t.Errorf("nested list: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{`{"cluster":{"name":"x","nodePools":[{"initialNodeCount":"3"}]}}`, `{"cluster":null}`, `{"a":1e400}`, `[`, `{"cluster":{"resourceLabels":{"a":null}}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		d, err := DecodeDoc(raw, container.CreateClusterRequest{}, "")
		if err != nil {
			return
		}
		// What passes must fit Google's type, and pass again unchanged.
		var req container.CreateClusterRequest
		if err := d.To(&req); err != nil {
			t.Fatalf("%q passes but does not fit: %v", raw, err)
		}
		again, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		d2, err := DecodeDoc(again, container.CreateClusterRequest{}, "")
		if err != nil || !Equal(d, d2) {
			t.Fatalf("%q is not stable: %v, %v", raw, d2, err)
		}
	})
}

func TestMergeAndMask(t *testing.T) {
	d := Doc{"a": "1", "b": map[string]any{"c": "2", "d": "3"}, "l": []any{"x"}}
	d.Merge(Doc{"a": nil, "b": map[string]any{"c": nil, "e": "4"}, "l": []any{"y"}})
	if !Equal(d, Doc{"b": Doc{"d": "3", "e": "4"}, "l": []any{"y"}}) {
		t.Errorf("merge: %v", d)
	}
	m := Doc{"displayName": "old", "labels": map[string]any{"a": "1"}, "keep": true}
	if err := m.ApplyMask(Doc{"displayName": "new", "keep": false}, "display_name,labels"); err != nil {
		t.Fatal(err)
	}
	if !Equal(m, Doc{"displayName": "new", "keep": true}) {
		t.Errorf("mask: %v", m)
	}
}

func TestPaginate(t *testing.T) {
	core := newCore(t)
	core.Service("x").Handle("GET", "v1/items", func(_ context.Context, r *Request) (any, error) {
		p, err := Paginate(r, []string{"a", "b", "c"}, func(s string) string { return s }, 500)
		return Doc{"items": p.Items, "next": p.Next}, err
	})
	_, v := call(t, core, "GET", "/x/v1/items?pageSize=2", "good", "")
	if got := Doc(v).Strings("items"); len(got) != 2 || v["next"] == "" {
		t.Fatalf("first page: %v", v)
	}
	_, v = call(t, core, "GET", "/x/v1/items?pageSize=2&pageToken="+v["next"].(string), "good", "")
	if got := Doc(v).Strings("items"); len(got) != 1 || got[0] != "c" || v["next"] != "" {
		t.Fatalf("second page: %v", v)
	}
	if code, _ := call(t, core, "GET", "/x/v1/items?pageToken=zzz", "good", ""); code != 400 {
		t.Errorf("bad token: %d", code)
	}
}
