package visitor

import (
	"os"
	"strings"
	"testing"
)

func TestAgents(t *testing.T) {
	data, err := os.ReadFile("testdata/agents.txt")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		want, agent, ok := strings.Cut(strings.TrimSpace(line), " | ")
		if !ok {
			t.Fatalf("no line of the table: %q", line)
		}
		n++
		var v Visitor
		r := get("203.0.113.9:1", "User-Agent", agent)
		(&Reader{}).Read(&r.Header, r.from, &v)
		verdict := v.Invalid.String()
		if verdict == "" {
			verdict = "-"
		}
		if got := strings.Join([]string{v.Device.String(), v.Browser.String(), v.System.String(), verdict}, " "); got != want {
			t.Errorf("%s, want %s: %s", got, want, agent)
		}
	}
	if n < 60 {
		t.Errorf("only %d agents", n)
	}
}

func TestHintsOutweighTheAgent(t *testing.T) {
	const frozen = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"
	tests := map[string]struct{ brands, mobile, platform, want string }{
		"a phone that asked for the desktop site": {`"Google Chrome";v="141", "Chromium";v="141"`, "?1", `"Android"`, "mobile chrome android"},
		"a tablet":        {`"Google Chrome";v="141"`, "?0", `"Android"`, "tablet chrome android"},
		"Edge":            {`"Microsoft Edge";v="141", "Chromium";v="141"`, "?0", `"Windows"`, "desktop edge windows"},
		"Brave":           {`"Brave";v="141", "Chromium";v="141"`, "?1", `"Android"`, "mobile other android"},
		"an unknown one":  {`"Chromium";v="141"`, "?0", `"Haiku"`, "tablet chrome android"},
		"without brands":  {"", "?1", `"Windows"`, "tablet chrome android"},
		"Opera on a Mac":  {`"Opera";v="114"`, "?0", `"macOS"`, "desktop opera macos"},
		"a Chromebook":    {`"Google Chrome";v="141"`, "?0", `"Chrome OS"`, "desktop chrome chromeos"},
		"Samsung's phone": {`"Samsung Internet";v="26"`, "?1", `"Android"`, "mobile samsung android"},
	}
	for name, tt := range tests {
		var v Visitor
		r := get("203.0.113.9:1", "User-Agent", frozen, "Sec-CH-UA", tt.brands, "Sec-CH-UA-Mobile", tt.mobile, "Sec-CH-UA-Platform", tt.platform)
		(&Reader{}).Read(&r.Header, r.from, &v)
		if got := v.Device.String() + " " + v.Browser.String() + " " + v.System.String(); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}
