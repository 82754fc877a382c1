package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"mvdan.cc/sh/v3/syntax"

	"patag/scripts/patag/exit"
	"patag/scripts/runbooks/page"
)

var dir = filepath.Join("..", "..", "docs", "runbooks")

func read(t *testing.T) map[string]page.Page {
	t.Helper()
	pages, err := page.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	return pages
}

// TestPagesAreCurrent: each verb has a page, each page a verb, and what is generated is as the commands say.
func TestPagesAreCurrent(t *testing.T) {
	texts, err := generate(dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range read(t) {
		if p.Text != texts[name] {
			t.Errorf("docs/runbooks/%s.md is not what the commands say: go run ./scripts/runbooks", name)
		}
	}
}

// sections are what somebody looks for at night, in the order in which they are needed.
var sections = []string{"When", "Before", "Steps", "Time and cost", "If it goes wrong", "Undo", "Reference"}

func TestPagesHaveAllSections(t *testing.T) {
	heading := regexp.MustCompile(`(?m)^## (.+)$`)
	for name, p := range read(t) {
		if name == index {
			continue
		}
		var found []string
		for _, m := range heading.FindAllStringSubmatch(p.Text, -1) {
			if m[1] != "On Google Cloud" {
				found = append(found, m[1])
			}
		}
		if !slices.Equal(found, sections) {
			t.Errorf("%s.md has the sections %q, want %q (and \"On Google Cloud\" where it differs)", name, found, sections)
		}
		if title := "# patag " + strings.TrimPrefix(verbs()[name].CommandPath(), "patag ") + "\n"; !strings.HasPrefix(p.Text, title) {
			t.Errorf("%s.md does not begin with %q", name, title)
		}
		if !slices.ContainsFunc(p.Blocks, func(b page.Block) bool { return strings.Contains(b.Script, verbs()[name].CommandPath()) }) {
			t.Errorf("%s.md has no command block with its own verb", name)
		}
	}
}

// TestCommands holds every command in a block to the commands and targets that there are. Whether it does what the page says is
// for scripts/e2e, TestRunbooks.
func TestCommands(t *testing.T) {
	targets := targets(t)
	run := 0
	for name, p := range read(t) {
		for _, b := range p.Blocks {
			if b.NotRun == "" {
				run++
			}
			if err := check(b.Script, targets); err != nil {
				t.Errorf("%s.md:%d: %v", name, b.Line, err)
			}
			if known := slices.Contains([]int{exit.OK, exit.Failed, exit.Changes, exit.Usage, exit.NotRunning, exit.Locked, exit.Interrupted}, b.Exit); !known {
				t.Errorf("%s.md:%d: patag has no exit code %d", name, b.Line, b.Exit)
			}
		}
	}
	if run < len(verbs()) {
		t.Errorf("only %d blocks are run by a test, and there are %d verbs", run, len(verbs()))
	}
}

// TestOtherCommands does so for the blocks of the other documents, which no test runs.
func TestOtherCommands(t *testing.T) {
	block := regexp.MustCompile("(?s)```sh\n(.*?)```")
	targets := targets(t)
	seen := 0
	for file, text := range documents(t) {
		if filepath.Dir(file) == dir {
			continue
		}
		for _, m := range block.FindAllStringSubmatch(text, -1) {
			seen++
			if err := check(m[1], targets); err != nil {
				t.Errorf("%s: %v in\n%s", file, err, m[1])
			}
		}
	}
	if seen < 5 {
		t.Errorf("only %d blocks were found", seen)
	}
}

func TestCheckRefuses(t *testing.T) {
	for script, want := range map[string]string{
		"patag upp production":                          `not ["upp"`,
		"patag staging":                                 "needs a verb",
		"patag staging restart acme":                    "needs a verb",
		"patag up production --fast":                    "unknown flag: --fast",
		"patag up":                                      "which stack?",
		"patag sandbox start --timeout soon":            "invalid argument",
		"patag staging create Acme":                     "cannot name a project",
		"ID=$(patag backup) && echo":                    "which stack?",
		"if patag sandbox status; then patag up; fi":    "which stack?",
		"make prodction":                                "no target prodction",
		"make -n up\npatag status production | patag x": `not ["x"]`,
		"echo 'x": "without closing",
	} {
		if err := check(script, map[string]bool{"up": true}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", script, err, want)
		}
	}
	for _, script := range []string{`ID=$(patag backup production); patag restore production --backup "$ID" --confirm production`, `eval "$(patag env production)"`, "make up", "FOO=1 patag up production --yes >/dev/null 2>&1"} {
		if err := check(script, map[string]bool{"up": true}); err != nil {
			t.Errorf("%q: %v", script, err)
		}
	}
}

// TestMentions holds the commands in running text to those that there are, here and where else people look them up.
func TestMentions(t *testing.T) {
	span := regexp.MustCompile("`patag ([^`\n]+)`")
	seen := 0
	for file, text := range documents(t) {
		for _, m := range span.FindAllStringSubmatch(text, -1) {
			words := strings.Fields(strings.NewReplacer("[", "", "]", "", "…", "").Replace(m[1]))
			if words[0] == "VERB" || words[0] == "help" {
				continue
			}
			seen++
			root := tree()
			cmd, rest, err := root.Find(words)
			if err == nil && cmd.HasSubCommands() && len(rest) > 0 {
				err = fmt.Errorf("%s has no verb %s", cmd.CommandPath(), rest[0])
			}
			for _, word := range rest {
				if flag, isFlag := strings.CutPrefix(word, "--"); err == nil && isFlag && cmd.Flag(strings.SplitN(flag, "=", 2)[0]) == nil && flag != "help" {
					err = fmt.Errorf("%s has no flag %s", cmd.CommandPath(), word)
				}
			}
			if err != nil {
				t.Errorf("%s: `patag %s`: %v", file, m[1], err)
			}
		}
	}
	if seen < 50 {
		t.Errorf("only %d mentions of commands were found", seen)
	}
}

// TestMessages: what people are told to look out for is what the programs say.
func TestMessages(t *testing.T) {
	var said strings.Builder
	for _, folder := range []string{"scripts/patag", "scripts/images", "scripts/needs", "stacks", "app/backup", "infra/sandbox"} {
		err := filepath.WalkDir(filepath.Join("..", "..", folder), func(path string, d os.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			raw, err := os.ReadFile(path)
			said.Write(raw)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	span := regexp.MustCompile("`([^`]+)`")
	seen := 0
	for name, p := range read(t) {
		_, section, _ := strings.Cut(p.Text, "\n## If it goes wrong\n")
		section, _, _ = strings.Cut(section, "\n## ")
		for _, row := range strings.Split(section, "\n") {
			cells := strings.Split(row, "|")
			if len(cells) < 3 {
				continue
			}
			for _, m := range span.FindAllStringSubmatch(cells[1], -1) {
				for _, part := range strings.Split(m[1], "…") {
					// One word may be a number or a name that is put in.
					if part = strings.TrimSpace(part); !strings.Contains(part, " ") {
						continue
					}
					seen++
					if !strings.Contains(said.String(), part) {
						t.Errorf("%s.md: no program says %q (where something is put in, write …)", name, part)
					}
				}
			}
		}
	}
	if seen < 30 {
		t.Errorf("only %d messages were found", seen)
	}
}

// TestAlerts: the mail that wakes somebody names the runbooks, so the index knows its title.
func TestAlerts(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "..", "infra", "monitoring", "monitoring.go"))
	if err != nil {
		t.Fatal(err)
	}
	alerts := regexp.MustCompile(`\{"\w+", "([^"]+)", "[^"]* See docs/runbooks\.",`).FindAllSubmatch(raw, -1)
	if len(alerts) < 2 {
		t.Errorf("only %d alerts were found", len(alerts))
	}
	for _, m := range alerts {
		if !strings.Contains(read(t)[index].Text, string(m[1])) {
			t.Errorf("the index leads from the alert %q to no page", m[1])
		}
	}
}

// documents are the pages, and what else people read, by file.
func documents(t *testing.T) map[string]string {
	t.Helper()
	texts := map[string]string{}
	for _, pattern := range []string{filepath.Join("..", "..", "README.md"), filepath.Join("..", "..", "docs", "*.md"), filepath.Join(dir, "*.md")} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			texts[file] = string(raw)
		}
	}
	return texts
}

