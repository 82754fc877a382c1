package lifecycle

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"patag/infra/sandbox/gcpplugin/diff"
	"patag/infra/sandbox/gcpplugin/google"
	"patag/infra/sandbox/gcpplugin/value"
	"patag/infra/sandbox/gcpplugin/wire"
)

// secretVersion is one value of a secret.
type secretVersion struct{}

func (s secretVersion) create(ctx context.Context, r *run) error {
	data, _ := r.in["secretData"].(string)
	if !r.flag("isSecretDataBase64") {
		data = base64.StdEncoding.EncodeToString([]byte(data))
	}
	answer, err := r.do(ctx, post, r.get("secret")+":addVersion", value.Map{"payload": value.Map{"data": data}})
	if err != nil {
		return err
	}
	r.state = wire.Flatten(r.t, answer, r.in, "")
	r.settleID()
	if enabled, given := r.in["enabled"].(bool); given && !enabled {
		if _, err := r.do(ctx, post, r.get("name")+":disable", value.Map{}); err != nil {
			return r.partial(err)
		}
	}
	return nil
}

func (s secretVersion) read(ctx context.Context, r *run) (bool, error) {
	name := r.get("name")
	answer, err := r.do(ctx, get, name, nil)
	if google.IsNotFound(err) || err == nil && answer["state"] == "DESTROYED" {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	r.absorb(answer)
	enabled := answer["state"] == "ENABLED"
	r.state["enabled"] = enabled
	// Google gives the project's number in the name; the program's own spelling of the secret stays.
	if _, given := r.in["secret"]; !given {
		r.state["secret"] = "projects/" + r.get("project") + "/secrets/" + r.vars["secretId"]
	}
	r.state["version"] = value.Last(name)
	if enabled {
		payload, err := r.do(ctx, get, name+":access", nil)
		if err != nil {
			return false, fmt.Errorf("read its data: %w", err)
		}
		encoded, _ := value.Get(payload, "payload.data")
		text, _ := encoded.(string)
		if !r.flag("isSecretDataBase64") {
			raw, err := base64.StdEncoding.DecodeString(text)
			if err != nil {
				return false, fmt.Errorf("its data is not base64: %w", err)
			}
			text = string(raw)
		}
		r.state["secretData"] = text
	}
	return true, nil
}

func (s secretVersion) update(ctx context.Context, r *run, changes []diff.Change) error {
	for _, c := range changes {
		if c.Property != "enabled" {
			continue
		}
		verb := ":disable"
		if r.flag("enabled") {
			verb = ":enable"
		}
		if _, err := r.do(ctx, post, r.get("name")+verb, value.Map{}); err != nil {
			return err
		}
	}
	return nil
}

func (s secretVersion) delete(ctx context.Context, r *run) error {
	verb := ":destroy"
	switch policy, _ := r.state["deletionPolicy"].(string); policy {
	case "ABANDON":
		return nil
	case "DISABLE":
		verb = ":disable"
	}
	if _, err := r.do(ctx, post, r.get("name")+verb, value.Map{}); err != nil {
		// What is destroyed already cannot be destroyed again.
		if found, readErr := s.read(ctx, r); readErr == nil && !found {
			return nil
		}
		return gone(err)
	}
	return nil
}

// projectService is a Google API switched on for a project.
type projectService struct{}

func (s projectService) create(ctx context.Context, r *run) error {
	self, err := r.path(r.t.Self)
	if err != nil {
		return err
	}
	return r.order(ctx, post, self+":enable", value.Map{})
}

func (s projectService) read(ctx context.Context, r *run) (bool, error) {
	answer, err := r.current(ctx)
	if google.IsNotFound(err) || err == nil && answer["state"] != "ENABLED" {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	// Nothing in the answer is a property of the resource; all of them are the program's.
	r.absorb(value.Map{})
	return true, nil
}

func (s projectService) update(context.Context, *run, []diff.Change) error { return nil }

func (s projectService) delete(ctx context.Context, r *run) error {
	if !r.flag("disableOnDestroy") {
		return nil
	}
	self, err := r.path(r.t.Self)
	if err != nil {
		return err
	}
	body := value.Map{}
	if r.flag("disableDependentServices") {
		body["disableDependentServices"] = true
	}
	if r.flag("checkIfServiceHasUsageOnDestroy") {
		body["checkIfServiceHasUsage"] = "CHECK"
	}
	return gone(r.order(ctx, post, self+":disable", body))
}

// document is a resource that the program gives as one JSON text.
type document struct{}

func (s document) parse(r *run) (value.Map, error) {
	text, _ := r.in[r.t.Document.Property].(string)
	var doc value.Map
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		return nil, fmt.Errorf("%s is not a JSON object: %w", r.t.Document.Property, err)
	}
	return doc, nil
}

func (s document) create(ctx context.Context, r *run) error {
	doc, err := s.parse(r)
	if err != nil {
		return err
	}
	path, err := r.path(r.t.Create.Path)
	if err != nil {
		return err
	}
	answer, err := r.do(ctx, post, path, doc)
	if err != nil {
		return err
	}
	name, _ := answer["name"].(string)
	r.vars["name"] = name
	return nil
}

func (s document) read(ctx context.Context, r *run) (bool, error) {
	answer, err := r.current(ctx)
	if google.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	property := r.t.Document.Property
	raw, err := json.Marshal(answer)
	if err != nil {
		return false, err
	}
	r.absorb(value.Map{})
	// The program's own text stays as long as it says the same.
	if text, ok := r.in[property].(string); !ok || !diff.SameDocument(string(raw), text) {
		r.state[property] = string(raw)
	}
	return true, nil
}

func (s document) update(ctx context.Context, r *run, _ []diff.Change) error {
	doc, err := s.parse(r)
	if err != nil {
		return err
	}
	current, err := r.current(ctx)
	if err != nil {
		return err
	}
	doc["name"], doc["etag"] = current["name"], current["etag"]
	self, err := r.path(r.t.Self)
	if err != nil {
		return err
	}
	_, err = r.do(ctx, patch, self, doc)
	return err
}

func (s document) delete(ctx context.Context, r *run) error { return rest{}.delete(ctx, r) }
