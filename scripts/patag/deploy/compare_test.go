package deploy

import (
	"strings"
	"testing"
	"time"
)

func TestJudge(t *testing.T) {
	usual := Figures{Requests: 1000, FillRate: .9, Median: 1, Tail: 4}
	for _, c := range []struct {
		name    string
		running Figures
		canary  Figures
		want    string // "" for no problem
	}{
		{"the same", usual, usual, ""},
		{"noise of milliseconds", usual, Figures{Requests: 1000, FillRate: .9, Median: 12, Tail: 60}, ""},
		{"one failure among few says nothing", usual, Figures{Requests: 30, Errors: 1, FillRate: .9, Median: 1, Tail: 4}, ""},
		{"two failures among few", usual, Figures{Requests: 30, Errors: 2, FillRate: .9, Median: 1, Tail: 4, First: "status 500"}, "status 500"},
		{"one per cent more is allowed", usual, Figures{Requests: 1000, Errors: 10, FillRate: .9, Median: 1, Tail: 4}, ""},
		{"more than one per cent", usual, Figures{Requests: 1000, Errors: 11, FillRate: .9, Median: 1, Tail: 4}, "failed 11 of 1000"},
		{"all fail alike", Figures{Requests: 100, Errors: 50, FillRate: .9}, Figures{Requests: 100, Errors: 50, FillRate: .9}, ""},
		{"everything fails", usual, Figures{Requests: 10, Errors: 10}, "failed 10 of 10"},
		{"fills less", usual, Figures{Requests: 1000, FillRate: .6, Median: 1, Tail: 4}, "fills 60%"},
		{"fills a little less", usual, Figures{Requests: 1000, FillRate: .7, Median: 1, Tail: 4}, ""},
		{"slow in the middle", usual, Figures{Requests: 1000, FillRate: .9, Median: 33, Tail: 34}, "median 33 ms"},
		{"slow at the end", usual, Figures{Requests: 1000, FillRate: .9, Median: 1, Tail: 109}, "95th percentile 109 ms"},
		{"slow as the others", Figures{Requests: 1000, FillRate: .9, Median: 200, Tail: 400}, Figures{Requests: 1000, FillRate: .9, Median: 390, Tail: 800}, ""},
		{"few requests say nothing about time", usual, Figures{Requests: 19, FillRate: .9, Median: 500, Tail: 500}, ""},
		{"no requests", usual, Figures{}, ""},
	} {
		got := strings.Join(Standard().judge(c.running, c.canary), "; ")
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func side(question string, status int, fields ...string) *answers {
	a := newAnswers()
	for range 3 {
		var set map[string]bool
		if fields != nil {
			set = map[string]bool{}
			for _, f := range fields {
				set[f] = true
			}
		}
		a.add(question, status, time.Millisecond, set, "")
	}
	return a
}

func TestDifferences(t *testing.T) {
	for _, c := range []struct {
		name            string
		running, canary *answers
		accept          bool
		want            string
	}{
		{"the same", side("ad x", 200, "placement", "chain"), side("ad x", 200, "placement", "chain"), false, ""},
		{"a field more", side("ad x", 200, "placement"), side("ad x", 200, "placement", "new"), false, ""},
		{"a field less", side("ad x", 200, "placement", "chain.price"), side("ad x", 200, "placement"), false, "lack chain.price"},
		{"a field less, as wanted", side("ad x", 200, "placement", "chain.price"), side("ad x", 200, "placement"), true, ""},
		{"another status", side("ad x", 200, "placement"), side("ad x", 404), false, "answers 404, the running ones [200]"},
		{"a question of its own", side("ad x", 200, "placement"), side("ad y", 404), false, ""},
	} {
		l := Standard()
		l.AcceptFields = c.accept
		got := strings.Join(l.differences(c.running, c.canary), "; ")
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestSometimes: a field that the running servers leave out now and then is none to miss.
func TestSometimes(t *testing.T) {
	running := side("ad x", 200, "placement", "arm")
	running.add("ad x", 200, time.Millisecond, map[string]bool{"placement": true}, "")
	if got := Standard().differences(running, side("ad x", 200, "placement")); got != nil {
		t.Error(got)
	}
}

func TestFigures(t *testing.T) {
	a := newAnswers()
	for i := range 100 {
		fields := map[string]bool{"placement": true}
		if i < 40 {
			fields["chain"] = true
		}
		a.add("ad x", 200, time.Duration(i+1)*time.Millisecond, fields, "")
	}
	a.add("ad x", 500, time.Second, nil, "status 500")
	want := Figures{Requests: 101, Errors: 1, FillRate: .4, Median: 51, Tail: 96, First: "ad x: status 500"}
	if got := a.figures(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
