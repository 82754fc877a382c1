// Package node is what runs on a node: a program that is process 1 of the node's namespaces and keeps containerd,
// kubelet and kube-proxy running. The engine writes its Config and starts it in the node's network namespace; when it
// is killed, the kernel ends everything in the node.
package node

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"patag/infra/sandbox/pki"
)

// Config is everything the program is told. Paths are absolute.
type Config struct {
	// Name is the node's, and its host name.
	Name string `json:"name"`
	// Folder is the node's own: its disk. State is the sandbox's state folder, kept visible in the node.
	Folder string `json:"folder"`
	State  string `json:"state"`
	// Kube is the Kubernetes binary, Version what it tells of itself.
	Kube    string `json:"kube"`
	Version string `json:"version"`
	// User is the number of a user that only this node's kubelet and kube-proxy run as, still with all that root may do:
	// the kernel counts what they watch files with by user.
	User uint32 `json:"user"`
	// Cgroup is the node's control group, below the root of each hierarchy.
	Cgroup string `json:"cgroup"`

	Address    netip.Addr   `json:"address"`
	Gateway    netip.Addr   `json:"gateway"`
	PodCIDR    netip.Prefix `json:"podCIDR"`
	ClusterDNS netip.Addr   `json:"clusterDNS"`
	// PodsCIDR is the range of all pods of the cluster.
	PodsCIDR netip.Prefix `json:"podsCIDR"`

	// Machine is what the kubelet is to see of the machine, and Reserved what it keeps from pods.
	Machine  Machine  `json:"machine"`
	Reserved Reserved `json:"reserved"`

	Labels     map[string]string `json:"labels"`
	Taints     []Taint           `json:"taints"`
	ProviderID string            `json:"providerID"`

	// ClusterCA is the cluster's certificate authority (a file); Certificate and Key are the node's, for both
	// directions; Kubeconfig and ProxyKubeconfig reach the API server.
	ClusterCA       string `json:"clusterCA"`
	Certificate     string `json:"certificate"`
	Key             string `json:"key"`
	Kubeconfig      string `json:"kubeconfig"`
	ProxyKubeconfig string `json:"proxyKubeconfig"`
	// TrustedCAs is the bundle that containers find at /etc/ssl/certs/ca-certificates.crt.
	TrustedCAs string `json:"trustedCAs"`

	// PauseImage is the reference, Images are archives loaded once into a new node, the pause image among them.
	PauseImage string   `json:"pauseImage"`
	Images     []string `json:"images"`
	// Registries are host names whose images come from Mirror (http://address:port).
	Registries []string `json:"registries"`
	Mirror     string   `json:"mirror"`
}

// Machine is the shape that the kubelet of the Kubernetes binary takes from its environment.
type Machine struct {
	VCPU        int    `json:"vcpu"`
	MemoryBytes uint64 `json:"memoryBytes"`
	DiskBytes   uint64 `json:"diskBytes"`
	ID          string `json:"id"`
}

// Reserved is what is not allocatable.
type Reserved struct {
	MilliCPU    int64 `json:"milliCPU"`
	MemoryMiB   int64 `json:"memoryMiB"`
	EvictionMiB int64 `json:"evictionMiB"`
	DiskBytes   int64 `json:"diskBytes"`
}

// Taint is a taint that the node registers with.
type Taint struct {
	Key    string `json:"key"`
	Value  string `json:"value,omitempty"`
	Effect string `json:"effect"`
}

// configFile is where Write puts the config.
func (c Config) configFile() string { return filepath.Join(c.Folder, "config.json") }

// Write stores the config in the node's folder and returns the file, which is the program's only argument.
func (c Config) Write() (string, error) {
	raw, err := json.MarshalIndent(c, "", " ")
	if err != nil {
		return "", err
	}
	return c.configFile(), pki.WriteFile(c.configFile(), raw, 0o600)
}

func readConfig(file string) (Config, error) {
	var c Config
	raw, err := os.ReadFile(file)
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return c, fmt.Errorf("read %s: %w", file, err)
	}
	return c, nil
}

// Logs are the files that the node's programs write, in its folder.
func Logs(folder string) []string {
	var files []string
	for _, name := range []string{"node", "containerd", "kubelet", "kube-proxy"} {
		files = append(files, filepath.Join(folder, "log", name+".log"))
	}
	return files
}
