package track

import (
	"net/http"
	"strings"
	"unicode"
)

// isMachine reports whether a request tells of itself that no reader made it: security gateways open mails
// and follow every link in them before they deliver, chat and SMS programs fetch previews.
//
// It cannot see all. Scanners that pretend to be a browser (Microsoft's Safe Links most of all) are known
// only by their haste, which the worker sees. Apple's Mail Privacy Protection fetches every image through a
// proxy soon after delivery, opened or not, and calls itself "Mozilla/5.0" and no more, a name that no
// browser bears: that is counted as a machine's, since it tells nothing about the reader, though readers'
// own opens in Apple Mail are among them. Where Apple uses a full name, it cannot be told apart at all.
//
// The image proxies of Gmail and Yahoo fetch when the mail is opened: theirs are the reader's.
func isMachine(r *http.Request) bool {
	if r.Method == http.MethodHead || isPrefetch(r.Header) {
		return true
	}
	ua := strings.ToLower(strings.TrimSpace(r.UserAgent()))
	for _, proxy := range readersProxies() {
		if strings.Contains(ua, proxy) {
			return false
		}
	}
	if ua == "" || ua == "mozilla/5.0" || hasBotWord(ua) {
		return true
	}
	for _, sign := range machineSigns() {
		if strings.Contains(ua, sign) {
			return true
		}
	}
	return false
}

// isPrefetch reports what browsers say of requests that nobody asked for (yet).
func isPrefetch(h http.Header) bool {
	for _, name := range []string{"Sec-Purpose", "Purpose", "X-Purpose", "X-Moz"} {
		value := strings.ToLower(h.Get(name))
		if strings.Contains(value, "prefetch") || strings.Contains(value, "prerender") || strings.Contains(value, "preview") {
			return true
		}
	}
	return false
}

func readersProxies() []string { return []string{"googleimageproxy", "yahoomailproxy"} }

// machineSigns are parts of user agents, in lower case, as their makers or the logs of senders name them.
func machineSigns() []string {
	return []string{
		// Security gateways.
		"barracuda", "proofpoint", "urldefense", "mimecast", "safelinks", "ironport", "ciscosecureemail", "fireeye",
		"trendmicro", "trend micro", "symantec", "messagelabs", "forcepoint", "websense", "sophos", "mcafee",
		"fortinet", "fortimail", "virustotal", "urlscan", "netcraft",
		// Office asks whether a link exists, with requests of its own, before the browser follows it.
		"existence discovery", "protocol discovery",
		// Gmail looks at some images on delivery under the name of a browser of 2015, with an odd end.
		"edge/12.246 mozilla/5.0",
		// Previews in chats; iMessage's on iPhones names facebookexternalhit.
		"facebookexternalhit", "whatsapp/", "skypeuripreview", "bingpreview", "embedly", "iframely", "linkpreview",
		// Search engines and others whose names lack the word bot.
		"slurp", "mediapartners-google", "google-safety", "googleother", "crawler", "spider", "scanner", "archiver", "monitoring",
		// Programs and libraries.
		"curl/", "wget/", "python", "aiohttp", "go-http-client", "java/", "apache-httpclient", "libwww-perl", "lwp::",
		"node-fetch", "axios/", "undici", "guzzlehttp", "ruby", "php/", "scrapy", "httpie", "postmanruntime", "insomnia/",
		"headless", "phantomjs", "puppeteer", "playwright", "selenium",
	}
}

// hasBotWord finds "bot" at the end of a word, as in Googlebot or "SomeBot/1.0", but for the phones of the
// maker Cubot.
func hasBotWord(ua string) bool {
	for rest := ua; ; {
		i := strings.Index(rest, "bot")
		if i < 0 {
			return false
		}
		after := rest[i+len("bot"):]
		ends := after == "" || !unicode.IsLetter(rune(after[0]))
		if ends && !strings.HasSuffix(rest[:i], "cu") {
			return true
		}
		rest = after
	}
}
