package lifecycle

import (
	"context"
	"fmt"
	"net/http"

	"patag/infra/sandbox/gcpplugin/diff"
	"patag/infra/sandbox/gcpplugin/google"
	"patag/infra/sandbox/gcpplugin/value"
)

// element is a resource that is one element of another resource's list (a NAT of a router): the list is read,
// changed, and written back whole.
type element struct{}

func (s element) create(ctx context.Context, r *run) error {
	body, err := r.expander(nil).Object(r.t, r.in)
	if err != nil {
		return err
	}
	return s.edit(ctx, r, func(list []any, at int) ([]any, error) {
		if at >= 0 {
			return nil, &google.Error{Code: http.StatusConflict, Status: "ALREADY_EXISTS", Method: post,
				Message: fmt.Sprintf("%s %q already exists", r.t.Title, r.get(r.t.Element.Key))}
		}
		return append(list, body), nil
	})
}

func (s element) read(ctx context.Context, r *run) (bool, error) {
	owner, err := r.path(r.t.Element.Owner)
	if err != nil {
		return false, err
	}
	answer, err := r.do(ctx, get, owner, nil)
	if google.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	list, at := s.find(r, answer)
	if at < 0 {
		return false, nil
	}
	r.absorb(list[at].(value.Map))
	return true, nil
}

func (s element) update(ctx context.Context, r *run, _ []diff.Change) error {
	body, err := r.expander(r.state).Object(r.t, r.in)
	if err != nil {
		return err
	}
	return s.edit(ctx, r, func(list []any, at int) ([]any, error) {
		if at < 0 {
			return nil, fmt.Errorf("it does not exist any more; run \"pulumi refresh\"")
		}
		list[at] = body
		return list, nil
	})
}

func (s element) delete(ctx context.Context, r *run) error {
	return gone(s.edit(ctx, r, func(list []any, at int) ([]any, error) {
		if at < 0 {
			return nil, nil
		}
		return append(list[:at:at], list[at+1:]...), nil
	}))
}

func (element) find(r *run, owner value.Map) ([]any, int) {
	list, _ := owner[r.t.Element.Field].([]any)
	for i, e := range list {
		if m, ok := e.(value.Map); ok && m[r.t.Element.Key] == r.get(r.t.Element.Key) {
			return list, i
		}
	}
	return list, -1
}

// edit changes the list; a nil list from change says that there is nothing to do.
func (s element) edit(ctx context.Context, r *run, change func(list []any, at int) ([]any, error)) error {
	owner, err := r.path(r.t.Element.Owner)
	if err != nil {
		return err
	}
	unlock, err := r.lock(ctx, r.t.Service+" "+owner)
	if err != nil {
		return err
	}
	defer unlock()
	answer, err := r.do(ctx, get, owner, nil)
	if err != nil {
		return err
	}
	list, at := s.find(r, answer)
	list, err = change(list, at)
	if err != nil || list == nil {
		return err
	}
	return r.order(ctx, patch, owner, value.Map{r.t.Element.Field: list})
}
