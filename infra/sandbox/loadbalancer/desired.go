package loadbalancer

import (
	"context"
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"patag/infra/sandbox/loadbalancer/proxy"
)

// desired is what one Ingress asks for, with every reference followed.
type desired struct {
	ing       *networkingv1.Ingress
	namespace string
	name      string
	// staticIP is the name of a global address; without one the balancer gets an address of its own.
	staticIP    string
	http, https bool
	redirect    int
	minTLS      uint16
	sslPolicy   string // path of the resource
	hosts       []hostPaths
	// fallback is the key of the default backend; "" is the cluster's own, which answers 404.
	fallback     string
	certificates []certificate
	// notes are told in events: what was asked for and is not simulated.
	notes []string
}

type hostPaths struct {
	host  string
	paths []pathBackend
}

type pathBackend struct {
	path, backend string
}

// certificate is one that HTTPS is served with.
type certificate struct {
	// path is that of the SslCertificate resource; document is set if the resource is to be made.
	path     string
	document map[string]any
	// domains are those of a managed certificate.
	domains []string
	pair    tls.Certificate
}

// service is one port of a Service as a backend, shared by all Ingresses that refer to it.
type service struct {
	key             string // namespace/service/port
	namespace, name string
	port            int32
	spec            proxy.BackendSpec
	// policy is the path of the security policy, config the BackendConfig's name.
	policy, config string
	endpoints      []podPort
}

// translate follows everything that an Ingress refers to. An error means that it cannot be carried out as it is.
func (r *run) translate(ctx context.Context, ing *networkingv1.Ingress, services map[string]*service) (*desired, error) {
	d := &desired{ing: ing, namespace: ing.Namespace, name: ing.Name, staticIP: ing.Annotations[staticIPAnnotation]}
	if ing.Spec.DefaultBackend != nil {
		key, err := r.service(ctx, d, *ing.Spec.DefaultBackend, services)
		if err != nil {
			return nil, err
		}
		d.fallback = key
	}
	for _, rule := range ing.Spec.Rules {
		h := hostPaths{host: rule.Host}
		if rule.HTTP != nil {
			for _, p := range rule.HTTP.Paths {
				key, err := r.service(ctx, d, p.Backend, services)
				if err != nil {
					return nil, err
				}
				paths, err := gcePaths(p)
				if err != nil {
					return nil, err
				}
				for _, path := range paths {
					h.paths = append(h.paths, pathBackend{path, key})
				}
			}
		}
		d.hosts = append(d.hosts, h)
	}
	if err := r.frontend(ctx, d); err != nil {
		return nil, err
	}
	if err := r.certificates(ctx, d); err != nil {
		return nil, err
	}
	d.https = len(d.certificates) > 0
	d.http = ing.Annotations[allowHTTPAnnotation] != "false"
	if !d.http && !d.https {
		return nil, fmt.Errorf("invalid ingress frontend configuration: HTTP is not allowed (%s: false) and there is no certificate for HTTPS", allowHTTPAnnotation)
	}
	if d.redirect != 0 && !d.https {
		d.notes = append(d.notes, "the redirect to HTTPS is on, but there is no certificate: nothing answers on port 443")
	}
	return d, nil
}

// gcePaths writes a path as Compute Engine's URL maps do.
func gcePaths(p networkingv1.HTTPIngressPath) ([]string, error) {
	kind := networkingv1.PathTypeImplementationSpecific
	if p.PathType != nil {
		kind = *p.PathType
	}
	switch kind {
	case networkingv1.PathTypeExact:
		if strings.Contains(p.Path, "*") {
			return nil, fmt.Errorf("failed to validate exact path %s due to invalid wildcard", p.Path)
		}
		return []string{p.Path}, nil
	case networkingv1.PathTypePrefix:
		if strings.Contains(p.Path, "*") {
			return nil, fmt.Errorf("failed to validate prefix path %s due to invalid wildcard", p.Path)
		}
		if p.Path == "" || p.Path == "/" {
			return []string{"/*"}, nil
		}
		trimmed := strings.TrimSuffix(p.Path, "/")
		return []string{trimmed, trimmed + "/*"}, nil
	}
	if p.Path == "" {
		return []string{"/*"}, nil
	}
	return []string{p.Path}, nil
}

// service resolves a backend of an Ingress and returns its key.
func (r *run) service(ctx context.Context, d *desired, b networkingv1.IngressBackend, services map[string]*service) (string, error) {
	if b.Service == nil {
		return "", fmt.Errorf("invalid ingress spec: backends other than services are not supported")
	}
	svc, err := r.view.services.Services(d.namespace).Get(b.Service.Name)
	if apierrors.IsNotFound(err) {
		return "", fmt.Errorf("could not find service %q", d.namespace+"/"+b.Service.Name)
	}
	if err != nil {
		return "", err
	}
	p, err := port(svc, b.Service.Port)
	if err != nil {
		return "", err
	}
	key := fmt.Sprintf("%s/%s/%d", svc.Namespace, svc.Name, p.Port)
	if services[key] != nil {
		return key, nil
	}
	native, err := containerNative(svc)
	if err != nil {
		return "", err
	}
	if !native {
		return "", fmt.Errorf(`service %q turns container-native load balancing off (%s: {"ingress": false}); the sandbox does not simulate instance groups as backends`, svc.Namespace+"/"+svc.Name, negAnnotation)
	}
	s := &service{key: key, namespace: svc.Namespace, name: svc.Name, port: p.Port}
	s.spec = proxy.BackendSpec{Name: r.view.names.backend(svc.Namespace, svc.Name, fmt.Sprint(p.Port)), Timeout: 30 * time.Second, LogRate: 1,
		Health: proxy.HealthCheck{Type: "HTTP", Path: "/", Interval: 15 * time.Second, Timeout: 15 * time.Second, Healthy: 1, Unhealthy: 2}}
	if s.spec.Protocol, err = protocol(svc, p); err != nil {
		return "", err
	}
	if s.spec.Protocol != "HTTP" {
		s.spec.Health.Type = s.spec.Protocol
	}
	if s.endpoints, err = r.view.endpoints(svc, p); err != nil {
		return "", err
	}
	for _, e := range s.endpoints {
		s.spec.Endpoints = append(s.spec.Endpoints, proxy.Endpoint{Address: fmt.Sprintf("%s:%d", e.address, e.port), Zone: e.zone, Instance: e.node, Pod: e.pod})
	}
	if s.config, err = backendConfigName(svc, p); err != nil {
		return "", err
	}
	if err := r.configure(ctx, d, s); err != nil {
		return "", err
	}
	services[key] = s
	return key, nil
}

