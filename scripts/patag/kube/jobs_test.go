package kube

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// apiserver answers as a Kubernetes API server does for one CronJob, its Jobs and their pods.
type apiserver struct {
	mu      sync.Mutex
	looks   int
	made    map[string]any
	deleted bool
	// ends is what the Job's status is from the second look on; nil never ends.
	ends map[string]any
	log  string
}

func (a *apiserver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	answer := func(v any) { _ = json.NewEncoder(w).Encode(v) }
	refuse := func(code int, text string) {
		w.WriteHeader(code)
		answer(map[string]any{"kind": "Status", "message": text})
	}
	path := r.URL.Path
	switch {
	case r.Header.Get("Authorization") != "Bearer secret":
		refuse(401, "Unauthorized")
	case path == "/apis/batch/v1/namespaces/ns/cronjobs/backup":
		answer(map[string]any{"spec": map[string]any{"jobTemplate": map[string]any{
			"metadata": map[string]any{"labels": map[string]any{"app.kubernetes.io/name": "backup"}},
			"spec": map[string]any{"backoffLimit": 4, "template": map[string]any{"spec": map[string]any{
				"restartPolicy": "OnFailure", "containers": []any{map[string]any{"name": "backup", "image": "i", "args": []any{"dump"}}}}}},
		}}})
	case strings.HasPrefix(path, "/apis/batch/v1/namespaces/ns/cronjobs/"):
		refuse(404, `cronjobs.batch "`+path[strings.LastIndex(path, "/")+1:]+`" not found`)
	case path == "/apis/batch/v1/namespaces/ns/jobs" && r.Method == http.MethodPost:
		if a.made != nil {
			refuse(409, `jobs.batch "now" already exists`)
			return
		}
		_ = json.NewDecoder(r.Body).Decode(&a.made)
		answer(a.made)
	case path == "/apis/batch/v1/namespaces/ns/jobs/now" && r.Method == http.MethodDelete:
		a.deleted = true
		answer(map[string]any{})
	case path == "/apis/batch/v1/namespaces/ns/jobs/now":
		if a.looks++; a.looks >= 2 && a.ends != nil {
			answer(map[string]any{"status": a.ends})
			return
		}
		answer(map[string]any{"status": map[string]any{"active": 1}})
	case path == "/api/v1/namespaces/ns/pods":
		answer(map[string]any{"items": []any{map[string]any{"metadata": map[string]any{"name": "now-1"}, "status": map[string]any{"phase": "Running"}}}})
	case path == "/api/v1/namespaces/ns/pods/now-1/log":
		_, _ = w.Write([]byte(a.log))
	default:
		refuse(404, "there is no "+path)
	}
}

func runJob(t *testing.T, ctx context.Context, a *apiserver, cron string) (answer string, said []string, err error) {
	t.Helper()
	srv := httptest.NewServer(a)
	t.Cleanup(srv.Close)
	c := &Cluster{Server: srv.URL, token: "secret", http: srv.Client()}
	answer, err = c.RunJob(ctx, Order{Namespace: "ns", CronJob: cron, Name: "now", Args: []string{"drop", "--database", "x"}, Say: func(line string) { said = append(said, line) }})
	return answer, said, err
}

func TestRunJob(t *testing.T) {
	a := &apiserver{log: "reading\nwriting\n{\"id\":1}\n", ends: map[string]any{"succeeded": 1}}
	answer, said, err := runJob(t, t.Context(), a, "backup")
	if err != nil || answer != `{"id":1}` || strings.Join(said, " ") != "reading writing" {
		t.Errorf("%v: answer %q, said %q", err, answer, said)
	}
	raw, _ := json.Marshal(a.made)
	for _, want := range []string{`"args":["drop","--database","x"]`, `"backoffLimit":0`, `"restartPolicy":"Never"`, `"app.kubernetes.io/name":"backup"`} {
		if !strings.Contains(string(raw), want) {
			t.Errorf("the Job lacks %s: %s", want, raw)
		}
	}
	if a.deleted {
		t.Error("a Job that ended was deleted")
	}
}

// The answer is found where words for people got behind it.
func TestAnswerBeforeLastWords(t *testing.T) {
	a := &apiserver{log: "reading\n{\"id\":1}\ndropped database x\n", ends: map[string]any{"succeeded": 1}}
	if answer, _, err := runJob(t, t.Context(), a, "backup"); err != nil || answer != `{"id":1}` {
		t.Errorf("%v: answer %q", err, answer)
	}
}

func TestRunJobFails(t *testing.T) {
	a := &apiserver{log: "reading\nbackup: there is no such backup\n", ends: map[string]any{"failed": 1, "conditions": []any{map[string]any{"type": "Failed", "status": "True", "message": "BackoffLimitExceeded"}}}}
	if _, _, err := runJob(t, t.Context(), a, "backup"); err == nil || err.Error() != "there is no such backup" {
		t.Errorf("error: %v", err)
	}
	if _, _, err := runJob(t, t.Context(), &apiserver{}, "none"); err == nil || !strings.Contains(err.Error(), `cronjobs.batch "none" not found`) {
		t.Errorf("error: %v", err)
	}
	if _, _, err := runJob(t, t.Context(), &apiserver{made: map[string]any{}}, "backup"); err == nil || !strings.Contains(err.Error(), "already exists") {
		t.Errorf("error: %v", err)
	}
}

// A Job that nobody waits for any more is ended.
func TestRunJobInterrupted(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 600*time.Millisecond)
	defer cancel()
	a := &apiserver{log: "reading\n"}
	if _, _, err := runJob(t, ctx, a, "backup"); err == nil || !a.deleted {
		t.Errorf("error %v, deleted %v", err, a.deleted)
	}
}
