package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// lists are the calls that list what stacks make. A new project has entries of its own in some.
var lists = []string{
	"/artifactregistry/v1/P/locations/europe-west1/repositories", "/cloudresourcemanager/v3/P:getIamPolicy",
	"/compute/compute/v1/P/aggregated/addresses", "/compute/compute/v1/P/aggregated/backendServices", "/compute/compute/v1/P/aggregated/disks",
	"/compute/compute/v1/P/aggregated/forwardingRules", "/compute/compute/v1/P/aggregated/healthChecks", "/compute/compute/v1/P/aggregated/instanceGroupManagers",
	"/compute/compute/v1/P/aggregated/instances", "/compute/compute/v1/P/aggregated/networkEndpointGroups", "/compute/compute/v1/P/aggregated/routers",
	"/compute/compute/v1/P/aggregated/subnetworks", "/compute/compute/v1/P/aggregated/targetHttpProxies", "/compute/compute/v1/P/aggregated/targetHttpsProxies",
	"/compute/compute/v1/P/aggregated/urlMaps", "/compute/compute/v1/P/global/firewalls", "/compute/compute/v1/P/global/instanceTemplates",
	"/compute/compute/v1/P/global/networks", "/compute/compute/v1/P/global/routes", "/compute/compute/v1/P/global/securityPolicies",
	"/compute/compute/v1/P/global/sslCertificates", "/container/v1/P/locations/-/clusters", "/dns/dns/v1/P/managedZones", "/iam/v1/P/serviceAccounts",
	"/logging/v2/P/metrics", "/logging/v2/P/sinks", "/monitoring/v1/P/dashboards", "/monitoring/v3/P/alertPolicies",
	"/monitoring/v3/P/notificationChannels", "/monitoring/v3/P/uptimeCheckConfigs", "/secretmanager/v1/P/secrets", "/storage/storage/v1/b?project=patag-sandbox",
}

// inventory is every name in the lists.
func (m *machine) inventory(t *testing.T) []string {
	t.Helper()
	token, err := m.layout.Token()
	if err != nil {
		t.Fatal(err)
	}
	header := http.Header{"Authorization": {"Bearer " + token}}
	var all []string
	for _, list := range lists {
		url := "http://" + m.settings(t).API + strings.Replace(list, "/P", "/projects/patag-sandbox", 1)
		code, body, err := 0, "", error(nil)
		if strings.Contains(list, ":get") {
			code, body, err = post(url, header)
		} else {
			code, body, err = get(url, header)
		}
		var answer any
		if err != nil || code != http.StatusOK || json.Unmarshal([]byte(body), &answer) != nil {
			t.Fatalf("GET %s: %d %v %s", url, code, err, body)
		}
		names(answer, func(name string) { all = append(all, list+": "+name) })
	}
	slices.Sort(all)
	return all
}

func post(url string, header http.Header) (int, string, error) {
	req, err := http.NewRequest(http.MethodPost, url, strings.NewReader("{}"))
	if err != nil {
		return 0, "", err
	}
	req.Header = header.Clone()
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(raw), err
}

// names finds the names of resources at any depth, and the bindings of a policy.
func names(v any, found func(string)) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			names(e, found)
		}
	case map[string]any:
		if name, ok := v["name"].(string); ok {
			found(name)
			return
		}
		if role, ok := v["role"].(string); ok {
			found(fmt.Sprint(role, v["members"]))
			return
		}
		for _, e := range v {
			names(e, found)
		}
	}
}
