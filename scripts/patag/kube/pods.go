package kube

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"sort"
	"strconv"
	"strings"
	"time"
)

// Pod is what a deployment has to know of one.
type Pod struct {
	Name   string
	Labels map[string]string
	// Image of the first container, as its spec has it.
	Image string
	Ready bool
	// Leaving is true once it was told to end.
	Leaving  bool
	Restarts int
	Created  time.Time
	// Trouble is why it does not run, "" when it does or is on its way. Hopeless is true for what does not pass by itself.
	Trouble  string
	Hopeless bool
}

type containerState struct {
	Waiting    *struct{ Reason, Message string }
	Terminated *struct {
		Reason   string
		ExitCode int
	}
}

// Pods lists those that a label selector matches, oldest first.
func (c *Cluster) Pods(ctx context.Context, namespace, selector string) ([]Pod, error) {
	var list struct {
		Items []struct {
			Metadata struct {
				Name              string
				Labels            map[string]string
				CreationTimestamp time.Time
				DeletionTimestamp *time.Time
			}
			Spec struct {
				Containers []struct{ Image string }
			}
			Status struct {
				Phase             string
				Conditions        []struct{ Type, Status, Reason, Message string }
				ContainerStatuses []struct {
					RestartCount     int
					State, LastState containerState
				}
			}
		}
	}
	query := url.Values{"labelSelector": {selector}}
	if err := c.do(ctx, http.MethodGet, "/api/v1/namespaces/"+namespace+"/pods?"+query.Encode(), nil, &list); err != nil {
		return nil, fmt.Errorf("list pods (%s): %w", selector, err)
	}
	var pods []Pod
	for _, item := range list.Items {
		p := Pod{Name: item.Metadata.Name, Labels: item.Metadata.Labels, Created: item.Metadata.CreationTimestamp, Leaving: item.Metadata.DeletionTimestamp != nil}
		if len(item.Spec.Containers) > 0 {
			p.Image = item.Spec.Containers[0].Image
		}
		for _, cond := range item.Status.Conditions {
			switch {
			case cond.Type == "Ready":
				p.Ready = cond.Status == "True"
			case cond.Type == "PodScheduled" && cond.Status == "False":
				p.Trouble = "no node has room for it: " + cond.Message
			}
		}
		for _, s := range item.Status.ContainerStatuses {
			p.Restarts += s.RestartCount
			p.trouble(s.State, s.LastState)
		}
		pods = append(pods, p)
	}
	sort.Slice(pods, func(i, j int) bool {
		if !pods[i].Created.Equal(pods[j].Created) {
			return pods[i].Created.Before(pods[j].Created)
		}
		return pods[i].Name < pods[j].Name
	})
	return pods, nil
}

func (p *Pod) trouble(now, last containerState) {
	if w := now.Waiting; w != nil {
		switch w.Reason {
		case "ContainerCreating", "PodInitializing", "":
			p.Trouble = "its container is still being made; the image may be on its way"
		case "CrashLoopBackOff":
			p.Trouble, p.Hopeless = "it ends at once, again and again", true
			if last.Terminated != nil {
				p.Trouble = fmt.Sprintf("it ends with exit code %d, again and again", last.Terminated.ExitCode)
			}
		default: // ErrImagePull, ImagePullBackOff, InvalidImageName, CreateContainerError, RunContainerError …
			p.Trouble, p.Hopeless = strings.TrimSuffix(w.Reason+": "+w.Message, ": "), w.Reason != "ErrImagePull"
		}
	}
	if t := now.Terminated; t != nil {
		p.Trouble = fmt.Sprintf("it ended with exit code %d (%s)", t.ExitCode, t.Reason)
	}
}

// Log is the last lines of a pod's log; of the run before the last restart when previous is true.
func (c *Cluster) Log(ctx context.Context, namespace, pod string, lines int, previous bool) (string, error) {
	query := url.Values{"tailLines": {strconv.Itoa(lines)}, "previous": {strconv.FormatBool(previous)}}
	var text string
	err := c.do(ctx, http.MethodGet, "/api/v1/namespaces/"+namespace+"/pods/"+pod+"/log?"+query.Encode(), nil, &text)
	return strings.TrimSpace(text), err
}
