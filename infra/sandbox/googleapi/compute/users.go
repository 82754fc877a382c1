package compute

import (
	"encoding/json"
	"strings"

	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/store"
)

// user is the path of a resource that refers to the one at path, "" if none does. A network's own routes do not count;
// a cluster holds its subnetwork, as its control plane has an address there.
func (s *Service) user(tx store.Tx, path string) (string, error) {
	link, found := Link(path), ""
	prefix := "compute/" + strings.Join(strings.Split(path, "/")[:2], "/") + "/"
	err := tx.List(prefix, func(key string, raw []byte) error {
		other := strings.TrimPrefix(key, "compute/")
		k := s.kindOf(other)
		if found != "" || k == nil || k.collection == "routes" || other == path || !strings.Contains(string(raw), Base(path)) {
			return nil
		}
		var d googleapi.Doc
		if err := json.Unmarshal(raw, &d); err != nil {
			return err
		}
		for _, ref := range k.refs {
			_ = eachRef(d, ref, func(_, l string) (string, error) {
				if l == link {
					found = other
				}
				return l, nil
			})
		}
		return nil
	})
	if err != nil || found != "" || !strings.Contains(path, "/subnetworks/") {
		return found, err
	}
	clusters := "container/" + strings.Join(strings.Split(path, "/")[:2], "/") + "/locations/"
	err = tx.List(clusters, func(key string, raw []byte) error {
		if parts := strings.Split(key[len(clusters):], "/"); len(parts) != 3 || parts[1] != "clusters" {
			return nil
		}
		var d googleapi.Doc
		if err := json.Unmarshal(raw, &d); err != nil {
			return err
		}
		if d.String("networkConfig", "subnetwork") == path {
			found = strings.TrimPrefix(key, "container/")
		}
		return nil
	})
	return found, err
}
