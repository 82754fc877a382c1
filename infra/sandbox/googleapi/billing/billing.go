// Package billing is Cloud Billing (which account pays for a project) and billing budgets. Nothing costs anything in the sandbox, so
// budgets are kept but never reached.
package billing

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"

	budgets "google.golang.org/api/billingbudgets/v1"
	api "google.golang.org/api/cloudbilling/v1"

	"patag/infra/sandbox/googleapi"
	"patag/infra/sandbox/googleapi/collection"
	"patag/infra/sandbox/googleapi/monitoring"
	"patag/infra/sandbox/store"
)

// Account is the billing account that a sandbox's projects have until they are given another; Currency is the accounts' currency.
const (
	Account  = "0A1B2C-3D4E5F-6A7B8C"
	Currency = "EUR"
)

var accountID = regexp.MustCompile(`^[0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6}$`)

type server struct{ core *googleapi.Core }

// Register serves cloudbilling and billingbudgets.
func Register(core *googleapi.Core) {
	s := &server{core}
	b := core.Service("cloudbilling")
	b.Handle("GET", "v1/projects/{project}/billingInfo", s.get)
	b.Handle("PUT", "v1/projects/{project}/billingInfo", s.put)
	b.Handle("GET", "v1/billingAccounts", s.accounts)
	b.Handle("GET", "v1/billingAccounts/{account}", s.account)
	b.Handle("GET", "v1/billingAccounts/{account}/projects", s.projects)
	collection.Handle(core.Service("billingbudgets"), collection.Type{
		Pattern: "v1/billingAccounts/{account}/budgets", Like: budgets.GoogleCloudBillingBudgetsV1Budget{}, List: "budgets", Kind: "Budget", Etag: true, Limit: 1000,
		ID: func(c *collection.Change) (string, error) { return newID(c) }, Fill: s.fillBudget,
		Parent: func(_ store.Tx, r *googleapi.Request) error { return checkAccount(r.Var("account")) },
	})
}

func checkAccount(id string) error {
	if !accountID.MatchString(id) {
		return googleapi.InvalidArgument("billingAccounts/%s is not the name of a billing account (XXXXXX-XXXXXX-XXXXXX).", id)
	}
	return nil
}

func newID(c *collection.Change) (string, error) {
	n, err := c.Tx.Next()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(fmt.Append(nil, c.Request.Path(), n))
	h := hex.EncodeToString(sum[:16]) // Google's are UUIDs
	return strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:32]}, "-"), nil
}

func (s *server) fillBudget(c *collection.Change) error {
	d := c.New
	amount := d.Doc("amount")
	if amount.Has("specifiedAmount") == amount.Has("lastPeriodAmount") {
		return googleapi.InvalidArgument("budget.amount is required: either specifiedAmount or lastPeriodAmount.")
	}
	if m := amount.Doc("specifiedAmount"); m != nil {
		m.Default("currencyCode", Currency)
		if m["currencyCode"] != Currency {
			return googleapi.InvalidArgument("The currency code %v does not match the billing account's currency %s.", m["currencyCode"], Currency)
		}
	}
	f := d.Sub("budgetFilter")
	f.Default("creditTypesTreatment", "INCLUDE_ALL_CREDITS")
	if !f.Has("customPeriod") {
		f.Default("calendarPeriod", "MONTH")
	}
	if len(f.Strings("creditTypes")) > 0 && f["creditTypesTreatment"] != "INCLUDE_SPECIFIED_CREDITS" {
		return googleapi.InvalidArgument("budgetFilter.creditTypes needs creditTypesTreatment INCLUDE_SPECIFIED_CREDITS.")
	}
	var projects []any
	for _, p := range f.Strings("projects") {
		id, ok := s.core.Project(strings.TrimPrefix(p, "projects/"))
		if !ok {
			return googleapi.InvalidArgument("Project %q of the budget filter does not exist.", p)
		}
		projects = append(projects, "projects/"+googleapi.ProjectNumber(id)) // Google answers with the number
	}
	if projects != nil {
		f["projects"] = projects
	}
	for _, r := range d.Docs("thresholdRules") {
		r.Default("spendBasis", "CURRENT_SPEND")
		if p, _ := r["thresholdPercent"].(float64); p < 0 {
			return googleapi.InvalidArgument("thresholdRules.thresholdPercent must not be negative.")
		}
	}
	n := d.Sub("notificationsRule")
	if n.Has("pubsubTopic") {
		n.Default("schemaVersion", "1.0")
	}
	channels := n.Strings("monitoringNotificationChannels")
	if len(channels) > 5 {
		return googleapi.InvalidArgument("notificationsRule has %d notification channels; at most 5 are possible.", len(channels))
	}
	for _, ch := range channels {
		if !c.Tx.Has(monitoring.ChannelKey(s.core, ch)) {
			return googleapi.InvalidArgument("Notification channel %q does not exist.", ch)
		}
	}
	return nil
}

