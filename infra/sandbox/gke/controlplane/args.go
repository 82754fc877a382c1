package controlplane

import (
	"fmt"
	"path/filepath"
)

// MetricsPort is where the metrics server listens on the gateway address.
const MetricsPort = 4443

// etcd has the namespace's loopback device almost to itself: only the control plane can reach it.
const etcdClient, etcdPeer = "http://127.0.0.1:2379", "http://127.0.0.1:2380"

func (c *ControlPlane) etcdArgs() []string {
	return []string{
		"-data-dir=" + filepath.Join(c.o.Folder, "etcd"),
		"-listen-client=" + etcdClient,
		"-listen-peer=" + etcdPeer,
		// With fsync: a kill loses nothing without it either, as the page cache outlives processes, but a power cut
		// would leave a database that does not open.
		"-fsync=true",
	}
}

func (c *ControlPlane) apiserverArgs() []string {
	k := c.keys
	return []string{
		"--etcd-servers=" + etcdClient,
		"--bind-address=" + c.o.Master.String(),
		"--advertise-address=" + c.o.Master.String(),
		"--secure-port=443",
		"--service-cluster-ip-range=" + c.o.Services.String(),
		"--allow-privileged=true",
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--token-auth-file=" + k.file(tokens),
		"--client-ca-file=" + k.CAFile(),
		"--tls-cert-file=" + k.file("apiserver.crt"),
		"--tls-private-key-file=" + k.file("apiserver.key"),
		"--kubelet-client-certificate=" + k.file("apiserver-kubelet.crt"),
		"--kubelet-client-key=" + k.file("apiserver-kubelet.key"),
		"--kubelet-certificate-authority=" + k.CAFile(),
		"--kubelet-preferred-address-types=InternalIP",
		"--service-account-issuer=" + c.o.Issuer,
		"--service-account-key-file=" + k.file(serviceAccountKey),
		"--service-account-signing-key-file=" + k.file(serviceAccountKey),
		"--requestheader-client-ca-file=" + k.file(frontProxy+"/ca.crt"),
		"--requestheader-allowed-names=front-proxy-client",
		"--requestheader-username-headers=X-Remote-User",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + k.file("front-proxy.crt"),
		"--proxy-client-key-file=" + k.file("front-proxy.key"),
		// To the metrics server's own address: this namespace has no kube-proxy to translate a service's.
		"--enable-aggregator-routing=true",
		// Pods of a dead node move after 5 s instead of 5 min: whoever tries a failure here waits for it.
		"--default-not-ready-toleration-seconds=5",
		"--default-unreachable-toleration-seconds=5",
		"--profiling=false",
	}
}

func (c *ControlPlane) controllerManagerArgs() []string {
	k := c.keys
	return []string{
		"--kubeconfig=" + k.Kubeconfig("admin"),
		"--authentication-kubeconfig=" + k.Kubeconfig("kube-controller-manager"),
		"--authorization-kubeconfig=" + k.Kubeconfig("kube-controller-manager"),
		// One client for all its controllers, and a wide one: else it throttles itself for the first seconds.
		"--use-service-account-credentials=false",
		"--kube-api-qps=300",
		"--kube-api-burst=600",
		"--service-account-private-key-file=" + k.file(serviceAccountKey),
		"--root-ca-file=" + k.CAFile(),
		"--cluster-signing-cert-file=" + k.CAFile(),
		"--cluster-signing-key-file=" + k.file(authority+"/ca.key"),
		"--leader-elect=false",
		"--bind-address=127.0.0.1",
		"--cluster-cidr=" + c.o.Pods.String(),
		"--allocate-node-cidrs=false",
		"--node-monitor-period=1s",
		"--node-monitor-grace-period=10s",
		"--pvclaimbinder-sync-period=2s",
		"--profiling=false",
	}
}

func (c *ControlPlane) schedulerArgs() []string {
	config := c.keys.Kubeconfig("kube-scheduler")
	return []string{
		"--kubeconfig=" + config,
		"--authentication-kubeconfig=" + config,
		"--authorization-kubeconfig=" + config,
		"--kube-api-qps=300",
		"--kube-api-burst=600",
		"--leader-elect=false",
		"--bind-address=127.0.0.1",
		"--profiling=false",
	}
}

func (c *ControlPlane) metricsArgs() []string {
	config := c.keys.Kubeconfig("metrics-server")
	return []string{
		"--kubeconfig=" + config,
		"--authentication-kubeconfig=" + config,
		"--authorization-kubeconfig=" + config,
		"--bind-address=" + c.o.Gateway.String(),
		fmt.Sprintf("--secure-port=%d", MetricsPort),
		"--tls-cert-file=" + c.keys.file("metrics-server.crt"),
		"--tls-private-key-file=" + c.keys.file("metrics-server.key"),
		"--kubelet-certificate-authority=" + c.keys.CAFile(),
		"--kubelet-preferred-address-types=InternalIP",
		"--metric-resolution=10s",
		"--kubelet-request-timeout=5s",
	}
}
