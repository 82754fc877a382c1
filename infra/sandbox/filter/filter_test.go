package filter

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

var dialect = Dialect{
	Fields: map[string]bool{"severity": true, "timestamp": true, "logName": true, "resource": true, "labels": true,
		"jsonPayload": true, "httpRequest": true, "textPayload": true},
	FoldCase: true, Text: true,
	Enums:    map[string][]string{"severity": {"DEFAULT", "DEBUG", "INFO", "WARNING", "ERROR"}},
	Defaults: map[string]any{"severity": "DEFAULT"},
	Calls: map[string]func([]string) (func(map[string]any) bool, error){
		"log_id": func(args []string) (func(map[string]any) bool, error) {
			if len(args) != 1 {
				return nil, fmt.Errorf("takes one argument")
			}
			return func(doc map[string]any) bool {
				s, _ := doc["logName"].(string)
				return strings.HasSuffix(s, "/"+args[0])
			}, nil
		},
	},
	ValueCalls: map[string]func([]string) (func(string) bool, error){
		"starts_with": func(args []string) (func(string) bool, error) {
			return func(s string) bool { return strings.HasPrefix(s, args[0]) }, nil
		},
	},
}

const document = `{"logName":"projects/p/logs/requests","severity":"WARNING","timestamp":"2026-03-01T10:00:00.5Z",
 "resource":{"type":"http_load_balancer","labels":{"url_map_name":"k8s-um"}},
 "labels":{"compute.googleapis.com/name":"vm-1"},
 "httpRequest":{"status":502,"latency":"0.250s","responseSize":"1234","requestUrl":"http://x/v1/ad?placement=1"},
 "jsonPayload":{"statusDetails":"backend_timeout","tries":[1,2],"cached":false}}`

func TestMatch(t *testing.T) {
	var doc map[string]any
	if err := json.Unmarshal([]byte(document), &doc); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{
		``:                             true,
		`severity>=WARNING`:            true,
		`severity>=error`:              false,
		`severity=(INFO OR "WARNING")`: true,
		`timestamp>="2026-03-01T10:00:00Z" timestamp<"2026-03-02"`:     true,
		`timestamp > "2026-03-01T10:00:00.5Z"`:                         false,
		`timestamp="2026-03-01T11:00:00.5+01:00"`:                      true,
		`resource.type="http_load_balancer" AND logName:"requests"`:    true,
		`resource.labels.url_map_name = K8S-UM`:                        true,
		`httpRequest.status=502`:                                       true,
		`http_request.status >= 500 AND http_request.status < 502`:     false,
		`httpRequest.latency>0.2s`:                                     true,
		`httpRequest.latency>"300ms"`:                                  false,
		`httpRequest.responseSize>999`:                                 true,
		`httpRequest.requestUrl=~"placement=\d+"`:                      true,
		`httpRequest.requestUrl!~"^https"`:                             true,
		`NOT jsonPayload.missing="x"`:                                  true,
		`jsonPayload.missing!="x"`:                                     false,
		`jsonPayload.missing:*`:                                        false,
		`jsonPayload.statusDetails:*`:                                  true,
		`-jsonPayload.statusDetails="backend_timeout"`:                 false,
		`jsonPayload.tries=2`:                                          true,
		`jsonPayload.cached=false`:                                     true,
		`labels."compute.googleapis.com/name"="vm-1"`:                  true,
		`labels.compute.googleapis.com/name="vm-1"`:                    true,
		`severity=INFO OR severity=WARNING AND httpRequest.status=200`: false,
		`(severity=INFO OR severity=WARNING) (httpRequest.status=502)`: true,
		`timeout`:                          true,
		`"no such text"`:                   false,
		`log_id("requests")`:               true,
		`NOT log_id("other") -- a comment`: true,
		`jsonPayload.statusDetails=starts_with("backend")`:                true,
		"severity>=INFO\nresource.type=http_load_balancer":                true,
		`jsonPayload.statusDetails=("a" OR NOT "backend_timeout" OR "c")`: false,
	} {
		f, err := Parse(text, dialect)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := f.Match(doc); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
}

func TestRefused(t *testing.T) {
	for text, want := range map[string]string{
		`colour=red`:                      `field not found: "colour"`,
		`sample(insertId, 0.1)`:           `function "sample" is not supported`,
		`severity=ip_in_net("x")`:         `function "ip_in_net" is not supported`,
		`(severity=INFO`:                  `closing parenthesis`,
		`textPayload="x`:                  `closing quote`,
		`severity=`:                       `a value is expected`,
		`severity=INFO AND`:               `ends where a comparison is expected`,
		`textPayload=~"("`:                `missing closing )`,
		`log_id()`:                        `takes one argument`,
		`severity=INFO)`:                  `unexpected ")"`,
		strings.Repeat("(", 100) + "x":    `nested more than`,
		strings.Repeat("NOT ", 100) + "x": `nested more than`,
		strings.Repeat("a", maxLength+1):  `longer than`,
	} {
		_, err := Parse(text, dialect)
		var bad *Error
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: error %v, want %q", text, err, want)
		}
	}
	if _, err := Parse("word", Dialect{}); err == nil || !strings.Contains(err.Error(), "not a comparison") {
		t.Errorf("text search where there is none: %v", err)
	}
}

func TestTimeRangeAndEqual(t *testing.T) {
	f, err := Parse(`timestamp>="2026-03-01T00:00:00Z" AND resource.type="x" (timestamp<"2026-03-02T00:00:00Z")`, dialect)
	if err != nil {
		t.Fatal(err)
	}
	from, to := f.TimeRange("timestamp")
	if from != time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC) || to != time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC) {
		t.Errorf("range %v to %v", from, to)
	}
	if v, ok := f.Equal("resource.type"); !ok || v != "x" {
		t.Errorf("resource.type %q %v", v, ok)
	}
	f, _ = Parse(`timestamp>="2026-03-01T00:00:00Z" OR severity=ERROR`, dialect)
	if from, _ := f.TimeRange("timestamp"); !from.IsZero() {
		t.Error("a bound was taken from one side of an OR")
	}
}

// FuzzParse: any text is either refused with an *Error or gives a filter that can be evaluated.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{`severity>=ERROR`, `a.b:"c" OR NOT (d=1 AND -e)`, `log_id("x")`, `x=("a" OR "b")`, `"`, `-- c`, `textPayload=~"a\d"`} {
		f.Add(seed)
	}
	var doc map[string]any
	if err := json.Unmarshal([]byte(document), &doc); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		q, err := Parse(text, dialect)
		if err != nil {
			var bad *Error
			if !errors.As(err, &bad) || bad.Offset < 0 || bad.Offset > len(text)+1 {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		q.Match(doc)
		q.TimeRange("timestamp")
	})
}
