// Package messagetext makes the text of messages: campaign templates, and the text and HTML parts of an
// email around a rendered text. It does no I/O and imports the standard library alone.
//
// Templates are written by operators, not by programmers, and run a hundred thousand times, so the
// language is small and a template that parses cannot fail on some recipient: it is checked completely
// when it is parsed.
package messagetext

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/template"
	"text/template/parse"
	"unicode/utf8"
)

// Limits.
const (
	// MaxTemplate bounds the body of a template, in bytes. A page of text has about 3 KiB.
	MaxTemplate = 64 << 10
	// MaxRendered bounds what a template renders to, in bytes: a template of that size with every field
	// filled, and an email that mail readers still show whole (Gmail clips above about 100 KiB). An SMS
	// has its own, lower limit, which its sender checks.
	MaxRendered = 96 << 10
	// maxDepth bounds how deep blocks and parentheses may nest.
	maxDepth = 16
)

// ErrTooLong says that a text rendered to more than [MaxRendered].
var ErrTooLong = errors.New("the rendered message is too long")

// Fields is what a template can show.
type Fields struct {
	Name           string
	City           string
	SiteURL        string
	UnsubscribeURL string
}

// Error says what is wrong with a template, and where.
type Error struct {
	Line    int // from 1
	Column  int // from 1, in characters
	Message string
}

// Error is the message with its place.
func (e *Error) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Message)
}

// Template is a checked template. It is safe for concurrent use.
type Template struct {
	tmpl *template.Template
	uses map[string]bool
}

const (
	notText  = "a character here is not valid text"
	noNested = "templates within the template are not available"
)

// templateName is what text/template calls a body; it shows in its messages alone, where it is cut off.
const templateName = "message"

// Parse checks a template: text with {{.Name}}, {{.City}}, {{.SiteURL}} and {{.UnsubscribeURL}}, with
// {{if}}, {{else}}, {{with}} and {{end}}, and with the functions and, or, not, eq and ne. Everything
// else that Go's templates have is refused: loops, variables, nested templates, formatting. Every error is
// an [*Error].
func Parse(body string) (*Template, error) {
	if len(body) > MaxTemplate {
		return nil, &Error{1, 1, fmt.Sprintf("the template has %d bytes; at most %d are allowed", len(body), MaxTemplate)}
	}
	if i := strings.IndexFunc(body, func(r rune) bool { return r == 0 || r == utf8.RuneError }); i >= 0 {
		return nil, place(body, i, notText)
	}
	if at := indexDefinition(body); at >= 0 {
		return nil, place(body, at, noNested)
	}
	trees, err := parse.Parse(templateName, body, "", "", functions())
	if err != nil {
		return nil, parseError(body, err)
	}
	tree := trees[templateName]
	if tree == nil || len(trees) > 1 {
		return nil, &Error{1, 1, noNested}
	}
	c := checker{body: body, uses: make(map[string]bool)}
	if err := c.list(tree.Root, scope{}); err != nil {
		return nil, err
	}
	tmpl, err := template.New(templateName).AddParseTree(templateName, tree)
	if err != nil {
		return nil, parseError(body, err)
	}
	t := &Template{tmpl: tmpl, uses: c.uses}
	return t, t.try(body)
}

// try renders samples: every field filled, and none. The check has found everything that these could
// find; should the two ever disagree, it is here that it shows, not at the hundred-thousandth recipient.
func (t *Template) try(body string) error {
	full := Fields{
		Name: "Panadería La Espiga", City: "Quetzaltenango",
		SiteURL: "https://la-espiga.example.com", UnsubscribeURL: "https://example.com/u/token",
	}
	for _, f := range []Fields{full, {}} {
		_, err := t.Render(f)
		if errors.Is(err, ErrTooLong) {
			return &Error{1, 1, fmt.Sprintf("the message is longer than %d bytes", MaxRendered)}
		}
		if err != nil {
			return parseError(body, err)
		}
	}
	return nil
}

// Uses reports whether the template shows or asks for a field, by its name in [Fields]: a message that
// uses SiteURL has no sense for a business without a site.
func (t *Template) Uses(field string) bool { return t.uses[field] }

// Render fills the template. The one error of a parsed template is [ErrTooLong].
func (t *Template) Render(f Fields) (string, error) {
	out := &bounded{left: MaxRendered}
	if err := t.tmpl.Execute(out, f); err != nil {
		if out.full {
			return "", ErrTooLong
		}
		return "", fmt.Errorf("render message: %w", err)
	}
	return out.text.String(), nil
}

// bounded stops an execution whose output grows past the limit.
type bounded struct {
	text strings.Builder
	left int
	full bool
}

func (b *bounded) Write(p []byte) (int, error) {
	if len(p) > b.left {
		b.full = true
		return 0, io.ErrShortWrite
	}
	b.left -= len(p)
	return b.text.Write(p)
}

// functions are the ones that a template may call: those that only choose. Formatting (printf "%999999d"
// fills memory), call, index and the rest of text/template's are not there.
func functions() map[string]any {
	return map[string]any{"and": true, "or": true, "not": true, "eq": true, "ne": true} // the parser asks for the names alone
}
