package compute

import (
	"encoding/json"
	"sort"
	"strings"

	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/store"
)

func (s *Service) list(r *googleapi.Request, k *kind) (any, error) {
	if err := s.checkPlace(r); err != nil {
		return nil, err
	}
	docs, err := s.children(restPath(r), k)
	if err != nil {
		return nil, err
	}
	return s.answerList(r, k.like, k.list, docs)
}

func (s *Service) children(collection string, k *kind) ([]googleapi.Doc, error) {
	var docs []googleapi.Doc
	err := s.core.Store().View(func(tx store.Tx) (err error) {
		docs, err = googleapi.Children(tx, "compute/"+collection)
		for _, d := range docs {
			if err == nil && k.read != nil {
				err = k.read(tx, d)
			}
		}
		return err
	})
	for _, d := range docs {
		if err == nil && k.complete != nil {
			k.complete(d)
		}
	}
	return docs, err
}

// answerList filters, orders and cuts a list as asked for.
func (s *Service) answerList(r *googleapi.Request, like any, listKind string, docs []googleapi.Doc) (any, error) {
	docs, err := selected(r, like, docs)
	if err != nil {
		return nil, err
	}
	page, err := googleapi.Paginate(r, docs, func(d googleapi.Doc) string { return d.String("name") }, 500)
	if err != nil {
		return nil, err
	}
	out := googleapi.Doc{"kind": listKind, "id": restPath(r), "selfLink": Link(restPath(r))}
	if len(page.Items) > 0 {
		out["items"] = page.Items
	}
	if page.Next != "" {
		out["nextPageToken"] = page.Next
	}
	return out, nil
}

func selected(r *googleapi.Request, like any, docs []googleapi.Doc) ([]googleapi.Doc, error) {
	f, err := parseFilter(r.Query("filter"), like)
	if err != nil {
		return nil, err
	}
	var out []googleapi.Doc
	for _, d := range docs {
		if f(d) {
			out = append(out, d)
		}
	}
	switch order := r.Query("orderBy"); order {
	case "", "name":
	case "creationTimestamp desc":
		sort.SliceStable(out, func(i, j int) bool {
			return out[i].String("creationTimestamp") > out[j].String("creationTimestamp")
		})
	default:
		return nil, invalidField("orderBy", order, "Sorting is by 'name' or 'creationTimestamp desc'.")
	}
	return out, nil
}

func (s *Service) aggregated(r *googleapi.Request, k *kind) (any, error) {
	prefix := "compute/projects/" + r.Var("project") + "/"
	byScope := map[string][]googleapi.Doc{}
	err := s.core.Store().View(func(tx store.Tx) error {
		return tx.List(prefix, func(key string, raw []byte) error {
			parts := strings.Split(key[len(prefix):], "/")
			n := len(parts)
			if n < 3 || parts[n-2] != k.collection || n != map[bool]int{true: 3, false: 4}[parts[0] == "global"] {
				return nil
			}
			var d googleapi.Doc
			if err := json.Unmarshal(raw, &d); err != nil {
				return err
			}
			if k.read != nil {
				if err := k.read(tx, d); err != nil {
					return err
				}
			}
			scope := strings.Join(parts[:n-2], "/")
			byScope[scope] = append(byScope[scope], d)
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	for _, docs := range byScope {
		for _, d := range docs {
			if k.complete != nil {
				k.complete(d)
			}
		}
	}
	return answerAggregated(r, k.collection, k.like, strings.TrimSuffix(k.list, "List")+"AggregatedList", k.scopes, byScope)
}

// answerAggregated puts a page of resources under their scopes; scopes without any say so, as Google's do.
func answerAggregated(r *googleapi.Request, collection string, like any, listKind string, scopes []string, byScope map[string][]googleapi.Doc) (any, error) {
	type item struct {
		scope string
		doc   googleapi.Doc
	}
	var all []item
	var names []string
	for _, scope := range scopes {
		names = append(names, scopeNames(scope)...)
	}
	for _, scope := range names {
		docs, err := selected(r, like, byScope[scope])
		if err != nil {
			return nil, err
		}
		for _, d := range docs {
			all = append(all, item{scope, d})
		}
	}
	page, err := googleapi.Paginate(r, all, func(i item) string { return i.scope + "/" + i.doc.String("name") }, 500)
	if err != nil {
		return nil, err
	}
	items := googleapi.Doc{}
	for _, scope := range names {
		var docs []googleapi.Doc
		for _, i := range page.Items {
			if i.scope == scope {
				docs = append(docs, i.doc)
			}
		}
		if docs == nil {
			items[scope] = googleapi.Doc{"warning": googleapi.Doc{"code": "NO_RESULTS_ON_PAGE", "message": "There are no results for scope '" + scope + "' on this page.",
				"data": []any{googleapi.Doc{"key": "scope", "value": scope}}}}
			continue
		}
		items[scope] = googleapi.Doc{collection: docs}
	}
	out := googleapi.Doc{"kind": listKind, "id": restPath(r), "selfLink": Link(restPath(r)), "items": items}
	if page.Next != "" {
		out["nextPageToken"] = page.Next
	}
	return out, nil
}
