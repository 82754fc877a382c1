package loadbalancer

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"reflect"
	"slices"
	"strings"

	"patag/infra/sandbox/loadbalancer/armor"
	"patag/infra/sandbox/store"
)

// link is how Compute Engine's documents refer to each other in the store.
func link(path string) string { return "https://www.googleapis.com/compute/v1/" + path }

// path is that of a resource of the cluster's project.
func (r *run) path(rest string) string { return "projects/" + r.project + "/" + rest }

// read reads a Compute Engine resource and remembers it, so that a round is made when it changes.
func (r *run) read(path string, v any) (found bool, err error) {
	err = r.ctl.Store.View(func(tx store.Tx) error {
		var raw json.RawMessage
		if found, err = tx.Get("compute/"+path, &raw); err != nil {
			return err
		}
		r.seen[path] = digest(raw)
		if !found {
			return nil
		}
		return json.Unmarshal(raw, v)
	})
	return found, err
}

func digest(raw []byte) uint64 {
	h := fnv.New64a()
	h.Write(raw)
	return h.Sum64()
}

// storeChanged tells whether anything that the last round depended on is different now.
func (r *run) storeChanged() bool {
	changed := false
	_ = r.ctl.Store.View(func(tx store.Tx) error {
		for path, before := range r.seen {
			if strings.HasSuffix(path, "/") {
				if rules, err := digestAll(tx, path); err == nil && rules != before {
					changed = true
				}
				continue
			}
			var raw json.RawMessage
			if _, err := tx.Get("compute/"+path, &raw); err == nil && digest(raw) != before {
				changed = true
			}
		}
		return nil
	})
	return changed
}

func digestAll(tx store.Tx, path string) (uint64, error) {
	h := fnv.New64a()
	err := tx.List("compute/"+path, func(key string, raw []byte) error {
		h.Write([]byte(key))
		h.Write(raw)
		return nil
	})
	return h.Sum64(), err
}

type compiledPolicy struct {
	digest uint64
	policy *armor.Policy
	notes  []string
}

// securityPolicy compiles a policy, or keeps the compiled one, with its counters, while it stays the same.
func (r *run) securityPolicy(path string) (*armor.Policy, []string, error) {
	var raw json.RawMessage
	found, err := r.read(path, &raw)
	if err != nil {
		return nil, nil, err
	}
	if !found {
		return nil, nil, notFound(path)
	}
	if have, ok := r.policies[path]; ok && have.digest == r.seen[path] {
		return have.policy, have.notes, nil
	}
	policy, notes, err := armor.Compile(raw)
	if err != nil {
		return nil, nil, err
	}
	for _, n := range notes {
		r.logger.Warn("security policy", "note", n)
	}
	r.policies[path] = compiledPolicy{r.seen[path], policy, notes}
	return policy, notes, nil
}

// books is one round of bookkeeping in a transaction.
type books struct {
	run   *run
	tx    store.Tx
	write bool
	// want is every document of the cluster's load balancers by path; keep are paths that stay without being wanted.
	want map[string]map[string]any
	keep map[string]bool
	// negs are the endpoints of network endpoint groups by path.
	negs map[string][]any
	// dirty is set when a read-only round would have written.
	dirty bool
}

// recordAll claims addresses and brings Compute Engine's resources in line. Rounds without a change only read.
func (r *run) recordAll(entries []*entry, services map[string]*service) error {
	run := func(write bool) (dirty bool, err error) {
		access := r.ctl.Store.View
		if write {
			access = r.ctl.Store.Update
		}
		err = access(func(tx store.Tx) error {
			b := &books{run: r, tx: tx, write: write, want: map[string]map[string]any{}, keep: map[string]bool{}, negs: map[string][]any{}}
			err := b.round(entries, services)
			dirty = b.dirty
			return err
		})
		return dirty, err
	}
	dirty, err := run(false)
	if err != nil || !dirty {
		return err
	}
	_, err = run(true)
	return err
}

func (b *books) round(entries []*entry, services map[string]*service) error {
	r := b.run
	rulesPath := r.path("global/forwardingRules/")
	complete := true
	for _, e := range entries {
		for _, p := range b.frontendPaths(e.ing.Namespace, e.ing.Name) {
			b.keep[p] = e.want == nil
		}
	}
	for _, e := range entries {
		if e.want == nil {
			complete = false
			continue
		}
		e.err, e.address = nil, ""
		address, err := b.claim(e.want)
		var refused *refusal
		if errors.As(err, &refused) {
			e.err = err
			continue
		}
		if err != nil {
			return err
		}
		e.address = address
		b.frontend(e.want, address, services)
		if err := b.activate(e.want); err != nil {
			return err
		}
	}
	for _, key := range slices.Sorted(maps.Keys(services)) {
		b.backend(services[key])
	}
	if len(b.want) > 0 {
		b.shared()
	}
	if err := b.putAll(); err != nil {
		return err
	}
	if err := b.sweep(complete); err != nil {
		return err
	}
	if err := b.releaseOrphans(); err != nil {
		return err
	}
	rules, err := digestAll(b.tx, rulesPath)
	r.seen[rulesPath] = rules
	return err
}

