// Package kube finds the way to a stack's cluster and reads a summary of what runs there. It asks Google's API for
// the cluster as `gcloud container clusters get-credentials` does, and Kubernetes over plain HTTPS.
package kube

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"gopkg.in/yaml.v3"

	"patag/scripts/patag/cloud"
	"patag/scripts/patag/google"
)

// ErrNoCluster says that the stack has no cluster, or that its cluster is gone.
var ErrNoCluster = errors.New("the stack has no cluster")

// Cluster is the way to a GKE cluster.
type Cluster struct {
	Name, Location string
	// Server is https://ADDRESS.
	Server string
	// CA is PEM.
	CA []byte
	// Status is Google's: PROVISIONING, RUNNING, ERROR …
	Status string
	token  string
	http   *http.Client
}

// Find asks Google's API for the cluster that a stack's outputs name.
func Find(ctx context.Context, c *cloud.Cloud, outputs map[string]any) (*Cluster, error) {
	name, _ := outputs["clusterName"].(string)
	location, _ := outputs["clusterLocation"].(string)
	if name == "" || location == "" {
		return nil, ErrNoCluster
	}
	token, err := c.AccessToken(ctx)
	if err != nil {
		return nil, err
	}
	api, err := google.New(ctx, c)
	if err != nil {
		return nil, err
	}
	answer, err := api.Cluster(ctx, "projects/"+c.Project+"/locations/"+location+"/clusters/"+name)
	if err != nil {
		return nil, fmt.Errorf("ask Google for cluster %s: %w", name, err)
	}
	ca, err := base64.StdEncoding.DecodeString(answer.MasterAuth.ClusterCaCertificate)
	if err != nil || len(ca) == 0 || answer.Endpoint == "" {
		return nil, fmt.Errorf("cluster %s is %s and has no endpoint yet", name, answer.Status)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("the certificate authority of cluster %s is not PEM", name)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	if c.Name != cloud.Sandbox {
		transport.Proxy = http.ProxyFromEnvironment
	}
	return &Cluster{
		Name: name, Location: location, Server: "https://" + answer.Endpoint, CA: ca, Status: answer.Status,
		token: token, http: &http.Client{Timeout: 15 * time.Second, Transport: transport},
	}, nil
}

func get(ctx context.Context, client *http.Client, address, token string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		var e struct {
			Error   struct{ Message string }
			Message string
		}
		_ = json.Unmarshal(raw, &e)
		if e.Error.Message == "" {
			e.Error.Message = e.Message
		}
		return fmt.Errorf("%s: %s", resp.Status, e.Error.Message)
	}
	return json.Unmarshal(raw, into)
}

// Write writes the kubeconfig that `gcloud container clusters get-credentials` would write, mode 0600. plugin is the
// path of gke-gcloud-auth-plugin (the bare name is looked for on the PATH); env is given to it.
func (c *Cluster) Write(path, project, namespace, plugin string, env map[string]string) error {
	type m = map[string]any
	name := fmt.Sprintf("gke_%s_%s_%s", project, c.Location, c.Name)
	exec := m{
		"apiVersion": "client.authentication.k8s.io/v1beta1", "command": plugin, "provideClusterInfo": true,
		"installHint": "Install gke-gcloud-auth-plugin for use with kubectl by following\n" +
			"https://cloud.google.com/kubernetes-engine/docs/how-to/cluster-access-for-kubectl#install_plugin",
	}
	var vars []m
	for k, v := range env {
		vars = append(vars, m{"name": k, "value": v})
	}
	if vars != nil {
		exec["env"] = vars
	}
	scope := m{"cluster": name, "user": name}
	if namespace != "" {
		scope["namespace"] = namespace
	}
	raw, err := yaml.Marshal(m{
		"apiVersion": "v1", "kind": "Config", "preferences": m{}, "current-context": name,
		"clusters": []m{{"name": name, "cluster": m{"server": c.Server, "certificate-authority-data": base64.StdEncoding.EncodeToString(c.CA)}}},
		"contexts": []m{{"name": name, "context": scope}},
		"users":    []m{{"name": name, "user": m{"exec": exec}}},
	})
	if err != nil {
		return err
	}
	if old, err := os.ReadFile(path); err == nil && string(old) == string(raw) {
		return nil
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	tmp := fmt.Sprintf("%s.%d", path, os.Getpid())
	if err := os.WriteFile(tmp, raw, 0o600); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		os.Remove(tmp)
		return err
	}
	return nil
}
