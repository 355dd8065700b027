package track

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestIsMachine(t *testing.T) {
	t.Parallel()
	const chrome = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
	for _, tc := range []struct {
		name, userAgent string
		machine         bool
	}{
		// Readers.
		{"Chrome", chrome, false},
		{"Edge", chrome + " Edg/140.0.0.0", false},
		{"Firefox", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", false},
		{"iPhone", "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148", false},
		{"Gmail's image proxy", "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)", false},
		{"Yahoo's image proxy", "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html", false},
		{"Outlook on a desk", "Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 10.0; WOW64; Trident/7.0; Microsoft Outlook 16.0.17928)", false},
		{"Outlook on a Mac", "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) MacOutlook/16.89", false},
		{"Thunderbird", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Thunderbird/128.1.0", false},
		{"Samsung's mail", "Dalvik/2.1.0 (Linux; U; Android 14; SM-S911B Build/UP1A.231005.007)", false},
		{"a phone by Cubot", "Mozilla/5.0 (Linux; Android 11; CUBOT KINGKONG 5) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Mobile Safari/537.36", false},
		{"a browser within Facebook", "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 [FBAN/FBIOS;FBAV/440.0]", false},
		{"words with bot inside", "Mozilla/5.0 (compatible; Bottega Robotics Browser)", false},

		// Machines.
		{"nobody", "", true},
		{"blanks", "  ", true},
		{"Apple's privacy proxy, and simple scripts", "Mozilla/5.0", true},
		{"Gmail's look on delivery", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/42.0.2311.135 Safari/537.36 Edge/12.246 Mozilla/5.0", true},
		{"Barracuda", "Barracuda Sentinel (EE)", true},
		{"Barracuda, older", "BarracudaCentral/1.0", true},
		{"Proofpoint", "Mozilla/5.0 (compatible; Proofpoint URL Defense)", true},
		{"Mimecast", "Mimecast-URL-Protect/2.0", true},
		{"Safe Links under its name", "Mozilla/5.0 (compatible; Microsoft SafeLinks)", true},
		{"Office before a link", "Microsoft Office Existence Discovery", true},
		{"Cisco", "CiscoSecureEmail/1.0", true},
		{"Trend Micro", "Mozilla/5.0 TrendMicro TMES", true},
		{"a bot", "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", true},
		{"a bot at the end", "SomeBot", true},
		{"a bot and a Cubot", "CUBOT checked by linkbot/1.0", true},
		{"a preview in iMessage", "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_11_1) AppleWebKit/601.2.4 (KHTML, like Gecko) Version/9.0.1 Safari/601.2.4 facebookexternalhit/1.1 Facebot Twitterbot/1.0", true},
		{"a preview in WhatsApp", "WhatsApp/2.24.1.78 A", true},
		{"a preview in Skype and Teams", "Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5", true},
		{"curl", "curl/8.5.0", true},
		{"wget", "Wget/1.21.4", true},
		{"Python", "python-requests/2.32.3", true},
		{"urllib", "Python-urllib/3.12", true},
		{"Go", "Go-http-client/1.1", true},
		{"Java", "Java/17.0.2", true},
		{"a browser without a screen", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/140.0.0.0 Safari/537.36", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header.Set("User-Agent", tc.userAgent)
			require.Equal(t, tc.machine, isMachine(r))
			r.Method = http.MethodHead
			require.True(t, isMachine(r), "no reader asks for the head alone")
		})
	}
}

func TestPrefetchIsAMachine(t *testing.T) {
	t.Parallel()
	for _, tc := range [][2]string{
		{"Sec-Purpose", "prefetch;prerender"},
		{"Sec-Purpose", "prefetch"},
		{"Purpose", "prefetch"},
		{"X-Purpose", "preview"},
		{"X-Moz", "prefetch"},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0")
		require.False(t, isMachine(r))
		r.Header.Set(tc[0], tc[1])
		require.True(t, isMachine(r), tc)
	}
}

func FuzzIsMachine(f *testing.F) {
	f.Add("Googlebot", "prefetch")
	f.Add("cubotbotcubot\xff", "")
	f.Fuzz(func(t *testing.T, ua, purpose string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header["User-Agent"], r.Header["Purpose"] = []string{ua}, []string{purpose}
		isMachine(r) // whatever it says, it says something
		kept := userAgent(r)
		require.True(t, utf8.ValidString(kept))
		require.LessOrEqual(t, len(kept), 3*maxUserAgent) // U+FFFD has three bytes
	})
}

func TestMask(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ channel, address, want string }{
		{"email", "ana@example.com", "a•••@e•••.com"},
		{"email", "ñ@ñandú.com.gt", "ñ•••@ñ•••.gt"},
		{"email", "a@localhost", "a•••@l•••"},
		{"email", `"a@b"@example.com`, `"•••@e•••.com`},
		{"email", "nonsense", "•••"},
		{"email", "@", "•••@•••"},
		{"sms", "+50255551234", "•••1234"},
		{"sms", "12345", "•••"},
	} {
		require.Equal(t, tc.want, mask(tc.channel, tc.address))
	}
}
