package apitest

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"patag/infra/sandbox/googleapi"
)

// Resource is the life of one resource type, to be walked through: create, get, list, update, stale etag, restart, delete, 404.
type Resource struct {
	// Collection is the path of the collection with the service ("/secretmanager/v1/projects/p/secrets"), Query the query of the creation.
	Collection, Query string
	// Body creates it; Want are values of the answer by dotted path that Body does not say.
	Body string
	Want map[string]any
	// List is the field of the list answer. Like is Google's type, to which every answer must conform.
	List string
	Like any
	// Method and Mask of the update, its body and what is then different.
	Method, Mask, Update string
	Updated              map[string]any
	// Etag: a stale one is refused with this status (0: the type has none).
	Etag int
	// ID is the last path element where it is not the last one of the name.
	ID string
	// Operation says that creation and deletion answer with an operation.
	Operation bool
	// Refused are creations that Google refuses.
	Refused []Refusal
}

// Refusal is a creation that must fail with that status and a message that has Want in it.
type Refusal struct {
	Query, Body string
	Code        int
	Want        string
}

// Walk checks the life of a resource.
func (s *Server) Walk(t *testing.T, r Resource) {
	t.Helper()
	for _, f := range append(r.Refused, Refusal{Query: r.Query, Body: strings.Replace(r.Body, "{", `{"noSuchField":1,`, 1), Code: 400, Want: "noSuchField"}) {
		code, d := s.Call("POST", r.Collection+"?"+f.Query, f.Body)
		if code != f.Code || !strings.Contains(d.String("error", "message"), f.Want) {
			t.Errorf("create %s: %d %s, want %d %s", f.Body, code, d.String("error", "message"), f.Code, f.Want)
		}
	}
	made := s.Must("POST", r.Collection+"?"+r.Query, r.Body)
	if r.Operation {
		if !made.Bool("done") {
			t.Errorf("the operation of the creation is not done: %v", made)
		}
		service := strings.Split(r.Collection, "/")
		read := s.Must("GET", "/"+service[1]+"/"+service[2]+"/"+made.String("name"), nil)
		made = read.Doc("response")
		made.Drop("@type")
	}
	s.check(t, "created", made, r, r.Want)
	id := r.ID
	if id == "" {
		name := made.String("name")
		id = name[strings.LastIndex(name, "/")+1:]
	}
	item := r.Collection + "/" + url.PathEscape(id)
	s.check(t, "read", s.Must("GET", item, nil), r, r.Want)
	if r.ID != "" || r.Query != "" {
		if code, d := s.Call("POST", r.Collection+"?"+r.Query, r.Body); code != 409 {
			t.Errorf("created twice: %d %s", code, d.String("error", "message"))
		}
	}
	s.Restart()
	list := s.Must("GET", r.Collection, nil)
	found := false
	for _, d := range list.Docs(r.List) {
		found = found || d.String("name") == made.String("name")
	}
	if !found {
		t.Errorf("%s is not in the list: %v", made.String("name"), list)
	}
	if r.Method != "" {
		updated := s.Must(r.Method, item+"?updateMask="+r.Mask, r.Update)
		if _, op := updated["status"]; !op { // Cloud DNS answers with an operation of its own
			s.check(t, "updated", updated, r, r.Updated)
		}
		s.check(t, "read after the update", s.Must("GET", item, nil), r, r.Updated)
		if r.Etag != 0 {
			body := strings.Replace(r.Update, "{", fmt.Sprintf(`{"etag":%q,`, made.String("etag")), 1)
			if code, d := s.Call(r.Method, item+"?updateMask="+r.Mask, body); code != r.Etag {
				t.Errorf("a stale etag: %d %s, want %d", code, d.String("error", "message"), r.Etag)
			}
		}
		if code, _ := s.Call(r.Method, item+"x?updateMask="+r.Mask, r.Update); code != 404 {
			t.Errorf("update of what is not there: %d", code)
		}
	}
	s.Must("DELETE", item, nil)
	for _, method := range []string{"GET", "DELETE"} {
		if code, d := s.Call(method, item, nil); code != 404 {
			t.Errorf("%s after the deletion: %d %v", method, code, d)
		}
	}
}

func (s *Server) check(t *testing.T, what string, d googleapi.Doc, r Resource, want map[string]any) {
	t.Helper()
	if r.Like != nil {
		if err := googleapi.Conform(d, r.Like); err != nil {
			t.Errorf("%s: not Google's type: %v", what, err)
		}
	}
	for path, v := range want {
		if got := d.Get(strings.Split(path, ".")...); !googleapi.Equal(got, v) {
			t.Errorf("%s: %s is %v, want %v", what, path, got, v)
		}
	}
}
