package visitor

import (
	"strings"

	"github.com/valyala/fasthttp"

	"patag/app/tag/inventory"
)

// marks are the words of a User-Agent that tell something.
type marks uint64

const (
	markBot marks = 1 << iota
	markHeadless
	markWindows
	markMac
	markIPhone
	markIPad
	markAndroid
	markChromeOS
	markLinux
	markMobile
	markTablet
	markSet // television, console and other things with a browser and an own system
	markEdge
	markOpera
	markSamsung
	markOther // browsers and apps around a web view that also name another browser
	markFirefox
	markChrome
	markSafari
)

// word is looked for in lower case anywhere in a User-Agent.
type word struct {
	text string
	mark marks
}

// words by their first letter, so that one pass over a User-Agent finds them all. Sources: the browsers' own documentation of their
// User-Agent strings, and the crawlers' pages (Google, Bing, Yandex, Baidu, Apple, Meta, Pinterest, monitoring services).
var words = index([]word{
	// "bot" is in the names of most crawlers. Cubot makes phones: see readAgent.
	{"bot", markBot}, {"spider", markBot}, {"crawl", markBot}, {"slurp", markBot}, {"facebookexternalhit", markBot}, {"facebookcatalog", markBot},
	{"meta-external", markBot}, {"mediapartners-google", markBot}, {"google-inspectiontool", markBot}, {"google-read-aloud", markBot}, {"googleother", markBot},
	{"apis-google", markBot}, {"feedfetcher", markBot}, {"bingpreview", markBot}, {"chrome-lighthouse", markBot}, {"pagespeed", markBot}, {"gtmetrix", markBot},
	{"pingdom", markBot}, {"uptimerobot", markBot}, {"statuscake", markBot}, {"datadog", markBot}, {"newrelic", markBot}, {"site24x7", markBot},
	{"embedly", markBot}, {"outbrain", markBot}, {"skypeuripreview", markBot}, {"slack-imgproxy", markBot}, {"vkshare", markBot}, {"w3c_validator", markBot},
	{"archive.org", markBot}, {"ia_archiver", markBot}, {"httrack", markBot}, {"scrapy", markBot}, {"scraper", markBot}, {"nuclei", markBot}, {"nikto", markBot},
	{"sqlmap", markBot}, {"masscan", markBot}, {"zgrab", markBot}, {"censys", markBot}, {"bytedance", markBot}, {"yahoo! ", markBot}, {"chatgpt-user", markBot},
	{"claude-user", markBot}, {"perplexity", markBot}, {"ads.txt", markBot}, {"proximic", markBot}, {"grapeshot", markBot}, {"integralads", markBot}, {"+http", markBot},

	{"headlesschrome", markHeadless}, {"phantomjs", markHeadless}, {"puppeteer", markHeadless}, {"playwright", markHeadless}, {"selenium", markHeadless}, {"electron/", markHeadless}, {"cypress/", markHeadless}, {"jsdom", markHeadless},

	{"windows", markWindows}, {"macintosh", markMac}, {"iphone", markIPhone}, {"ipod", markIPhone}, {"ipad", markIPad}, {"android", markAndroid},
	{"cros ", markChromeOS}, {"linux", markLinux}, {"x11", markLinux}, {"mobi", markMobile}, {"windows phone", markMobile | markSet},
	{"tablet", markTablet}, {"silk/", markOther}, {"kindle", markTablet}, {"playbook", markTablet | markSet},
	{"smart-tv", markSet}, {"smarttv", markSet}, {"tizen", markSet}, {"web0s", markSet}, {"webos", markSet}, {"crkey", markSet}, {"appletv", markSet}, {"hbbtv", markSet},
	{"playstation", markSet}, {"xbox", markSet}, {"nintendo", markSet}, {"kaios", markSet | markMobile}, {"googletv", markSet}, {"bravia", markSet}, {"roku", markSet},

	{"edg/", markEdge}, {"edga/", markEdge}, {"edgios/", markEdge}, {"edge/", markEdge}, {"opr/", markOpera}, {"opera", markOpera}, {"opios/", markOpera}, {"opt/", markOpera}, {"opx/", markOpera},
	{"samsungbrowser/", markSamsung}, {"ucbrowser", markOther}, {"yabrowser", markOther}, {"vivaldi", markOther}, {"duckduckgo", markOther}, {"ddg/", markOther},
	{"huaweibrowser", markOther}, {"miuibrowser", markOther}, {"heytapbrowser", markOther}, {"vivobrowser", markOther}, {"whale/", markOther}, {"brave", markOther}, {"qqbrowser", markOther}, {"micromessenger", markOther},
	{"msie ", markOther}, {"trident/", markOther}, {"instagram", markOther}, {"fban/", markOther}, {"fbav/", markOther}, {"pinterest/", markOther}, {"snapchat", markOther},
	{"musical_ly", markOther}, {"bytelocale", markOther}, {"gsa/", markOther}, {"line/", markOther}, {"linkedinapp", markOther}, {"ecosia", markOther}, {"avast/", markOther}, {"sleipnir", markOther}, {"maxthon", markOther}, {"puffin", markOther}, {"seamonkey", markOther}, {"palemoon", markOther},
	{"firefox/", markFirefox}, {"fxios/", markFirefox}, {"focus/", markFirefox}, {"klar/", markFirefox}, {"chrome/", markChrome}, {"crios/", markChrome}, {"chromium/", markChrome}, {"safari/", markSafari},
})