func (b *books) frontendPaths(namespace, name string) []string {
	r := b.run
	n := r.view.names
	return []string{
		r.path("global/forwardingRules/" + n.frontend("fr", namespace, name)), r.path("global/forwardingRules/" + n.frontend("fs", namespace, name)),
		r.path("global/targetHttpProxies/" + n.frontend("tp", namespace, name)), r.path("global/targetHttpsProxies/" + n.frontend("ts", namespace, name)),
		r.path("global/urlMaps/" + n.frontend("um", namespace, name)), r.path("global/urlMaps/" + n.frontend("rm", namespace, name)),
	}
}

// serverSet are the fields that the API fills in: they are no difference.
var serverSet = map[string]bool{"kind": true, "id": true, "name": true, "creationTimestamp": true, "selfLink": true, "zone": true, "region": true,
	"fingerprint": true, "labelFingerprint": true, "labels": true, "size": true, "expireTime": true, "subjectAlternativeNames": true}

func (b *books) putAll() error {
	for _, path := range slices.Sorted(maps.Keys(b.want)) {
		want, err := plain(b.want[path])
		if err != nil {
			return err
		}
		var have map[string]any
		found, err := b.tx.Get("compute/"+path, &have)
		if err != nil {
			return err
		}
		if found && same(have, want) {
			continue
		}
		b.dirty = true
		if !b.write {
			continue
		}
		for _, field := range []string{"labels", "labelFingerprint"} { // a person's
			if v, ok := have[field]; ok {
				want[field] = v
			}
		}
		if err := b.run.ctl.Materialise(b.tx, path, want); err != nil {
			return fmt.Errorf("record %s: %w", path, err)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(b.negs)) {
		want, err := plain(map[string]any{"items": b.negs[path]})
		if err != nil {
			return err
		}
		var have map[string]any
		if _, err := b.tx.Get("compute/"+path+"/endpoints", &have); err != nil {
			return err
		}
		if reflect.DeepEqual(have, want) {
			continue
		}
		b.dirty = true
		if b.write {
			if err := b.tx.Put("compute/"+path+"/endpoints", want); err != nil {
				return err
			}
		}
	}
	return nil
}

// plain is a document as JSON has it.
func plain(doc map[string]any) (map[string]any, error) {
	raw, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	var out map[string]any
	return out, json.Unmarshal(raw, &out)
}

func same(have, want map[string]any) bool {
	for k, v := range want {
		if !serverSet[k] && !reflect.DeepEqual(have[k], v) {
			return false
		}
	}
	for k := range have {
		if _, ok := want[k]; !ok && !serverSet[k] {
			return false
		}
	}
	return true
}

// sweep removes what was made for this cluster and is no longer wanted. Without a complete picture backends stay.
func (b *books) sweep(complete bool) error {
	r := b.run
	uid := r.view.names.uid
	var gone []string
	collections := []string{"global/forwardingRules/", "global/targetHttpProxies/", "global/targetHttpsProxies/", "global/urlMaps/"}
	if complete {
		collections = append(collections, "global/sslCertificates/", "global/backendServices/", "global/healthChecks/", "global/firewalls/")
		for _, zone := range r.cluster.Spec.Zones {
			collections = append(collections, "zones/"+zone+"/networkEndpointGroups/")
		}
	}
	for _, c := range collections {
		err := b.tx.List("compute/"+r.path(c), func(key string, raw []byte) error {
			path := strings.TrimPrefix(key, "compute/")
			base := strings.TrimSuffix(path, "/endpoints")
			if b.want[base] != nil || b.keep[base] || !madeFor(uid, base[strings.LastIndex(base, "/")+1:], raw) {
				return nil
			}
			gone = append(gone, path)
			return nil
		})
		if err != nil {
			return err
		}
	}
	for _, path := range gone {
		b.dirty = true
		if !b.write {
			return nil
		}
		if err := b.tx.Delete("compute/" + path); err != nil {
			return err
		}
	}
	return nil
}

func madeFor(uid, name string, raw []byte) bool {
	for _, prefix := range []string{"k8s1-" + uid + "-", "k8s2-fr-" + uid, "k8s2-fs-" + uid, "k8s2-tp-" + uid, "k8s2-ts-" + uid, "k8s2-um-" + uid, "k8s2-rm-" + uid, "k8s2-cr-" + uid} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return name == "k8s-fw-l7--"+uid || strings.HasPrefix(name, "mcrt-") && strings.Contains(string(raw), clusterMark(uid))
}

// clusterMark is in the description of certificates whose names do not tell the cluster.
func clusterMark(uid string) string { return "cluster " + uid }
