package googleapi

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

type segment struct {
	literal string
	// variable is the name of a variable; options its allowed values; any is set for {name*}, rest for {name**}.
	variable  string
	options   []string
	any, rest bool
	// verb is the custom verb of the last segment ("setIamPolicy"), literal or variable alike.
	verb string
}

type route struct {
	method, pattern string
	segments        []segment
	// version is the number of segments before the resource's path.
	version int
	public  bool
	handler Handler
}

// Handle registers a call. The pattern is the path below the service's first element, version included:
//
//	{version=v1|v1beta1}/projects/{project}/secrets/{secret}:addVersion
//
// A variable stands for one path element, escaped slashes included. {x=a|b} takes only those values. The last
// element's variable does not take "name:verb" unless the verb is in the pattern; {x*} takes anything; {x**} takes
// all that is left, slashes included. The resource's path (Request.Path) starts at the first literal "projects",
// "b", "billingAccounts" … element: the first literal one.
func (s *Service) Handle(method, pattern string, h Handler) { s.add(method, pattern, h, false) }

// HandlePublic registers a call that needs no token.
func (s *Service) HandlePublic(method, pattern string, h Handler) { s.add(method, pattern, h, true) }

func (s *Service) add(method, pattern string, h Handler, public bool) {
	rt := route{method: method, pattern: pattern, handler: h, public: public, version: -1}
	for _, part := range strings.Split(pattern, "/") {
		seg := parseSegment(part)
		if seg.literal != "" && rt.version < 0 && !isVersion.MatchString(seg.literal) && seg.literal != s.name && seg.literal != "upload" {
			rt.version = len(rt.segments)
		}
		rt.segments = append(rt.segments, seg)
	}
	if rt.version < 0 {
		rt.version = 0
	}
	for _, old := range s.routes {
		if old.method == method && old.pattern == pattern {
			panic(fmt.Sprintf("googleapi: %s %s %s is registered twice", s.name, method, pattern))
		}
	}
	s.routes = append(s.routes, rt)
	// The most literal pattern wins, whatever the order of registration.
	slices.SortStableFunc(s.routes, func(a, b route) int { return slices.Compare(a.rank(), b.rank()) })
}

// pathVar is where match leaves the resource's path; no pattern can name it.
const pathVar = "\x00path"

var isVersion = regexp.MustCompile(`^(v\d+[a-z0-9]*|beta|alpha)$`)

// asWritten undoes what Google's Terraform engine, inside the official gcp plugin, makes of an address of plain http: it
// strips the version from an endpoint before it hands it to one of Google's clients, which add it themselves, but only
// from addresses of https. So "container/v1beta1/v1beta1/projects/…" arrives where "container/v1beta1/projects/…" is
// meant, "serviceusage/v1beta1/v1/…" where the client's own v1 is. In the endpoint of Cloud DNS it also deletes "/dns/",
// which makes an address with the sandbox's first path element "dns" unusable: it is served as "clouddns" too.
func asWritten(path string) string {
	name, rest, _ := strings.Cut(path, "/")
	if name == "storage" { // a bucket may be called v1
		return path
	}
	first, more, _ := strings.Cut(rest, "/")
	second, _, _ := strings.Cut(more, "/")
	if isVersion.MatchString(first) && (isVersion.MatchString(second) || name == cloudDNS && second == "dns") {
		rest = more
	}
	if name == cloudDNS {
		return "dns/dns/" + strings.TrimPrefix(rest, "dns/")
	}
	return name + "/" + rest
}

const cloudDNS = "clouddns"

func parseSegment(part string) segment {
	var seg segment
	if open := strings.LastIndex(part, "}"); open >= 0 {
		if rest := part[open+1:]; rest != "" {
			if rest[0] != ':' {
				panic("googleapi: bad pattern element " + part)
			}
			seg.verb = rest[1:]
		}
		name := part[1:open]
		name, options, found := strings.Cut(name, "=")
		if found {
			seg.options = strings.Split(options, "|")
		}
		seg.rest = strings.HasSuffix(name, "**")
		seg.any = strings.HasSuffix(name, "*")
		seg.variable = strings.TrimRight(name, "*")
		return seg
	}
	seg.literal, seg.verb, _ = strings.Cut(part, ":")
	return seg
}

// rank orders patterns: smaller is more literal, element by element.
func (rt route) rank() []int {
	var rank []int
	for _, seg := range rt.segments {
		switch {
		case seg.rest && seg.verb != "":
			rank = append(rank, 8)
		case seg.rest:
			rank = append(rank, 9)
		case seg.verb != "":
			rank = append(rank, 1)
		case seg.literal != "":
			rank = append(rank, 2)
		case seg.options != nil:
			rank = append(rank, 3)
		default:
			rank = append(rank, 4)
		}
	}
	return rank
}

var verbSuffix = regexp.MustCompile(`:[a-z][A-Za-z]+$`)

// match finds the route of a path (escaped, without the service). If there is one only for other methods, these are
// returned instead.
func (s *Service) match(method, path string) (*route, map[string]string, string) {
	parts := strings.Split(strings.TrimSuffix(path, "/"), "/")
	for i, p := range parts {
		u, err := url.PathUnescape(p)
		if err != nil {
			return nil, nil, ""
		}
		parts[i] = u
	}
	var others []string
	for i := range s.routes {
		rt := &s.routes[i]
		vars, ok := rt.match(parts)
		if !ok {
			continue
		}
		if rt.method == method || method == "HEAD" && rt.method == "GET" {
			if project, found := vars["project"]; found {
				if id, known := s.core.Project(project); known && id != project {
					vars["project"] = id
					vars[pathVar] = strings.Replace(vars[pathVar], "projects/"+project, "projects/"+id, 1)
				}
			}
			return rt, vars, ""
		}
		others = append(others, rt.method)
	}
	slices.Sort(others)
	return nil, nil, strings.Join(slices.Compact(others), ", ")
}

func (rt *route) match(parts []string) (map[string]string, bool) {
	vars := map[string]string{}
	var resource []string
	for i, seg := range rt.segments {
		if seg.rest {
			if i >= len(parts) {
				return nil, false
			}
			value := strings.Join(parts[i:], "/")
			if seg.verb != "" {
				trimmed, ok := strings.CutSuffix(value, ":"+seg.verb)
				if !ok {
					return nil, false
				}
				value = trimmed
			}
			vars[seg.variable] = value
			vars[pathVar] = strings.Join(append(resource, value), "/")
			return vars, true
		}
		if i >= len(parts) {
			return nil, false
		}
		value := parts[i]
		if seg.verb != "" {
			trimmed, ok := strings.CutSuffix(value, ":"+seg.verb)
			if !ok {
				return nil, false
			}
			value = trimmed
		} else if i == len(rt.segments)-1 && seg.variable != "" && !seg.any && verbSuffix.MatchString(value) {
			return nil, false
		}
		if seg.variable == "" {
			if value != seg.literal {
				return nil, false
			}
		} else {
			if value == "" || seg.options != nil && !slices.Contains(seg.options, value) {
				return nil, false
			}
			vars[seg.variable] = value
		}
		if i >= rt.version {
			resource = append(resource, value)
		}
	}
	if len(parts) != len(rt.segments) {
		return nil, false
	}
	vars[pathVar] = strings.Join(resource, "/")
	return vars, true
}
