package monitoring

import (
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/googleapi/collection"
	"patag/infra/sandbox/store"
)

func fillService(c *collection.Change) error {
	kinds := 0
	for _, k := range []string{"custom", "basicService", "appEngine", "cloudEndpoints", "clusterIstio", "meshIstio", "istioCanonicalService", "cloudRun", "gkeNamespace", "gkeWorkload", "gkeService"} {
		if c.New.Has(k) {
			kinds++
		}
	}
	if kinds != 1 {
		return googleapi.InvalidArgument("Field service.identifier had an invalid value: exactly one kind of service is required, not %d.", kinds)
	}
	return nil
}

func serviceExists(tx store.Tx, r *googleapi.Request) error {
	key := "monitoring/projects/" + r.Var("project") + "/services/" + r.Var("service")
	if !tx.Has(key) {
		return googleapi.NotFound("Cannot find service projects/%s/services/%s.", r.Var("project"), r.Var("service"))
	}
	return nil
}

// deletingService takes the service's objectives with it.
func deletingService(c *collection.Change) error {
	var keys []string
	if err := c.Tx.List(c.Key+"/", func(key string, _ []byte) error { keys = append(keys, key); return nil }); err != nil {
		return err
	}
	for _, key := range keys {
		if err := c.Tx.Delete(key); err != nil {
			return err
		}
	}
	return nil
}

func fillObjective(c *collection.Change) error {
	d := c.New
	goal, _ := d["goal"].(float64)
	if goal <= 0 || goal > 0.9999 {
		return googleapi.InvalidArgument("Field service_level_objective.goal had an invalid value of %v: it must be above 0 and at most 0.9999.", d["goal"])
	}
	if d.Has("rollingPeriod") == d.Has("calendarPeriod") {
		return googleapi.InvalidArgument("Field service_level_objective.period had an invalid value: either rolling_period or calendar_period is required.")
	}
	if p := d.String("rollingPeriod"); p != "" {
		if err := seconds("service_level_objective.rolling_period", p, 24*time.Hour, 30*24*time.Hour); err != nil {
			return err
		}
		if v, _ := time.ParseDuration(p); v%(24*time.Hour) != 0 {
			return googleapi.InvalidArgument("Field service_level_objective.rolling_period had an invalid value of %q: whole days are expected.", p)
		}
	}
	sli := d.Doc("serviceLevelIndicator")
	if len(sli) != 1 {
		return googleapi.InvalidArgument("Field service_level_objective.service_level_indicator had an invalid value: exactly one kind of indicator is required.")
	}
	return nil
}

func dashboardID(c *collection.Change) (string, error) {
	name := c.New.String("name")
	if name != "" {
		parts := strings.Split(name, "/")
		if len(parts) != 4 || parts[0] != "projects" || parts[2] != "dashboards" || !chosenID.MatchString(parts[3]) {
			return "", googleapi.InvalidArgument("Field dashboard.name had an invalid value of %q: projects/PROJECT/dashboards/ID is expected.", name)
		}
		return parts[3], nil
	}
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]), nil
}

func fillDashboard(c *collection.Change) error {
	if c.New.String("displayName") == "" {
		return required("dashboard.display_name")
	}
	layouts := 0
	for _, l := range []string{"gridLayout", "mosaicLayout", "rowLayout", "columnLayout"} {
		if c.New.Has(l) {
			layouts++
		}
	}
	if layouts > 1 {
		return googleapi.InvalidArgument("Field dashboard.layout had an invalid value: a dashboard has one layout, not %d.", layouts)
	}
	return nil
}
