package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"patag/infra/sandbox/gcpplugin/description"
	"patag/infra/sandbox/gcpplugin/diff"
	"patag/infra/sandbox/gcpplugin/google"
	"patag/infra/sandbox/gcpplugin/value"
	"patag/infra/sandbox/gcpplugin/wire"
)

// rest is a resource with a path of its own: POST, GET, PATCH, DELETE.
type rest struct{}

func (rest) create(ctx context.Context, r *run) error {
	in := r.in
	if len(r.t.Create.Omit) > 0 {
		in = value.Copy(in).(value.Map)
		for _, name := range r.t.Create.Omit {
			delete(in, name)
		}
	}
	body, err := r.expander(nil).Object(r.t, in)
	if err != nil {
		return err
	}
	for path, v := range r.t.Create.Defaults {
		if _, set := value.Get(body, path); !set {
			value.Set(body, path, v)
		}
	}
	answer, err := r.send(ctx, r.t.Create, body, r.t.Create.Body, nil)
	if adopt := r.t.Create.Adopt; err != nil && adopt != "" && r.flag(adopt) && google.AlreadyExists(err) {
		return r.adopt(ctx)
	}
	if err != nil {
		return err
	}
	response, err := r.finish(ctx, answer)
	if err != nil {
		return r.halfMade(ctx, err)
	}
	if len(response) > 0 {
		// The server may have chosen the name.
		r.state = wire.Flatten(r.t, response, r.in, r.get("location"))
	}
	if then := r.t.Create.Then; then != nil && r.flag(then.When) {
		if _, err := r.send(ctx, then.Call, nil, nil, nil); err != nil {
			return r.partial(err)
		}
	}
	if err := r.after(ctx); err != nil {
		return r.partial(err)
	}
	return nil
}

// adopt takes over a resource whose address can be made without asking: a service account's e-mail is its
// account id and project.
func (r *run) adopt(ctx context.Context) error {
	r.state["email"] = r.get("accountId") + "@" + r.get("project") + ".iam.gserviceaccount.com"
	r.Log.InfoContext(ctx, "resource exists already and is taken over", "type", r.t.Token, "email", r.state["email"])
	return nil
}

// halfMade decides what becomes of a resource whose creation was ordered but did not end well.
func (r *run) halfMade(ctx context.Context, err error) error {
	if errors.Is(err, google.ErrInterrupted) {
		return r.partial(err)
	}
	var failed *google.OperationError
	if !errors.As(err, &failed) {
		return r.partial(err)
	}
	// Google keeps a cluster or pool whose creation failed. It serves nobody and is in the way of the next try.
	self, pathErr := r.t.Self.FillPath(r.lookup)
	if pathErr != nil {
		return err
	}
	if _, readErr := r.do(ctx, get, self, nil); readErr != nil {
		return err
	}
	if cleanErr := r.order(ctx, remove, self, nil); gone(cleanErr) != nil {
		return r.partial(errors.Join(err, fmt.Errorf("remove what was made of it: %w", cleanErr)))
	}
	return err
}

func (rest) read(ctx context.Context, r *run) (bool, error) {
	answer, err := r.current(ctx)
	if google.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	r.absorb(answer)
	return true, r.afterRead(ctx, answer)
}

func (r *run) current(ctx context.Context) (value.Map, error) {
	path, err := r.path(r.t.Read)
	if err != nil {
		return nil, err
	}
	return r.do(ctx, get, path, nil)
}

func (rest) update(ctx context.Context, r *run, changes []diff.Change) error {
	if err := r.settle(ctx); err != nil {
		return err
	}
	groups := make([][]diff.Change, len(r.t.Update))
next:
	for _, c := range changes {
		for i, u := range r.t.Update {
			if covers(u.For, c.Property) {
				groups[i] = append(groups[i], c)
				continue next
			}
		}
		if p := r.t.Root.Find(c.Property); p != nil && p.Local {
			continue
		}
		return fmt.Errorf("%s cannot be changed in place; replace the resource (pulumi up --target-replace)", c.Path)
	}
	for i, u := range r.t.Update {
		if len(groups[i]) == 0 {
			continue
		}
		if err := r.apply(ctx, u, groups[i]); err != nil {
			return err
		}
	}
	if len(changes) == 0 {
		// The engine comes back to a resource whose creation was interrupted: what follows it is still to do.
		return r.after(ctx)
	}
	return nil
}

func covers(paths []string, property string) bool {
	if len(paths) == 0 {
		return true
	}
	for _, p := range paths {
		// A change of the object around it is one of the property too.
		if property == p || strings.HasPrefix(property, p+".") || strings.HasPrefix(p, property+".") {
			return true
		}
	}
	return false
}

