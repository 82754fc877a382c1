// Package monitoring is Cloud Monitoring: notification channels, uptime checks, alert policies, services with their objectives,
// dashboards, metric descriptors, and time series through the store of package series. Alert policies and uptime checks are kept
// as configuration; the sandbox does not evaluate or probe them.
package monitoring

import (
	"crypto/rand"
	"encoding/base64"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	dashboards "google.golang.org/api/monitoring/v1"
	api "google.golang.org/api/monitoring/v3"

	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/googleapi/collection"
	"patag/infra/sandbox/series"
	"patag/infra/sandbox/store"
)

type server struct {
	core   *googleapi.Core
	series *series.Store
}

// Register serves Cloud Monitoring, v3 and the dashboards of v1.
func Register(core *googleapi.Core, store *series.Store) {
	s := &server{core, store}
	svc := core.Service("monitoring")
	project := s.project
	collection.Handle(svc, collection.Type{
		Pattern: "v3/projects/{project}/alertPolicies", Like: api.AlertPolicy{}, List: "alertPolicies", Kind: "Alerting policy", ID: numberID, Fill: fillPolicy, Parent: project,
		Output: []string{"creationRecord", "mutationRecord"}, NotFound: notFound("alert policy"),
	})
	collection.Handle(svc, collection.Type{
		Pattern: "v3/projects/{project}/notificationChannels", Like: api.NotificationChannel{}, List: "notificationChannels", Kind: "Notification channel", ID: numberID, Fill: fillChannel,
		Parent: project, Output: []string{"creationRecord", "mutationRecords", "verificationStatus"}, Deleting: deletingChannel, View: hideSecrets, NotFound: notFound("notification channel"),
	})
	collection.Handle(svc, collection.Type{
		Pattern: "v3/projects/{project}/uptimeCheckConfigs", Like: api.UptimeCheckConfig{}, List: "uptimeCheckConfigs", Kind: "Uptime check", ID: uptimeID, Fill: fillUptime, Parent: project,
		View: hideUptimeSecrets, NotFound: notFound("uptime check configuration"),
	})
	collection.Handle(svc, collection.Type{
		Pattern: "v3/projects/{project}/services", Like: api.MService{}, List: "services", Kind: "Service", ID: optionalID("serviceId"), Parent: project, NotFound: notFound("service"),
		Fill: fillService, Deleting: deletingService,
	})
	collection.Handle(svc, collection.Type{
		Pattern: "v3/projects/{project}/services/{service}/serviceLevelObjectives", Like: api.ServiceLevelObjective{}, List: "serviceLevelObjectives", Kind: "Service level objective",
		ID: optionalID("serviceLevelObjectiveId"), Fill: fillObjective, Parent: serviceExists, NotFound: notFound("service level objective"),
	})
	collection.Handle(svc, collection.Type{
		Pattern: "v1/projects/{project}/dashboards", Like: dashboards.Dashboard{}, List: "dashboards", Kind: "Dashboard", Etag: true, ReplaceAll: true, Limit: 1000,
		ID: dashboardID, Parent: project, NotFound: notFound("dashboard"), Fill: fillDashboard,
		Name: func(r *googleapi.Request, _, id string) string {
			return "projects/" + googleapi.ProjectNumber(r.Var("project")) + "/dashboards/" + id
		},
	})
	s.handleDescriptors(svc)
	svc.Handle("POST", "v3/projects/{project}/timeSeries", s.write)
	svc.Handle("POST", "v3/projects/{project}/timeSeries:createService", s.write)
	svc.Handle("GET", "v3/projects/{project}/timeSeries", s.list)
}

func (s *server) project(_ store.Tx, r *googleapi.Request) error {
	if _, ok := s.core.Project(r.Var("project")); !ok {
		return googleapi.PermissionDenied("Permission denied (or the resource may not exist): project %s.", r.Var("project"))
	}
	return nil
}

func notFound(what string) func(string) error {
	return func(name string) error { return googleapi.NotFound("Cannot find %s %s.", what, name) }
}

// numberID gives ids as those of policies and channels look: up to 19 digits.
func numberID(c *collection.Change) (string, error) {
	var b [8]byte
	rand.Read(b[:])
	n := uint64(0)
	for _, x := range b {
		n = n<<8 | uint64(x)
	}
	return strconv.FormatUint(n>>2|1<<60, 10), nil
}

