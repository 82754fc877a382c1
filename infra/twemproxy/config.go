package twemproxy

import (
	"fmt"
	"strings"
)

// nutcracker renders the proxy's configuration. Servers are "address:port name".
//
// The ring (ketama) is made of the servers' names, not of their addresses, so that it survives a Service made anew.
// murmur rather than the usual fnv1a_64: over short keys that differ in their last digits it spreads evenly (160 of
// 300 keys on one of two servers, against 191).
//
// No server is ejected: its keys would move to others, where hard caps begin at nothing again and an event that was
// counted is not known. While a server is away its keys fail, which clients expect: caps go by local counts, and events
// wait in the journal.
func nutcracker(servers []string) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, `%s:
  listen: 0.0.0.0:%d
  redis: true
  hash: murmur
  distribution: ketama
  preconnect: false
  timeout: 100
  backlog: 1024
  server_connections: 1
  auto_eject_hosts: false
  servers:
`, Part, Port)
	for _, server := range servers {
		address, name, ok := strings.Cut(server, " ")
		if !ok || name == "" || !strings.Contains(address, ":") {
			return "", fmt.Errorf("twemproxy: server %q is not \"address:port name\"", server)
		}
		fmt.Fprintf(&b, "    - %s:1 %s\n", address, name)
	}
	return b.String(), nil
}
