package catalogue

import (
	"net/url"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/idna"
)

// scanAll looks into all markup for what it must not do.
func scanAll(c *Catalogue) Problems {
	blocked := make([]string, len(c.Settings.BlockedHosts))
	for i, h := range c.Settings.BlockedHosts {
		blocked[i] = asciiHost(strings.TrimPrefix(h, "."))
	}
	var ps Problems
	for i := range c.Creatives {
		cr := &c.Creatives[i]
		s := scanner{blocked: blocked}
		s.document("html", cr.HTML)
		s.host("landing", cr.Landing)
		if cr.Native != nil {
			s.host("native.image", cr.Native.Image)
		}
		ps = s.problems(ps, "creatives", cr.ID)
	}
	for i := range c.DemandSources {
		d := &c.DemandSources[i]
		s := scanner{blocked: blocked}
		s.document("html", d.HTML)
		s.host("endpoint", d.Endpoint)
		ps = s.problems(ps, "demandSources", d.ID)
	}
	return ps
}

// scanner finds in one document's markup: blocked hosts, script in URLs, navigation of the page, and parts that come unencrypted.
// It is a net for mistakes and for known bad hosts; what confines hostile markup is the sandboxed frame that it is shown in.
type scanner struct {
	blocked []string
	found   []Problem
	depth   int // of documents within documents
}

const maxNesting = 3

func (s *scanner) problems(ps Problems, coll, id string) Problems {
	for i, p := range s.found {
		p.Collection, p.Document = coll, id
		if !slices.Contains(s.found[:i], s.found[i]) {
			ps = append(ps, p)
		}
	}
	return ps
}

func (s *scanner) bad(field, message string) {
	s.found = append(s.found, Problem{Field: field, Message: message})
}

// document scans markup. Scripting is off for the parser so that it looks into noscript.
func (s *scanner) document(field, markup string) {
	if markup == "" {
		return
	}
	if s.depth++; s.depth > maxNesting {
		s.bad(field, "has documents within documents, deeper than the scan goes")
		return
	}
	defer func() { s.depth-- }()
	root, err := html.ParseWithOptions(strings.NewReader(markup), html.ParseOptionEnableScripting(false))
	if err != nil {
		s.bad(field, "cannot be parsed: "+err.Error())
		return
	}
	for n := range root.Descendants() {
		if n.Type == html.ElementNode {
			s.element(field, n)
		}
	}
}

func (s *scanner) element(field string, n *html.Node) {
	at := "<" + n.Data + ">"
	switch n.Data {
	case "base":
		s.bad(field, at+" changes where all links lead; leave it out")
	case "meta":
		if strings.EqualFold(attr(n, "http-equiv"), "refresh") {
			s.bad(field, at+" with http-equiv=refresh navigates by itself; leave it out")
		}
	case "script":
		s.script(field, at, text(n))
	case "style":
		s.css(field, at, text(n))
	}
	for _, a := range n.Attr {
		s.attribute(field, n, a)
	}
}

// linkElements lead somewhere only when clicked.
var linkElements = []string{"a", "area", "form", "button", "input"}

// urlAttributes hold one URL.
var urlAttributes = []string{
	"src", "href", "action", "formaction", "poster", "data", "background", "cite", "longdesc", "manifest", "profile", "codebase", "classid", "icon",
	"lowsrc", "dynsrc", "ping", "usemap",
}

func (s *scanner) attribute(field string, n *html.Node, a html.Attribute) {
	at := "<" + n.Data + " " + a.Key + ">"
	key := strings.ToLower(a.Key)
	switch {
	case key == "target" || key == "formtarget":
		if leavesFrame(a.Val) {
			s.bad(field, at+" "+quoted(a.Val)+" replaces the page; use _blank")
		}
	case key == "style":
		s.css(field, at, a.Val)
	case strings.HasPrefix(key, "on"):
		s.script(field, at, a.Val)
	case key == "srcdoc":
		s.document(field, a.Val)
	case key == "srcset" || key == "imagesrcset":
		for _, candidate := range strings.Split(a.Val, ",") {
			if u, _, _ := strings.Cut(strings.TrimSpace(candidate), " "); u != "" {
				s.url(field, at, u, false)
			}
		}
	case slices.Contains(urlAttributes, key):
		isLink := slices.Contains(linkElements, n.Data) && key != "src"
		s.url(field, at, a.Val, isLink || key == "cite" || key == "profile")
	default:
		// data-src and its like become URLs by script; namespaces look like URLs and are none.
		if !strings.HasPrefix(key, "xmlns") {
			if scheme, _, _ := strings.Cut(clean(a.Val), ":"); strings.EqualFold(scheme, "javascript") {
				s.url(field, at, a.Val, true)
			}
			s.mentions(field, at, a.Val)
		}
	}
}

func leavesFrame(target string) bool {
	target = strings.TrimSpace(target)
	return strings.EqualFold(target, "_top") || strings.EqualFold(target, "_parent")
}