// apply makes the call of one update entry.
func (r *run) apply(ctx context.Context, u description.Update, changes []diff.Change) error {
	switch {
	case u.Sync != nil:
		return r.sync(ctx, *u.Sync, u.For[0])
	case u.Toggle != nil:
		return r.callAndFinish(ctx, u.Toggle[r.flag(u.For[0])], nil, nil, nil)
	case u.Call.Path == nil:
		return nil
	}
	e := r.expander(r.state)
	body, mask, err := r.changed(e, u, changes)
	if err != nil || (len(body) == 0 && u.Call.Body == nil) {
		return err
	}
	if len(u.With) > 0 {
		current, err := r.current(ctx)
		if err != nil {
			return err
		}
		for _, field := range u.With {
			if v, ok := current[field]; ok {
				body[field] = v
			}
		}
	}
	query := url.Values{}
	if u.Mask != "" {
		query.Set(u.Mask, strings.Join(mask, ","))
	}
	return r.callAndFinish(ctx, u.Call, body, &u, query)
}

// changed is the body of an update: everything, or what changed, each under its top-level field.
func (r *run) changed(e wire.Expander, u description.Update, changes []diff.Change) (value.Map, []string, error) {
	if u.All {
		body, err := e.Object(r.t, r.in)
		return body, nil, err
	}
	body := value.Map{}
	var mask []string
	for _, c := range changes {
		top, _, _ := strings.Cut(c.Property, ".")
		p := r.t.Root.Child(top)
		if p == nil || p.Local || hasField(mask, p.API) {
			continue
		}
		v, err := e.Property(r.t, top, r.in)
		if err != nil {
			return nil, nil, err
		}
		value.Set(body, p.API, v)
		mask = append(mask, p.API)
	}
	return body, mask, nil
}

func hasField(mask []string, field string) bool {
	for _, m := range mask {
		if m == field {
			return true
		}
	}
	return false
}

func (r *run) callAndFinish(ctx context.Context, c description.Call, body value.Map, u *description.Update, query url.Values) error {
	tpl := c.Body
	if u != nil && tpl != nil {
		filled, err := r.fillBody(ctx, tpl, body)
		if err != nil {
			return err
		}
		b, _ := filled.(value.Map)
		for path, from := range u.Set {
			v, err := r.fillBody(ctx, from, body)
			if err != nil {
				return err
			}
			if v != nil {
				value.Set(b, path, v)
			}
		}
		for _, field := range u.Text {
			if n, ok := b[field].(int64); ok {
				b[field] = strconv.FormatInt(n, 10)
			}
		}
		body, tpl = b, nil
	}
	answer, err := r.send(ctx, c, body, tpl, query)
	if err != nil {
		return err
	}
	_, err = r.finish(ctx, answer)
	return err
}

// send makes one call of the description.
func (r *run) send(ctx context.Context, c description.Call, body value.Map, tpl any, query url.Values) (value.Map, error) {
	path, err := r.path(c.Path)
	if err != nil {
		return nil, err
	}
	if query == nil {
		query = url.Values{}
	}
	for param, property := range c.Query {
		if s, ok := value.String(r.in[property]); ok && s != "" && s != "false" {
			query.Set(param, s)
		} else if s, ok := value.String(r.state[property]); ok && c.Method == remove && s != "false" {
			query.Set(param, s)
		}
	}
	var send any
	if c.Method != remove && c.Method != get {
		send = body
		if body == nil {
			send = value.Map{}
		}
	}
	if tpl != nil {
		if send, err = r.fillBody(ctx, tpl, body); err != nil {
			return nil, err
		}
	}
	return r.Client.Do(ctx, google.Request{Method: c.Method, Service: r.t.Service, Path: path, Query: query, Body: send})
}

func (rest) delete(ctx context.Context, r *run) error {
	if err := r.settle(ctx); err != nil {
		return gone(err)
	}
	if err := r.beforeDelete(ctx); err != nil {
		return gone(err)
	}
	answer, err := r.send(ctx, r.t.Delete, nil, nil, nil)
	if err != nil {
		if r.t.BeforeDelete != "" && google.IsConflict(err) && !r.flag("forceDestroy") {
			err = fmt.Errorf("%w; to delete it with all that it holds, set forceDestroy to true and run \"pulumi up\" first", err)
		}
		return gone(err)
	}
	_, err = r.finish(ctx, answer)
	return gone(err)
}

// settle waits until a cluster or pool is at rest: an interrupted run may have left an operation behind.
func (r *run) settle(ctx context.Context) error {
	if r.t.Operation != "container" {
		return nil
	}
	for pause := 200 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		answer, err := r.current(ctx)
		if err != nil {
			return err
		}
		switch status, _ := answer["status"].(string); status {
		case "PROVISIONING", "RECONCILING", "STOPPING":
		default:
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it is still %v: %w", answer["status"], context.Cause(ctx))
		case <-time.After(pause):
		}
	}
}
