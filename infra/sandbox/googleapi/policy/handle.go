package policy

import (
	"context"

	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/store"
)

// Target says how to find a resource's policy.
type Target struct {
	// Pattern is the route of the resource, without a verb.
	Pattern string
	// GetMethod is how the service reads policies: GET or POST.
	GetMethod string
	// Request is Google's type of the body of setIamPolicy.
	Request any
	// Exists gives Google's error when the resource that the request names is not there.
	Exists func(tx store.Tx, r *googleapi.Request) error
	// Default is the policy of a resource on which none was set; nil is an empty one.
	Default func(r *googleapi.Request) googleapi.Doc
}

// Handle serves getIamPolicy, setIamPolicy and testIamPermissions of a resource.
func (p *Policies) Handle(s *googleapi.Service, t Target) {
	def := func(r *googleapi.Request) googleapi.Doc {
		if t.Default == nil {
			return nil
		}
		return t.Default(r)
	}
	s.Handle(t.GetMethod, t.Pattern+":getIamPolicy", func(_ context.Context, r *googleapi.Request) (any, error) {
		var policy googleapi.Doc
		err := s.Core().Store().View(func(tx store.Tx) (err error) {
			if err = t.Exists(tx, r); err == nil {
				policy, err = p.Get(tx, r.Key(), def(r))
			}
			return err
		})
		return policy, err
	})
	s.Handle("POST", t.Pattern+":setIamPolicy", func(_ context.Context, r *googleapi.Request) (any, error) {
		body, err := r.DecodeDoc(t.Request)
		if err != nil {
			return nil, err
		}
		if !body.Has("policy") {
			return nil, googleapi.InvalidArgument("Invalid value at 'policy': the policy is missing.")
		}
		var policy googleapi.Doc
		err = s.Core().Store().Update(func(tx store.Tx) (err error) {
			if err = t.Exists(tx, r); err == nil {
				policy, err = p.Set(tx, r.Key(), body.Doc("policy"), def(r), nil)
			}
			return err
		})
		return policy, err
	})
	s.Handle("POST", t.Pattern+":testIamPermissions", func(_ context.Context, r *googleapi.Request) (any, error) {
		var body struct {
			Permissions []string `json:"permissions"`
		}
		if err := r.Decode(&body); err != nil {
			return nil, err
		}
		err := s.Core().Store().View(func(tx store.Tx) error { return t.Exists(tx, r) })
		if err != nil {
			return nil, err
		}
		return googleapi.Doc{"permissions": body.Permissions}, nil // the sandbox's administrator has them all
	})
}
