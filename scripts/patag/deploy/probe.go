package deploy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"patag/infra/tagserver"
	"patag/scripts/patag/exit"
	"patag/scripts/patag/google"
	"patag/scripts/patag/kube"
	"patag/stacks/config"
)

// agent says that a machine asks: such requests are answered like others and counted apart as invalid traffic.
const agent = "patag-deploy (bot)"

// server is one tag server, reached through the API server.
type server struct {
	pod     kube.Pod
	way     *kube.Forward
	traffic *http.Client
	admin   *http.Client
	answers *answers
}

// patience with one request: more than any answer may take.
const patience = 5 * time.Second

func (r *run) reachPod(pod kube.Pod) (*server, error) {
	way, err := r.cluster.Forward(r.namespace, pod.Name)
	if err != nil {
		return nil, err
	}
	return &server{
		pod: pod, way: way, answers: newAnswers(),
		traffic: way.Client(tagserver.Port, patience), admin: way.Client(tagserver.AdminPort, patience),
	}, nil
}

// running are the servers that serve now.
func (r *run) running(ctx context.Context) ([]kube.Pod, error) {
	var pods []kube.Pod
	var err error
	for range 5 { // an API server that is busy says nothing against the image
		if pods, err = r.cluster.Pods(ctx, r.namespace, selectRunning); err == nil || pause(ctx, 2*time.Second) != nil {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	pods = slices.DeleteFunc(pods, func(p kube.Pod) bool { return !p.Ready || p.Leaving })
	if len(pods) == 0 {
		return nil, exit.New(exit.Failed, "no server of %s is ready to compare with", r.s.Stack).WithHint("see `patag status %s`", r.s.Stack)
	}
	return pods, nil
}

// mostPlacements are asked for.
const mostPlacements = 32

// questions are the placements that are asked for: those of --placement, else the stack's own, and what visitors asked for lately.
func (r *run) questions(ctx context.Context) ([]string, error) {
	if len(r.flags.placements) > 0 {
		return r.flags.placements, nil
	}
	first, err := r.value("demoPlacement")
	if err != nil {
		return nil, err
	}
	ids := []string{first}
	add := func(more []string) {
		for _, id := range more {
			if id != "" && !slices.Contains(ids, id) && len(ids) < mostPlacements {
				ids = append(ids, id)
			}
		}
	}
	what, err := r.value("catalogue")
	if err != nil {
		return nil, err
	}
	if what == config.CatalogueDemo {
		demo, err := r.demoPlacements()
		if err != nil {
			return nil, err
		}
		add(demo)
	}
	asked, err := r.asked(ctx)
	if err != nil {
		r.p.Line(" ! what visitors ask for is not known, and not tried: %v", err)
	}
	add(asked)
	return ids, ctx.Err()
}

func (r *run) demoPlacements() (ids []string, err error) {
	file, err := r.value("catalogueFile")
	if err != nil {
		return nil, err
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the placements of the demo catalogue: %w", err)
	}
	var catalogue struct{ Placements []struct{ ID string } }
	if err := json.Unmarshal(raw, &catalogue); err != nil {
		return nil, fmt.Errorf("read the placements of the demo catalogue %s: %w", file, err)
	}
	for _, p := range catalogue.Placements {
		ids = append(ids, p.ID)
	}
	return ids, nil
}

// asked are placements of the stack's newest logged requests. Only these: what else visitors send is theirs.
func (r *run) asked(ctx context.Context) (ids []string, err error) {
	api, err := google.New(ctx, r.s.Cloud)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{r.address, r.host} {
		if name == "" {
			continue
		}
		urls, err := api.Requested(ctx, "://"+name+"/v1/ad?", time.Now().Add(-time.Hour), 200)
		if err != nil {
			return nil, err
		}
		for _, u := range urls {
			ids = append(ids, u.Query().Get("placement"))
		}
	}
	return ids, nil
}

// value of a config key, with its default.
func (r *run) value(name string) (string, error) {
	v, err := r.s.Value(config.Namespace + ":" + name)
	if err != nil || v != "" {
		return v, err
	}
	for _, key := range config.Keys() {
		if key.Name == name {
			return key.DefaultFor(config.Kind(r.s.Kind)), nil
		}
	}
	return "", fmt.Errorf("there is no config key %s", name)
}

// ask asks for an ad and notes the answer. What came is answered too, for its events.
func (s *server) ask(ctx context.Context, placement string) *ad {
	question := "ad " + placement
	begin := time.Now()
	status, body, err := s.get(ctx, "/v1/ad?placement="+url.QueryEscape(placement))
	took := time.Since(begin)
	switch {
	case ctx.Err() != nil:
		return nil
	case err != nil:
		s.answers.add(question, 0, took, nil, err.Error())
		return nil
	case status >= 500:
		s.answers.add(question, status, took, nil, fmt.Sprintf("status %d: %.120s", status, bytes.TrimSpace(body)))
		return nil
	case status != http.StatusOK:
		s.answers.add(question, status, took, nil, "")
		return nil
	}
	var a ad
	var any any
	if err := errors.Join(json.Unmarshal(body, &any), json.Unmarshal(body, &a)); err != nil {
		s.answers.add(question, status, took, nil, fmt.Sprintf("status %d with a body that is no ad: %v", status, err))
		return nil
	}
	fields := map[string]bool{}
	walk(any, "", fields)
	s.answers.add(question, status, took, fields, "")
	return &a
}

// ad is what of an answer is followed.
type ad struct {
	Chain []struct {
		URLs map[string]string
	}
}

// walk names the fields of a JSON value.
func walk(v any, path string, into map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		for name, inner := range v {
			at := name
			if path != "" {
				at = path + "." + name
			}
			into[at] = true
			walk(inner, at, into)
		}
	case []any:
		for _, inner := range v {
			walk(inner, path, into)
		}
	}
}

// event follows an event URL of an ad, which may be another server's: during a rollout both kinds take each other's.
func (s *server) event(ctx context.Context, kind, address, from string) {
	u, err := url.Parse(address)
	if err != nil || ctx.Err() != nil {
		return
	}
	question := kind + " of " + from + " server's ad"
	begin := time.Now()
	status, body, err := s.get(ctx, u.RequestURI())
	took := time.Since(begin)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		s.answers.add(question, 0, took, nil, err.Error())
	case status >= 500:
		s.answers.add(question, status, took, nil, fmt.Sprintf("status %d: %.120s", status, bytes.TrimSpace(body)))
	default:
		s.answers.add(question, status, took, nil, "")
	}
}

func (s *server) get(ctx context.Context, path string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://tag"+path, nil)
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("User-Agent", agent)
	resp, err := s.traffic.Do(req)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, body, err
}

// round asks both sides for every placement, once, and follows the events of both ads at both servers when told.
func round(ctx context.Context, running, canary *server, placements []string, events bool) {
	for i, placement := range placements {
		first, second := running, canary
		if i%2 == 1 {
			first, second = canary, running
		}
		ads := map[*server]*ad{first: first.ask(ctx, placement)}
		ads[second] = second.ask(ctx, placement)
		if !events {
			continue
		}
		for _, of := range []struct {
			name   string
			server *server
		}{{"a running", running}, {"the new", canary}} {
			a := ads[of.server]
			if a == nil {
				continue
			}
			for _, entry := range a.Chain {
				for _, kind := range keys(entry.URLs) {
					if strings.HasPrefix(entry.URLs[kind], "http") || strings.HasPrefix(entry.URLs[kind], "/") {
						running.event(ctx, kind, entry.URLs[kind], of.name)
						canary.event(ctx, kind, entry.URLs[kind], of.name)
					}
				}
			}
		}
	}
}
