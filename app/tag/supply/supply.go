// Package supply says who may sell a publisher's inventory: the ads.txt file of each site (version 1.1) and the sellers.json of
// the exchange (version 1.0), both of the IAB Tech Lab. In goes a valid catalogue; out come texts ready to be served. It knows
// nothing of requests.
package supply

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"patag/app/tag/catalogue"
)

// Files of one version of a catalogue; immutable.
type Files struct {
	// SellersJSON is the file of the exchange.
	SellersJSON []byte
	bySite      map[string][]byte
	byHost      map[string][]byte
}

// AdsTxt is the ads.txt of a site by its id or by a host name: that of its domain, of its publisher's domain, or of a host below
// one. A publisher's domain has the lines of all its sites. nil when it is nobody's.
func (f *Files) AdsTxt(siteOrHost string) []byte {
	if b := f.bySite[siteOrHost]; b != nil {
		return b
	}
	host := strings.TrimSuffix(strings.ToLower(siteOrHost), ".")
	for host != "" {
		if b := f.byHost[host]; b != nil {
			return b
		}
		_, host, _ = strings.Cut(host, ".")
	}
	return nil
}

// nobody is what version 1.1 asks for where no one may sell: a file without records would read as an error.
const nobody = "placeholder.example.com, placeholder, DIRECT, placeholder"

// Compile makes the files.
func Compile(c *catalogue.Catalogue) (*Files, error) {
	f := &Files{bySite: make(map[string][]byte, len(c.Sites)), byHost: make(map[string][]byte, len(c.Sites))}
	var err error
	if f.SellersJSON, err = sellers(c); err != nil {
		return nil, err
	}
	publishers := make(map[string]*catalogue.Publisher, len(c.Publishers))
	for i := range c.Publishers {
		publishers[c.Publishers[i].ID] = &c.Publishers[i]
	}
	partners := partnersBySite(c)
	whole := make(map[string][]*catalogue.DemandPartner, len(c.Publishers))
	for i := range c.Sites {
		s := &c.Sites[i]
		whole[s.Publisher] = append(whole[s.Publisher], partners[s.ID]...)
	}
	for id, p := range publishers {
		if p.Domain != "" {
			f.byHost[strings.ToLower(p.Domain)] = adsTxt(c, p, whole[id])
		}
	}
	for i := range c.Sites {
		s := &c.Sites[i]
		p := publishers[s.Publisher]
		text := adsTxt(c, p, partners[s.ID])
		f.bySite[s.ID] = text
		if s.Domain != "" && f.byHost[strings.ToLower(s.Domain)] == nil {
			f.byHost[strings.ToLower(s.Domain)] = text
		}
	}
	return f, nil
}

// partnersBySite are the partners whose sources some waterfall of a site names, in the catalogue's order. Paused ones stay: buyers
// look at these files once a day, and being named without selling does no harm.
func partnersBySite(c *catalogue.Catalogue) map[string][]*catalogue.DemandPartner {
	of := make(map[string]string, len(c.DemandSources)) // partner by source
	for i := range c.DemandSources {
		of[c.DemandSources[i].ID] = c.DemandSources[i].Partner
	}
	used := map[string]map[string]bool{}
	note := func(site string, steps []catalogue.Step) {
		for _, st := range steps {
			for _, src := range st.Sources {
				if used[site] == nil {
					used[site] = map[string]bool{}
				}
				used[site][of[src]] = true
			}
		}
	}
	for i := range c.Placements {
		p := &c.Placements[i]
		note(p.Site, p.Waterfall)
		for _, e := range p.Experiments {
			for _, arm := range e.Arms {
				note(p.Site, arm.Waterfall)
			}
		}
	}
	out := make(map[string][]*catalogue.DemandPartner, len(used))
	for site, ids := range used {
		for i := range c.DemandPartners {
			if ids[c.DemandPartners[i].ID] {
				out[site] = append(out[site], &c.DemandPartners[i])
			}
		}
	}
	return out
}

