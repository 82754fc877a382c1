package cloud

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"patag/infra/sandbox/cluster"
	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/googleapi/apitest"
	"patag/infra/sandbox/googleapi/artifactregistry"
	"patag/infra/sandbox/googleapi/billing"
	"patag/infra/sandbox/googleapi/cloudresourcemanager"
	"patag/infra/sandbox/googleapi/compute"
	"patag/infra/sandbox/googleapi/container"
	"patag/infra/sandbox/googleapi/dns"
	"patag/infra/sandbox/googleapi/iam"
	"patag/infra/sandbox/googleapi/logging"
	"patag/infra/sandbox/googleapi/monitoring"
	"patag/infra/sandbox/googleapi/policy"
	"patag/infra/sandbox/googleapi/secretmanager"
	"patag/infra/sandbox/googleapi/serviceusage"
	"patag/infra/sandbox/googleapi/storage"
	"patag/infra/sandbox/layout"
	"patag/infra/sandbox/logs"
	"patag/infra/sandbox/series"
)

// TestOfficialPlugin makes the calls that the official gcp plugin makes for foundation and production, at the addresses
// that it makes of the environment that patag gives it.
func TestOfficialPlugin(t *testing.T) {
	api := startAPI(t)
	c := &Cloud{Name: Sandbox, Project: apitest.Project, Region: "europe-west1", Zone: "europe-west1-b", Token: apitest.Token, base: api.URL(), endpoints: sandboxEndpoints}
	env := c.Google()
	if env["PULUMI_GCP_SKIP_REGION_VALIDATION"] != "true" {
		t.Error("the official plugin would send the sandbox's token to Google, for the list of regions")
	}
	r := &replay{t: t, env: env, values: strings.NewReplacer(
		"P.", c.Project+".", "/P/", "/"+c.Project+"/", "=P ", "="+c.Project+" ", "/P:", "/"+c.Project+":", "/P ", "/"+c.Project+" ", `"P"`, `"`+c.Project+`"`,
		"/R/", "/"+c.Region+"/", `/R"`, "/"+c.Region+`"`, "/Z/", "/"+c.Zone+"/", "/Z ", "/"+c.Zone+" ", `"Z"`, `"`+c.Zone+`"`,
		"/N/", "/"+googleapi.ProjectNumber(c.Project)+"/", `"N"`, `"`+googleapi.ProjectNumber(c.Project)+`"`)}
	raw, err := os.ReadFile("testdata/official.txt")
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(string(raw), "\n") {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			r.at = i + 1
			r.line(line)
		}
	}
	if r.calls < 100 {
		t.Errorf("only %d calls were made", r.calls)
	}
	t.Logf("%d calls", r.calls)
}

// replay is the official plugin as far as its requests go.
type replay struct {
	t      *testing.T
	env    map[string]string
	values *strings.Replacer
	at     int
	calls  int

	service string
	path    string
	code    int
	answer  googleapi.Doc
}

var fromAnswer = regexp.MustCompile(`<([a-zA-Z0-9.]+)>`)

func (r *replay) errorf(format string, args ...any) {
	r.t.Helper()
	r.t.Errorf("official.txt:%d: %s", r.at, fmt.Sprintf(format, args...))
}

func (r *replay) line(line string) {
	r.t.Helper()
	line = strings.TrimSuffix(r.values.Replace(line+" "), " ")
	switch word, rest, _ := strings.Cut(line, " "); word {
	case "=":
		path, value, _ := strings.Cut(rest, " ")
		var want any
		if err := json.Unmarshal([]byte(value), &want); err != nil {
			r.t.Fatalf("official.txt:%d: %v", r.at, err)
		}
		if got := r.field(path); !googleapi.Equal(got, want) {
			r.errorf("%s is %v, want %v", path, got, want)
		}
	case "!":
		if want, _ := strconv.Atoi(rest); r.code != want {
			r.errorf("status %d, want %d", r.code, want)
		}
	case "wait":
		r.wait()
	default:
		line = fromAnswer.ReplaceAllStringFunc(line, func(m string) string {
			value := fmt.Sprint(r.field(m[1 : len(m)-1]))
			return strings.TrimPrefix(strings.TrimPrefix(value, "https://www.googleapis.com/compute/v1/"), "https://www.googleapis.com/compute/beta/")
		})
		parts := strings.SplitN(line, " ", 5)
		body := ""
		if len(parts) == 5 {
			body = parts[4]
		}
		r.call(parts[0], parts[1], parts[2], parts[3], body)
	}
}

func (r *replay) field(path string) any {
	at := any(r.answer)
	for _, key := range strings.Split(path, ".") {
		switch v := at.(type) {
		case googleapi.Doc:
			at = v[key]
		case map[string]any:
			at = v[key]
		case []any:
			if i, err := strconv.Atoi(key); err == nil && i < len(v) {
				at = v[i]
				continue
			}
			return nil
		default:
			return nil
		}
	}
	return at
}

var versionOfHTTPS = regexp.MustCompile(`(http[s]://.*)(/[^/]+?/$)`)

// base is the address before the path: the plugin's own for its REST calls, and what it makes of it for Google's clients.
func (r *replay) base(service, through string) string {
	base := r.env["GOOGLE_"+service+"_CUSTOM_ENDPOINT"]
	if base == "" {
		r.t.Fatalf("official.txt:%d: GOOGLE_%s_CUSTOM_ENDPOINT is not set", r.at, service)
	}
	// These two clients are given the endpoint as it is.
	if through == "rest" || service == "COMPUTE" || service == "STORAGE" {
		return base
	}
	base = versionOfHTTPS.ReplaceAllString(base, "$1/")
	if service == "DNS" {
		base = strings.ReplaceAll(base, "/dns/", "")
	}
	return base
}

