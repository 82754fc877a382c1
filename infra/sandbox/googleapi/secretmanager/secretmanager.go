// Package secretmanager is Secret Manager: secrets, their versions and IAM policies. Payloads are encrypted at rest with a key
// that lies in a file of its own (mode 0600), so that neither a copy of the store nor a backup of it gives secrets away; they
// are in no log and no error.
package secretmanager

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	api "google.golang.org/api/secretmanager/v1"

	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/googleapi/collection"
	"patag/infra/sandbox/googleapi/policy"
	"patag/infra/sandbox/store"
)

type server struct {
	core *googleapi.Core
	key  *vault
}

// Register serves Secret Manager. keyFile is made at the first start.
func Register(core *googleapi.Core, policies *policy.Policies, keyFile string) error {
	v, err := openVault(keyFile)
	if err != nil {
		return err
	}
	s := &server{core, v}
	svc := core.Service("secretmanager")
	collection.Handle(svc, collection.Type{
		Pattern: "{version=v1|v1beta1|v1beta2}/projects/{project}/secrets", Like: api.Secret{}, List: "secrets", Kind: "Secret", Etag: true,
		Output: []string{"createTime", "policyMember"},
		Name:   func(r *googleapi.Request, _, id string) string { return name(r.Var("project"), id) },
		ID: func(c *collection.Change) (string, error) {
			id := c.Request.Query("secretId")
			if !secretID.MatchString(id) {
				return "", googleapi.InvalidArgument("The provided Secret ID [%s] does not match the expected format [[a-zA-Z_0-9-]+].", id)
			}
			return id, nil
		},
		Fill:     s.fill,
		Deleting: func(c *collection.Change) error { return s.deleteSecret(c, policies) },
		Parent:   func(_ store.Tx, r *googleapi.Request) error { return project(core, r) },
		NotFound: func(path string) error { return s.notFound(path) },
		Exists:   func(name string) error { return googleapi.AlreadyExists("Secret [%s] already exists.", name) },
		Limit:    25000,
	})
	secret := "{version=v1|v1beta1|v1beta2}/projects/{project}/secrets/{id}"
	policies.Handle(svc, policy.Target{Pattern: secret, GetMethod: "GET", Request: api.SetIamPolicyRequest{},
		Exists: func(tx store.Tx, r *googleapi.Request) error { _, err := s.secret(tx, r); return err }})
	svc.Handle("POST", secret+":addVersion", s.addVersion)
	svc.Handle("GET", secret+"/versions", s.listVersions)
	svc.Handle("GET", secret+"/versions/{n}", s.getVersion)
	svc.Handle("GET", secret+"/versions/{n}:access", s.access)
	for _, verb := range []string{"enable", "disable", "destroy"} {
		svc.Handle("POST", secret+"/versions/{n}:"+verb, s.setState(verb))
	}
	return nil
}

var secretID = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,255}$`)

// name is what Google answers: with the project's number, whatever the request had.
func name(project, id string) string {
	return "projects/" + googleapi.ProjectNumber(project) + "/secrets/" + id
}

func project(core *googleapi.Core, r *googleapi.Request) error {
	if _, ok := core.Project(r.Var("project")); !ok {
		return googleapi.PermissionDenied("Permission denied on resource project %s.", r.Var("project"))
	}
	return nil
}

// notFound has the name with the project's number, as Google answers.
func (s *server) notFound(path string) error {
	parts := strings.Split(path, "/")
	if len(parts) > 1 {
		parts[1] = googleapi.ProjectNumber(parts[1])
	}
	kind := "Secret"
	if len(parts) > 4 {
		kind = "Secret Version"
	}
	return googleapi.NotFound("%s [%s] not found.", kind, strings.Join(parts, "/"))
}

func (s *server) fill(c *collection.Change) error {
	d := c.New
	if c.Old == nil {
		d["createTime"] = stamp(c.Now)
	}
	automatic, managed := d.Has("replication", "automatic"), d.Has("replication", "userManaged")
	if automatic == managed {
		return googleapi.InvalidArgument("Secret.replication is required: either automatic or user_managed.")
	}
	if c.Old != nil && !googleapi.Equal(c.Old["replication"], d["replication"]) {
		return googleapi.InvalidArgument("Secret.replication is immutable.")
	}
	if managed && len(d.Docs("replication", "userManaged", "replicas")) == 0 {
		return googleapi.InvalidArgument("user_managed replication must have at least one replica.")
	}
	// Each of these promises that something happens later, which nobody here would do.
	for _, f := range []string{"ttl", "expireTime", "rotation", "topics", "versionDestroyTtl"} {
		if d.Has(f) {
			return googleapi.Unimplemented("The sandbox does not simulate the field %q of a secret.", f)
		}
	}
	for k := range d.StringMap("labels") {
		if !labelKey.MatchString(k) {
			return googleapi.InvalidArgument("Label key %q does not match [a-z][a-z0-9_-]{0,62}.", k)
		}
	}
	return nil
}

var labelKey = regexp.MustCompile(`^[\p{Ll}\p{Lo}][\p{Ll}\p{Lo}\p{N}_-]{0,62}$`)

// stamp has microseconds, as Secret Manager's times do.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }

func (s *server) secretKey(r *googleapi.Request) string {
	return "secretmanager/projects/" + r.Var("project") + "/secrets/" + r.Var("id")
}

func (s *server) secret(tx store.Tx, r *googleapi.Request) (googleapi.Doc, error) {
	if err := project(s.core, r); err != nil {
		return nil, err
	}
	var d googleapi.Doc
	found, err := tx.Get(s.secretKey(r), &d)
	if err == nil && !found {
		err = s.notFound("projects/" + r.Var("project") + "/secrets/" + r.Var("id"))
	}
	return d, err
}

func (s *server) deleteSecret(c *collection.Change, policies *policy.Policies) error {
	var keys []string
	for _, prefix := range []string{c.Key + "/versions/", payloadPrefix(c.Key)} {
		if err := c.Tx.List(prefix, func(key string, _ []byte) error { keys = append(keys, key); return nil }); err != nil {
			return err
		}
	}
	for _, key := range append(keys, counterKey(c.Key)) {
		if err := c.Tx.Delete(key); err != nil {
			return err
		}
	}
	return policies.Delete(c.Tx, c.Key)
}

func payloadPrefix(secretKey string) string { return "secret-payload/" + secretKey + "/" }

func counterKey(secretKey string) string { return "secret-counter/" + secretKey }

func versionKey(secretKey string, n int64) string {
	return fmt.Sprintf("%s/versions/%d", secretKey, n)
}

func payloadKey(secretKey string, n int64) string {
	return payloadPrefix(secretKey) + strconv.FormatInt(n, 10)
}