// configure applies the BackendConfig, or what the pods' readiness probe says where there is no health check in it.
func (r *run) configure(ctx context.Context, d *desired, s *service) error {
	var c backendConfig
	if s.config != "" {
		object, err := r.view.object(ctx, backendConfigs, s.namespace, s.config)
		if err != nil {
			return fmt.Errorf("error getting BackendConfig for port %d of service %q: no BackendConfig %q for service port exists: %w", s.port, s.namespace+"/"+s.name, s.config, err)
		}
		if err := specOf(object, &c); err != nil {
			return err
		}
	}
	if c.HealthCheck == nil {
		if err := r.infer(ctx, s); err != nil {
			return err
		}
	}
	if err := c.apply(&s.spec); err != nil {
		return fmt.Errorf("BackendConfig %q: %w", s.namespace+"/"+s.config, err)
	}
	for _, what := range c.notSimulated() {
		d.notes = append(d.notes, fmt.Sprintf("BackendConfig %q asks for %s, which the sandbox does not simulate", s.namespace+"/"+s.config, what))
	}
	if c.SecurityPolicy != nil && c.SecurityPolicy.Name != "" {
		s.policy = r.path("global/securityPolicies/" + c.SecurityPolicy.Name)
		policy, notes, err := r.securityPolicy(s.policy)
		if err != nil {
			return err
		}
		s.spec.Policy = policy
		for _, n := range notes {
			if !slices.Contains(d.notes, n) {
				d.notes = append(d.notes, n)
			}
		}
	}
	return nil
}

// infer keeps what it found once: GKE looks at the readiness probe only when it makes the health check.
func (r *run) infer(ctx context.Context, s *service) error {
	health, ok := r.inferred[s.key]
	if !ok {
		if len(s.endpoints) == 0 {
			return nil
		}
		probe, err := r.view.readiness(ctx, s.namespace, s.endpoints[0])
		if err != nil {
			return err
		}
		health = s.spec.Health
		if probe != nil {
			if probe.HTTPGet.Path != "" {
				health.Path = probe.HTTPGet.Path
				if !strings.HasPrefix(health.Path, "/") {
					health.Path = "/" + health.Path
				}
			}
			health.Host = probe.HTTPGet.Host
			for _, h := range probe.HTTPGet.HTTPHeaders {
				if strings.EqualFold(h.Name, "Host") {
					health.Host = h.Value
				}
			}
			health.Interval = time.Duration(max(probe.PeriodSeconds, 1)) * time.Second
			health.Timeout = min(time.Duration(max(probe.TimeoutSeconds, 1))*time.Second, health.Interval)
		}
		r.inferred[s.key] = health
	}
	health.Type = s.spec.Health.Type
	s.spec.Health = health
	return nil
}

// frontend applies the FrontendConfig.
func (r *run) frontend(ctx context.Context, d *desired) error {
	name := d.ing.Annotations[frontendAnnotation]
	if name == "" {
		return nil
	}
	object, err := r.view.object(ctx, frontendConfigs, d.namespace, name)
	if err != nil {
		return fmt.Errorf("error getting FrontendConfig %q: %w", d.namespace+"/"+name, err)
	}
	var c frontendConfig
	if err := specOf(object, &c); err != nil {
		return err
	}
	if d.redirect, err = c.redirect(); err != nil {
		return fmt.Errorf("FrontendConfig %q: %w", d.namespace+"/"+name, err)
	}
	if c.SSLPolicy == "" {
		return nil
	}
	d.sslPolicy = r.path("global/sslPolicies/" + c.SSLPolicy)
	var policy struct {
		MinTLSVersion string `json:"minTlsVersion"`
	}
	if found, err := r.read(d.sslPolicy, &policy); err != nil {
		return err
	} else if !found {
		return notFound(d.sslPolicy)
	}
	d.minTLS = map[string]uint16{"TLS_1_0": tls.VersionTLS10, "TLS_1_1": tls.VersionTLS11, "TLS_1_2": tls.VersionTLS12, "TLS_1_3": tls.VersionTLS13}[policy.MinTLSVersion]
	return nil
}

// notFound is what Compute Engine answers.
func notFound(path string) error {
	return fmt.Errorf("googleapi: Error 404: The resource '%s' was not found, notFound", path)
}