func (r *replay) call(method, service, through, path, body string) {
	r.t.Helper()
	url := r.base(service, through) + path
	sep := "?"
	if strings.Contains(path, "?") {
		sep = "&"
	}
	url += sep + "alt=json"
	if through == "client" {
		url += "&prettyPrint=false"
	}
	req, err := http.NewRequestWithContext(r.t.Context(), method, url, bytes.NewBufferString(body))
	if err != nil {
		r.t.Fatalf("official.txt:%d: %v", r.at, err)
	}
	req.Header.Set("Authorization", "Bearer "+r.env["GOOGLE_OAUTH_ACCESS_TOKEN"])
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "google-api-go-client/0.5 Terraform/ (+https://www.terraform.io) Terraform-Plugin-SDK/2.33.0 terraform-provider-google-beta/dev")
	req.Header.Set("X-Goog-Api-Client", "gl-go/1.22.0 gdcl/0.193.0")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatalf("official.txt:%d: %v", r.at, err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	r.calls++
	r.service, r.path, r.code, r.answer = service, path, res.StatusCode, nil
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &r.answer); err != nil {
			r.errorf("%s %s: %v in %q", method, url, err, raw)
		}
	}
	if r.code/100 != 2 && !expected(r.at) {
		r.errorf("%s %s: %d %s", method, url, r.code, r.answer.String("error", "message"))
	}
}

// expected tells whether the line after asks for a failure.
func expected(at int) bool {
	raw, _ := os.ReadFile("testdata/official.txt")
	lines := strings.Split(string(raw), "\n")
	return at < len(lines) && strings.HasPrefix(lines[at], "!")
}

// wait polls the operation of the last answer where the plugin does.
func (r *replay) wait() {
	r.t.Helper()
	name, service := r.answer.String("name"), r.service
	through, path := "client", ""
	switch service {
	case "COMPUTE":
		scope := "global"
		for _, kind := range []string{"region", "zone"} {
			if place := r.answer.String(kind); place != "" {
				scope = kind + "s/" + place[strings.LastIndex(place, "/")+1:]
			}
		}
		path = "projects/" + apitest.Project + "/" + scope + "/operations/" + name
	case "CONTAINER":
		parts := strings.Split(r.path, "/")
		path = strings.Join(parts[:5], "/") + "/operations/" + name
	case "SERVICE_USAGE":
		path = "v1/" + name
	default:
		through, path = "rest", name
	}
	for deadline := time.Now().Add(20 * time.Second); r.answer.String("status") != "DONE" && !r.answer.Bool("done"); time.Sleep(20 * time.Millisecond) {
		if r.code/100 != 2 || time.Now().After(deadline) {
			r.errorf("the operation does not end: %d %v", r.code, r.answer)
			return
		}
		r.call("GET", service, through, path, "")
	}
	if r.answer.Has("error") {
		r.errorf("the operation failed: %v", r.answer["error"])
	}
	r.call("GET", service, through, path, "") // it can be read, also when it was done at once
}

func startAPI(t *testing.T) *apitest.Server {
	var gke *container.Service
	api := apitest.Start(t, func(core *googleapi.Core, l layout.Layout) {
		policies := policy.New(core)
		machines := compute.Register(core, compute.Options{})
		engine := &fakeEngine{}
		gke = container.Register(core, container.Options{Compute: machines, Engine: engine})
		engine.nodes = gke
		metrics, err := series.Open(filepath.Join(l.Root, "series"), series.Options{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = storage.Register(core, policies, filepath.Join(l.Root, "objects"))
		if err = errors.Join(err, secretmanager.Register(core, policies, filepath.Join(l.Root, "key"))); err != nil {
			t.Fatal(err)
		}
		iam.Register(core, policies, nil)
		cloudresourcemanager.Register(core, policies)
		artifactregistry.Register(core, policies, nil)
		monitoring.Register(core, metrics)
		dns.Register(core)
		billing.Register(core)
		entries, err := logs.Open(filepath.Join(l.Root, "logs"), logs.Options{})
		if err != nil {
			t.Fatal(err)
		}
		logging.Register(core, entries)
		serviceusage.Register(core)
		t.Cleanup(func() { metrics.Close(); entries.Close() })
	})
	ctx, cancel := context.WithCancel(context.Background())
	if err := gke.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); gke.Wait() })
	return api
}

// fakeEngine makes no cluster: what the calls get is decided before and after it.
type fakeEngine struct {
	nodes cluster.Inventory
}

func (e *fakeEngine) CreateCluster(context.Context, cluster.Cluster) (cluster.Credentials, error) {
	return cluster.Credentials{CACertificate: []byte("CA")}, nil
}
func (e *fakeEngine) DeleteCluster(context.Context, string) error { return nil }
func (e *fakeEngine) SetNodePool(_ context.Context, p cluster.NodePool) error {
	return e.nodes.NodeUp(cluster.Node{ClusterID: p.Cluster, Project: apitest.Project, Zone: slices.Concat(p.Zones, []string{"europe-west1-b"})[0],
		Pool: p.Name, Name: "gke-" + p.Name + "-0", MachineType: p.MachineType, InternalIP: netip.MustParseAddr("10.0.0.9"), DiskGB: p.DiskGB})
}
func (e *fakeEngine) DeleteNodePool(context.Context, string, string) error { return nil }
func (e *fakeEngine) NodePoolSize(string, string) (int, bool)              { return 1, true }
func (e *fakeEngine) Preempt(context.Context, string) error                { return nil }
func (e *fakeEngine) Running() []cluster.Running                           { return nil }
