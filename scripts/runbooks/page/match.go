package page

import (
	"fmt"
	"regexp"
	"strings"
)

// Match tells which of the promised lines is not in an output.
func Match(promised []string, output string) error {
	lines := strings.Split(output, "\n")
	for i := range lines {
		lines[i] = plain(lines[i])
	}
	at := 0
	for _, want := range promised {
		if want = plain(want); want == "" || want == "…" {
			continue
		}
		parts := strings.Split(want, "…")
		for i := range parts {
			parts[i] = regexp.QuoteMeta(parts[i])
		}
		line := regexp.MustCompile("^" + strings.Join(parts, ".*") + "$")
		for ; at < len(lines) && !line.MatchString(lines[at]); at++ {
		}
		if at == len(lines) {
			return fmt.Errorf("the page promises a line\n    %s\nand there is none, at least not after those before it, in\n%s", want, output)
		}
		at++
	}
	return nil
}

// plain is a line without what differs with the width of columns.
func plain(line string) string { return strings.Join(strings.Fields(line), " ") }
