package google

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// serve answers with the given answers in turn, the last one for ever.
func serve(t *testing.T, answers ...string) (*Client, *atomic.Int64) {
	t.Helper()
	var n atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i := min(int(n.Add(1)), len(answers)) - 1
		code, body, _ := strings.Cut(answers[i], " ")
		var status int
		fmt.Sscan(code, &status)
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	t.Cleanup(server.Close)
	endpoints := Endpoints{}
	for name := range Services {
		endpoints[name] = server.URL + "/" + name
	}
	return New(endpoints, Credentials("t", "", nil), "test", slog.New(slog.DiscardHandler)), &n
}

func TestRetries(t *testing.T) {
	for name, c := range map[string]struct {
		method  string
		answers []string
		calls   int64
		ok      bool
	}{
		"busy server":       {"POST", []string{"503 ", "429 ", "200 {}"}, 3, true},
		"broken on read":    {"GET", []string{"500 ", "200 {}"}, 2, true},
		"broken on write":   {"POST", []string{"500 ", "200 {}"}, 1, false},
		"other operation":   {"PUT", []string{`400 {"error":{"code":400,"message":"Cluster is running incompatible operation operation-1"}}`, "200 {}"}, 2, true},
		"plain bad request": {"PUT", []string{`400 {"error":{"code":400,"message":"no"}}`, "200 {}"}, 1, false},
		"not there":         {"GET", []string{"404 ", "200 {}"}, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			client, n := serve(t, c.answers...)
			_, err := client.Do(t.Context(), Request{Method: c.method, Service: "compute", Path: "x"})
			if (err == nil) != c.ok || n.Load() != c.calls {
				t.Errorf("error %v after %d calls, want %d", err, n.Load(), c.calls)
			}
		})
	}
}

func TestErrorsSayAll(t *testing.T) {
	client, _ := serve(t, `409 {"error":{"code":409,"message":"The resource 'n' already exists","errors":[{"reason":"alreadyExists"}]}}`)
	_, err := client.Do(t.Context(), Request{Method: "POST", Service: "compute", Path: "projects/p/global/networks"})
	for _, want := range []string{"409", "already exists", "POST", "projects/p/global/networks", "import"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
	if !AlreadyExists(err) || !IsConflict(err) || IsNotFound(err) {
		t.Error("misjudged")
	}
}

func TestOperations(t *testing.T) {
	for name, c := range map[string]struct {
		style  string
		first  map[string]any
		answer string
		fails  string
	}{
		"compute":         {"compute", map[string]any{"kind": "compute#operation", "name": "o", "status": "RUNNING", "region": "https://x/regions/r"}, `200 {"status":"DONE"}`, ""},
		"compute error":   {"compute", map[string]any{"kind": "compute#operation", "name": "o", "status": "RUNNING"}, `200 {"status":"DONE","httpErrorStatusCode":409,"error":{"errors":[{"code":"IN_USE","message":"in use"}]}}`, "409: in use [IN_USE]"},
		"container":       {"container", map[string]any{"operationType": "CREATE_CLUSTER", "name": "o", "status": "RUNNING", "selfLink": "https://x/v1/projects/p/zones/z/operations/o"}, `200 {"status":"DONE"}`, ""},
		"container error": {"container", map[string]any{"operationType": "CREATE_CLUSTER", "name": "o", "status": "RUNNING"}, `200 {"status":"DONE","error":{"code":8,"message":"quota"}}`, "429: quota"},
		"google":          {"google", map[string]any{"name": "projects/p/locations/l/operations/o", "done": false}, `200 {"done":true,"response":{"@type":"x","name":"made"}}`, ""},
		"google error":    {"google", map[string]any{"name": "operations/o"}, `200 {"done":true,"error":{"code":5,"message":"none"}}`, "404: none"},
	} {
		t.Run(name, func(t *testing.T) {
			client, _ := serve(t, c.answer)
			got, err := client.Wait(t.Context(), c.style, "compute", "p", c.first)
			var failed *OperationError
			switch {
			case c.fails == "" && err != nil, c.fails != "" && (!errors.As(err, &failed) || !strings.Contains(err.Error(), c.fails)):
				t.Errorf("error %v, want %q", err, c.fails)
			case name == "google" && (got["name"] != "made" || len(got) != 1):
				t.Errorf("response %v", got)
			}
		})
	}
}

func TestInterruptedOperationGoesOn(t *testing.T) {
	client, _ := serve(t, `200 {"status":"RUNNING"}`)
	ctx, cancel := context.WithTimeoutCause(t.Context(), 150*time.Millisecond, errors.New("the user said so"))
	defer cancel()
	_, err := client.Wait(ctx, "compute", "compute", "p", map[string]any{"kind": "compute#operation", "name": "op-7", "status": "RUNNING"})
	if !errors.Is(err, ErrInterrupted) || !strings.Contains(err.Error(), "op-7") || !strings.Contains(err.Error(), "goes on") {
		t.Errorf("error %v", err)
	}
}

func TestUnreachable(t *testing.T) {
	server := httptest.NewServer(nil)
	url := server.URL
	server.Close()
	client := New(Endpoints{"compute": url}, Credentials("t", "", nil), "test", slog.New(slog.DiscardHandler))
	client.patience = 200 * time.Millisecond
	_, err := client.Do(t.Context(), Request{Method: "GET", Service: "compute", Path: "x"})
	if err == nil || !strings.Contains(err.Error(), "no answer") || !strings.Contains(err.Error(), "endpoint") {
		t.Errorf("error %v", err)
	}
}
