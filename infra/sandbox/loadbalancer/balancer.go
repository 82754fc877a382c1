package loadbalancer

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"patag/infra/sandbox/loadbalancer/proxy"
)

// balancer is what listens for one Ingress.
type balancer struct {
	address     string
	http, https *proxy.Frontend
}

// serve makes the balancer listen as the Ingress wants it, changing what is there without breaking a connection.
func (r *run) serve(ctx context.Context, b *balancer, e *entry) error {
	if b.address != "" && b.address != e.address {
		b.close(ctx)
	}
	b.address = e.address
	urlMap, err := r.urlMap(e.want)
	if err != nil {
		return err
	}
	n, d := r.view.names, e.want
	config := proxy.FrontendConfig{Address: e.address, URLMap: urlMap}
	plain := config
	plain.ForwardingRule, plain.TargetProxy = n.frontend("fr", d.namespace, d.name), n.frontend("tp", d.namespace, d.name)
	plain.Redirect = d.redirect
	secure := config
	secure.ForwardingRule, secure.TargetProxy = n.frontend("fs", d.namespace, d.name), n.frontend("ts", d.namespace, d.name)
	secure.MinTLS = d.minTLS
	for _, c := range d.certificates {
		secure.Certificates = append(secure.Certificates, c.pair)
	}
	return errors.Join(r.listen(ctx, &b.http, d.http, plain, "80"), r.listen(ctx, &b.https, d.https, secure, "443"))
}

func (r *run) listen(ctx context.Context, f **proxy.Frontend, wanted bool, config proxy.FrontendConfig, port string) error {
	if !wanted {
		if *f != nil {
			closing := *f
			*f = nil
			closeFrontends(ctx, closing)
		}
		return nil
	}
	if *f != nil {
		(*f).Configure(&config)
		return nil
	}
	address := config.Address + ":" + port
	l, err := r.ctl.Listen(ctx, address)
	if err != nil {
		return fmt.Errorf("listen on %s: %w; another program holds the port: end it, the balancer tries again", address, err)
	}
	*f = proxy.NewFrontend(port == "443", r.sink, r.logger)
	(*f).Configure(&config)
	(*f).Serve(l)
	r.logger.Info("load balancer listening", "address", address, "forwardingRule", config.ForwardingRule)
	return nil
}

// urlMap compiles the rules.
func (r *run) urlMap(d *desired) (*proxy.URLMap, error) {
	var rules []proxy.HostRule
	for _, h := range d.hosts {
		rule := proxy.HostRule{Host: h.host}
		for _, p := range h.paths {
			rule.Paths = append(rule.Paths, proxy.PathRule{Path: p.path, Backend: r.backends[p.backend]})
		}
		rules = append(rules, rule)
	}
	m, err := proxy.NewURLMap(r.view.names.frontend("um", d.namespace, d.name), rules, r.backends[d.fallback])
	if err != nil {
		return nil, fmt.Errorf("ingress %s/%s: %w", d.namespace, d.name, err)
	}
	return m, nil
}

func (b *balancer) close(ctx context.Context) {
	closeFrontends(ctx, b.http, b.https)
	b.http, b.https, b.address = nil, nil, ""
}

func closeFrontends(ctx context.Context, fronts ...*proxy.Frontend) {
	ctx, cancel := context.WithTimeout(ctx, farewell)
	defer cancel()
	var wg sync.WaitGroup
	for _, f := range fronts {
		if f != nil {
			wg.Go(func() { f.Close(ctx) })
		}
	}
	wg.Wait()
}

// closeBalancers closes those for which which is true, at the same time.
func (r *run) closeBalancers(ctx context.Context, which func(key string) bool) {
	var fronts []*proxy.Frontend
	for key, b := range r.balancers {
		if which(key) {
			fronts = append(fronts, b.http, b.https)
			delete(r.balancers, key)
			r.logger.Info("load balancer closed", "ingress", key, "address", b.address)
		}
	}
	closeFrontends(ctx, fronts...)
}
