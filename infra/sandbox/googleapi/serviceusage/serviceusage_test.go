package serviceusage_test

import (
	"testing"

	api "google.golang.org/api/serviceusage/v1"

	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/googleapi/apitest"
	"patag/infra/sandbox/googleapi/serviceusage"
	"patag/infra/sandbox/layout"
)

func TestServices(t *testing.T) {
	s := apitest.Start(t, func(core *googleapi.Core, _ layout.Layout) { serviceusage.Register(core) })
	client := func() *api.Service {
		c, err := api.NewService(t.Context(), s.Client("serviceusage/")...)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := client()
	parent := "projects/" + apitest.Project
	name := parent + "/services/container.googleapis.com"
	if got, err := c.Services.Get(name).Do(); err != nil || got.State != "DISABLED" || got.Config.Title != "Kubernetes Engine API" {
		t.Fatalf("get: %v %+v", err, got)
	}
	op, err := c.Services.Enable(name, &api.EnableServiceRequest{}).Do()
	if err != nil || !op.Done {
		t.Fatalf("enable: %v %+v", err, op)
	}
	if got, err := c.Operations.Get(op.Name).Do(); err != nil || !got.Done {
		t.Errorf("operation: %v %+v", err, got)
	}
	if _, err := c.Services.BatchEnable(parent, &api.BatchEnableServicesRequest{ServiceIds: []string{"compute.googleapis.com", "dns.googleapis.com"}}).Do(); err != nil {
		t.Error(err)
	}
	s.Restart()
	c = client()
	on := map[string]bool{}
	err = c.Services.List(parent).Filter("state:ENABLED").PageSize(5).Pages(t.Context(), func(l *api.ListServicesResponse) error {
		for _, svc := range l.Services {
			on[svc.Config.Name] = true
		}
		return nil
	})
	if err != nil || !on["container.googleapis.com"] || !on["dns.googleapis.com"] || !on["logging.googleapis.com"] || on["redis.googleapis.com"] {
		t.Errorf("enabled: %v %v", err, on)
	}
	if _, err := c.Services.Disable(name, &api.DisableServiceRequest{}).Do(); err != nil {
		t.Error(err)
	}
	if got, err := c.Services.Get(name).Do(); err != nil || got.State != "DISABLED" {
		t.Errorf("disabled: %v %+v", err, got)
	}
	_, err = c.Services.Enable(parent+"/services/bogus", &api.EnableServiceRequest{}).Do()
	apitest.WantCode(t, err, 403)
	_, err = c.Services.Enable(parent+"/services/bogus.googleapis.com", &api.EnableServiceRequest{}).Do()
	apitest.WantCode(t, err, 501)
	_, err = c.Services.List("projects/other").Do()
	apitest.WantCode(t, err, 403)
	_, err = c.Services.List(parent).Filter("name:x").Do()
	apitest.WantCode(t, err, 400)
}