// table finds words by their first letter, and says of most places in a text that no word begins there.
type table struct {
	words [256][]word
	pairs [256][4]uint64 // by the first letter, a bit for each second one
}

func index(all []word) *table {
	t := &table{}
	for _, w := range all {
		a, b := w.text[0], w.text[1]
		t.words[a] = append(t.words[a], w)
		t.pairs[a][b>>6] |= 1 << (b & 63)
	}
	return t
}

// maxAgent is how much of a User-Agent is looked at; real ones are shorter than 400 bytes.
const maxAgent = 1024

// readAgent finds all words in one pass, without allocating.
func readAgent(s string) marks {
	s = s[:min(len(s), maxAgent)]
	var found marks
	for i := 0; i+1 < len(s); i++ {
		a, b := lower(s[i]), lower(s[i+1])
		if words.pairs[a][b>>6]&(1<<(b&63)) == 0 {
			continue
		}
		for _, w := range words.words[a] {
			if hasPrefix(s[i:], w.text) && !(w.text == "bot" && i >= 2 && hasPrefix(s[i-2:], "cubot")) {
				found |= w.mark
			}
		}
	}
	return found
}

// hasPrefix compares with a text in lower case.
func hasPrefix(s, lowerText string) bool {
	if len(s) < len(lowerText) {
		return false
	}
	for i := 1; i < len(lowerText); i++ { // the first byte was the index
		if lower(s[i]) != lowerText[i] {
			return false
		}
	}
	return lower(s[0]) == lowerText[0]
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c | 0x20
	}
	return c
}

// kind is what the marks add up to. Browsers name those they descend from, so the youngest is looked for first.
func (m marks) kind() (inventory.Device, inventory.Browser, inventory.System) {
	return m.device(), m.browser(), m.system()
}

func (m marks) device() inventory.Device {
	switch {
	case m&markSet != 0 && m&markMobile == 0:
		if m&markTablet != 0 {
			return inventory.Tablet
		}
		return inventory.Desktop
	case m&(markIPad|markTablet) != 0:
		// Windows says "Tablet PC" of computers with a pen.
		if m&markWindows != 0 {
			return inventory.Desktop
		}
		return inventory.Tablet
	case m&markAndroid != 0 && m&markMobile == 0:
		return inventory.Tablet
	case m&(markMobile|markIPhone) != 0:
		return inventory.Mobile
	}
	return inventory.Desktop
}

func (m marks) browser() inventory.Browser {
	switch {
	case m&markEdge != 0:
		return inventory.Edge
	case m&markOpera != 0:
		return inventory.Opera
	case m&markSamsung != 0:
		return inventory.Samsung
	case m&markOther != 0:
		return inventory.OtherBrowser
	case m&markFirefox != 0:
		return inventory.Firefox
	case m&markChrome != 0:
		return inventory.Chrome
	case m&markSafari != 0 && m&markAndroid == 0:
		return inventory.Safari
	}
	return inventory.OtherBrowser
}

func (m marks) system() inventory.System {
	switch {
	case m&markSet != 0:
		return inventory.OtherSystem
	case m&(markIPhone|markIPad) != 0:
		return inventory.IOS
	case m&markAndroid != 0:
		return inventory.Android
	case m&markWindows != 0:
		return inventory.Windows
	case m&markMac != 0:
		return inventory.MacOS
	case m&markChromeOS != 0:
		return inventory.ChromeOS
	case m&markLinux != 0:
		return inventory.Linux
	}
	return inventory.OtherSystem
}

// hints reads User-Agent client hints into dst, where a browser sends them: its User-Agent is then frozen and tells less. The brands
// also give headless browsers away.
func hints(h *fasthttp.RequestHeader, dst *Visitor) marks {
	brands := string(h.Peek("Sec-Ch-Ua"))
	if brands == "" {
		return 0
	}
	if b := brand(brands); b != 0 {
		dst.Browser = b
	}
	mobile := string(h.Peek("Sec-Ch-Ua-Mobile"))
	system := platform(strings.Trim(string(h.Peek("Sec-Ch-Ua-Platform")), `"`))
	if system != 0 {
		dst.System = system
	}
	switch {
	case system == inventory.Android && mobile == "?0":
		dst.Device = inventory.Tablet
	case system != 0 && mobile == "?0":
		dst.Device = inventory.Desktop
	}
	if mobile == "?1" {
		dst.Device = inventory.Mobile
	}
	if strings.Contains(brands, "HeadlessChrome") {
		return markHeadless
	}
	return 0
}

func platform(name string) inventory.System {
	switch name {
	case "Windows":
		return inventory.Windows
	case "macOS":
		return inventory.MacOS
	case "Linux":
		return inventory.Linux
	case "Chrome OS", "Chromium OS":
		return inventory.ChromeOS
	case "Android":
		return inventory.Android
	}
	return 0
}

func brand(list string) inventory.Browser {
	switch {
	case strings.Contains(list, `"Microsoft Edge"`):
		return inventory.Edge
	case strings.Contains(list, `"Opera`):
		return inventory.Opera
	case strings.Contains(list, `"Samsung Internet"`):
		return inventory.Samsung
	case strings.Contains(list, `"Google Chrome"`):
		return inventory.Chrome
	case strings.Contains(list, `"Brave"`), strings.Contains(list, `"YaBrowser"`), strings.Contains(list, `"Vivaldi"`), strings.Contains(list, `"DuckDuckGo"`), strings.Contains(list, `"Android WebView"`):
		return inventory.OtherBrowser
	}
	return 0
}
