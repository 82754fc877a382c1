package node

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"patag/infra/sandbox/pki"
)

// Paths inside the node, under folders that its mount namespace has to itself.
const (
	containerdSocket = "/run/containerd/containerd.sock"
	containerdConfig = "/run/patag/containerd.toml"
	baseSpec         = "/run/patag/base-spec.json"
	kubeletConfig    = "/run/patag/kubelet.json"
	proxyConfig      = "/run/patag/kube-proxy.json"
	resolvConf       = "/run/patag/resolv.conf"
	cniFolder        = "/run/patag/cni"
	certsFolder      = "/run/patag/certs.d"
	shims            = "/run/patag/bin"
	caBundle         = "/etc/ssl/certs/ca-certificates.crt"
)

// render writes the config files of all programs.
func render(c Config) error {
	kubelet, err := json.MarshalIndent(kubeletConfiguration(c), "", " ")
	if err != nil {
		return err
	}
	proxy, err := json.MarshalIndent(proxyConfiguration(c), "", " ")
	if err != nil {
		return err
	}
	cni, err := json.MarshalIndent(networkConfiguration(c), "", " ")
	if err != nil {
		return err
	}
	files := map[string]string{
		containerdConfig: containerdConfiguration(c),
		kubeletConfig:    string(kubelet),
		proxyConfig:      string(proxy),
		// Pods with dnsPolicy Default get the cluster's DNS server by its own address, as on GKE they get the
		// metadata server's: there is no other that answers for Google's names.
		resolvConf: fmt.Sprintf("nameserver %s\n", c.Gateway),
		filepath.Join(cniFolder, "10-patag.conflist"): string(cni),
	}
	for _, host := range c.Registries {
		// The server, which is asked last, is the sandbox's too: what its registry has not must be no question to Google's, for
		// whose name containerd waits 20 s on a machine without a network.
		files[filepath.Join(certsFolder, host, "hosts.toml")] = fmt.Sprintf(
			"server = %q\n\n[host.%q]\n  capabilities = [\"pull\", \"resolve\"]\n", c.Mirror, c.Mirror)
	}
	for file, content := range files {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := pki.WriteFile(file, []byte(content), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func containerdConfiguration(c Config) string {
	return fmt.Sprintf(`version = 2
root = %q
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.internal.v1.tracing"]

[grpc]
  address = %q

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %q
  # The sandbox may lack CAP_SYS_RESOURCE and the right to load AppArmor profiles.
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = %q
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = %q
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      base_runtime_spec = %q
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
`, filepath.Join(c.Folder, "containerd"), containerdSocket, c.PauseImage, cniFolder, certsFolder, baseSpec)
}

// networkConfiguration gives each pod a veth and a route of its own, as GKE does. With a bridge instead, answers
// between two pods of a node would bypass the translation of service addresses unless the machine has br_netfilter.
func networkConfiguration(c Config) any {
	return map[string]any{
		"cniVersion": "0.4.0",
		"name":       "patag",
		"plugins": []any{
			map[string]any{
				"type": "ptp", "ipMasq": false, "mtu": 1460,
				"ipam": map[string]any{
					"type": "host-local", "dataDir": "/var/lib/cni/networks",
					"ranges": []any{[]any{map[string]any{"subnet": c.PodCIDR.String()}}},
					"routes": []any{map[string]any{"dst": "0.0.0.0/0"}},
				},
			},
			map[string]any{"type": "portmap", "capabilities": map[string]any{"portMappings": true}},
		},
	}
}

func kubeletConfiguration(c Config) any {
	reserved := map[string]any{
		"cpu":               strconv.FormatInt(c.Reserved.MilliCPU, 10) + "m",
		"memory":            strconv.FormatInt(c.Reserved.MemoryMiB, 10) + "Mi",
		"ephemeral-storage": strconv.FormatInt(c.Reserved.DiskBytes, 10),
	}
	taints := []any{}
	for _, t := range c.Taints {
		taints = append(taints, t)
	}
	return map[string]any{
		"apiVersion":         "kubelet.config.k8s.io/v1beta1",
		"kind":               "KubeletConfiguration",
		"address":            c.Address.String(),
		"healthzBindAddress": "127.0.0.1",
		"authentication": map[string]any{
			"anonymous": map[string]any{"enabled": false},
			"webhook":   map[string]any{"enabled": true, "cacheTTL": "2m"},
			"x509":      map[string]any{"clientCAFile": c.ClusterCA},
		},
		"authorization":            map[string]any{"mode": "Webhook"},
		"tlsCertFile":              c.Certificate,
		"tlsPrivateKeyFile":        c.Key,
		"containerRuntimeEndpoint": "unix://" + containerdSocket,
		"cgroupDriver":             "cgroupfs",
		"cgroupRoot":               "/" + c.Cgroup,
		"failCgroupV1":             false,
		"failSwapOn":               false,
		// The node's programs have files of their own over the entries that these would be written to.
		"protectKernelDefaults":  false,
		"oomScoreAdj":            0,
		"maxOpenFiles":           20000,
		"maxPods":                110,
		"clusterDNS":             []string{c.ClusterDNS.String()},
		"clusterDomain":          "cluster.local",
		"resolvConf":             resolvConf,
		"enforceNodeAllocatable": []string{"pods"},
		"kubeReserved":           reserved,
		"evictionHard": map[string]string{
			"memory.available": strconv.FormatInt(c.Reserved.EvictionMiB, 10) + "Mi",
			// The disk is the computer's: evicting pods of a virtual node because of it would help nobody.
			"nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%", "imagefs.inodesFree": "0%",
		},
		"imageGCHighThresholdPercent": 100,
		"imageGCLowThresholdPercent":  99,
		// A dead node is noticed after 10 s (controller manager), so the lease is renewed every 2 s.
		"nodeStatusUpdateFrequency": "4s",
		"nodeLeaseDurationSeconds":  8,
		"registerNode":              true,
		"registerWithTaints":        taints,
		"providerID":                c.ProviderID,
		"serializeImagePulls":       false,
		"maxParallelImagePulls":     4,
		"seccompDefault":            true,
		"containerLogMaxSize":       "10Mi",
		"containerLogMaxFiles":      2,
		"volumePluginDir":           "/var/lib/kubelet/volumeplugins",
	}
}

func proxyConfiguration(c Config) any {
	return map[string]any{
		"apiVersion":       "kubeproxy.config.k8s.io/v1alpha1",
		"kind":             "KubeProxyConfiguration",
		"clientConnection": map[string]any{"kubeconfig": c.ProxyKubeconfig},
		"mode":             "nftables",
		"clusterCIDR":      c.PodsCIDR.String(),
		"hostnameOverride": c.Name,
		"oomScoreAdj":      0,
		// All zero: the limits are the kernel's, and belong to the machine.
		"conntrack":          map[string]any{"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
		"metricsBindAddress": "127.0.0.1:10249",
		"healthzBindAddress": c.Address.String() + ":10256",
	}
}

func labelFlag(labels map[string]string) string {
	var parts []string
	for k, v := range labels {
		parts = append(parts, k+"="+v)
	}
	return strings.Join(parts, ",")
}
