package catalogue

import (
	"strings"
	"testing"
)

func TestScanFindsWhatMarkupMustNotDo(t *testing.T) {
	for _, c := range []struct{ markup, want string }{
		{`<img src="https://bad.example/x.png">`, `<img src> mentions host "bad.example"`},
		{`<img src="//CDN.Bad.Example./x.png">`, `mentions host "cdn.bad.example"`},
		{`<img src="https:\\bad.example\x.png">`, `mentions host "bad.example"`},
		{`<img src="https://user:pw@bad.example:8443/x">`, `mentions host "bad.example"`},
		{`<img src="https://b%61d.example/x">`, `mentions host "bad.example"`},
		{`<img src="https://schön-böse.example/x">`, `<img src> mentions host "xn--schn-bse-p4ad.example"`},
		{`<img srcset="https://ok.example/1.png 1x, https://bad.example/2.png 2x">`, `<img srcset> mentions host "bad.example"`},
		{`<a href="https://bad.example/">x</a>`, `<a href> mentions host "bad.example"`},
		{`<div style="background:url('https://bad.example/b.png')">`, `<div style> mentions host "bad.example"`},
		{`<style>@import "https://bad.example/s.css";</style>`, `<style> mentions host "bad.example"`},
		{`<script>new Image().src = "https:\/\/bad.example\/p"</script>`, `<script> mentions host "bad.example"`},
		{`<script src="//bad.example/t.js"></script>`, `<script src> mentions host "bad.example"`},
		{`<svg><image xlink:href="https://bad.example/i.png"/></svg>`, `<image href> mentions host "bad.example"`},
		{`<noscript><img src="https://bad.example/n.gif"></noscript>`, `<img src> mentions host "bad.example"`},
		{`<template><img src="https://bad.example/n.gif"></template>`, `<img src> mentions host "bad.example"`},
		{`<iframe srcdoc="&lt;img src='https://bad.example/n.gif'&gt;"></iframe>`, `<img src> mentions host "bad.example"`},
		{`<div data-src="https://bad.example/lazy.png"></div>`, `<div data-src> mentions host "bad.example"`},
		{"<a href=\"java\tscript:alert(1)\">x</a>", `<a href> has a javascript: URL`},
		{`<a href="  JavaScript:alert(1)">x</a>`, `<a href> has a javascript: URL`},
		{`<meta http-equiv="Refresh" content="0;url=https://a.example/">`, `<meta> with http-equiv=refresh`},
		{`<base href="https://a.example/">`, `<base> changes where all links lead`},
		{`<a target=" _TOP " href="{{CLICK}}">x</a>`, `<a target> " _TOP " replaces the page`},
		{`<form target="_parent"></form>`, `<form target> "_parent" replaces the page`},
		{`<script>top.location = "https://a.example/"</script>`, `<script> navigates the page (top.location)`},
		{`<div onclick="window.open('https://a.example/','_top')">x</div>`, `<div onclick> navigates the page`},
		{`<img src="http://a.example/x.png">`, `<img src> loads from "a.example" over http:`},
		{`<div style="background:url(http://a.example/x.png)">`, `<div style> loads from "a.example" over http:`},
		{`<iframe src="data:text/html,&lt;script&gt;"></iframe>`, `<iframe src> has a document in a data: URL`},
		{strings.Repeat("<b><i>", 600), `cannot be parsed`},
	} {
		cat := &Catalogue{
			Settings:  Settings{BlockedHosts: []string{"bad.example", ".schön-böse.example"}},
			Creatives: []Creative{{ID: "k", HTML: c.markup}},
		}
		ps := scanAll(cat)
		if len(ps) != 1 || !strings.HasPrefix(ps[0].Error(), `creatives "k": html: `) || !strings.Contains(ps[0].Error(), c.want) {
			t.Errorf("%s:\n%v\nwant one problem with: %s", c.markup, ps, c.want)
		}
	}
}

func TestScanLetsHonestMarkupPass(t *testing.T) {
	for _, markup := range []string{
		`<a href="{{CLICK}}" target="_blank" rel="noopener sponsored"><svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"><use xlink:href="#a"/></svg></a>`,
		`<a href="http://a.example/old-page">a link may be plain</a>`,
		`<img src="data:image/gif;base64,R0lGODlhAQABAAAAACw=" srcset="a.png 1x, b.png 2x">`,
		`<script async src="https://notbad.example/t.js"></script><script>parent.postMessage({pa:"passback"}, "*"); var margin_top = desktop.location;</script>`,
		`<div style="background:url(data:image/png;base64,AAAA)">bad.example in a text is a word</div>`,
	} {
		cat := &Catalogue{Settings: Settings{BlockedHosts: []string{"bad.example"}}, DemandSources: []DemandSource{{ID: "s", HTML: markup}}}
		if ps := scanAll(cat); len(ps) > 0 {
			t.Errorf("%s:\n%v", markup, ps)
		}
	}
}

func TestScanLooksAtLandingAndImage(t *testing.T) {
	cat := &Catalogue{
		Settings: Settings{BlockedHosts: []string{"bad.example"}},
		Creatives: []Creative{{
			ID: "k", Landing: "https://www.bad.example/", Native: &NativeAssets{Image: "https://bad.example/i.png"},
		}},
	}
	got := scanAll(cat).Error()
	for _, want := range []string{`creatives "k": landing: mentions host "www.bad.example"`, `creatives "k": native.image: mentions host "bad.example"`} {
		if !strings.Contains(got, want) {
			t.Errorf("%s\nlacks %s", got, want)
		}
	}
}
