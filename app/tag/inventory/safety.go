package inventory

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Category is an IAB content category as a number: IAB7-39 is 7<<16 | 39, IAB7 is 7<<16. 0 is none.
type Category uint32

// Categories are a set of them. A category stands for all below it: IAB7 for IAB7-39.
type Categories []Category

// ParseCategory reads a category such as IAB7 or IAB7-39, in either case; 0 for all else.
func ParseCategory(s string) Category {
	if len(s) < 4 || !strings.EqualFold(s[:3], "IAB") {
		return 0
	}
	top, sub, below := strings.Cut(s[3:], "-")
	t, err := strconv.ParseUint(top, 10, 16)
	if err != nil || t == 0 {
		return 0
	}
	if !below {
		return Category(t << 16)
	}
	u, err := strconv.ParseUint(sub, 10, 16)
	if err != nil || u == 0 {
		return 0
	}
	return Category(t<<16 | u)
}

// ParseCategories leaves out what is no category.
func ParseCategories(names []string) Categories { return AppendCategories(nil, names) }

// AppendCategories appends to a set.
func AppendCategories(to Categories, names []string) Categories {
	for _, n := range names {
		if c := ParseCategory(n); c != 0 {
			to = append(to, c)
		}
	}
	return to
}

// Has says whether the set has a category or the one above it.
func (s Categories) Has(c Category) bool {
	for _, x := range s {
		if x == c || x == c&^0xffff {
			return true
		}
	}
	return false
}

// Overlap says whether the set has one of some categories.
func (s Categories) Overlap(of Categories) bool {
	if len(s) == 0 {
		return false
	}
	return slices.ContainsFunc(of, s.Has)
}

// Safety is what a publisher keeps off its pages.
type Safety struct {
	// Domains of advertisers, lower case; a domain blocks its subdomains too. CategoryNames are as in the catalogue, for bid requests.
	Domains       []string
	CategoryNames []string
	Categories    Categories
	keywords      [][]byte // as words
}

// Domain says whether an advertiser's domain is blocked.
func (s *Safety) Domain(domain string) bool {
	domain = strings.ToLower(domain)
	for _, b := range s.Domains {
		if domain == b || strings.HasSuffix(domain, b) && domain[len(domain)-len(b)-1] == '.' {
			return true
		}
	}
	return false
}

// Keywords says whether some text has a blocked word. Words are letters and digits with something else around them: "sex" is not in
// "Essex".
func (s *Safety) Keywords(texts ...string) bool {
	if len(s.keywords) == 0 {
		return false
	}
	var words []byte
	for _, t := range texts {
		words = AppendWords(words, t)
	}
	return hasKeyword(s.keywords, words)
}

// Avoid is pages that an advertiser keeps off.
type Avoid struct {
	Categories Categories
	keywords   [][]byte
}

// Words says whether there are words to look for: then Keywords wants the page's.
func (a *Avoid) Words() bool { return len(a.keywords) > 0 }

// Keywords says whether a page's words, made by AppendWords, have one to avoid.
func (a *Avoid) Keywords(words []byte) bool { return hasKeyword(a.keywords, words) }

func hasKeyword(keywords [][]byte, words []byte) bool {
	for _, k := range keywords {
		if bytes.Contains(words, k) {
			return true
		}
	}
	return false
}

// AppendWords appends a text's words in lower case, with one space before and after each: so a phrase is found by a plain search.
func AppendWords(to []byte, text string) []byte {
	for _, r := range text {
		switch {
		case r < utf8.RuneSelf && (r >= 'a' && r <= 'z' || r >= '0' && r <= '9'):
			to = append(startWord(to), byte(r))
		case r < utf8.RuneSelf && r >= 'A' && r <= 'Z':
			to = append(startWord(to), byte(r)|0x20)
		case r >= utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r)):
			to = utf8.AppendRune(startWord(to), unicode.ToLower(r))
		case len(to) > 0 && to[len(to)-1] != ' ':
			to = append(to, ' ')
		}
	}
	if len(to) > 0 && to[len(to)-1] != ' ' {
		to = append(to, ' ')
	}
	return to
}

func startWord(to []byte) []byte {
	if len(to) == 0 {
		return append(to, ' ')
	}
	return to
}

// keywords makes search texts of blocked words.
func keywords(words []string) [][]byte {
	var out [][]byte
	for _, w := range words {
		if k := AppendWords(nil, w); len(k) > 0 {
			out = append(out, k)
		}
	}
	return out
}