func adsTxt(c *catalogue.Catalogue, p *catalogue.Publisher, partners []*catalogue.DemandPartner) []byte {
	var lines []string
	add := func(line string) {
		// One record is one line, whatever the catalogue holds.
		line = strings.Join(strings.FieldsFunc(line, func(r rune) bool { return r == '\n' || r == '\r' }), " ")
		if line != "" && !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	// A file has one OWNERDOMAIN: that of the publisher's own lines goes first, such as when a group owns the company.
	if p.Domain != "" && !slices.ContainsFunc(p.AdsTxt, isOwner) {
		add("OWNERDOMAIN=" + p.Domain)
	}
	records := 0
	if c.Settings.Exchange.Domain != "" {
		for _, r := range relationships(p) {
			add(fmt.Sprintf("%s, %s, %s", c.Settings.Exchange.Domain, sellerID(p), r))
			records++
		}
	}
	for _, d := range partners {
		if d.Domain == "" || d.Account == "" {
			continue
		}
		rel := d.Relationship
		if rel == "" {
			rel = "DIRECT"
		}
		line := fmt.Sprintf("%s, %s, %s", d.Domain, d.Account, rel)
		if d.CertID != "" {
			line += ", " + d.CertID
		}
		add(line)
		records++
	}
	for _, l := range p.AdsTxt {
		add(l)
		if isRecord(l) {
			records++
		}
	}
	if records == 0 {
		add(nobody)
	}
	return []byte("# ads.txt 1.1 of " + oneLine(p.Name) + "\n" + strings.Join(lines, "\n") + "\n")
}

func isOwner(line string) bool {
	name, _, ok := strings.Cut(line, "=")
	return ok && strings.EqualFold(strings.TrimSpace(name), "OWNERDOMAIN")
}

// isRecord tells records, which have commas before any comment, from variables such as CONTACT=….
func isRecord(line string) bool {
	line, _, _ = strings.Cut(line, "#")
	return strings.Count(line, ",") >= 2
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// relationships of the exchange to the inventory that a publisher sells through it.
func relationships(p *catalogue.Publisher) []string {
	switch p.SellerType {
	case "INTERMEDIARY":
		return []string{"RESELLER"}
	case "BOTH":
		return []string{"DIRECT", "RESELLER"}
	}
	return []string{"DIRECT"}
}

func sellerID(p *catalogue.Publisher) string {
	if p.SellerID != "" {
		return p.SellerID
	}
	return p.ID
}

// seller is one entry of sellers.json.
type seller struct {
	ID           string `json:"seller_id"`
	Confidential int    `json:"is_confidential,omitempty"`
	Type         string `json:"seller_type"`
	Name         string `json:"name,omitempty"`
	Domain       string `json:"domain,omitempty"`
}

func sellers(c *catalogue.Catalogue) ([]byte, error) {
	out := struct {
		Email   string   `json:"contact_email,omitempty"`
		Address string   `json:"contact_address,omitempty"`
		Version string   `json:"version"`
		Sellers []seller `json:"sellers"`
	}{c.Settings.Exchange.ContactEmail, c.Settings.Exchange.ContactAddress, "1.0", []seller{}}
	at := map[string]int{}
	for i := range c.Publishers {
		p := &c.Publishers[i]
		s := seller{ID: sellerID(p), Type: p.SellerType, Name: p.Name, Domain: p.Domain}
		if s.Type == "" {
			s.Type = "PUBLISHER"
		}
		if p.Confidential {
			s.Confidential, s.Name, s.Domain = 1, "", ""
		}
		// A seller id may appear once. Publishers that share one are one company to the outside.
		if n, ok := at[s.ID]; ok {
			if out.Sellers[n].Type != s.Type {
				out.Sellers[n].Type = "BOTH"
			}
			continue
		}
		at[s.ID] = len(out.Sellers)
		out.Sellers = append(out.Sellers, s)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	if err := enc.Encode(out); err != nil {
		return nil, fmt.Errorf("encode sellers.json: %w", err)
	}
	return b.Bytes(), nil
}
