package storage

import (
	"context"
	"strings"

	"google.golang.org/api/storage/v1"

	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/store"
)

// defaultPolicy is what Google gives every new bucket.
func defaultPolicy(project string) googleapi.Doc {
	return googleapi.Doc{"etag": "CAE=", "version": 1, "bindings": []any{
		map[string]any{"role": "roles/storage.legacyBucketOwner", "members": []any{"projectEditor:" + project, "projectOwner:" + project}},
		map[string]any{"role": "roles/storage.legacyBucketReader", "members": []any{"projectViewer:" + project}},
	}}
}

func (s *Server) bucketAndDefault(tx store.Tx, name string) (googleapi.Doc, googleapi.Doc, error) {
	b, err := s.bucket(tx, name)
	if err != nil {
		return nil, nil, err
	}
	project, _ := s.core.Project(b.String("projectNumber"))
	return b, defaultPolicy(project), nil
}

func dressPolicy(p googleapi.Doc, bucket string) googleapi.Doc {
	p["kind"], p["resourceId"] = "storage#policy", "projects/_/buckets/"+bucket
	return p
}

func (s *Server) getIAM(_ context.Context, r *googleapi.Request) (any, error) {
	name := r.Var("bucket")
	var p googleapi.Doc
	err := s.core.Store().View(func(tx store.Tx) error {
		_, def, err := s.bucketAndDefault(tx, name)
		if err == nil {
			p, err = s.policies.Get(tx, bucketKey(name), def)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return dressPolicy(p, name), nil
}

func (s *Server) setIAM(_ context.Context, r *googleapi.Request) (any, error) {
	name := r.Var("bucket")
	policy, err := r.DecodeDoc(storage.Policy{})
	if err != nil {
		return nil, err
	}
	var p googleapi.Doc
	err = s.core.Store().Update(func(tx store.Tx) error {
		b, def, err := s.bucketAndDefault(tx, name)
		if err != nil {
			return err
		}
		if b.String("iamConfiguration", "publicAccessPrevention") == "enforced" {
			for _, binding := range policy.Docs("bindings") {
				if m := strings.Join(binding.Strings("members"), " "); strings.Contains(m, "allUsers") || strings.Contains(m, "allAuthenticatedUsers") {
					return googleapi.ConditionNotMet("One or more users named in the policy do not belong to a permitted customer. Public access prevention is enforced on bucket '%s'.", name)
				}
			}
		}
		p, err = s.policies.Set(tx, bucketKey(name), policy, def, func() error { return conditionNotMet() })
		return err
	})
	if err != nil {
		return nil, err
	}
	return dressPolicy(p, name), nil
}

func (s *Server) testIAM(_ context.Context, r *googleapi.Request) (any, error) {
	err := s.core.Store().View(func(tx store.Tx) error { _, err := s.bucket(tx, r.Var("bucket")); return err })
	if err != nil {
		return nil, err
	}
	return googleapi.Doc{"kind": "storage#testIamPermissionsResponse", "permissions": r.HTTP.URL.Query()["permissions"]}, nil
}
