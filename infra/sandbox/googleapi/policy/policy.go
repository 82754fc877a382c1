// Package policy keeps the IAM policies of resources: who may do what on a bucket, a secret, a repository, a service account, a
// project. It checks a policy as Google does before it takes it: form of members and roles, service accounts and
// workload identity pools that must exist, the etag against lost updates. Whether a caller is allowed to act is not its matter.
package policy

import (
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"regexp"
	"slices"
	"strings"

	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/store"
)

// Policies are the policies of all resources, each under its resource's key in the store.
type Policies struct{ core *googleapi.Core }

// New needs the core to know which projects exist.
func New(core *googleapi.Core) *Policies { return &Policies{core} }

func key(resource string) string { return "policy/" + resource }

// Get reads the policy of a resource; def is the policy of one that was never set.
func (p *Policies) Get(tx store.Tx, resource string, def googleapi.Doc) (googleapi.Doc, error) {
	var d googleapi.Doc
	found, err := tx.Get(key(resource), &d)
	if err != nil {
		return nil, err
	}
	if !found {
		d = def
		if d == nil {
			d = googleapi.Doc{}
		}
		d.Default("version", 1)
		d.Default("etag", "ACAB") // what Google answers for a policy that was never set
	}
	return d, nil
}

// Set checks and writes the policy of a resource and gives it as stored. stale makes the error for an etag that is no
// longer the current one; nil is 409 ABORTED, as most services answer.
func (p *Policies) Set(tx store.Tx, resource string, policy, def googleapi.Doc, stale func() error) (googleapi.Doc, error) {
	current, err := p.Get(tx, resource, def)
	if err != nil {
		return nil, err
	}
	if etag := policy.String("etag"); etag != "" && etag != current.String("etag") {
		if stale != nil {
			return nil, stale()
		}
		return nil, googleapi.Aborted("There were concurrent policy changes. Please retry the whole read-modify-write with exponential backoff. The request's ETag '%s' did not match the current policy's ETag '%s'.", etag, current.String("etag"))
	}
	bindings, conditional, err := p.bindings(tx, policy)
	if err != nil {
		return nil, err
	}
	version := policy.Int("version")
	if conditional && version != 0 && version != 3 {
		return nil, googleapi.InvalidArgument("Invalid policy: conditional role bindings require policy version 3.")
	}
	out := googleapi.Doc{"version": 1}
	if conditional || version == 3 && policy.Has("auditConfigs") {
		out["version"] = 3
	}
	if len(bindings) > 0 {
		out["bindings"] = bindings
	}
	if policy.Has("auditConfigs") {
		out["auditConfigs"] = policy["auditConfigs"]
	}
	n, err := tx.Next()
	if err != nil {
		return nil, err
	}
	out["etag"] = etag(n)
	return out, tx.Put(key(resource), out)
}

// Delete forgets the policy of a deleted resource.
func (p *Policies) Delete(tx store.Tx, resource string) error { return tx.Delete(key(resource)) }

// etag looks as Google's do: "BwX…=", eight bytes.
func etag(n uint64) string {
	raw := binary.BigEndian.AppendUint64(nil, n|0x0705<<48)
	return base64.StdEncoding.EncodeToString(raw)
}

// bindings normalises: one binding per role and condition, members without duplicates, in order; no empty bindings.
func (p *Policies) bindings(tx store.Tx, policy googleapi.Doc) ([]googleapi.Doc, bool, error) {
	byID := map[string]googleapi.Doc{}
	conditional := false
	for _, b := range policy.Docs("bindings") {
		role := b.String("role")
		if !roleName.MatchString(role) {
			return nil, false, googleapi.InvalidArgument("Role (%s) does not exist in the resource's hierarchy.", role)
		}
		id := role
		if c := b.Doc("condition"); len(c) > 0 {
			if c.String("expression") == "" || c.String("title") == "" {
				return nil, false, googleapi.InvalidArgument("A condition of role %s needs a title and an expression.", role)
			}
			conditional = true
			id += "\x00" + c.String("title") + "\x00" + c.String("expression")
		}
		for _, m := range b.Strings("members") {
			member, err := p.member(tx, m)
			if err != nil {
				return nil, false, err
			}
			if byID[id] == nil {
				byID[id] = googleapi.Doc{"role": role}
				if b.Has("condition") {
					byID[id]["condition"] = b["condition"]
				}
			}
			byID[id]["members"] = append(byID[id].Strings("members"), member)
		}
	}
	out := make([]googleapi.Doc, 0, len(byID))
	for _, b := range byID {
		members := b.Strings("members")
		slices.Sort(members)
		b["members"] = slices.Compact(members)
		out = append(out, b)
	}
	slices.SortFunc(out, func(a, b googleapi.Doc) int {
		return cmp.Or(cmp.Compare(a.String("role"), b.String("role")), cmp.Compare(a.String("condition", "title"), b.String("condition", "title")),
			cmp.Compare(a.String("condition", "expression"), b.String("condition", "expression")))
	})
	return out, conditional, nil
}

