package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"patag/scripts/patag/engine"
	"patag/scripts/patag/exit"
	"patag/scripts/patag/google"
	"patag/scripts/patag/sweep"
)

// ClusterType is a cluster's type in Pulumi.
const ClusterType = "gcp:container/cluster:Cluster"

const networkType = "gcp:compute/network:Network"

func footprint(sum engine.Summary) sweep.Footprint {
	var f sweep.Footprint
	f.Clusters = append(f.Clusters, sum.IDs[ClusterType]...)
	for _, id := range sum.IDs[networkType] {
		f.Networks = append(f.Networks, filepath.Base(id))
	}
	return f
}

// footprintFile remembers where the stack's clusters were: a tear-down that was cut off has them no longer in the
// state, and what they left is still there.
func (s *Session) footprintFile() string {
	return filepath.Join(s.Cloud.Work(s.Stack), "footprint.json")
}

// EndClusters deletes clusters as a whole and takes them, with all that lives in them, out of the stack's state. Clusters that are
// gone already are no error.
func (s *Session) EndClusters(ctx context.Context, opened *engine.Stack, paths []string) error {
	if len(paths) == 0 {
		return nil
	}
	api, err := google.New(ctx, s.Cloud)
	if err != nil {
		return err
	}
	for _, path := range paths {
		location, name, _ := strings.Cut(path, "/clusters/")
		step := s.Progress.Step("delete cluster %s", name)
		if err := api.DeleteContainer(ctx, path, location); err != nil {
			step.Fail()
			if ctx.Err() != nil {
				return exit.New(exit.Interrupted, "delete cluster %s: interrupted", name).WithHint("the same command again goes on")
			}
			return exit.New(exit.Failed, "delete cluster %s: %w", name, err)
		}
		step.Done("it is gone")
	}
	_, err = opened.ForgetWithin(ctx, ClusterType)
	return err
}

// Remember joins what the state has now to what it had.
func (s *Session) Remember(sum engine.Summary) (sweep.Footprint, error) {
	var f sweep.Footprint
	raw, err := os.ReadFile(s.footprintFile())
	if err == nil {
		err = json.Unmarshal(raw, &f)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return f, fmt.Errorf("read %s: %w", s.footprintFile(), err)
	}
	f.Add(footprint(sum))
	if f.Empty() {
		return f, nil
	}
	if raw, err = json.Marshal(f); err != nil {
		return f, err
	}
	tmp := s.footprintFile() + ".new"
	if err := os.WriteFile(tmp, raw, 0o600); err != nil {
		return f, err
	}
	return f, os.Rename(tmp, s.footprintFile())
}

// Sweep deletes what the stack's deleted clusters left behind, if none of its clusters exists any more.
func (s *Session) Sweep(ctx context.Context, f sweep.Footprint) (deleted int, err error) {
	if f.Empty() {
		return 0, nil
	}
	api, err := google.New(ctx, s.Cloud)
	if err != nil {
		return 0, err
	}
	step := s.Progress.Step("sweep up what deleted clusters of %s left", s.Stack)
	defer step.Fail()
	deleted, err = sweep.Sweep(ctx, api, f, func(what string) { step.Detail("%s", what) })
	if err != nil {
		return deleted, err
	}
	if deleted == 0 {
		step.Drop()
		return 0, nil
	}
	step.Done("%d deleted", deleted)
	return deleted, nil
}

// Forget ends the memory of a stack that is gone.
func (s *Session) Forget() error {
	if err := s.RebuildDone(); err != nil {
		return err
	}
	if err := s.forgetDeployment(); err != nil {
		return err
	}
	if err := os.Remove(s.footprintFile()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// adopted finishes the creation of what a killed run left half made.
func (s *Session) adopted(ctx context.Context, a engine.Adopted) error {
	if a.Type != ClusterType {
		return nil
	}
	api, err := google.New(ctx, s.Cloud)
	if err != nil {
		return err
	}
	step := s.Progress.Step("finish the cluster that the killed run began")
	defer step.Fail()
	remove, _ := a.Inputs["removeDefaultNodePool"].(bool)
	if err := api.FinishCluster(ctx, a.ID, remove, func(what string) { step.Detail("%s", what) }); err != nil {
		return err
	}
	step.Done("done")
	return nil
}
