// Package iam is IAM: service accounts and their policies, predefined roles; and what belongs to identities beside it: tokens for
// service accounts (iamcredentials) and what a token says (oauth2). Keys of service accounts cannot be made: the sandbox behaves as
// under Google's organisation policy iam.disableServiceAccountKeyCreation, which new organisations have.
package iam

import (
	"context"
	"encoding/base64"
	"fmt"
	"hash/fnv"
	"net/http"
	"regexp"
	"strings"

	api "google.golang.org/api/iam/v1"

	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/googleapi/collection"
	"patag/infra/sandbox/googleapi/policy"
	"patag/infra/sandbox/store"
)

type server struct {
	core     *googleapi.Core
	policies *policy.Policies
	tokens   Tokens
}

// Register serves iam, iamcredentials and oauth2.
func Register(core *googleapi.Core, policies *policy.Policies, tokens Tokens) {
	s := &server{core, policies, tokens}
	svc := core.Service("iam")
	accounts := "v1/projects/{project}/serviceAccounts"
	account := accounts + "/{account*}"
	svc.Handle("POST", accounts, s.create)
	svc.Handle("GET", accounts, s.list)
	svc.Handle("GET", accounts+"/{account}", s.get)
	svc.Handle("PATCH", accounts+"/{account}", s.patch)
	svc.Handle("PUT", accounts+"/{account}", s.put)
	svc.Handle("DELETE", accounts+"/{account}", s.delete)
	svc.Handle("POST", account+":enable", s.setDisabled(false))
	svc.Handle("POST", account+":disable", s.setDisabled(true))
	svc.Handle("POST", account+"/keys", s.refuseKey)
	svc.Handle("POST", account+"/keys:upload", s.refuseKey)
	svc.Handle("GET", account+"/keys", s.noKeys)
	svc.Handle("GET", account+"/keys/{key}", s.noKey)
	svc.Handle("DELETE", account+"/keys/{key}", s.noKey)
	svc.Handle("POST", account+":getIamPolicy", s.getPolicy)
	svc.Handle("POST", account+":setIamPolicy", s.setPolicy)
	svc.Handle("POST", account+":testIamPermissions", s.testPermissions)
	s.handleRoles(svc)
	s.handleTokens()
}

// Key is where a service account is kept.
func Key(project, email string) string {
	return "iam/projects/" + project + "/serviceAccounts/" + email
}

// UniqueID is the number of a service account: 21 digits, as Google's have.
func UniqueID(seed string) string {
	h := fnv.New64a()
	h.Write([]byte(seed))
	return fmt.Sprintf("1%020d", h.Sum64())
}

var accountID = regexp.MustCompile(`^[a-z]([-a-z0-9]{4,28}[a-z0-9])$`)

// builtin are the accounts that a project has without anyone having made them.
func builtin(project string) googleapi.Doc {
	email := googleapi.DefaultServiceAccount(project)
	return googleapi.Doc{"name": "projects/" + project + "/serviceAccounts/" + email, "projectId": project, "uniqueId": UniqueID(email), "oauth2ClientId": UniqueID(email),
		"email": email, "displayName": "Compute Engine default service account", "etag": "MDEwMjE5MjA="}
}

// find reads the account that a request names: by email or unique ID, in its project or in "-".
func (s *server) find(tx store.Tx, r *googleapi.Request) (googleapi.Doc, error) {
	project, id := r.Var("project"), r.Var("account")
	projects := []string{project}
	if project == "-" {
		projects = s.core.Projects()
	}
	for _, p := range projects {
		if id == googleapi.DefaultServiceAccount(p) || id == UniqueID(googleapi.DefaultServiceAccount(p)) {
			d := builtin(p)
			_, err := tx.Get(Key(p, googleapi.DefaultServiceAccount(p)), &d)
			return d, err
		}
		var d googleapi.Doc
		if found, err := tx.Get(Key(p, id), &d); err != nil || found {
			return d, err
		}
		if !strings.Contains(id, "@") {
			all, err := googleapi.Children(tx, "iam/projects/"+p+"/serviceAccounts")
			if err != nil {
				return nil, err
			}
			for _, d := range all {
				if d.String("uniqueId") == id {
					return d, nil
				}
			}
		}
	}
	return nil, googleapi.NotFound("Unknown service account: projects/%s/serviceAccounts/%s", project, id)
}

