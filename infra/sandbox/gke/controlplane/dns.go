package controlplane

import "fmt"

const corefile = "Corefile"

// dnsConfig answers for the cluster, and for Google's names with the gateway's address, where the sandbox serves
// them. Other names do not exist: the sandbox has no way out, and a quick answer is better than a timeout.
func dnsConfig(o Options, kubeconfig string) string {
	return fmt.Sprintf(`cluster.local:53 in-addr.arpa:53 {
    bind %[1]s
    errors
    health 127.0.0.1:8080
    ready 127.0.0.1:8181
    cache 5
    loadbalance
    kubernetes cluster.local in-addr.arpa {
        kubeconfig %[2]s
        pods insecure
        ttl 5
    }
}
googleapis.com:53 pkg.dev:53 gcr.io:53 {
    bind %[1]s
    errors
    template IN A {
        answer "{{ .Name }} 60 IN A %[1]s"
    }
    template ANY ANY {
        rcode NOERROR
    }
}
metadata.google.internal:53 {
    bind %[1]s
    errors
    template IN A {
        answer "{{ .Name }} 60 IN A 169.254.169.254"
    }
    template ANY ANY {
        rcode NOERROR
    }
}
.:53 {
    bind %[1]s
    errors
    template ANY ANY {
        rcode NXDOMAIN
    }
}
`, o.Gateway, kubeconfig)
}
