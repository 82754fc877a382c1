package inside

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"patag/infra/sandbox/store"
)

const (
	// accountAnnotation on a Kubernetes service account names the Google service account that it acts as.
	accountAnnotation = "iam.gke.io/gcp-service-account"
	workloadRole      = "roles/iam.workloadIdentityUser"
	cloudPlatform     = "https://www.googleapis.com/auth/cloud-platform"
)

// identity is who a caller of the metadata server is.
type identity struct {
	// email is shown as the account's; principal is the IAM member that tokens are made out to.
	email, principal string
	scopes           []string
	// member is the pod's Kubernetes identity, which must be allowed to act as the account; empty for a node.
	member string
	// own is true for a pod that acts as itself, without a Google service account.
	own bool
}

// statusError carries an HTTP status.
type statusError struct {
	status int
	text   string
}

func (e *statusError) Error() string { return e.text }

// identify tells who calls from an address on a node.
func (m *metadata) identify(ctx context.Context, ip netip.Addr) (identity, error) {
	spec := m.running.Spec
	if spec.WorkloadPool == "" {
		return m.nodeIdentity()
	}
	if !spec.PodCIDR.Contains(ip) { // the node itself, or a pod of its network
		return m.nodeIdentity()
	}
	pod, err := m.watch.pod(ctx, ip, m.node)
	if err != nil {
		return identity{}, &statusError{http.StatusServiceUnavailable, err.Error()}
	}
	if pod == nil {
		return identity{}, &statusError{http.StatusForbidden, fmt.Sprintf("no pod of this cluster has the address %s", ip)}
	}
	return m.podIdentity(pod)
}

func (m *metadata) podIdentity(pod *corev1.Pod) (identity, error) {
	pool := m.running.Spec.WorkloadPool
	name := pod.Spec.ServiceAccountName
	if name == "" {
		name = "default"
	}
	id := identity{member: fmt.Sprintf("serviceAccount:%s[%s/%s]", pool, pod.Namespace, name), scopes: []string{cloudPlatform}}
	if ksa := m.watch.account(pod.Namespace, name); ksa != nil {
		id.email = ksa.Annotations[accountAnnotation]
	}
	if id.email == "" {
		id.email, id.principal, id.own = pool, id.member, true
		return id, nil
	}
	id.principal = "serviceAccount:" + id.email
	return id, nil
}

// nodeIdentity is the service account of the node's virtual machine.
func (m *metadata) nodeIdentity() (identity, error) {
	vm, err := m.instance()
	if err != nil {
		return identity{}, err
	}
	// A virtual machine has at most one service account.
	if len(vm.ServiceAccounts) > 0 && vm.ServiceAccounts[0].Email != "default" && vm.ServiceAccounts[0].Email != "" {
		a := vm.ServiceAccounts[0]
		return identity{email: a.Email, principal: "serviceAccount:" + a.Email, scopes: a.Scopes}, nil
	}
	email := m.ctl.ProjectNumber(m.running.Spec.Project) + "-compute@developer.gserviceaccount.com"
	return identity{email: email, principal: "serviceAccount:" + email, scopes: []string{cloudPlatform}}, nil
}

// virtualMachine is the part of a Compute Engine instance that metadata shows.
type virtualMachine struct {
	ID              json.Number `json:"id"`
	MachineType     string      `json:"machineType"`
	ServiceAccounts []struct {
		Email  string   `json:"email"`
		Scopes []string `json:"scopes"`
	} `json:"serviceAccounts"`
	Tags struct {
		Items []string `json:"items"`
	} `json:"tags"`
	Scheduling struct {
		Preemptible       bool   `json:"preemptible"`
		OnHostMaintenance string `json:"onHostMaintenance"`
		AutomaticRestart  *bool  `json:"automaticRestart"`
	} `json:"scheduling"`
	NetworkInterfaces []struct {
		NetworkIP string `json:"networkIP"`
	} `json:"networkInterfaces"`
}

func (m *metadata) instance() (virtualMachine, error) {
	var vm virtualMachine
	key := "compute/projects/" + m.running.Spec.Project + "/zones/" + m.zone() + "/instances/" + m.node
	var raw map[string]json.RawMessage
	found, err := m.ctl.Store.Get(key, &raw)
	if err != nil || !found {
		return vm, err
	}
	// The id is a string in Google's JSON, a number to us.
	if id := strings.Trim(string(raw["id"]), `"`); id != "" {
		raw["id"] = json.RawMessage(id)
	}
	whole, err := json.Marshal(raw)
	if err != nil {
		return vm, err
	}
	return vm, json.Unmarshal(whole, &vm)
}

// allowed checks that the identity may act as its Google service account, as IAM does when GKE's metadata server
// asks for a token.
func (m *metadata) allowed(id identity) error {
	if id.member == "" || id.own {
		return nil
	}
	project := accountProject(id.email)
	key := "iam/projects/" + project + "/serviceAccounts/" + id.email
	denied := func(why string) error {
		return &statusError{http.StatusForbidden, fmt.Sprintf("Unable to generate access token; IAM returned 403 Forbidden: "+
			"Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).\n"+
			"This error could be caused by a missing IAM policy binding on the target IAM service account.\n"+
			"For more information, refer to the Workload Identity documentation:\n\thttps://cloud.google.com/kubernetes-engine/docs/how-to/workload-identity#authenticating_to\n(sandbox: %s)\n", why)}
	}
	var account struct{ Disabled bool }
	var policy struct {
		Bindings []struct {
			Role    string   `json:"role"`
			Members []string `json:"members"`
		} `json:"bindings"`
	}
	var found bool
	err := m.ctl.Store.View(func(tx store.Tx) (err error) {
		if found, err = tx.Get(key, &account); err != nil || !found {
			return err
		}
		_, err = tx.Get("policy/"+key, &policy)
		return err
	})
	switch {
	case err != nil:
		return err
	case !found:
		return &statusError{http.StatusNotFound, fmt.Sprintf("Unable to generate access token; IAM returned 404 Not Found: Not found; Gaia id not found for email %s\n", id.email)}
	case account.Disabled:
		return denied("the service account " + id.email + " is disabled")
	}
	for _, b := range policy.Bindings {
		if b.Role == workloadRole && slices.Contains(b.Members, id.member) {
			return nil
		}
	}
	return denied(fmt.Sprintf("the policy of %s has no binding of %s to %s", id.email, workloadRole, id.member))
}

// accountProject is the project of a service account, which is in its name.
func accountProject(email string) string {
	_, domain, _ := strings.Cut(email, "@")
	return strings.TrimSuffix(domain, ".iam.gserviceaccount.com")
}