func (s *server) project(r *googleapi.Request) error {
	if _, ok := s.core.Project(r.Var("project")); !ok {
		return googleapi.PermissionDenied("Permission denied on resource project %s, or it may not exist.", r.Var("project"))
	}
	return nil
}

func (s *server) create(_ context.Context, r *googleapi.Request) (any, error) {
	body, err := r.DecodeDoc(api.CreateServiceAccountRequest{})
	if err != nil {
		return nil, err
	}
	if err := s.project(r); err != nil {
		return nil, err
	}
	project, id := r.Var("project"), body.String("accountId")
	if !accountID.MatchString(id) {
		return nil, googleapi.InvalidArgument("Invalid account ID %q: it must have 6 to 30 characters, begin with a letter and have only lowercase letters, digits and dashes (a-z, 0-9, -).", id)
	}
	email := id + "@" + project + ".iam.gserviceaccount.com"
	d := googleapi.Doc{"name": "projects/" + project + "/serviceAccounts/" + email, "projectId": project, "email": email}
	for _, f := range []string{"displayName", "description"} {
		if v := body.String("serviceAccount", f); v != "" {
			d[f] = v
		}
	}
	err = s.core.Store().Update(func(tx store.Tx) error {
		if tx.Has(Key(project, email)) {
			return googleapi.AlreadyExists("Service account %s already exists within project projects/%s.", id, project)
		}
		n, err := tx.Next() // an account made anew under an old email is another one
		if err != nil {
			return err
		}
		d["uniqueId"] = UniqueID(fmt.Sprint(email, n))
		d["oauth2ClientId"] = d["uniqueId"]
		return save(tx, project, d)
	})
	return d, err
}

func save(tx store.Tx, project string, d googleapi.Doc) error {
	if len([]rune(d.String("displayName"))) > 100 {
		return googleapi.InvalidArgument("The display name of a service account has at most 100 characters.")
	}
	if len(d.String("description")) > 256 {
		return googleapi.InvalidArgument("The description of a service account has at most 256 bytes.")
	}
	n, err := tx.Next()
	if err != nil {
		return err
	}
	d["etag"] = base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%08d", n))
	return tx.Put(Key(project, d.String("email")), d)
}

func (s *server) list(_ context.Context, r *googleapi.Request) (any, error) {
	if err := s.project(r); err != nil {
		return nil, err
	}
	var all []googleapi.Doc
	err := s.core.Store().View(func(tx store.Tx) (err error) { all, err = googleapi.Children(tx, r.Key()); return err })
	if err != nil {
		return nil, err
	}
	def := builtin(r.Var("project"))
	changed := false
	for _, d := range all {
		changed = changed || d["email"] == def["email"]
	}
	if !changed {
		all = append([]googleapi.Doc{def}, all...)
	}
	if err := collection.Order(all, "name"); err != nil {
		return nil, err
	}
	page, err := googleapi.Paginate(r, all, func(d googleapi.Doc) string { return d.String("name") }, 100)
	if err != nil {
		return nil, err
	}
	out := googleapi.Doc{"accounts": page.Items}
	if page.Next != "" {
		out["nextPageToken"] = page.Next
	}
	return out, nil
}

func (s *server) get(_ context.Context, r *googleapi.Request) (any, error) {
	var d googleapi.Doc
	err := s.core.Store().View(func(tx store.Tx) (err error) { d, err = s.find(tx, r); return err })
	return d, err
}

// change runs fn on an account and keeps the result; etag, if not empty, must be the current one.
func (s *server) change(r *googleapi.Request, etag string, fn func(d googleapi.Doc) error) (googleapi.Doc, error) {
	var d googleapi.Doc
	err := s.core.Store().Update(func(tx store.Tx) (err error) {
		if d, err = s.find(tx, r); err != nil {
			return err
		}
		if etag != "" && etag != d.String("etag") {
			return googleapi.Aborted("There were concurrent changes to service account %s: the etag does not match.", d.String("email"))
		}
		if err := fn(d); err != nil {
			return err
		}
		return save(tx, d.String("projectId"), d)
	})
	return d, err
}

func (s *server) patch(_ context.Context, r *googleapi.Request) (any, error) {
	body, err := r.DecodeDoc(api.PatchServiceAccountRequest{})
	if err != nil {
		return nil, err
	}
	mask := body.String("updateMask")
	if mask == "" {
		return nil, googleapi.InvalidArgument("update_mask is required.")
	}
	for _, f := range strings.Split(mask, ",") {
		if f != "displayName" && f != "display_name" && f != "description" {
			return nil, googleapi.InvalidArgument("update_mask: the field %q of a service account cannot be changed.", f)
		}
	}
	account := body.Doc("serviceAccount")
	return s.change(r, account.String("etag"), func(d googleapi.Doc) error {
		if account == nil {
			account = googleapi.Doc{}
		}
		return d.ApplyMask(account, mask)
	})
}

