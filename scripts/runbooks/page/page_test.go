package page

import (
	"reflect"
	"strings"
	"testing"
)

func TestBlocks(t *testing.T) {
	const text = "# Title\n\n```sh\npatag a\npatag b\n```\n\nYou see:\n\n```text\n✓ … done\n```\n\n<!-- exit 2 -->\n```sh\npatag c\n```\n" +
		"\n1. In a list:\n\n   <!-- not run: no cloud here -->\n   ```sh\n   patag d <<E\n     indented\n   E\n   ```\n"
	got, err := Blocks(text)
	want := []Block{
		{Line: 4, Script: "patag a\npatag b", Output: []string{"✓ … done"}},
		{Line: 16, Script: "patag c", Exit: 2},
		{Line: 23, Script: "patag d <<E\n  indented\nE", NotRun: "no cloud here"},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\n%+v\nwant\n%+v", err, got, want)
	}
}

func TestBlocksRefuse(t *testing.T) {
	for text, want := range map[string]string{
		"```text\nx\n```\n": "output of no command",
		"```sh\nx\n```\n```text\na\n```\n```text\nb\n```\n": "output of no command",
		"```sh\nx\n":                                             "does not end",
		"```\nx\n```\n":                                          "commands are sh",
		"<!-- exit two -->\n```sh\nx\n```\n":                     "exit code",
		"<!-- exit 2 -->\nprose\n```sh\nx\n```\n":                "not followed",
		"<!-- not run: no cloud -->\n\n## Head\n```sh\nx\n```\n": "not followed",
	} {
		if _, err := Blocks(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestMatch(t *testing.T) {
	const output = " ✓ back up production: 20261124T1-0a: 9 documents  (4.6 s)\nNAME    AGE\nx (y)   5 s\n20261124T1-0a\n"
	for _, c := range []struct {
		promised string
		fits     bool
	}{
		{"✓ back up production: …: … documents (…)\n20261124T1-0a", true},
		{"NAME AGE\n…\n20261124T1-0a", true},
		{"x (y)  …", true},
		{"x (y)", false},
		{"20261124T1-0a\nNAME AGE", false},
		{"back up production: …", false},
		{"x .y.  …", false},
		{"", true},
	} {
		if err := Match(strings.Split(c.promised, "\n"), output); (err == nil) != c.fits {
			t.Errorf("%q: %v", c.promised, err)
		}
	}
}
