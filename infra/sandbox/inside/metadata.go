package inside

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"patag/infra/sandbox/cluster"
	"patag/infra/sandbox/inside/tokens"
)

// metadata is the metadata server of one node.
type metadata struct {
	ctl     *Controller
	running cluster.Running
	watch   *watch
	node    string
	logger  *slog.Logger
}

const root = "/computeMetadata/v1"

func (m *metadata) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Metadata-Flavor", "Google")
	h.Set("Server", "GKE Metadata Server")
	h.Set("X-Xss-Protection", "0")
	h.Set("X-Frame-Options", "SAMEORIGIN")
	h.Set("Content-Type", "application/text")
	err := m.serve(w, r)
	if err == nil {
		return
	}
	var se *statusError
	if !errors.As(err, &se) {
		m.logger.Error("metadata server", "node", m.node, "path", r.URL.Path, "err", err)
		se = &statusError{http.StatusInternalServerError, err.Error()}
	}
	h.Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(se.status)
	fmt.Fprintln(w, strings.TrimSuffix(se.text, "\n"))
}

func (m *metadata) serve(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return &statusError{http.StatusMethodNotAllowed, "the metadata server takes GET only"}
	}
	switch r.URL.Path {
	case "/":
		fmt.Fprint(w, "computeMetadata/\n") // what libraries ask for to learn whether they are at Google
		return nil
	case "/computeMetadata", "/computeMetadata/":
		fmt.Fprint(w, "v1/\n")
		return nil
	case "/healthz":
		fmt.Fprint(w, "ok\n")
		return nil
	}
	rest, ok := strings.CutPrefix(r.URL.Path, root)
	if !ok || rest != "" && rest[0] != '/' {
		return &statusError{http.StatusNotFound, "there is only " + root + "/"}
	}
	// Both keep a browser or a proxy from being made to fetch tokens.
	if r.Header.Get("Metadata-Flavor") != "Google" {
		return &statusError{http.StatusForbidden, "Missing Metadata-Flavor:Google header."}
	}
	if r.Header.Get("X-Forwarded-For") != "" {
		return &statusError{http.StatusForbidden, "requests with an X-Forwarded-For header are refused"}
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return &statusError{http.StatusForbidden, "the caller's address is not known"}
	}
	id, err := m.identify(r.Context(), peer.Addr().Unmap())
	if err != nil {
		return err
	}
	return m.answer(w, r, strings.TrimPrefix(rest, "/"), id)
}

// answer shows one value or folder, at once or when it changes.
func (m *metadata) answer(w http.ResponseWriter, r *http.Request, path string, id identity) error {
	q := r.URL.Query()
	wait := q.Get("wait_for_change") == "true"
	last := q.Get("last_etag")
	ctx := r.Context()
	if s := q.Get("timeout_sec"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 {
			return &statusError{http.StatusBadRequest, fmt.Sprintf("timeout_sec=%q is not a number of seconds", s)}
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(n)*time.Second)
		defer cancel()
	}
	for {
		preempted, changed := m.ctl.isPreempted(m.node)
		tree, err := m.tree(id, preempted)
		if err != nil {
			return err
		}
		v, isDir, err := tree.find(path)
		if err != nil {
			return err
		}
		if isDir && !strings.HasSuffix(path, "/") && path != "" && q.Get("recursive") != "true" {
			w.Header().Set("Location", r.URL.Path+"/")
			w.WriteHeader(http.StatusMovedPermanently)
			return nil
		}
		if call, ok := v.(action); ok {
			return call(w, r)
		}
		body, contentType := render(v, q.Get("recursive") == "true", q.Get("alt"))
		sum := sha256.Sum256([]byte(body))
		etag := hex.EncodeToString(sum[:8])
		if wait {
			if last == "" {
				last = etag
			}
			if etag == last {
				select {
				case <-changed:
					continue
				case <-ctx.Done(): // what is now is answered, as Google does
				}
			}
		}
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Etag", etag)
		fmt.Fprint(w, body)
		return nil
	}
}

// action is a value that is made for each request, and is not part of recursive answers.
type action func(w http.ResponseWriter, r *http.Request) error

func (m *metadata) zone() string { return m.label("topology.kubernetes.io/zone") }

