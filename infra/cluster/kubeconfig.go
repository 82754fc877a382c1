package cluster

import (
	"encoding/json"
	"errors"

	"github.com/pulumi/pulumi-gcp/sdk/v7/go/gcp/container"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// kubeconfig is what `gcloud container clusters get-credentials` writes, as JSON (which is YAML): it holds no
// credential, only how to get one.
func kubeconfig(gke *container.Cluster) pulumi.StringOutput {
	return pulumi.All(gke.Name, gke.Endpoint, gke.MasterAuth.ClusterCaCertificate().Elem()).ApplyT(func(in []any) (string, error) {
		return renderKubeconfig(in[0].(string), in[1].(string), in[2].(string))
	}).(pulumi.StringOutput)
}

func renderKubeconfig(name, endpoint, ca string) (string, error) {
	if endpoint == "" || ca == "" {
		return "", errors.New("cluster " + name + " has no endpoint or no CA certificate yet; look at it in GKE and run the program again")
	}
	type object = map[string]any
	raw, err := json.Marshal(object{
		"apiVersion": "v1", "kind": "Config", "current-context": name,
		"clusters": []object{{"name": name, "cluster": object{"server": "https://" + endpoint, "certificate-authority-data": ca}}},
		"contexts": []object{{"name": name, "context": object{"cluster": name, "user": name}}},
		"users": []object{{"name": name, "user": object{"exec": object{
			"apiVersion":         "client.authentication.k8s.io/v1beta1",
			"command":            "gke-gcloud-auth-plugin",
			"installHint":        "install gke-gcloud-auth-plugin: https://cloud.google.com/kubernetes-engine/docs/how-to/cluster-access-for-kubectl",
			"interactiveMode":    "Never",
			"provideClusterInfo": true,
		}}}},
	})
	return string(raw), err
}
