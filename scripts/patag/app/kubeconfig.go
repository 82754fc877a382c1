package app

import (
	"context"

	"patag/scripts/patag/cloud"
	"patag/scripts/patag/kube"
)

// Cluster finds the stack's cluster and brings its kubeconfig up to date.
func (s *Session) Cluster(ctx context.Context, outputs map[string]any) (*kube.Cluster, string, error) {
	c, err := kube.Find(ctx, s.Cloud, outputs)
	if err != nil {
		return nil, "", err
	}
	// The bare name would be Google's way; with the path, kubectl works in a shell without `patag env` too.
	plugin := "gke-gcloud-auth-plugin"
	if path, err := s.Tools.AuthPlugin(); err == nil {
		plugin = path
	}
	env := map[string]string{}
	if s.Cloud.Name == cloud.Sandbox {
		env["PATAG_STATE"] = s.Cloud.Layout.Root
	}
	namespace, _ := outputs["namespace"].(string)
	path := s.Cloud.Kubeconfig(s.Stack)
	return c, path, c.Write(path, s.Cloud.Project, namespace, plugin, env)
}
