package catalogue

import (
	"fmt"
	"regexp"
	"strings"
)

// sellerTypes of sellers.json.
var sellerTypes = []string{"PUBLISHER", "INTERMEDIARY", "BOTH"}

// relationships of ads.txt.
var relationships = []string{"DIRECT", "RESELLER"}

// parties checks who owns, sells and pays.
func (v *validator) parties() {
	each(v.c.Publishers, v.publisher)
	v.sellerIDs()
	for i := range v.c.Sites {
		s := &v.c.Sites[i]
		v.at("sites", s.ID)
		v.named(s.Name)
		v.refers("publisher", s.Publisher, "publisher", v.publishers[s.Publisher])
		v.domain("domain", s.Domain)
		v.list("categories", s.Categories, categoryPattern.MatchString, aCategory)
	}
	for i := range v.c.Advertisers {
		a := &v.c.Advertisers[i]
		v.at("advertisers", a.ID)
		v.named(a.Name)
		v.domain("domain", a.Domain)
		for j, s := range a.BlockedSites {
			if !v.sites[s] {
				v.badAt("blockedSites", j, "there is no site %q", s)
			}
		}
		v.list("blockedCategories", a.BlockedCategories, categoryPattern.MatchString, aCategory)
		v.list("blockedKeywords", a.BlockedKeywords, isWord, aWord)
	}
	for i := range v.c.Campaigns {
		d := &v.c.Campaigns[i]
		v.at("campaigns", d.ID)
		v.named(d.Name)
		v.refers("advertiser", d.Advertiser, "advertiser", v.advertisers[d.Advertiser])
	}
}

func (v *validator) publisher(p *Publisher) {
	v.at("publishers", p.ID)
	v.named(p.Name)
	v.domain("domain", p.Domain)
	v.list("blockedDomains", p.BlockedDomains, isBlockedDomain, aDomain)
	v.list("blockedCategories", p.BlockedCategories, categoryPattern.MatchString, aCategory)
	v.list("blockedKeywords", p.BlockedKeywords, isWord, aWord)
	if p.SellerID != "" && !isID(p.SellerID) {
		v.bad("sellerId", "must be 1 to %d letters, digits, dots, dashes or underscores", MaxID)
	}
	if p.SellerType != "" {
		v.oneOf("sellerType", p.SellerType, sellerTypes)
	}
	for i, line := range p.AdsTxt {
		if what := adsTxtFault(line); what != "" {
			v.badAt("adsTxt", i, "%q %s", line, what)
		}
	}
}

// sellerIDs must tell publishers apart: buyers pay by them.
func (v *validator) sellerIDs() {
	owner := make(map[string]string, len(v.c.Publishers))
	for i := range v.c.Publishers {
		p := &v.c.Publishers[i]
		id := p.SellerID
		if id == "" {
			id = p.ID
		}
		if other, taken := owner[id]; taken && other != p.ID {
			v.at("publishers", p.ID)
			v.bad("sellerId", "%q is publisher %q's already", id, other)
		}
		owner[id] = p.ID
	}
}

var (
	adsTxtVariable = regexp.MustCompile(`^(?i:contact|subdomain|inventorypartnerdomain|ownerdomain|managerdomain)=\S.*$`)
	adsTxtAccount  = regexp.MustCompile(`^[^\s,;#]{1,128}$`)
)

// adsTxtFault says what keeps a line from being one of ads.txt (IAB Tech Lab, version 1.1): a comment, a variable, or a record of
// domain, account, relationship and perhaps a certification authority's id; "" for nothing.
func adsTxtFault(line string) string {
	if strings.ContainsAny(line, "\r\n") {
		return "must be one line"
	}
	line, _, _ = strings.Cut(line, "#")
	line, _, _ = strings.Cut(line, ";") // extensions
	if line = strings.TrimSpace(line); line == "" || adsTxtVariable.MatchString(line) {
		return ""
	}
	parts := strings.Split(line, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	switch {
	case len(parts) < 3 || len(parts) > 4:
		return "is no line of ads.txt; write domain, account, DIRECT or RESELLER"
	case !isDomain(parts[0]):
		return fmt.Sprintf("names %q, which is not %s", parts[0], aDomain)
	case !adsTxtAccount.MatchString(parts[1]):
		return "has no account"
	case !strings.EqualFold(parts[2], "DIRECT") && !strings.EqualFold(parts[2], "RESELLER"):
		return fmt.Sprintf("says %q where DIRECT or RESELLER is expected", parts[2])
	case len(parts) == 4 && !certPattern.MatchString(parts[3]):
		return fmt.Sprintf("has %q where a certification authority's id is expected", parts[3])
	}
	return ""
}