func random(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

var chosenID = regexp.MustCompile(`^[a-zA-Z0-9-]{1,64}$`)

func optionalID(param string) func(c *collection.Change) (string, error) {
	return func(c *collection.Change) (string, error) {
		id := c.Request.Query(param)
		if id == "" {
			return strings.NewReplacer("-", "x", "_", "y").Replace(random(16)), nil
		}
		if !chosenID.MatchString(id) {
			return "", googleapi.InvalidArgument("Field %s had an invalid value of %q: it must match [a-zA-Z0-9\\-]+.", param, id)
		}
		return id, nil
	}
}

func mutation(r *googleapi.Request, now time.Time) googleapi.Doc {
	return googleapi.Doc{"mutateTime": googleapi.Timestamp(now), "mutatedBy": r.Principal}
}

// seconds checks a duration in Google's form, within limits.
func seconds(field, v string, low, high time.Duration) error {
	d, err := time.ParseDuration(v)
	if err != nil || !strings.HasSuffix(v, "s") || strings.ContainsAny(v, "hm") || d < low || d > high {
		return googleapi.InvalidArgument("Field %s had an invalid value of %q: a duration between %vs and %vs is expected.", field, v, low.Seconds(), high.Seconds())
	}
	return nil
}

func required(field string) error {
	return googleapi.InvalidArgument("Field %s had an invalid value: it is required.", field)
}

func fillPolicy(c *collection.Change) error {
	d := c.New
	d.Default("enabled", true)
	d["mutationRecord"] = mutation(c.Request, c.Now)
	if c.Old == nil {
		d["creationRecord"] = d["mutationRecord"]
	}
	if d.String("displayName") == "" {
		return required("alert_policy.display_name")
	}
	switch d.Default("combiner", "OR"); d.String("combiner") {
	case "AND", "OR", "AND_WITH_MATCHING_RESOURCE":
	default:
		return googleapi.InvalidArgument("Field alert_policy.combiner had an invalid value of %q.", d.String("combiner"))
	}
	conditions := d.Docs("conditions")
	if len(conditions) == 0 || len(conditions) > 6 {
		return googleapi.InvalidArgument("Field alert_policy.conditions had an invalid value: there must be between 1 and 6 conditions, not %d.", len(conditions))
	}
	for i, cond := range conditions {
		n := 0
		for _, kind := range []string{"conditionThreshold", "conditionAbsent", "conditionMatchedLog", "conditionMonitoringQueryLanguage", "conditionPrometheusQueryLanguage", "conditionSql"} {
			if !cond.Has(kind) {
				continue
			}
			n++
			if (kind == "conditionThreshold" || kind == "conditionAbsent") && cond.String(kind, "filter") == "" {
				return required("alert_policy.conditions[" + strconv.Itoa(i) + "].filter")
			}
			if kind == "conditionThreshold" {
				cond.Doc(kind).Default("duration", "0s")
				if !slices.Contains([]string{"COMPARISON_GT", "COMPARISON_LT"}, cond.String(kind, "comparison")) {
					return googleapi.InvalidArgument("Field alert_policy.conditions[%d].condition_threshold.comparison had an invalid value of %q: only COMPARISON_GT and COMPARISON_LT are supported.", i, cond.String(kind, "comparison"))
				}
			}
		}
		if n != 1 {
			return googleapi.InvalidArgument("Field alert_policy.conditions[%d] had an invalid value: it must have exactly one kind of condition, not %d.", i, n)
		}
		if !cond.Has("name") {
			id, err := numberID(c)
			if err != nil {
				return err
			}
			cond["name"] = d.String("name") + "/conditions/" + id
		}
	}
	if doc := d.Doc("documentation"); doc != nil && doc.Has("content") {
		doc.Default("mimeType", "text/markdown")
	}
	var channels []any
	for _, ch := range d.Strings("notificationChannels") {
		key := ChannelKey(c.Service.Core(), ch)
		if !c.Tx.Has(key) {
			return googleapi.NotFound("Cannot find notification channel %s used by the alert policy.", ch)
		}
		channels = append(channels, strings.TrimPrefix(key, "monitoring/"))
	}
	if channels != nil {
		d["notificationChannels"] = channels
	}
	return nil
}

// ChannelKey is where the notification channel of that name is kept; the name may have the project's id or its number.
func ChannelKey(core *googleapi.Core, name string) string {
	parts := strings.Split(name, "/")
	if len(parts) > 1 {
		if id, ok := core.Project(parts[1]); ok {
			parts[1] = id
		}
	}
	return "monitoring/" + strings.Join(parts, "/")
}

// channelTypes are Google's kinds of channels, with the labels each must have.
var channelTypes = map[string][]string{
	"email": {"email_address"}, "sms": {"number"}, "slack": {"channel_name"}, "pagerduty": {"service_key"}, "webhook_basicauth": {"url"}, "webhook_tokenauth": {"url"},
	"pubsub": {"topic"}, "google_chat": {"space"}, "cloud_mobile": nil, "campfire": nil, "hipchat": nil,
}

func fillChannel(c *collection.Change) error {
	d := c.New
	d.Default("enabled", true)
	labels, known := channelTypes[d.String("type")]
	if !known {
		return googleapi.InvalidArgument("Field notification_channel.type had an invalid value of %q: no such channel type.", d.String("type"))
	}
	if c.Old != nil && c.Old["type"] != d["type"] {
		return googleapi.InvalidArgument("Field notification_channel.type is immutable.")
	}
	for _, l := range labels {
		if d.String("labels", l) == "" {
			return googleapi.InvalidArgument("Field notification_channel.labels[%q] had an invalid value: it is required for channels of type %s.", l, d.String("type"))
		}
	}
	for _, l := range sensitive { // what was read back masked keeps its value
		if v := d.String("labels", l); v != "" && v == mask(c.Old.String("labels", l)) {
			d.Doc("labels")[l] = c.Old.String("labels", l)
		}
	}
	m := mutation(c.Request, c.Now)
	if c.Old == nil {
		d["creationRecord"] = m
	}
	records, _ := c.Old["mutationRecords"].([]any)
	d["mutationRecords"] = append([]any{map[string]any(m)}, records[:min(len(records), 9)]...)
	return nil
}

var sensitive = []string{"auth_token", "password", "service_key"}

// mask shows the last four characters of a long secret, as Google does.
func mask(v string) string {
	if len(v) <= 8 {
		return strings.Repeat("*", len(v))
	}
	return strings.Repeat("*", len(v)-4) + v[len(v)-4:]
}

func hideSecrets(d googleapi.Doc) googleapi.Doc {
	for _, l := range sensitive {
		if v := d.String("labels", l); v != "" {
			d.Doc("labels")[l] = mask(v)
		}
	}
	return d
}

// deletingChannel refuses while alert policies use the channel, unless forced; then it is taken out of them.
func deletingChannel(c *collection.Change) error {
	policies, err := googleapi.Children(c.Tx, "monitoring/projects/"+c.Project()+"/alertPolicies")
	if err != nil {
		return err
	}
	name := c.Old.String("name")
	for _, p := range policies {
		channels := p.Strings("notificationChannels")
		if !slices.Contains(channels, name) {
			continue
		}
		if c.Request.Query("force") != "true" {
			return googleapi.FailedPrecondition("Cannot delete notification channel %s: it is used by alert policy %s. Remove it there, or delete it with force.", name, p.String("name"))
		}
		p["notificationChannels"] = slices.DeleteFunc(channels, func(ch string) bool { return ch == name })
		if err := c.Tx.Put("monitoring/"+p.String("name"), p); err != nil {
			return err
		}
	}
	return nil
}

var slug = regexp.MustCompile(`[^a-z0-9]+`)

func uptimeID(c *collection.Change) (string, error) {
	name := strings.Trim(slug.ReplaceAllString(strings.ToLower(c.New.String("displayName")), "-"), "-")
	if name == "" {
		return "", required("uptime_check_config.display_name")
	}
	return name + "-" + random(8), nil
}

func fillUptime(c *collection.Change) error {
	d := c.New
	d.Default("period", "60s")
	d.Default("timeout", "10s")
	d.Default("checkerType", "STATIC_IP_CHECKERS")
	if p := d.String("period"); !slices.Contains([]string{"60s", "300s", "600s", "900s"}, p) {
		return googleapi.InvalidArgument("Field uptime_check_config.period had an invalid value of %q: 60s, 300s, 600s and 900s are supported.", p)
	}
	if err := seconds("uptime_check_config.timeout", d.String("timeout"), time.Second, time.Minute); err != nil {
		return err
	}
	if d.Has("httpCheck") == d.Has("tcpCheck") && !d.Has("syntheticMonitor") {
		return googleapi.InvalidArgument("Field uptime_check_config had an invalid value: either http_check or tcp_check is required.")
	}
	if d.Has("monitoredResource") == d.Has("resourceGroup") && !d.Has("syntheticMonitor") {
		return googleapi.InvalidArgument("Field uptime_check_config had an invalid value: either monitored_resource or resource_group is required.")
	}
	if m := d.Doc("monitoredResource"); m != nil {
		if m["type"] == "uptime_url" && d.String("monitoredResource", "labels", "host") == "" {
			return required("uptime_check_config.monitored_resource.labels[host]")
		}
		m.Sub("labels").Default("project_id", c.Project()) // Google adds it
	}
	if h := d.Doc("httpCheck"); h != nil {
		h.Default("requestMethod", "GET")
		h.Default("path", "/")
		if p := h.String("path"); !strings.HasPrefix(p, "/") {
			h["path"] = "/" + p
		}
		if h.Int("port") == 0 {
			h["port"] = 80
			if h.Bool("useSsl") {
				h["port"] = 443
			}
		}
		if h.Bool("validateSsl") && !h.Bool("useSsl") {
			return googleapi.InvalidArgument("Field uptime_check_config.http_check.validate_ssl needs use_ssl.")
		}
	}
	if t := d.Doc("tcpCheck"); t != nil && (t.Int("port") <= 0 || t.Int("port") > 65535) {
		return required("uptime_check_config.tcp_check.port")
	}
	for _, m := range d.Docs("contentMatchers") {
		m.Default("matcher", "CONTAINS_STRING")
	}
	return nil
}

func hideUptimeSecrets(d googleapi.Doc) googleapi.Doc {
	if a := d.Doc("httpCheck", "authInfo"); a != nil && a.Has("password") {
		a["password"] = "******"
	}
	if d.Bool("httpCheck", "maskHeaders") {
		for k := range d.Doc("httpCheck", "headers") {
			d.Doc("httpCheck", "headers")[k] = "******"
		}
	}
	return d
}