func (m *metadata) label(name string) string {
	obj, ok, err := m.watch.nodes.GetByKey(m.node)
	if err != nil || !ok {
		return ""
	}
	return obj.(*corev1.Node).Labels[name]
}

func (m *metadata) tree(id identity, preempted bool) (dir, error) {
	spec := m.running.Spec
	vm, err := m.instance()
	if err != nil {
		return nil, err
	}
	number := m.ctl.ProjectNumber(spec.Project)
	numeric, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("project number %q: %w", number, err)
	}
	vmID := vm.ID
	if vmID == "" {
		vmID = json.Number(tokens.UniqueID(m.node)[:19])
	}
	account := m.account(id)
	yes := func(b bool) string { return strings.ToUpper(strconv.FormatBool(b)) }
	machineType := vm.MachineType[strings.LastIndex(vm.MachineType, "/")+1:]
	if machineType == "" {
		machineType = m.label("node.kubernetes.io/instance-type")
	}
	maintenance := vm.Scheduling.OnHostMaintenance
	if maintenance == "" {
		maintenance = "MIGRATE"
	}
	restart := vm.Scheduling.AutomaticRestart == nil || *vm.Scheduling.AutomaticRestart
	interfaces := dir{}
	for i, n := range vm.NetworkInterfaces {
		interfaces[strconv.Itoa(i)] = dir{"ip": n.NetworkIP}
	}
	tags := vm.Tags.Items
	if tags == nil {
		tags = []string{}
	}
	return dir{
		"project": dir{"project-id": spec.Project, "numeric-project-id": numeric, "attributes": dir{}},
		"instance": dir{
			"id": vmID, "name": m.node, "hostname": fmt.Sprintf("%s.%s.c.%s.internal", m.node, m.zone(), spec.Project),
			"zone": fmt.Sprintf("projects/%s/zones/%s", number, m.zone()), "machine-type": fmt.Sprintf("projects/%s/machineTypes/%s", number, machineType),
			"attributes":        dir{"cluster-name": spec.Name, "cluster-location": spec.Location, "cluster-uid": m.watch.uid},
			"preempted":         yes(preempted),
			"maintenance-event": "NONE",
			"scheduling":        dir{"preemptible": yes(vm.Scheduling.Preemptible), "automatic-restart": yes(restart), "on-host-maintenance": maintenance},
			"tags":              tags, "network-interfaces": interfaces,
			"service-accounts": dir{"default": account, id.email: account},
		},
	}, nil
}

func (m *metadata) account(id identity) dir {
	return dir{
		"aliases": list{"default"}, "email": id.email, "scopes": list(id.scopes),
		"token":    action(func(w http.ResponseWriter, r *http.Request) error { return m.token(w, r, id) }),
		"identity": action(func(w http.ResponseWriter, r *http.Request) error { return m.identityToken(w, r, id) }),
	}
}

func (m *metadata) token(w http.ResponseWriter, r *http.Request, id identity) error {
	if err := m.allowed(id); err != nil {
		return err
	}
	scopes := id.scopes
	if asked := r.URL.Query().Get("scopes"); asked != "" {
		scopes = strings.Split(asked, ",")
		// A node's tokens are limited to what its virtual machine was made with; a pod's are not.
		if id.member == "" && !slices.Contains(id.scopes, cloudPlatform) {
			scopes = slices.DeleteFunc(scopes, func(s string) bool { return !slices.Contains(id.scopes, s) })
		}
	}
	token, expires := m.ctl.Tokens.Access(id.principal, scopes, 0)
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
		TokenType   string `json:"token_type"`
	}{token, max(int(time.Until(expires).Seconds()), 0), "Bearer"})
}

func (m *metadata) identityToken(w http.ResponseWriter, r *http.Request, id identity) error {
	audience := r.URL.Query().Get("audience")
	if audience == "" {
		return &statusError{http.StatusBadRequest, "non-empty audience parameter required"}
	}
	if id.own {
		return &statusError{http.StatusNotFound, "identity tokens need a Google service account: annotate the Kubernetes service account with " + accountAnnotation}
	}
	if err := m.allowed(id); err != nil {
		return err
	}
	token, err := m.ctl.Tokens.Identity(id.email, audience, r.URL.Query().Get("format") == "full")
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/html")
	fmt.Fprint(w, token)
	return nil
}
