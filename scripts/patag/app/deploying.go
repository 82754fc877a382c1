package app

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"patag/scripts/patag/engine"
	"patag/scripts/patag/exit"
	"patag/scripts/patag/project"
	"patag/stacks/config"
)

// The config keys of a deployment's canary.
const (
	KeyCanaryImage = config.Namespace + ":canaryImage"
	KeyCanaryLive  = config.Namespace + ":canaryLive"
)

// DeploymentFile is the plan of a deployment to the stack that was begun and is not finished. `patag deploy` writes and reads it.
func (s *Session) DeploymentFile() string {
	return filepath.Join(s.Cloud.Work(s.Stack), "deploy.json")
}

func (s *Session) deployFolder() string { return filepath.Join(s.Cloud.Work(s.Stack), "deploy") }

// AloneDeploying calls do with a session that may go on with a deployment, and keeps every other deployment to the stack away
// meanwhile: between the runs of the program, of which a deployment has several, the stack itself is free.
func (s *Session) AloneDeploying(ctx context.Context, do func() error) error {
	o, err := s.EngineOptions()
	if err != nil {
		return err
	}
	return engine.AlonePatiently(ctx, o, s.deployFolder(), func() error {
		s.deploying = true
		defer func() { s.deploying = false }()
		if err := s.Finished(); err != nil {
			return err
		}
		return do()
	})
}

// DeploymentDone ends the memory of a deployment. What it said of the canary goes with it when the stack does.
func (s *Session) DeploymentDone() error {
	if err := os.Remove(s.DeploymentFile()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// forgetDeployment is for a stack that is gone; the caller has taken it.
func (s *Session) forgetDeployment() error {
	if _, err := os.Stat(s.DeploymentFile()); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := s.work().Keep(project.Config{KeyCanaryImage: nil, KeyCanaryLive: nil}); err != nil {
		return err
	}
	return s.DeploymentDone()
}

// deployed refuses to change the stack in the middle of a deployment: the canary, or servers of images that are not proven yet, would
// become what the stack runs.
func (s *Session) deployed() error {
	if s.deploying {
		return nil
	}
	if who, yes := engine.InUse(s.deployFolder()); yes {
		return exit.New(exit.Locked, "stack %s is being deployed to by %s", s.Stack, who).WithHint("wait for that deployment to end, or end it with Ctrl-C there; nothing was changed")
	}
	var plan struct {
		Begun time.Time
		By    string
	}
	if there, err := readPlan(s.DeploymentFile(), &plan); !there {
		return err
	}
	return exit.New(exit.Failed, "a deployment to %s that %s began %s is not finished", s.Stack, plan.By, plan.Begun.Local().Format("2006-01-02 15:04:05")).
		WithHint("finish it: patag deploy %s, or take it back: patag deploy %s --abort; nothing was changed", s.Stack, s.Stack)
}
