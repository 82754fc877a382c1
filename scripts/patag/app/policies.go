package app

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"patag/scripts/patag/engine"
	"patag/stacks/policy"
)

// holdToPolicies has the engine hold the program to the rules twice: before the program registers anything, and
// resource by resource, when values are known that others compute.
func (s *Session) holdToPolicies(o *engine.Options) {
	if !s.App.Policies {
		return
	}
	o.Check = func(ctx *pulumi.Context) error {
		config, err := s.work().Config()
		if err != nil {
			return err
		}
		var keys []string
		for key := range config {
			keys = append(keys, key)
		}
		return policy.Program(ctx, s.App.Program, keys)
	}
	o.PolicyPack = s.analyzer()
}

// analyzer is this very program under another name, in the work folder.
func (s *Session) analyzer() string { return filepath.Join(s.Cloud.Work(s.Stack), policy.Analyzer) }

// linkAnalyzer makes it.
func (s *Session) linkAnalyzer() error {
	if !s.App.Policies {
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program, which is the policy pack too: %w", err)
	}
	link := s.analyzer()
	if old, err := os.Readlink(link); err == nil && old == self {
		return nil
	}
	if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Symlink(self, link)
}
