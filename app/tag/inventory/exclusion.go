package inventory

import (
	"slices"
	"strings"
)

// exclusion numbers an item's groups. Bids for the advertiser's domain are held to them, too.
func (b *builder) exclusion(it *Item, names []string, domain string) {
	for _, name := range names {
		id, ok := b.s.groups[name]
		if !ok {
			id = uint32(len(b.s.groupNames))
			b.s.groups[name], b.s.groupNames = id, append(b.s.groupNames, name)
		}
		if !slices.Contains(it.Groups, id) {
			it.Groups = append(it.Groups, id)
		}
		domain = strings.ToLower(domain)
		if of := b.s.domainGroups[domain]; domain != "" && !slices.Contains(of, id) {
			b.s.domainGroups[domain] = append(of, id)
		}
	}
}

// Group is the number of an exclusion group; 0 for one that no line item is in.
func (s *Snapshot) Group(name string) uint32 { return s.groups[name] }

// GroupName is the name of an exclusion group.
func (s *Snapshot) GroupName(group uint32) string {
	if int(group) < len(s.groupNames) {
		return s.groupNames[group]
	}
	return ""
}

// DomainGroups are the exclusion groups of the advertiser with a domain (lower case) or a parent domain of it.
func (s *Snapshot) DomainGroups(domain string) []uint32 {
	if len(s.domainGroups) == 0 {
		return nil
	}
	for {
		if of := s.domainGroups[domain]; of != nil {
			return of
		}
		var ok bool
		if _, domain, ok = strings.Cut(domain, "."); !ok {
			return nil
		}
	}
}
