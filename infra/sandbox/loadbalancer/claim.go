package loadbalancer

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"patag/infra/sandbox/addresses"
)

// refusal is an error of one Ingress, not of the round.
type refusal struct{ text string }

func (e *refusal) Error() string { return e.text }

// claim finds the address of an Ingress. A forwarding rule holds it: as long as one of another name exists with the
// same address and port, also one that a deleted cluster left, there is none to be had.
func (b *books) claim(d *desired) (string, error) {
	r := b.run
	owner := "compute/" + r.path("global/forwardingRules/"+r.view.names.frontend("fr", d.namespace, d.name))
	var address string
	if d.staticIP == "" {
		have, ok, err := addresses.Lookup(b.tx, owner)
		switch {
		case err != nil:
			return "", err
		case ok:
			address = have.String()
		case !b.write:
			b.dirty = true
			return "", nil // the next, writing round allots one
		default:
			fresh, err := addresses.Allocate(b.tx, r.ctl.Settings, owner)
			if err != nil {
				return "", &refusal{err.Error()}
			}
			address = fresh.String()
		}
	} else {
		path := r.path("global/addresses/" + d.staticIP)
		var doc struct{ Address, AddressType string }
		found, err := b.tx.Get("compute/"+path, &doc)
		if err != nil {
			return "", err
		}
		var raw json.RawMessage
		if _, err := b.tx.Get("compute/"+path, &raw); err != nil {
			return "", err
		}
		r.seen[path] = digest(raw)
		if !found || doc.Address == "" || doc.AddressType == "INTERNAL" {
			return "", &refusal{fmt.Sprintf("error running load balancer syncing routine: the given static IP name %v doesn't translate to an existing static IP", d.staticIP)}
		}
		address = doc.Address
		// An address of its own that it had before it asked for this one is not needed any more.
		if _, ok, err := addresses.Lookup(b.tx, owner); err != nil {
			return "", err
		} else if ok {
			b.dirty = true
			if b.write {
				if err := addresses.Release(b.tx, owner); err != nil {
					return "", err
				}
			}
		}
	}
	return address, b.conflict(d, address)
}

func (b *books) conflict(d *desired, address string) error {
	r := b.run
	ports := map[string]bool{"80-80": d.http, "443-443": d.https}
	mine := map[string]bool{}
	for _, part := range []string{"fr", "fs"} {
		mine[r.path("global/forwardingRules/"+r.view.names.frontend(part, d.namespace, d.name))] = true
	}
	check := func(path, ip, portRange string) error {
		if mine[path] || ip != address || !ports[portRange] {
			return nil
		}
		return &refusal{fmt.Sprintf("error running load balancer syncing routine: googleapi: Error 400: Invalid value for field 'resource.IPAddress': '%s'. "+
			"Specified IP address is in-use and would result in a conflict (it is used by '%s'), invalid", address, path)}
	}
	// Two Ingresses of this cluster in one round.
	for path, doc := range b.want {
		if ip, _ := doc["IPAddress"].(string); ip != "" {
			if err := check(path, ip, doc["portRange"].(string)); err != nil {
				return err
			}
		}
	}
	prefix := "compute/" + r.path("global/forwardingRules/")
	return b.tx.List(prefix, func(key string, raw []byte) error {
		var rule struct{ IPAddress, PortRange string }
		if err := json.Unmarshal(raw, &rule); err != nil {
			return fmt.Errorf("read %s: %w", key, err)
		}
		path := strings.TrimPrefix(key, "compute/")
		if b.ownRule(path) && b.want[path] == nil && !b.known(path) {
			return nil // of an Ingress of this cluster that is gone: swept in this very round
		}
		return check(path, rule.IPAddress, rule.PortRange)
	})
}

// ownRule tells whether a forwarding rule was made for this cluster.
func (b *books) ownRule(path string) bool {
	name := path[strings.LastIndex(path, "/")+1:]
	return strings.HasPrefix(name, "k8s2-fr-"+b.run.view.names.uid+"-") || strings.HasPrefix(name, "k8s2-fs-"+b.run.view.names.uid+"-")
}

// known tells whether an Ingress that exists stands behind a path.
func (b *books) known(path string) bool { _, ok := b.keep[path]; return ok }

// activate does what Google does once a load balancer serves a pre-shared managed certificate: it becomes ACTIVE.
func (b *books) activate(d *desired) error {
	for _, c := range d.certificates {
		if c.document != nil || len(c.domains) == 0 {
			continue
		}
		key := "compute/" + c.path
		var doc map[string]any
		if found, err := b.tx.Get(key, &doc); err != nil || !found {
			return err
		}
		managed, _ := doc["managed"].(map[string]any)
		if managed == nil || managed["status"] == "ACTIVE" {
			continue
		}
		b.dirty = true
		if !b.write {
			continue
		}
		status := map[string]any{}
		for _, name := range c.domains {
			status[name] = "ACTIVE"
		}
		managed["status"], managed["domainStatus"] = "ACTIVE", status
		doc["subjectAlternativeNames"] = c.domains
		doc["expireTime"] = time.Now().Add(issuedFor).UTC().Format(time.RFC3339)
		if err := b.tx.Put(key, doc); err != nil {
			return err
		}
	}
	return nil
}

// releaseOrphans frees the addresses of balancers whose forwarding rules somebody deleted through the API, as a sweep
// of what a deleted cluster left does.
func (b *books) releaseOrphans() error {
	prefix := "compute/" + b.run.path("global/forwardingRules/")
	owners, err := addresses.Owners(b.tx, prefix+"k8s2-fr-")
	if err != nil {
		return err
	}
	for _, owner := range owners {
		https := prefix + "k8s2-fs-" + strings.TrimPrefix(owner, prefix+"k8s2-fr-")
		if b.tx.Has(owner) || b.tx.Has(https) {
			continue
		}
		path := strings.TrimPrefix(owner, "compute/")
		if b.known(path) {
			continue // its Ingress is there, though it may not be served at the moment
		}
		b.dirty = true
		if b.write {
			if err := addresses.Release(b.tx, owner); err != nil {
				return err
			}
		}
	}
	return nil
}