func (s *server) put(_ context.Context, r *googleapi.Request) (any, error) {
	account, err := r.DecodeDoc(api.ServiceAccount{})
	if err != nil {
		return nil, err
	}
	return s.change(r, account.String("etag"), func(d googleapi.Doc) error { return d.ApplyMask(account, "displayName,description") })
}

func (s *server) delete(_ context.Context, r *googleapi.Request) (any, error) {
	err := s.core.Store().Update(func(tx store.Tx) error {
		d, err := s.find(tx, r)
		if err != nil {
			return err
		}
		project, email := d.String("projectId"), d.String("email")
		if email == googleapi.DefaultServiceAccount(project) {
			return googleapi.Unimplemented("The sandbox does not simulate the deletion of the Compute Engine default service account.")
		}
		if err := s.policies.Delete(tx, Key(project, email)); err != nil {
			return err
		}
		return tx.Delete(Key(project, email))
	})
	return nil, err
}

func (s *server) setDisabled(disabled bool) googleapi.Handler {
	return func(_ context.Context, r *googleapi.Request) (any, error) {
		_, err := s.change(r, "", func(d googleapi.Doc) error {
			d.Drop("disabled")
			if disabled {
				d["disabled"] = true
			}
			return nil
		})
		return nil, err
	}
}

func (s *server) refuseKey(_ context.Context, r *googleapi.Request) (any, error) {
	var d googleapi.Doc
	err := s.core.Store().View(func(tx store.Tx) (err error) { d, err = s.find(tx, r); return err })
	if err != nil {
		return nil, err
	}
	return nil, &googleapi.Error{Code: http.StatusBadRequest, Status: "FAILED_PRECONDITION", Reason: "failedPrecondition",
		Message: "Key creation is not allowed on this service account.",
		Details: []any{map[string]any{"@type": "type.googleapis.com/google.rpc.PreconditionFailure", "violations": []any{map[string]any{
			"type": "constraints/iam.disableServiceAccountKeyCreation", "subject": "projects/" + d.String("projectId") + "/serviceAccounts/" + d.String("email") + "?configvalue=" + d.String("email"),
			"description": "Key creation is not allowed on this service account."}}}}}
}

func (s *server) noKeys(_ context.Context, r *googleapi.Request) (any, error) {
	err := s.core.Store().View(func(tx store.Tx) error { _, err := s.find(tx, r); return err })
	return nil, err
}

func (s *server) noKey(ctx context.Context, r *googleapi.Request) (any, error) {
	if _, err := s.noKeys(ctx, r); err != nil {
		return nil, err
	}
	return nil, googleapi.NotFound("Service account key %s does not exist.", r.Var("key"))
}

func (s *server) getPolicy(_ context.Context, r *googleapi.Request) (any, error) {
	var p googleapi.Doc
	err := s.core.Store().View(func(tx store.Tx) error {
		d, err := s.find(tx, r)
		if err == nil {
			p, err = s.policies.Get(tx, Key(d.String("projectId"), d.String("email")), nil)
		}
		return err
	})
	return p, err
}

func (s *server) setPolicy(_ context.Context, r *googleapi.Request) (any, error) {
	body, err := r.DecodeDoc(api.SetIamPolicyRequest{})
	if err != nil {
		return nil, err
	}
	if !body.Has("policy") {
		return nil, googleapi.InvalidArgument("Invalid value at 'policy': the policy is missing.")
	}
	var p googleapi.Doc
	err = s.core.Store().Update(func(tx store.Tx) error {
		d, err := s.find(tx, r)
		if err == nil {
			p, err = s.policies.Set(tx, Key(d.String("projectId"), d.String("email")), body.Doc("policy"), nil, nil)
		}
		return err
	})
	return p, err
}

func (s *server) testPermissions(_ context.Context, r *googleapi.Request) (any, error) {
	var body api.TestIamPermissionsRequest
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	err := s.core.Store().View(func(tx store.Tx) error { _, err := s.find(tx, r); return err })
	return googleapi.Doc{"permissions": body.Permissions}, err
}
