// Package reap finds and deletes the clusters of stagings whose time is over. In goes a Google project; out comes a report of what
// was deleted and what was left alone. It knows clusters by their labels only: not the stacks, not their state.
package reap

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	container "google.golang.org/api/container/v1"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"
)

// The labels of a staging's cluster, as the program of stagings writes them.
const (
	labelApp, app       = "app", "patag"
	labelStack, staging = "stack", "staging-"
	labelExpires        = "expires-at"
	// TimeLayout of expires-at: a label knows neither colons nor capitals.
	TimeLayout = "20060102t150405z"
)

// Options of a Reaper.
type Options struct {
	Project string
	DryRun  bool
	// Now is the clock.
	Now func() time.Time
	Log *slog.Logger
	// Client says how to reach GKE where Google's own credentials and address are not meant.
	Client []option.ClientOption
	// Poll is the pause between looks at a deletion; 5 s when 0. Most is how long one may take; 20 minutes when 0.
	Poll, Most time.Duration
}

// Reaper deletes expired stagings' clusters.
type Reaper struct {
	o       Options
	service *container.Service
}

// Report is what a run did.
type Report struct {
	// Looked is the number of clusters of the project.
	Looked int `json:"looked"`
	// Deleted, or with DryRun what would have been.
	Deleted []Cluster `json:"deleted"`
	DryRun  bool      `json:"dryRun,omitempty"`
}

// Cluster is one that is over.
type Cluster struct {
	Name     string    `json:"name"`
	Location string    `json:"location"`
	Stack    string    `json:"stack"`
	Owner    string    `json:"owner,omitempty"`
	Expired  time.Time `json:"expired"`
	Nodes    int64     `json:"nodes"`
}

// New makes a Reaper.
func New(ctx context.Context, o Options) (*Reaper, error) {
	if o.Project == "" || o.Now == nil || o.Log == nil {
		return nil, errors.New("reap: Project, Now and Log are required")
	}
	if o.Poll == 0 {
		o.Poll = 5 * time.Second
	}
	if o.Most == 0 {
		o.Most = 20 * time.Minute
	}
	s, err := container.NewService(ctx, o.Client...)
	if err != nil {
		return nil, fmt.Errorf("reach the GKE API: %w", err)
	}
	return &Reaper{o: o, service: s}, nil
}

// Run deletes what is over. One that cannot be deleted does not keep the others; its error is answered at the end.
func (r *Reaper) Run(ctx context.Context) (Report, error) {
	report := Report{Deleted: []Cluster{}, DryRun: r.o.DryRun}
	list, err := r.service.Projects.Locations.Clusters.List("projects/" + r.o.Project + "/locations/-").Context(ctx).Do()
	if err != nil {
		return report, fmt.Errorf("list the clusters of %s: %w", r.o.Project, err)
	}
	report.Looked = len(list.Clusters)
	var failed []error
	if len(list.MissingZones) > 0 {
		failed = append(failed, fmt.Errorf("clusters in %s were not looked at: GKE did not answer for these zones", strings.Join(list.MissingZones, ", ")))
	}
	for _, c := range list.Clusters {
		over, ok := r.over(c)
		if !ok {
			continue
		}
		deleted, err := r.delete(ctx, over)
		if err != nil {
			failed = append(failed, fmt.Errorf("cluster %s of %s: %w", over.Name, over.Stack, err))
		} else if deleted {
			report.Deleted = append(report.Deleted, over)
		}
	}
	return report, errors.Join(failed...)
}

// over tells whether a cluster is a staging's whose time has passed. All else is not: no label is guessed, and a time that cannot be
// read is no time.
func (r *Reaper) over(c *container.Cluster) (Cluster, bool) {
	l := c.ResourceLabels
	found := Cluster{Name: c.Name, Location: c.Location, Stack: l[labelStack], Owner: l["owner"], Nodes: c.CurrentNodeCount}
	if l[labelApp] != app || !strings.HasPrefix(l[labelStack], staging) || !strings.HasPrefix(c.Name, staging) {
		return found, false
	}
	text, given := l[labelExpires]
	if !given {
		return found, false
	}
	expires, err := time.Parse(TimeLayout, text)
	if err != nil {
		r.o.Log.Warn("left alone: its label "+labelExpires+" cannot be read", "cluster", c.Name, "value", text)
		return found, false
	}
	found.Expired = expires
	return found, r.o.Now().After(expires) && c.Status != "STOPPING"
}

// delete deletes a cluster, after another look at it: it may have been given more time since it was listed.
func (r *Reaper) delete(ctx context.Context, found Cluster) (bool, error) {
	log := r.o.Log.With("cluster", found.Name, "stack", found.Stack, "owner", found.Owner, "expired", found.Expired)
	if r.o.DryRun {
		log.Info("would be deleted")
		return true, nil
	}
	ctx, cancel := context.WithTimeout(ctx, r.o.Most)
	defer cancel()
	path := "projects/" + r.o.Project + "/locations/" + found.Location
	now, err := r.service.Projects.Locations.Clusters.Get(path + "/clusters/" + found.Name).Context(ctx).Do()
	if isGone(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look again: %w", err)
	}
	if _, ok := r.over(now); !ok {
		log.Info("left alone: it was given more time, or is being deleted")
		return false, nil
	}
	op, err := r.service.Projects.Locations.Clusters.Delete(path + "/clusters/" + found.Name).Context(ctx).Do()
	if isGone(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("delete: %w", err)
	}
	for op.Status != "DONE" {
		select {
		case <-ctx.Done():
			return false, fmt.Errorf("wait for its deletion, which goes on: %w", ctx.Err())
		case <-time.After(r.o.Poll):
		}
		if op, err = r.service.Projects.Locations.Operations.Get(path + "/operations/" + op.Name).Context(ctx).Do(); err != nil {
			return false, fmt.Errorf("wait for its deletion, which goes on: %w", err)
		}
	}
	if op.Error != nil {
		return false, fmt.Errorf("delete: %s", op.Error.Message)
	}
	log.Info("deleted; `patag staging reap` takes the rest of it away")
	return true, nil
}

func isGone(err error) bool {
	var e *googleapi.Error
	return errors.As(err, &e) && e.Code == http.StatusNotFound
}
