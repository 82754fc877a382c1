package cluster

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestKubeconfig(t *testing.T) {
	text, err := renderKubeconfig("production-1", "198.51.100.1", "Q0E=")
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Clusters []struct {
			Cluster map[string]string `json:"cluster"`
		} `json:"clusters"`
		Users []struct {
			User map[string]any `json:"user"`
		} `json:"users"`
	}
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	if got := doc.Clusters[0].Cluster; got["server"] != "https://198.51.100.1" || got["certificate-authority-data"] != "Q0E=" {
		t.Errorf("the cluster is %v", got)
	}
	for key := range doc.Users[0].User {
		if key != "exec" {
			t.Errorf("the user has %s: a credential has no place in the state", key)
		}
	}
	for _, missing := range [][2]string{{"", "Q0E="}, {"198.51.100.1", ""}} {
		if _, err := renderKubeconfig("production-1", missing[0], missing[1]); err == nil || !strings.Contains(err.Error(), "production-1") {
			t.Errorf("without endpoint or CA the error is %v", err)
		}
	}
}
