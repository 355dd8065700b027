package messagetext_test

import (
	"flag"
	"html"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"onward/jobs/messagetext"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

const letter = "¡Hola, Panadería <La Espiga>!\r\n\r\n" +
	"Hicimos una página para ustedes:\r\nhttps://la-espiga.example.com/?a=1&b=2.\r\n \r\n\r\n" +
	"¿Preguntas? Respondan a este correo (o vean https://example.com/wiki/Pan_(comida)).\r\n" +
	"<script>alert(\"no\")</script> javascript:alert(1)\r\n\r\n" +
	"Para no recibir más: https://hooks.example.com/u/abc\r\n"

func parts() messagetext.EmailParts {
	return messagetext.EmailParts{
		Text: letter, PostalAddress: "Onward & Co.\n4a Calle 1-23, Quetzaltenango",
		UnsubscribeURL: "https://hooks.example.com/u/abc", PixelURL: "https://hooks.example.com/t/o/def",
		Rewrite: func(url string) string {
			return "https://hooks.example.com/t/c/" + regexp.MustCompile(`\W+`).ReplaceAllString(url, "-")
		},
	}
}

func TestEmailHTML(t *testing.T) {
	t.Parallel()
	golden(t, "email.html", messagetext.EmailHTML(parts()))
}

func TestEmailHTMLWithNothing(t *testing.T) {
	t.Parallel()
	golden(t, "empty.html", messagetext.EmailHTML(messagetext.EmailParts{}))
}

func TestEmailText(t *testing.T) {
	t.Parallel()
	golden(t, "email.txt", messagetext.EmailText(parts()))
}

func TestFooter(t *testing.T) {
	t.Parallel()
	require.Equal(t, "\n-- \nStreet 1\nUnsubscribe: https://u\n", messagetext.Footer(" Street 1\r\n", "https://u"))
	require.Equal(t, "\n-- \n", messagetext.Footer("", ""))
}

func TestTheUnsubscribeLinkIsNeverRewritten(t *testing.T) {
	t.Parallel()
	page := messagetext.EmailHTML(parts())
	require.Equal(t, 2, strings.Count(page, `href="https://hooks.example.com/u/abc"`), "in the text and in the footer")
	require.NotContains(t, page, "t/c/https-hooks")
}

func TestTextToHTML(t *testing.T) {
	t.Parallel()
	link := func(url string) string {
		return `<a href="` + html.EscapeString(url) + `">` + html.EscapeString(url) + `</a>`
	}
	for _, tc := range []struct{ name, in, want string }{
		{"nothing", "", ""},
		{"blank", " \n\t\n", ""},
		{"escaped", "a < b & \"c\"", "<p>a &lt; b &amp; &#34;c&#34;</p>\n"},
		{"paragraphs and lines", "a\nb\n\n\n\nc", "<p>a<br>\nb</p>\n<p>c</p>\n"},
		{"old ends of lines", "a\rb\r\nc", "<p>a<br>\nb<br>\nc</p>\n"},
		{"a link", "see https://a.example/b?c=d#e now", "<p>see " + link("https://a.example/b?c=d#e") + " now</p>\n"},
		{"a link in capitals", "HTTPS://A.EXAMPLE", "<p>" + link("HTTPS://A.EXAMPLE") + "</p>\n"},
		{"the end of a sentence", "https://a.example/b. Y http://c.example?!", "<p>" + link("https://a.example/b") + ". Y " + link("http://c.example") + "?!</p>\n"},
		{"brackets around", "(https://a.example/b)", "<p>(" + link("https://a.example/b") + ")</p>\n"},
		{"brackets within", "https://a.example/b_(c)", `<p><a href="https://a.example/b_%28c%29">https://a.example/b_(c)</a></p>` + "\n"},
		{"brackets around and within", "(https://a.example/b_(c)).", `<p>(<a href="https://a.example/b_%28c%29">https://a.example/b_(c)</a>).</p>` + "\n"},
		{"angle brackets", "<https://a.example/b>", "<p>&lt;" + link("https://a.example/b") + "&gt;</p>\n"},
		{"two, with a comma", "https://a.example,https://b.example", "<p>" + link("https://a.example,https://b.example") + "</p>\n"},
		{"within a word", "xhttps://a.example", "<p>xhttps://a.example</p>\n"},
		{"no host", "https:// http://. https://?x", "<p>https:// http://. https://?x</p>\n"},
		{"not a web address", "javascript:alert(1) ftp://a.example", "<p>javascript:alert(1) ftp://a.example</p>\n"},
		{"quotes end it", `https://a.example/"onclick="x`, "<p>" + link("https://a.example/") + "&#34;onclick=&#34;x</p>\n"},
		{"international", "https://panadería.example/ñ", `<p><a href="https://panader%c3%ada.example/%c3%b1">https://panadería.example/ñ</a></p>` + "\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tc.want, messagetext.TextToHTML(tc.in, nil))
		})
	}
}

func TestARewriteCannotBreakOut(t *testing.T) {
	t.Parallel()
	got := messagetext.TextToHTML("https://a.example", func(string) string { return `javascript:alert("x")` })
	require.NotContains(t, got, "javascript")
	got = messagetext.TextToHTML("https://a.example", func(string) string { return `https://b.example/"><script>` })
	require.NotContains(t, got, "<script>")
}

func FuzzTextToHTML(f *testing.F) {
	f.Add(letter)
	f.Add("https://a.example/(((")
	f.Add("http://\xff h http://[::1]:80/ https://a@b")
	f.Fuzz(func(t *testing.T, text string) {
		page := messagetext.TextToHTML(text, func(url string) string {
			if !strings.HasPrefix(strings.ToLower(url), "http") {
				t.Fatalf("%q was taken for a link", url)
			}
			return url
		})
		// Whatever the text holds, the tags are ours.
		tags := regexp.MustCompile(`<[^>]*>?`).FindAllString(page, -1)
		for _, tag := range tags {
			if tag != "<p>" && tag != "</p>" && tag != "<br>" && tag != "</a>" && !regexp.MustCompile(`^<a href="[^"<>]*">$`).MatchString(tag) {
				t.Fatalf("%q made the tag %q", text, tag)
			}
		}
	})
}