var (
	roleName  = regexp.MustCompile(`^(roles/[a-zA-Z][a-zA-Z0-9._]*|(projects|organizations)/[a-z0-9.:-]+/roles/[a-zA-Z0-9._]+)$`)
	emailForm = regexp.MustCompile(`^[^@\s:]+@[a-zA-Z0-9.-]+\.[a-zA-Z]+$`)
	// workload is the member of a Kubernetes service account: "<pool>[<namespace>/<name>]".
	workload = regexp.MustCompile(`^([a-z0-9.:-]+)\.svc\.id\.goog\[([a-z0-9-]+)/([a-z0-9.-]+)\]$`)
	own      = regexp.MustCompile(`^[a-z0-9-]+@([a-z0-9-]+)\.iam\.gserviceaccount\.com$`)
)

// member checks one member and gives it as Google writes it: emails in lower case.
func (p *Policies) member(tx store.Tx, m string) (string, error) {
	kind, id, found := strings.Cut(m, ":")
	switch {
	case m == "allUsers", m == "allAuthenticatedUsers":
		return m, nil
	case strings.HasPrefix(m, "principal://"), strings.HasPrefix(m, "principalSet://"):
		return m, nil
	case !found || id == "":
		return "", googleapi.InvalidArgument("The member %s is of an unknown type. Please set a valid type prefix for the member.", m)
	}
	switch kind {
	case "deleted", "projectOwner", "projectEditor", "projectViewer":
		return m, nil
	case "domain":
		return kind + ":" + strings.ToLower(id), nil
	case "serviceAccount":
		if w := workload.FindStringSubmatch(id); w != nil {
			return m, p.pool(tx, w[1])
		}
	case "user", "group":
	default:
		return "", googleapi.InvalidArgument("The member %s is of an unknown type. Please set a valid type prefix for the member.", m)
	}
	id = strings.ToLower(id)
	if !emailForm.MatchString(id) {
		return "", googleapi.InvalidArgument("Invalid argument: member %s is not an email address.", m)
	}
	if o := own.FindStringSubmatch(id); o != nil && kind == "serviceAccount" {
		if project, ok := p.core.Project(o[1]); ok && !tx.Has("iam/projects/"+project+"/serviceAccounts/"+id) {
			return "", googleapi.InvalidArgument("Service account %s does not exist.", id)
		}
	}
	return kind + ":" + id, nil
}

// pool refuses a workload identity pool that does not exist. Google makes a project's pool with its first cluster that
// has Workload Identity, and keeps it; until then a binding to one of its identities fails, which surprises on the first
// deployment and so must surprise here.
func (p *Policies) pool(tx store.Tx, name string) error {
	missing := googleapi.InvalidArgument("Identity Pool does not exist (%s.svc.id.goog). Please check that you specified a valid resource name as returned in the `name` attribute in the configuration API.", name)
	project, ok := p.core.Project(name)
	if !ok {
		return missing
	}
	marker := "iam/projects/" + project + "/gkeWorkloadIdentityPool"
	if tx.Has(marker) {
		return nil
	}
	clusters := "container/projects/" + project + "/locations/"
	exists := false
	err := tx.List(clusters, func(_ string, raw []byte) error {
		exists = exists || strings.Contains(string(raw), `"workloadPool":"`+name+`.svc.id.goog"`)
		return nil
	})
	if err != nil {
		return err
	}
	if !exists {
		return missing
	}
	return tx.Put(marker, googleapi.Doc{"name": name + ".svc.id.goog"})
}
