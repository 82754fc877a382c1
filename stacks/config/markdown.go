package config

import (
	"fmt"
	"slices"
	"strings"
)

// Markdown is the table of keys as docs/configuration.md has it.
func Markdown() string {
	var b strings.Builder
	b.WriteString(`# Configuration

<!-- Written by ` + "`go run ./scripts/configdoc`" + ` from stacks/config; a test checks that it is current. -->

Every key of a stack, in the namespace ` + "`patag`" + `: ` + "`pulumi config set patag:<key> <value>`" + `, or in ` + "`stacks/Pulumi.<stack>.yaml`" + `.
The values are checked, all of them, before any resource is registered; a key that does not exist is refused. Tracked files
hold plain values only. Beside these, ` + "`gcp:project`" + ` and ` + "`gcp:region`" + ` are required and come from the cloud at hand; ` + "`gcp:zone`" + `
is taken as the default of ` + "`patag:location`" + `.

`)
	for _, group := range []struct {
		title, text string
		kinds       []Kind
	}{
		{"All kinds", "", everywhere},
		{"foundation", "What outlives clusters.", inFoundation},
		{"Secrets", "Given as Pulumi secrets, or generated. production takes them from the foundation; a staging, and a production whose foundation is given by config, keep their own.", everywhere[:3]},
		{"production and staging", "One program; where staging's default differs, it is given after a slash.", inPlatform},
		{"production", "", inProduction},
		{"staging", "Set by `patag staging`.", inStaging},
	} {
		fmt.Fprintf(&b, "## %s\n\n", group.title)
		if group.text != "" {
			fmt.Fprintf(&b, "%s\n\n", group.text)
		}
		b.WriteString("| key | type | default | accepted | what for, and why this default |\n|---|---|---|---|---|\n")
		for _, k := range Keys() {
			if slices.Equal(k.Kinds, group.kinds) {
				fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", k.Name, k.Type, k.defaultText(), k.Rule, k.Reason)
			}
		}
		b.WriteString("\n")
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func (k Key) defaultText() string {
	if k.Required {
		return "required"
	}
	if k.Secret {
		return "generated"
	}
	production, staging := k.DefaultFor(Production), k.DefaultFor(Staging)
	switch {
	case len(k.Kinds) == 1 && k.Default != "":
		return "`" + k.Default + "`"
	case production == "" && staging == "":
		return "see right"
	case production == staging:
		return "`" + production + "`"
	}
	if staging == "" {
		return "`" + production + "` / see right"
	}
	return "`" + production + "` / `" + staging + "`"
}
