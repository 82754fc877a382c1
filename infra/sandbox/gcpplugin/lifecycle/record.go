package lifecycle

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"patag/infra/sandbox/gcpplugin/diff"
	"patag/infra/sandbox/gcpplugin/google"
	"patag/infra/sandbox/gcpplugin/value"
)

// recordSet is a set of DNS records. Zones change by change sets: what goes and what comes, at once.
type recordSet struct{}

func (s recordSet) zone(r *run) string {
	return "projects/" + r.get("project") + "/managedZones/" + value.Last(r.get("managedZone"))
}

// find reads the set as it is; nil if there is none.
func (s recordSet) find(ctx context.Context, r *run, name, kind string) (value.Map, error) {
	query := url.Values{"name": {name}, "type": {kind}}
	answer, err := r.do(ctx, get, s.zone(r)+"/rrsets?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	list, _ := answer["rrsets"].([]any)
	for _, e := range list {
		if m, ok := e.(value.Map); ok && m["name"] == name && m["type"] == kind {
			return m, nil
		}
	}
	return nil, nil
}

func (s recordSet) create(ctx context.Context, r *run) error {
	body, err := r.expander(nil).Object(r.t, r.in)
	if err != nil {
		return err
	}
	change := value.Map{"additions": []any{body}}
	// A new zone comes with NS and SOA records; giving them means changing those.
	if kind := r.get("type"); kind == "NS" || kind == "SOA" {
		old, err := s.find(ctx, r, r.get("name"), kind)
		if err != nil {
			return err
		}
		if old != nil {
			change["deletions"] = []any{old}
		}
	}
	return s.change(ctx, r, change)
}

func (s recordSet) read(ctx context.Context, r *run) (bool, error) {
	set, err := s.find(ctx, r, r.get("name"), r.get("type"))
	if google.IsNotFound(err) {
		return false, nil
	}
	if err != nil || set == nil {
		return false, err
	}
	r.absorb(set)
	return true, nil
}

func (s recordSet) update(ctx context.Context, r *run, _ []diff.Change) error {
	name, _ := r.state["name"].(string)
	kind, _ := r.state["type"].(string)
	old, err := s.find(ctx, r, name, kind)
	if err != nil {
		return err
	}
	body, err := r.expander(r.state).Object(r.t, r.in)
	if err != nil {
		return err
	}
	change := value.Map{"additions": []any{body}}
	if old != nil {
		change["deletions"] = []any{old}
	}
	return s.change(ctx, r, change)
}

func (s recordSet) delete(ctx context.Context, r *run) error {
	old, err := s.find(ctx, r, r.get("name"), r.get("type"))
	if err != nil || old == nil {
		return gone(err)
	}
	if kind := r.get("type"); kind == "NS" || kind == "SOA" {
		zone, err := r.do(ctx, get, s.zone(r), nil)
		if err != nil {
			return gone(err)
		}
		if zone["dnsName"] == old["name"] {
			r.Log.WarnContext(ctx, "these records belong to the zone and go with it", "name", old["name"], "type", kind)
			return nil
		}
	}
	return gone(s.change(ctx, r, value.Map{"deletions": []any{old}}))
}

func (s recordSet) change(ctx context.Context, r *run, body value.Map) error {
	answer, err := r.do(ctx, post, s.zone(r)+"/changes", body)
	for pause := 100 * time.Millisecond; err == nil && answer["status"] == "pending"; pause = min(2*pause, 5*time.Second) {
		id, _ := value.String(answer["id"])
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w while waiting for change %s of the zone, which goes on at Google: %w", google.ErrInterrupted, id, context.Cause(ctx))
		case <-time.After(pause):
		}
		answer, err = r.do(ctx, http.MethodGet, s.zone(r)+"/changes/"+id, nil)
	}
	return err
}