func infoKey(project string) string { return "cloudbilling/projects/" + project + "/billingInfo" }

func (s *server) info(tx store.Tx, project string) (googleapi.Doc, error) {
	d := googleapi.Doc{"name": "projects/" + project + "/billingInfo", "projectId": project, "billingAccountName": "billingAccounts/" + Account, "billingEnabled": true}
	_, err := tx.Get(infoKey(project), &d)
	return d, err
}

func (s *server) project(r *googleapi.Request) (string, error) {
	id, ok := s.core.Project(r.Var("project"))
	if !ok {
		return "", googleapi.PermissionDenied("The caller does not have permission, or the project %s does not exist.", r.Var("project"))
	}
	return id, nil
}

func (s *server) get(_ context.Context, r *googleapi.Request) (any, error) {
	project, err := s.project(r)
	if err != nil {
		return nil, err
	}
	var d googleapi.Doc
	err = s.core.Store().View(func(tx store.Tx) (err error) { d, err = s.info(tx, project); return err })
	return d, err
}

func (s *server) put(_ context.Context, r *googleapi.Request) (any, error) {
	project, err := s.project(r)
	if err != nil {
		return nil, err
	}
	var body api.ProjectBillingInfo
	if err := r.Decode(&body); err != nil {
		return nil, err
	}
	d := googleapi.Doc{"name": "projects/" + project + "/billingInfo", "projectId": project, "billingEnabled": body.BillingAccountName != ""}
	if body.BillingAccountName != "" {
		if err := checkAccount(strings.TrimPrefix(body.BillingAccountName, "billingAccounts/")); err != nil {
			return nil, err
		}
		d["billingAccountName"] = body.BillingAccountName
	}
	return d, s.core.Store().Put(infoKey(project), d)
}

func account(id string) googleapi.Doc {
	return googleapi.Doc{"name": "billingAccounts/" + id, "open": true, "displayName": "Sandbox billing account", "currencyCode": Currency}
}

// known are the default account and those that projects were given.
func (s *server) known() ([]string, error) {
	ids := []string{Account}
	err := s.core.Store().View(func(tx store.Tx) error {
		for _, p := range s.core.Projects() {
			d, err := s.info(tx, p)
			if err != nil {
				return err
			}
			if id := strings.TrimPrefix(d.String("billingAccountName"), "billingAccounts/"); id != "" {
				ids = append(ids, id)
			}
		}
		return nil
	})
	slices.Sort(ids)
	return slices.Compact(ids), err
}

func (s *server) accounts(context.Context, *googleapi.Request) (any, error) {
	ids, err := s.known()
	var docs []googleapi.Doc
	for _, id := range ids {
		docs = append(docs, account(id))
	}
	return googleapi.Doc{"billingAccounts": docs}, err
}

func (s *server) account(_ context.Context, r *googleapi.Request) (any, error) {
	if err := checkAccount(r.Var("account")); err != nil {
		return nil, err
	}
	return account(r.Var("account")), nil
}

func (s *server) projects(_ context.Context, r *googleapi.Request) (any, error) {
	var docs []googleapi.Doc
	err := s.core.Store().View(func(tx store.Tx) error {
		for _, p := range s.core.Projects() {
			d, err := s.info(tx, p)
			if err != nil {
				return err
			}
			if d["billingAccountName"] == "billingAccounts/"+r.Var("account") {
				docs = append(docs, d)
			}
		}
		return nil
	})
	return googleapi.Doc{"projectBillingInfo": docs}, err
}
