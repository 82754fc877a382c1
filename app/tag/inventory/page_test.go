package inventory

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// naive reads a pattern as the docs say it.
func naive(pattern, page string) bool {
	hosts := []string{page}
	if rest, ok := strings.CutPrefix(pattern, "*."); ok {
		pattern, hosts = rest, nil
		host, path, _ := strings.Cut(page, "/")
		for labels := strings.Split(host, "."); len(labels) > 1; {
			labels = labels[1:]
			h := strings.Join(labels, ".")
			if strings.Contains(page, "/") {
				h += "/" + path
			}
			hosts = append(hosts, h)
		}
	}
	for _, h := range hosts {
		if strings.Contains(pattern, "/") && strings.HasPrefix(h, pattern) {
			return true
		}
		host, _, _ := strings.Cut(h, "/")
		bare, _, _ := strings.Cut(host, ":")
		if host == pattern || bare == pattern {
			return true
		}
	}
	return false
}

// Sets of patterns match what one of their patterns matches, read letter by letter.
func TestPagesMatchAsTheirPatternsDo(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	word := func() string {
		var b strings.Builder
		for range 1 + rng.IntN(4) {
			b.WriteString([]string{"a", "b", ".", ".", "/", "a"}[rng.IntN(6)])
		}
		return strings.Trim(b.String(), "./") + "a"
	}
	matched := 0
	for range 20000 {
		var patterns []string
		for range 1 + rng.IntN(4) {
			p := word()
			if rng.IntN(3) == 0 {
				p = "*." + p
			}
			patterns = append(patterns, p)
		}
		page := word() + []string{"", "/", "/a", ":8/a"}[rng.IntN(4)]
		if strings.Contains(page[:max(0, len(page)-3)], "/") {
			page = strings.ReplaceAll(page, ":8", "") // a port belongs to the host
		}
		want := false
		for _, p := range patterns {
			want = want || naive(p, page)
		}
		if got := compilePages(patterns).Match(page); got != want {
			t.Fatalf("%q on %q: %v, want %v", patterns, page, got, want)
		}
		if want {
			matched++
		}
	}
	if matched < 1000 {
		t.Errorf("only %d of 20000 pages matched", matched)
	}
}

func TestWordsAndDomains(t *testing.T) {
	s := Safety{Domains: []string{"casino.example"}, keywords: keywords([]string{"Miracle-Cure", "Sex", "été"})}
	for text, want := range map[string]bool{
		"the miracle   cure!": true, "MIRACLE cure": true, "miracles cure": false, "cure miracle": false, "Essex": false, "sex": true, "<i>sex</i>": true,
		"un ÉTÉ chaud": true, "pété": false, "": false, "sex1": false,
	} {
		if s.Keywords(text) != want {
			t.Errorf("%q: %v", text, !want)
		}
	}
	if !s.Keywords("a miracle", "cure all") || s.Keywords("cure", "miracle") {
		t.Error("texts are read one after the other")
	}
	for domain, want := range map[string]bool{"casino.example": true, "a.b.Casino.example": true, "notcasino.example": false, "casino.example.org": false, "example": false, "": false} {
		if s.Domain(domain) != want {
			t.Errorf("%q: %v", domain, !want)
		}
	}
}