// TestLinks: what a document points to is there.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:\s]*)(#[^)\s]*)?\)`)
	seen := 0
	for file, text := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			seen++
			target := filepath.Join(filepath.Dir(file), m[1])
			if m[1] == "" {
				target = file
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: %v", file, err)
				continue
			}
			if m[2] == "" {
				continue
			}
			raw, err := os.ReadFile(target)
			if err != nil {
				t.Errorf("%s: %v", file, err)
			} else if !slices.Contains(anchors(raw), m[2]) {
				t.Errorf("%s: %s has no heading for %s: %q", file, target, m[2], anchors(raw))
			}
		}
	}
	if seen < 100 {
		t.Errorf("only %d links were found", seen)
	}
}

// anchors are the headings of a page as links name them.
func anchors(text []byte) []string {
	var found []string
	for line := range bytes.Lines(text) {
		if rest := bytes.TrimLeft(line, "#"); len(rest) < len(line) {
			slug := regexp.MustCompile(`[^\p{L}\d -]`).ReplaceAllString(strings.ToLower(strings.TrimSpace(string(rest))), "")
			found = append(found, "#"+strings.ReplaceAll(slug, " ", "-"))
		}
	}
	return found
}

func targets(t *testing.T) map[string]bool {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "..", "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^([a-z0-9-]+):`).FindAllSubmatch(raw, -1) {
		found[string(m[1])] = true
	}
	return found
}

