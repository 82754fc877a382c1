package diff

import (
	"encoding/json"
	"net/netip"
	"regexp"
	"sort"
	"strconv"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"

	"patag/infra/sandbox/gcpplugin/description"
	"patag/infra/sandbox/gcpplugin/value"
)

// Equal compares two scalars as the property means them.
func Equal(p *description.Property, kind description.Kind, ov, nv any) bool {
	if value.Zero(ov) && value.Zero(nv) {
		return true
	}
	if ov == nil || nv == nil {
		return false
	}
	if kind == description.Asset {
		return assetHash(ov) == assetHash(nv)
	}
	o, n := text(ov), text(nv)
	if o == n {
		return true
	}
	switch {
	case kind == description.Int || kind == description.Float:
		of, err1 := strconv.ParseFloat(o, 64)
		nf, err2 := strconv.ParseFloat(n, 64)
		return err1 == nil && err2 == nil && of == nf
	case p.Link != "":
		return sameLink(o, n)
	case p.ByName:
		return value.Last(o) == value.Last(n)
	}
	switch p.Same {
	case "case":
		return strings.EqualFold(o, n)
	case "dot":
		return strings.TrimSuffix(o, ".") == strings.TrimSuffix(n, ".")
	case "cidr":
		return sameRange(o, n)
	case "json":
		return SameDocument(o, n)
	}
	return false
}

func assetHash(v any) string {
	switch v := v.(type) {
	case *resource.Asset:
		return v.Hash
	case *resource.Archive:
		return v.Hash
	}
	return ""
}

func text(v any) string {
	if f, ok := v.(float64); ok {
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	if b, ok := v.(bool); ok {
		return strconv.FormatBool(b)
	}
	s, _ := v.(string)
	return s
}

var versioned = regexp.MustCompile(`^(https?://[^/]+/)?.*?(projects/.+)$`)

// sameLink compares two references: a URL of any host and version, a path, or a bare name.
func sameLink(a, b string) bool {
	if !strings.Contains(a, "/") || !strings.Contains(b, "/") {
		return value.Last(a) == value.Last(b)
	}
	a, b = relative(a), relative(b)
	// A partial path (regions/r/subnetworks/s, global/networks/n) leaves the project out.
	return a == b || strings.HasSuffix(a, "/"+b) || strings.HasSuffix(b, "/"+a)
}

func relative(s string) string {
	if m := versioned.FindStringSubmatch(s); m != nil {
		return m[2]
	}
	return strings.TrimPrefix(s, "/")
}

// SameDocument tells whether the JSON text old has everything that new has. Google adds fields of its own, which
// do not count.
func SameDocument(old, new string) bool {
	var o, n any
	if json.Unmarshal([]byte(old), &o) != nil || json.Unmarshal([]byte(new), &n) != nil {
		return false
	}
	if m, ok := n.(map[string]any); ok {
		delete(m, "etag")
		delete(m, "name")
	}
	return within(n, o)
}

func within(n, o any) bool {
	switch n := n.(type) {
	case map[string]any:
		om, ok := o.(map[string]any)
		if !ok {
			return value.Zero(n) && o == nil
		}
		for k, e := range n {
			if !within(e, om[k]) {
				return false
			}
		}
		return true
	case []any:
		ol, _ := o.([]any)
		if len(ol) != len(n) {
			return false
		}
		for i, e := range n {
			if !within(e, ol[i]) {
				return false
			}
		}
		return true
	}
	return n == o || value.Zero(n) && value.Zero(o)
}

// sameRange: "/20" stands for any range of that size.
func sameRange(a, b string) bool {
	for _, pair := range [][2]string{{a, b}, {b, a}} {
		size, ok := strings.CutPrefix(pair[0], "/")
		if !ok {
			continue
		}
		prefix, err := netip.ParsePrefix(pair[1])
		return err == nil && strconv.Itoa(prefix.Bits()) == size
	}
	return false
}

func keys(maps ...value.Map) []string {
	seen := map[string]bool{}
	var out []string
	for _, m := range maps {
		for k := range m {
			if !seen[k] {
				seen[k] = true
				out = append(out, k)
			}
		}
	}
	sort.Strings(out)
	return out
}
