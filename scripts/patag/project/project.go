// Package project finds the Pulumi project and reads what is tracked in it: its name, its stacks and their config.
// It writes nothing there: what a run needs is merged into a work folder beside the state (package workspace).
package project

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"

	"gopkg.in/yaml.v3"

	"patag/scripts/patag/exit"
	"patag/stacks/config"
)

// Project is the checked-out repository.
type Project struct {
	// Root is the folder with Pulumi.yaml.
	Root string
	// Name is the project's name in Pulumi.
	Name string
	// Description is shown by Pulumi.
	Description string
	stacks      string
}

type file struct {
	Name           string `yaml:"name"`
	Description    string `yaml:"description"`
	StackConfigDir string `yaml:"stackConfigDir"`
}

// Find looks for Pulumi.yaml in dir if it is given, else from the current folder upwards, else from the folder of
// this executable upwards (so that bin/patag works from anywhere).
func Find(dir string) (Project, error) {
	if dir != "" {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return Project{}, err
		}
		p, err := load(abs)
		if errors.Is(err, fs.ErrNotExist) {
			return p, exit.New(exit.Usage, "there is no Pulumi.yaml in %s", abs).WithHint("point --dir (or PATAG_PROJECT) to the repository")
		}
		return p, err
	}
	var starts []string
	if wd, err := os.Getwd(); err == nil {
		starts = append(starts, wd)
	}
	if exe, err := os.Executable(); err == nil {
		starts = append(starts, filepath.Dir(exe))
	}
	for _, start := range starts {
		for at := start; ; at = filepath.Dir(at) {
			p, err := load(at)
			if err == nil || !errors.Is(err, fs.ErrNotExist) {
				return p, err
			}
			if at == filepath.Dir(at) {
				break
			}
		}
	}
	return Project{}, exit.New(exit.Usage, "no Pulumi.yaml here, in a folder above, or above the patag executable").
		WithHint("run patag inside the repository, or point --dir (or PATAG_PROJECT) to it")
}

func load(root string) (Project, error) {
	path := filepath.Join(root, "Pulumi.yaml")
	raw, err := os.ReadFile(path)
	if err != nil {
		return Project{}, err
	}
	var f file
	if err := yaml.Unmarshal(raw, &f); err != nil {
		return Project{}, broken(path, err)
	}
	if f.Name == "" {
		return Project{}, exit.New(exit.Usage, "%s has no name", path).WithHint("it needs at least `name` and `runtime: go`")
	}
	return Project{Root: root, Name: f.Name, Description: f.Description, stacks: filepath.Join(root, f.StackConfigDir)}, nil
}

func broken(path string, err error) error {
	text := strings.ReplaceAll(strings.TrimPrefix(err.Error(), "yaml: "), "\n", " ")
	return exit.New(exit.Usage, "%s is not valid YAML: %s", path, text).WithHint("correct the file; nothing was changed")
}

// Stacks lists the stacks that have a tracked config file.
func (p Project) Stacks() []string {
	files, _ := filepath.Glob(filepath.Join(p.stacks, "Pulumi.*.yaml"))
	var names []string
	for _, f := range files {
		name := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(f), "Pulumi."), ".yaml")
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// StagingPrefix begins the name of every stack of kind staging; the rest is the project it is for.
const StagingPrefix = config.StagingPrefix

// Names end up in resource names, the shortest of which has 30 characters.
var stackName = regexp.MustCompile(`^[a-z]([a-z0-9-]{0,28}[a-z0-9])?$`)

// Check refuses a name that cannot be a stack of this project.
func (p Project) Check(stack string) error {
	if !stackName.MatchString(stack) {
		return exit.New(exit.Usage, "%q cannot be a stack: a name has up to 30 lower-case letters, digits and hyphens, and begins with a letter", stack)
	}
	if strings.HasPrefix(stack, StagingPrefix) {
		return nil
	}
	known := p.Stacks()
	for _, k := range known {
		if k == stack {
			return nil
		}
	}
	e := exit.New(exit.Usage, "there is no stack %q: %s has no Pulumi.%s.yaml", stack, p.stacks, stack)
	if near := config.Nearest(stack, known); near != "" {
		return e.WithHint("did you mean %q? Known: %s, %s<project>", near, strings.Join(known, ", "), StagingPrefix)
	}
	return e.WithHint("known: %s, %s<project>", strings.Join(known, ", "), StagingPrefix)
}
