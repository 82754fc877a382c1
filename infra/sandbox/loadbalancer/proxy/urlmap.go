package proxy

import (
	"fmt"
	"net"
	"slices"
	"strings"
)

// URLMap is Compute Engine's: hosts, then paths, then a default. Build it with NewURLMap; it is immutable.
type URLMap struct {
	name     string
	hosts    map[string]*paths
	wild     []wildHost // longest suffix first
	any      *paths
	fallback *Backend
}

type wildHost struct {
	suffix string
	paths  *paths
}

type paths struct {
	exact    map[string]*Backend
	prefixes []prefix // longest first
}

type prefix struct {
	path    string
	backend *Backend
}

// HostRule sends the paths of a host to backends.
type HostRule struct {
	// Host is a name, "*.example.com", or "*" (also "") for every other host.
	Host  string
	Paths []PathRule
}

// PathRule is a path as Compute Engine writes it: "/a" exactly, "/a/*" for all below it.
type PathRule struct {
	Path    string
	Backend *Backend
}

// NewURLMap compiles rules; of two rules for one path the first counts.
func NewURLMap(name string, rules []HostRule, fallback *Backend) (*URLMap, error) {
	m := &URLMap{name: name, hosts: map[string]*paths{}, fallback: fallback}
	for _, r := range rules {
		host := strings.ToLower(r.Host)
		p := m.pathsOf(host)
		for _, rule := range r.Paths {
			if err := p.add(rule); err != nil {
				return nil, fmt.Errorf("host %q: %w", r.Host, err)
			}
		}
	}
	slices.SortStableFunc(m.wild, func(a, b wildHost) int { return len(b.suffix) - len(a.suffix) })
	return m, nil
}

func (m *URLMap) pathsOf(host string) *paths {
	fresh := &paths{exact: map[string]*Backend{}}
	switch {
	case host == "" || host == "*":
		if m.any == nil {
			m.any = fresh
		}
		return m.any
	case strings.HasPrefix(host, "*"):
		for _, w := range m.wild {
			if w.suffix == host[1:] {
				return w.paths
			}
		}
		m.wild = append(m.wild, wildHost{host[1:], fresh})
		return fresh
	}
	if m.hosts[host] == nil {
		m.hosts[host] = fresh
	}
	return m.hosts[host]
}

func (p *paths) add(rule PathRule) error {
	path := rule.Path
	if !strings.HasPrefix(path, "/") {
		return fmt.Errorf("path %q does not begin with /", path)
	}
	body, isPrefix := strings.CutSuffix(path, "/*")
	if strings.Contains(body, "*") {
		return fmt.Errorf("path %q: * may only stand at the end, after a /", path)
	}
	if !isPrefix {
		if _, taken := p.exact[path]; !taken {
			p.exact[path] = rule.Backend
		}
		return nil
	}
	at := len(p.prefixes)
	for i, q := range p.prefixes {
		if q.path == body+"/" {
			return nil
		}
		if len(q.path) < len(body)+1 {
			at = i
			break
		}
	}
	p.prefixes = slices.Insert(p.prefixes, at, prefix{body + "/", rule.Backend})
	return nil
}

func (p *paths) find(path string) *Backend {
	if b, ok := p.exact[path]; ok {
		return b
	}
	for _, q := range p.prefixes {
		if strings.HasPrefix(path, q.path) {
			return q.backend
		}
	}
	return nil
}

// Find picks the backend for a Host header and a path; the URL map's default if no rule matches, which may be nil.
func (m *URLMap) Find(host, path string) *Backend {
	if p := m.host(host); p != nil {
		if b := p.find(path); b != nil {
			return b
		}
	}
	return m.fallback
}

func (m *URLMap) host(host string) *paths {
	if len(m.hosts) == 0 && len(m.wild) == 0 {
		return m.any
	}
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if p := m.hosts[host]; p != nil {
		return p
	}
	for _, w := range m.wild {
		if len(host) > len(w.suffix) && strings.HasSuffix(host, w.suffix) {
			return w.paths
		}
	}
	return m.any
}