// url checks one URL. Links may be plain http; what is loaded may not.
func (s *scanner) url(field, at, raw string, link bool) {
	u := clean(raw)
	scheme, rest, _ := strings.Cut(u, ":")
	switch strings.ToLower(scheme) {
	case "javascript", "vbscript":
		s.bad(field, at+" has a "+strings.ToLower(scheme)+": URL; use a script")
		return
	case "data":
		if kind, _, _ := strings.Cut(rest, ","); strings.Contains(strings.ToLower(kind), "html") {
			s.bad(field, at+" has a document in a data: URL, where it cannot be scanned; write it as srcdoc")
		}
		return
	case "http":
		if !link {
			s.bad(field, at+" loads from "+quoted(hostOf(u))+" over http:, which pages on https: refuse; use https:")
		}
	}
	s.blockedHost(field, at, hostOf(u))
}

// host checks a field that is a URL as a whole.
func (s *scanner) host(field, raw string) {
	if len(s.blocked) > 0 && !strings.HasPrefix(raw, "data:") {
		s.blockedHost(field, "", hostOf(clean(raw)))
	}
}

func (s *scanner) blockedHost(field, at, host string) {
	if host == "" {
		return
	}
	for _, b := range s.blocked {
		if host == b || strings.HasSuffix(host, "."+b) {
			if at != "" {
				at += " "
			}
			s.bad(field, at+"mentions host "+quoted(host)+", which settings.blockedHosts blocks")
			return
		}
	}
}

var (
	cssURL = regexp.MustCompile(`(?i)url\(\s*(?:"([^"]*)"|'([^']*)'|([^)"']*))\s*\)|@import\s+(?:"([^"]*)"|'([^']*)')`)
	// anyURL finds absolute and scheme-relative URLs in text, also with slashes escaped as scripts have them.
	anyURL    = regexp.MustCompile(`(?i)(?:\b(?:https?|wss?):)?(?:\\?/){2}[^\s"'<>()` + "`" + `\\]+`)
	navigates = regexp.MustCompile(`(?i)\b(?:top|parent)\s*(?:\.\s*|\[\s*["'])location\b|["']_(?:top|parent)["']|(?:^|[="'\s])javascript:`)
)

func (s *scanner) css(field, at, css string) {
	for _, m := range cssURL.FindAllStringSubmatch(css, -1) {
		if u := strings.TrimSpace(strings.Join(m[1:], "")); u != "" {
			s.url(field, at, u, false)
		}
	}
}

func (s *scanner) script(field, at, script string) {
	if m := navigates.FindString(script); m != "" {
		s.bad(field, at+" navigates the page ("+strings.TrimSpace(m)+"); only the visitor's click may")
	}
	s.mentions(field, at, script)
}

// mentions checks the hosts of all URLs in a text.
func (s *scanner) mentions(field, at, text string) {
	if len(s.blocked) == 0 || !strings.Contains(text, "/") {
		return
	}
	for _, u := range anyURL.FindAllString(text, -1) {
		s.blockedHost(field, at, hostOf(clean(strings.ReplaceAll(u, `\/`, "/"))))
	}
}

var browsers = strings.NewReplacer("\t", "", "\n", "", "\r", "", `\`, "/")

// clean is a URL as browsers read it: without leading blanks, tabs and line ends, with slashes for backslashes.
func clean(raw string) string {
	raw = strings.TrimLeftFunc(raw, func(r rune) bool { return r <= ' ' })
	return browsers.Replace(raw)
}

// hostOf is the host of an absolute or scheme-relative URL, "" if there is none.
func hostOf(u string) string {
	scheme, rest, ok := strings.Cut(u, ":")
	switch strings.ToLower(scheme) {
	case "http", "https", "ws", "wss":
	default:
		ok = false
	}
	if !ok {
		if rest = u; !strings.HasPrefix(u, "//") {
			return ""
		}
	}
	rest = strings.TrimLeft(rest, "/")
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		rest = rest[:i]
	}
	rest = rest[strings.LastIndex(rest, "@")+1:]
	if host, err := url.PathUnescape(rest); err == nil {
		rest = host
	}
	if !strings.HasPrefix(rest, "[") {
		rest, _, _ = strings.Cut(rest, ":")
	}
	return asciiHost(rest)
}

// asciiHost is a host in lower case, international names as they are resolved.
func asciiHost(host string) string {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if ascii, err := idna.Lookup.ToASCII(host); err == nil {
		return ascii
	}
	return host
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if strings.EqualFold(a.Key, key) {
			return strings.TrimSpace(a.Val)
		}
	}
	return ""
}

func text(n *html.Node) string {
	var b strings.Builder
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		if c.Type == html.TextNode {
			b.WriteString(c.Data)
		}
	}
	return b.String()
}

func quoted(s string) string { return `"` + s + `"` }
