package compute

import (
	"strings"

	"patag/infra/sandbox/googleapi"
)

// linkBase is how links are stored; answers carry the version that was asked for.
const linkBase = "https://www.googleapis.com/compute/v1/"

// Link is the link of a resource's path ("projects/p/global/networks/n").
func Link(path string) string { return linkBase + path }

// Path is the path of a link in any form that Compute Engine takes (a URL of any host and version, or
// "projects/p/global/networks/n"); "" if it is none.
func Path(link string) string {
	i := strings.LastIndex(link, "projects/")
	if i < 0 || i > 0 && link[i-1] != '/' {
		return ""
	}
	return strings.TrimSuffix(link[i:], "/")
}

// canonical is the stored form of a link given in a request; ok is false for what is no link.
func canonical(core *googleapi.Core, project, link string) (string, bool) {
	path := Path(link)
	if path == "" {
		first, _, _ := strings.Cut(link, "/")
		if first != "global" && first != "regions" && first != "zones" {
			return "", false
		}
		path = "projects/" + project + "/" + link
	}
	parts := strings.Split(path, "/")
	if len(parts) < 4 {
		return "", false
	}
	if id, ok := core.Project(parts[1]); ok {
		parts[1] = id
	}
	return Link(strings.Join(parts, "/")), true
}

// Base is the last element of a link: the resource's name.
func Base(link string) string { return link[strings.LastIndex(link, "/")+1:] }

// forVersion rewrites the links in an answer to the API version of the call, in place.
func forVersion(v any, version string) any {
	if version == "v1" {
		return v
	}
	switch x := v.(type) {
	case googleapi.Doc:
		for k, e := range x {
			x[k] = forVersion(e, version)
		}
	case map[string]any:
		for k, e := range x {
			x[k] = forVersion(e, version)
		}
	case []any:
		for i, e := range x {
			x[i] = forVersion(e, version)
		}
	case []googleapi.Doc:
		for _, e := range x {
			forVersion(e, version)
		}
	case []string:
		for i, e := range x {
			x[i] = forVersion(e, version).(string)
		}
	case string:
		if rest, ok := strings.CutPrefix(x, linkBase); ok {
			return strings.Replace(linkBase, "/v1/", "/"+version+"/", 1) + rest
		}
	}
	return v
}

// eachRef calls fn for every link at a dotted path ("backends.group"), through lists, and keeps what it returns.
// The field's name in Google's messages ("resource.backends[0].group") comes with it.
func eachRef(d googleapi.Doc, path string, fn func(field, link string) (string, error)) error {
	return refsAt(map[string]any(d), strings.Split(path, "."), "resource", fn)
}

func refsAt(m map[string]any, path []string, at string, fn func(field, link string) (string, error)) error {
	name := path[0]
	at += "." + name
	switch v := m[name].(type) {
	case string:
		if len(path) > 1 || v == "" {
			return nil
		}
		link, err := fn(at, v)
		m[name] = link
		return err
	case map[string]any:
		if len(path) > 1 {
			return refsAt(v, path[1:], at, fn)
		}
	case []any:
		for i, e := range v {
			switch x := e.(type) {
			case string:
				if len(path) == 1 {
					link, err := fn(at, x)
					if err != nil {
						return err
					}
					v[i] = link
				}
			case map[string]any:
				if len(path) > 1 {
					if err := refsAt(x, path[1:], at, fn); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}
