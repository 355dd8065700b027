package messagetext

import (
	"bytes"
	_ "embed"
	"html/template"
	"strings"
)

//go:embed email.html
var emailSource string

// emailTemplate is parsed once and read alone.
var emailTemplate = template.Must(template.New("email").Parse(emailSource))

// EmailParts is what an email is made of.
type EmailParts struct {
	Text           string // the rendered campaign text
	PostalAddress  string // the sender's, which CAN-SPAM asks for
	UnsubscribeURL string
	PixelURL       string // the image that tells an open; empty: none

	// Rewrite gives the address that a link of the text leads to, to count clicks; nil leaves them. The
	// unsubscribe link is never rewritten: it must work without a detour, and is no click.
	Rewrite func(url string) string
}

// EmailText is the plain part of an email: the text and the footer. Its links are left as they are, since
// here they are read as well as followed.
func EmailText(p EmailParts) string {
	return strings.TrimRight(lines(p.Text), "\n ") + "\n" + Footer(p.PostalAddress, p.UnsubscribeURL)
}

// Footer is the end of every email's plain part: who sent it, and the way out. It begins with the
// signature separator of RFC 3676, so that mail readers leave it out of a reply's quotation.
func Footer(postalAddress, unsubscribeURL string) string {
	var b strings.Builder
	b.WriteString("\n-- \n")
	if postal := strings.TrimSpace(lines(postalAddress)); postal != "" {
		b.WriteString(postal + "\n")
	}
	if unsubscribeURL != "" {
		b.WriteString("Unsubscribe: " + unsubscribeURL + "\n")
	}
	return b.String()
}

// piece is a span with the address that it leads to.
type piece struct {
	Text string
	Href string // empty: no link
}

// emailView is what email.html shows.
type emailView struct {
	Paragraphs     [][][]piece // paragraphs of lines of pieces
	Postal         [][]piece   // lines
	UnsubscribeURL string
	PixelURL       string
}

// EmailHTML is the HTML part of an email: the same text with its links to click, the footer, and the pixel.
func EmailHTML(p EmailParts) string {
	rewrite := p.Rewrite
	if rewrite != nil {
		rewrite = func(link string) string {
			if link == p.UnsubscribeURL {
				return link
			}
			return p.Rewrite(link)
		}
	}
	v := emailView{
		Paragraphs: paragraphs(p.Text, rewrite), UnsubscribeURL: p.UnsubscribeURL, PixelURL: p.PixelURL,
	}
	for line := range strings.SplitSeq(strings.TrimSpace(lines(p.PostalAddress)), "\n") {
		if line != "" {
			v.Postal = append(v.Postal, []piece{{Text: line}})
		}
	}
	return execute("email", v)
}

// TextToHTML is a plain text as HTML: escaped, a paragraph for each that an empty line ends, its links to
// click. Rewrite gives the address that each leads to; nil leaves them. What is shown is always the link
// as it was written.
func TextToHTML(text string, rewrite func(url string) string) string {
	return execute("paragraphs", paragraphs(text, rewrite))
}

// execute runs a template of email.html. These write into memory and read fields that exist, so they
// cannot fail; a test runs each.
func execute(name string, data any) string {
	var b bytes.Buffer
	if err := emailTemplate.ExecuteTemplate(&b, name, data); err != nil {
		panic("messagetext: " + err.Error())
	}
	return b.String()
}

func paragraphs(text string, rewrite func(string) string) [][][]piece {
	var all [][][]piece
	var paragraph [][]piece
	flush := func() {
		if len(paragraph) > 0 {
			all = append(all, paragraph)
			paragraph = nil
		}
	}
	for line := range strings.SplitSeq(lines(text), "\n") {
		if strings.TrimSpace(line) == "" {
			flush()
			continue
		}
		paragraph = append(paragraph, pieces(line, rewrite))
	}
	flush()
	return all
}

func pieces(line string, rewrite func(string) string) []piece {
	var list []piece
	for _, s := range spans(line) {
		p := piece{Text: s.text}
		if s.link {
			p.Href = s.text
			if rewrite != nil {
				p.Href = rewrite(s.text)
			}
		}
		list = append(list, p)
	}
	return list
}

// lines makes every end of a line a \n.
func lines(text string) string {
	return strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text)
}