// check parses a script as bash does and holds its calls of patag and make to what there is.
func check(script string, targets map[string]bool) error {
	file, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(script), "")
	if err != nil {
		return err
	}
	syntax.Walk(file, func(node syntax.Node) bool {
		call, ok := node.(*syntax.CallExpr)
		if !ok || err != nil || len(call.Args) == 0 {
			return err == nil
		}
		var words []string
		for _, w := range call.Args {
			words = append(words, text(w))
		}
		switch words[0] {
		case "patag", "bin/patag":
			err = valid(words[1:])
		case "make":
			for _, w := range words[1:] {
				if !strings.HasPrefix(w, "-") && !strings.Contains(w, "=") && !targets[w] {
					err = fmt.Errorf("the Makefile has no target %s", w)
				}
			}
		}
		return err == nil
	})
	return err
}

// text is a word; what the shell puts in is 1, which may be a name as well as a number.
func text(w *syntax.Word) string {
	var b strings.Builder
	var add func([]syntax.WordPart)
	add = func(parts []syntax.WordPart) {
		for _, p := range parts {
			switch p := p.(type) {
			case *syntax.Lit:
				b.WriteString(p.Value)
			case *syntax.SglQuoted:
				b.WriteString(p.Value)
			case *syntax.DblQuoted:
				add(p.Parts)
			default:
				b.WriteString("1")
			}
		}
	}
	add(w.Parts)
	return b.String()
}

// valid reads arguments as patag would, up to where it would begin to work.
func valid(args []string) error {
	cmd, rest, err := tree().Find(args)
	switch {
	case err != nil:
		return err
	case cmd.HasSubCommands():
		return fmt.Errorf("%s needs a verb of its own, which is not %q", cmd.CommandPath(), rest)
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	return arguments(cmd)
}

func arguments(cmd *cobra.Command) error {
	if err := cmd.ValidateArgs(cmd.Flags().Args()); err != nil {
		return err
	}
	return cmd.ValidateRequiredFlags()
}
