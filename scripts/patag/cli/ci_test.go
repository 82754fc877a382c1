package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"patag/scripts/patag/app"
	"patag/scripts/patag/terminal"
)

// TestCI holds the files of the two CI systems to what there is: they parse, each make target exists, and each command line of patag is
// one that patag takes. What CI deploys to production is what was tried in staging, by digest.
func TestCI(t *testing.T) {
	root, err := filepath.Abs("../../..")
	must(t, err)
	for name, lines := range map[string][]string{"Jenkinsfile": jenkinsLines(t, root), ".github/workflows/ci.yaml": actionsLines(t, root)} {
		targets, commands := 0, 0
		staged, promoted := false, false
		for _, line := range lines {
			for _, m := range makeCall.FindAllStringSubmatch(line, -1) {
				targets++
				if out, err := makeKnows(root, m[1]); err != nil {
					t.Errorf("%s: %s: %v\n%s", name, m[0], err, out)
				}
			}
			for _, m := range patagCall.FindAllStringSubmatch(redirection.ReplaceAllString(line, ""), -1) {
				commands++
				words := strings.Fields(strings.NewReplacer(`"`, "", "'", "").Replace(expression.ReplaceAllString(m[1], "value")))
				if err := takes(words); err != nil {
					t.Errorf("%s: patag %s: %v", name, strings.Join(words, " "), err)
				}
				text := " " + strings.Join(words, " ") + " "
				staged = staged || strings.HasPrefix(text, " deploy ") && !strings.Contains(text, " production ") && strings.Contains(text, " --json ")
				promoted = promoted || strings.HasPrefix(text, " deploy production ") && strings.Contains(text, " --promote ")
			}
		}
		if targets < 3 || commands < 3 {
			t.Errorf("%s: %d calls of make and %d of patag were found: what looks for them is blind", name, targets, commands)
		}
		if !staged || !promoted {
			t.Errorf("%s: staging keeps what it was given (--json): %v; production gets that (--promote): %v", name, staged, promoted)
		}
	}
	for _, wrong := range [][]string{{"deploy"}, {"deploy", "production", "--imag", "x"}, {"nothing"}} {
		if takes(wrong) == nil {
			t.Errorf("patag %v is taken: the check cannot fail", wrong)
		}
	}
	if _, err := makeKnows(root, "no-such-target"); err == nil {
		t.Error("make no-such-target is known: the check cannot fail")
	}
}

var (
	makeCall    = regexp.MustCompile(`\bmake ([a-z0-9-]+)`)
	patagCall   = regexp.MustCompile(`\bbin/patag ([^|>;&]*)`)
	redirection = regexp.MustCompile(`[0-9]?>(&[0-9]|\S*)`)
	expression  = regexp.MustCompile(`\$\{\{[^}]*\}\}|"?\$[A-Z_]+"?`)
)

// takes lets patag's own commands read a line, and runs nothing.
func takes(words []string) error {
	root := newRoot(&app.App{Streams: terminal.Streams{}})
	cmd, rest, err := root.Find(words)
	if err != nil {
		return err
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	if err := cmd.ValidateArgs(cmd.Flags().Args()); err != nil {
		return err
	}
	return cmd.ValidateFlagGroups()
}

// makeKnows asks make for a target, and has it make nothing.
func makeKnows(root, target string) ([]byte, error) {
	cmd := exec.Command("make", "--dry-run", target)
	cmd.Dir = root
	return cmd.CombinedOutput()
}

var shell = regexp.MustCompile(`sh '([^']+)'`)

// jenkinsLines are what the pipeline's sh steps run. There is no parser of Groovy here: brackets must be even, and every step be read.
func jenkinsLines(t *testing.T, root string) (lines []string) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root, "Jenkinsfile"))
	must(t, err)
	text := string(raw)
	if strings.Count(text, "{") != strings.Count(text, "}") || strings.Count(text, "(") != strings.Count(text, ")") || strings.Count(text, "'''")%2 != 0 {
		t.Error("Jenkinsfile: brackets or quotes are not even")
	}
	parts := strings.Split(text, "'''")
	for i, part := range parts {
		if i%2 == 1 {
			lines = append(lines, strings.Split(part, "\n")...)
			continue
		}
		for _, m := range shell.FindAllStringSubmatch(part, -1) {
			lines = append(lines, m[1])
		}
	}
	return lines
}

// actionsLines are what the workflow's steps run.
func actionsLines(t *testing.T, root string) (lines []string) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root, ".github/workflows/ci.yaml"))
	must(t, err)
	var flow struct {
		Jobs map[string]struct {
			Needs yaml.Node
			Steps []struct{ Uses, Run string }
		}
	}
	must(t, yaml.Unmarshal(raw, &flow))
	for name, job := range flow.Jobs {
		var needs []string
		if job.Needs.Kind == yaml.SequenceNode {
			must(t, job.Needs.Decode(&needs))
		} else if job.Needs.Kind == yaml.ScalarNode {
			needs = []string{job.Needs.Value}
		}
		for _, other := range needs {
			if _, there := flow.Jobs[other]; !there {
				t.Errorf("job %s needs %s, which is not there", name, other)
			}
		}
		for _, step := range job.Steps {
			if (step.Uses == "") == (step.Run == "") {
				t.Errorf("job %s has a step that neither runs nor uses anything, or both", name)
			}
			lines = append(lines, strings.Split(step.Run, "\n")...)
		}
	}
	return lines
}
