package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Order is a Job to be made of a CronJob, with other arguments.
type Order struct {
	Namespace, CronJob, Name string
	// Args of the first container; nil keeps the CronJob's.
	Args []string
	// Say is called with each line that the Job writes, but for the last line of its output.
	Say func(line string)
}

// do sends one request and reads the answer into into, which may be nil.
func (c *Cluster) do(ctx context.Context, method, path string, body, into any) error {
	var reader io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return err
		}
		reader = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.Server+path, reader)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		var e struct{ Message string }
		_ = json.Unmarshal(raw, &e) // an answer that is no JSON has its status alone
		return &apiError{resp.StatusCode, strings.TrimSpace(resp.Status + ": " + e.Message)}
	}
	if text, ok := into.(*string); ok {
		*text = string(raw)
		return nil
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(raw, into)
}

type apiError struct {
	code int
	text string
}

func (e *apiError) Error() string { return e.text }

func isCode(err error, code int) bool {
	var e *apiError
	return errors.As(err, &e) && e.code == code
}

// RunJob makes a Job of a CronJob, waits for its end and answers the last line of its output. A Job that ctx ends early is deleted,
// and its pods with it.
func (c *Cluster) RunJob(ctx context.Context, o Order) (string, error) {
	jobs := "/apis/batch/v1/namespaces/" + o.Namespace + "/jobs"
	var cron struct {
		Metadata struct{ UID string }
		Spec     struct {
			JobTemplate struct {
				Metadata struct{ Labels map[string]string }
				Spec     map[string]any
			}
		}
	}
	if err := c.do(ctx, http.MethodGet, "/apis/batch/v1/namespaces/"+o.Namespace+"/cronjobs/"+o.CronJob, nil, &cron); err != nil {
		return "", fmt.Errorf("read CronJob %s: %w", o.CronJob, err)
	}
	spec := cron.Spec.JobTemplate.Spec
	if o.Args != nil {
		if err := setArgs(spec, o.Args); err != nil {
			return "", fmt.Errorf("CronJob %s: %w", o.CronJob, err)
		}
	}
	// A try that fails is told, not repeated behind the back of whoever waits.
	spec["backoffLimit"], spec["ttlSecondsAfterFinished"] = 0, 3600
	if pod, ok := spec["template"].(map[string]any)["spec"].(map[string]any); ok {
		pod["restartPolicy"] = "Never"
	}
	err := c.do(ctx, http.MethodPost, jobs, map[string]any{
		"apiVersion": "batch/v1", "kind": "Job", "spec": spec,
		"metadata": map[string]any{"name": o.Name, "namespace": o.Namespace, "labels": cron.Spec.JobTemplate.Metadata.Labels},
	}, nil)
	if err != nil {
		return "", fmt.Errorf("make Job %s: %w", o.Name, err)
	}
	last, err := c.follow(ctx, o)
	if ctx.Err() != nil {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		if err := c.do(end, http.MethodDelete, jobs+"/"+o.Name, map[string]any{"propagationPolicy": "Background"}, nil); err != nil {
			return "", fmt.Errorf("interrupted, and Job %s could not be deleted: %w", o.Name, err)
		}
		return "", ctx.Err()
	}
	return last, err
}

func setArgs(spec map[string]any, args []string) error {
	template, _ := spec["template"].(map[string]any)
	pod, _ := template["spec"].(map[string]any)
	containers, _ := pod["containers"].([]any)
	if len(containers) == 0 {
		return errors.New("it has no container")
	}
	first, ok := containers[0].(map[string]any)
	if !ok {
		return errors.New("its container is not an object")
	}
	first["args"] = args
	return nil
}

// follow waits for the Job and says what its pod writes.
func (c *Cluster) follow(ctx context.Context, o Order) (string, error) {
	said := 0
	var lines []string
	for {
		var job struct {
			Status struct {
				Succeeded, Failed int
				Conditions        []struct{ Type, Status, Message string }
			}
		}
		err := c.do(ctx, http.MethodGet, "/apis/batch/v1/namespaces/"+o.Namespace+"/jobs/"+o.Name, nil, &job)
		if err != nil && (ctx.Err() != nil || isCode(err, http.StatusNotFound)) {
			return "", fmt.Errorf("wait for Job %s: %w", o.Name, err)
		}
		done := err == nil && job.Status.Succeeded > 0
		failed := ""
		for _, cond := range job.Status.Conditions {
			if cond.Type == "Failed" && cond.Status == "True" {
				failed = cond.Message
			}
		}
		if text, waiting, logErr := c.podLog(ctx, o); logErr == nil {
			lines = nonEmpty(text)
			for ; said < len(lines)-1; said++ {
				o.Say(lines[said])
			}
			if waiting != "" && len(lines) == 0 {
				o.Say(waiting)
			}
		} else if done || failed != "" {
			return "", fmt.Errorf("read the log of Job %s: %w", o.Name, logErr)
		}
		switch {
		case done:
			return lastAnswer(lines), nil
		case failed != "":
			if len(lines) > 0 {
				return "", errors.New(strings.TrimPrefix(lines[len(lines)-1], "backup: "))
			}
			return "", fmt.Errorf("job %s failed: %s", o.Name, failed)
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(400 * time.Millisecond):
		}
	}
}

// lastAnswer is the last line that is JSON, else the last one. What goes to standard error and to standard output comes over two pipes: the
// runtime may write the last words for people behind the answer.
func lastAnswer(lines []string) string {
	for _, line := range slices.Backward(lines) {
		if (strings.HasPrefix(line, "{") || strings.HasPrefix(line, "[")) && json.Valid([]byte(line)) {
			return line
		}
	}
	if len(lines) == 0 {
		return ""
	}
	return lines[len(lines)-1]
}

// podLog is what the Job's pod has written; waiting is why it does not run yet.
func (c *Cluster) podLog(ctx context.Context, o Order) (text, waiting string, err error) {
	var pods struct {
		Items []struct {
			Metadata struct{ Name string }
			Status   struct {
				Phase             string
				Conditions        []struct{ Type, Status, Reason, Message string }
				ContainerStatuses []struct {
					State struct {
						Waiting *struct{ Reason, Message string }
					}
				}
			}
		}
	}
	if err := c.do(ctx, http.MethodGet, "/api/v1/namespaces/"+o.Namespace+"/pods?labelSelector=batch.kubernetes.io/job-name%3D"+o.Name, nil, &pods); err != nil {
		return "", "", err
	}
	if len(pods.Items) == 0 {
		return "", "", nil
	}
	p := pods.Items[len(pods.Items)-1]
	if p.Status.Phase == "Pending" {
		for _, s := range p.Status.ContainerStatuses {
			if w := s.State.Waiting; w != nil && w.Reason != "ContainerCreating" {
				return "", w.Reason + ": " + w.Message, nil
			}
		}
		return "", "", nil
	}
	err = c.do(ctx, http.MethodGet, "/api/v1/namespaces/"+o.Namespace+"/pods/"+p.Metadata.Name+"/log", nil, &text)
	return text, "", err
}

func nonEmpty(text string) []string {
	var out []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, line)
		}
	}
	return out
}

// Answers says whether the cluster's API server can be talked to now.
func (c *Cluster) Answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var text string
	return c.do(ctx, http.MethodGet, "/readyz", nil, &text)
}
