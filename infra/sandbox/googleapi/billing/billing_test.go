package billing_test

import (
	"testing"

	budgets "google.golang.org/api/billingbudgets/v1"
	api "google.golang.org/api/cloudbilling/v1"

	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/googleapi/apitest"
	"patag/infra/sandbox/googleapi/billing"
	"patag/infra/sandbox/layout"
)

func TestBudget(t *testing.T) {
	s := apitest.Start(t, func(core *googleapi.Core, _ layout.Layout) { billing.Register(core) })
	collection := "/billingbudgets/v1/billingAccounts/" + billing.Account + "/budgets"
	s.Walk(t, apitest.Resource{
		Collection: collection, List: "budgets", Like: budgets.GoogleCloudBillingBudgetsV1Budget{}, Etag: 409,
		Body: `{"displayName":"ads","amount":{"specifiedAmount":{"units":"1500"}},"thresholdRules":[{"thresholdPercent":0.5}],"budgetFilter":{"projects":["projects/` + apitest.Project + `"]}}`,
		Want: map[string]any{"amount.specifiedAmount.currencyCode": "EUR", "budgetFilter.calendarPeriod": "MONTH", "budgetFilter.creditTypesTreatment": "INCLUDE_ALL_CREDITS",
			"budgetFilter.projects": []string{"projects/" + googleapi.ProjectNumber(apitest.Project)}, "thresholdRules": []any{map[string]any{"thresholdPercent": 0.5, "spendBasis": "CURRENT_SPEND"}}},
		Method: "PATCH", Mask: "displayName", Update: `{"displayName":"b"}`, Updated: map[string]any{"displayName": "b", "amount.specifiedAmount.units": "1500"},
		Refused: []apitest.Refusal{{Body: `{"displayName":"x"}`, Code: 400, Want: "amount"}, {Body: `{"amount":{"specifiedAmount":{"units":"1","currencyCode":"USD"}}}`, Code: 400, Want: "currency"},
			{Body: `{"amount":{"lastPeriodAmount":{}},"budgetFilter":{"projects":["projects/none"]}}`, Code: 400, Want: "none"},
			{Body: `{"amount":{"lastPeriodAmount":{}},"notificationsRule":{"monitoringNotificationChannels":["projects/x/notificationChannels/1"]}}`, Code: 400, Want: "does not exist"}},
	})
	if code, _ := s.Call("GET", "/billingbudgets/v1/billingAccounts/mine/budgets", nil); code != 400 {
		t.Errorf("a malformed account: %d", code)
	}
	c, err := api.NewService(t.Context(), s.Client("cloudbilling/")...)
	if err != nil {
		t.Fatal(err)
	}
	if i, err := c.Projects.GetBillingInfo("projects/" + apitest.Project).Do(); err != nil || !i.BillingEnabled || i.BillingAccountName != "billingAccounts/"+billing.Account {
		t.Errorf("info: %v %+v", err, i)
	}
	if _, err := c.Projects.UpdateBillingInfo("projects/"+apitest.Project, &api.ProjectBillingInfo{BillingAccountName: "billingAccounts/AAAAAA-BBBBBB-CCCCCC"}).Do(); err != nil {
		t.Error(err)
	}
	s.Restart()
	if l := s.Must("GET", "/cloudbilling/v1/billingAccounts/AAAAAA-BBBBBB-CCCCCC/projects", nil); len(l.Docs("projectBillingInfo")) != 1 {
		t.Errorf("projects of the other account: %v", l)
	}
}
