package messagetext_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"onward/jobs/messagetext"
)

func bakery() messagetext.Fields {
	return messagetext.Fields{
		Name: "Panadería <La Espiga>", City: "Xela",
		SiteURL: "https://la-espiga.example.com", UnsubscribeURL: "https://hooks.example.com/u/abc",
	}
}

func TestRender(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, body, want, empty string }{
		{"plain", "Hello", "Hello", "Hello"},
		{"nothing", "", "", ""},
		{"a field, not escaped: it is text", "Hi {{.Name}}!", "Hi Panadería <La Espiga>!", "Hi !"},
		{"every field", "{{.Name}}|{{.City}}|{{.SiteURL}}|{{.UnsubscribeURL}}", "Panadería <La Espiga>|Xela|https://la-espiga.example.com|https://hooks.example.com/u/abc", "|||"},
		{"if", "{{if .City}}in {{.City}}{{else}}here{{end}}", "in Xela", "here"},
		{"else if", "{{if eq .City \"Antigua\"}}a{{else if .City}}b{{else}}c{{end}}", "b", "c"},
		{"with", "{{with .City}}in {{.}}, {{$.Name}}{{else}}none{{end}}", "in Xela, Panadería <La Espiga>", "none"},
		{"else with", "{{with .City}}{{.}}{{else with .Name}}{{.}}{{end}}", "Xela", ""},
		{"a default", "{{or .City \"your town\"}}", "Xela", "your town"},
		{"logic", "{{if and .City (not (eq .Name .City)) (ne .City \"Cobán\")}}y{{else}}n{{end}}", "y", "n"},
		{"pipeline", "{{.City | or .SiteURL}}", "https://la-espiga.example.com", ""},
		{"blanks cut", "a \n {{- .City -}} \n b", "aXelab", "ab"},
		{"a comment", "{{/* nobody sees this */}}x", "x", "x"},
		{"braces as text", "{ }} }", "{ }} }", "{ }} }"},
		{"a long chain of else if", "{{if eq .City \"0\"}}0" + strings.Repeat("{{else if eq .City \"1\"}}1", 100) + "{{end}}", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			tmpl, err := messagetext.Parse(tc.body)
			require.NoError(t, err)
			got, err := tmpl.Render(bakery())
			require.NoError(t, err)
			require.Equal(t, tc.want, got)
			got, err = tmpl.Render(messagetext.Fields{})
			require.NoError(t, err)
			require.Equal(t, tc.empty, got)
		})
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, body   string
		line, column int
		message      string
	}{
		{"unknown field", "Hola,\nsoy {{.Nombre}}", 2, 7, "there is no field {{.Nombre}}"},
		{"unknown field where no sample goes", `{{if eq .City "Petén"}}{{.Phone}}{{end}}`, 1, 26, "there is no field {{.Phone}}"},
		{"unknown field under $", `{{with .City}}{{$.Phone}}{{end}}`, 1, 18, "there is no field {{.Phone}}"},
		{"columns count characters", "áéíóú {{.X}}", 1, 9, "there is no field"},
		{"a field of a text", "{{.Name.First}}", 1, 8, "has no field First"},
		{"a method", "{{.Name.String}}", 1, 8, "has no field String"},
		{"a field within with", "{{with .City}}{{.Name}}{{end}}", 1, 17, "is written {{$.Name}}"},
		{"the dot alone", "{{.}}", 1, 3, "inside {{with}} alone"},
		{"all fields at once", "{{$}}", 1, 3, "variables are not available"},
		{"a variable", "{{$x := .Name}}", 1, 3, "variables are not available"},
		{"a variable in with", "{{with $x := .Name}}{{$x}}{{end}}", 1, 8, "variables are not available"},
		{"no dot", "Hi {{Name}}", 1, 4, "there is no function Name; a field is written with a dot"},
		{"no dot, the second of two", "{{.Name}} {{City}} {{.City}}", 1, 11, "there is no function City"},
		{"printf", `{{printf "%999999999d" 1}}`, 1, 1, "there is no function printf"},
		{"call", `{{call .Name}}`, 1, 1, "there is no function call"},
		{"index", `{{index .Name 0}}`, 1, 1, "there is no function index"},
		{"html", `{{.Name | html}}`, 1, 1, "there is no function html"},
		{"range", "a\n\n{{range .Name}}{{end}}", 3, 9, "{{range}} is not available"},
		{"break", "{{break}}", 1, 1, "outside {{range}}"},
		{"template", `{{template "x"}}`, 1, 12, "{{template}} is not available"},
		{"define", "x\n {{define \"x\"}}{{end}}", 2, 2, "templates within the template"},
		{"define of itself", `{{define "message"}}x{{end}}`, 1, 1, "templates within the template"},
		{"block", `{{- block "x" .}}{{end}}`, 1, 1, "templates within the template"},
		{"a number", "{{1}}", 1, 3, "values are fields and texts"},
		{"nil", "{{if eq .Name nil}}{{end}}", 1, 15, "values are fields and texts"},
		{"a field of parentheses", "{{(.Name).City}}", 1, 10, "values are fields and texts"},
		{"an argument to a field", `{{.Name "x"}}`, 1, 9, "a value takes no argument"},
		{"a value after |", `{{.Name | .City}}`, 1, 11, "only a function can follow"},
		{"a function without parentheses", `{{or not .City}}`, 1, 6, "put in parentheses"},
		{"too few values", `{{if .City}}{{or}}{{end}}`, 1, 15, "takes another number"},
		{"too few values to compare", `{{if eq .City}}{{end}}`, 1, 6, "takes another number"},
		{"too many values", `{{not .City .Name}}`, 1, 3, "takes another number"},
		{"a comparison that would fail for some", `{{if eq .City (not .Name)}}{{end}}`, 1, 6, "compares texts alone"},
		{"a comparison that might fail for some", `{{if eq .City (or .Name (not .City))}}{{end}}`, 1, 6, "compares texts alone"},
		{"a brace missing", "Hi {{.City}}, {{.Name} there {{.City}}", 1, 15, "bad character"},
		{"both braces missing", "Hi {{.City}}, {{.Name", 1, 15, "this {{ has no }}"},
		{"nothing in it", "Hi {{ }}", 1, 4, "{{}} names nothing"},
		{"no end", "a\n{{if .City}}{{with .Name}}x\n{{end}}", 2, 1, "has no {{end}}"},
		{"no end, inner", "a\n{{if .City}}\n x {{with .Name}}x\n", 3, 4, "has no {{end}}"},
		{"end alone", "a{{.Name}}{{end}}", 1, 11, "{{end}} without"},
		{"else alone", "{{else}}", 1, 1, "{{else}} without"},
		{"an action over lines", "x {{ .Name\n.Foo bar }}", 2, 1, "there is no function bar"},
		{"too deep", strings.Repeat("{{if .City}}", 17) + strings.Repeat("{{end}}", 17), 1, 198, "nested more than 16"},
		{"too many parentheses", "{{if " + strings.Repeat("(", 17) + ".City" + strings.Repeat(")", 17) + "}}{{end}}", 1, 23, "nested more than 16"},
		{"too long", strings.Repeat("a", messagetext.MaxTemplate+1), 1, 1, "at most 65536"},
		{"NUL", "ab\x00", 1, 3, "not valid text"},
		{"NUL in a quoted text", `{{or .Name "\x00"}}`, 1, 12, "not valid text"},
		{"not UTF-8", "a\nb\xff", 2, 2, "not valid text"},
		{"not UTF-8 in a quoted text", `{{or .Name "\xff"}}`, 1, 12, "not valid text"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := messagetext.Parse(tc.body)
			var place *messagetext.Error
			require.ErrorAs(t, err, &place)
			require.Contains(t, place.Message, tc.message)
			require.Equal(t, [2]int{tc.line, tc.column}, [2]int{place.Line, place.Column}, "place of: %v", err)
		})
	}
}

func TestRenderIsBounded(t *testing.T) {
	t.Parallel()
	tmpl, err := messagetext.Parse(strings.Repeat("{{.Name}}", messagetext.MaxTemplate/len("{{.Name}}")/20))
	require.NoError(t, err)
	_, err = tmpl.Render(messagetext.Fields{Name: strings.Repeat("n", 100)})
	require.NoError(t, err)
	_, err = tmpl.Render(messagetext.Fields{Name: strings.Repeat("n", 1000)})
	require.ErrorIs(t, err, messagetext.ErrTooLong)
}

// TestManyActionsAreParsedFast: the search for the place of an error does not read the template once for
// each of its actions.
func TestManyActionsAreParsedFast(t *testing.T) {
	t.Parallel()
	_, err := messagetext.Parse(strings.Repeat("{{.City}}", 7000) + "{{Name}}")
	var place *messagetext.Error
	require.ErrorAs(t, err, &place)
	require.Equal(t, 7000*len("{{.City}}")+1, place.Column)
}

func TestUses(t *testing.T) {
	t.Parallel()
	tmpl, err := messagetext.Parse(`{{if .City}}{{with .Name}}{{$.SiteURL}}{{end}}{{end}}`)
	require.NoError(t, err)
	for field, want := range map[string]bool{"Name": true, "City": true, "SiteURL": true, "UnsubscribeURL": false} {
		require.Equal(t, want, tmpl.Uses(field), field)
	}
}

// TestParsedTemplatesNeverFail builds templates from every construct, right and wrong: what Parse accepts
// renders for every recipient.
func TestParsedTemplatesNeverFail(t *testing.T) {
	t.Parallel()
	parts := []string{
		"text ", "\n", "{{.Name}}", "{{.City}}", "{{$.SiteURL}}", "{{.}}", "{{$}}", "{{.Phone}}", "{{if .Name}}", "{{with .City}}",
		"{{with not .City}}", "{{with or .Name (not .City)}}", "{{else}}", "{{else if eq . .}}", "{{else with $.Name}}", "{{end}}", "{{end}}",
		"{{eq .City \"Xela\"}}", "{{eq . $.Name}}", "{{eq . \"true\"}}", "{{ne .Name .City}}", "{{or .Name not}}", "{{not .City | eq .Name}}",
		"{{and .Name .City | or .City}}", "{{$.Name | eq $.City}}", "{{or}}", "{{range .Name}}", "{{template \"message\"}}", "{{define \"message\"}}", "{{printf \"%d\" 1}}",
		"{{len .Name}}", "{{- .Name -}}", "{{/* x */}}", "{{.Name",
	}
	accepted := 0
	rapid.Check(t, func(t *rapid.T) {
		for range 20 {
			var b strings.Builder
			for range rapid.IntRange(1, 6).Draw(t, "length") {
				b.WriteString(rapid.SampledFrom(parts).Draw(t, "part"))
			}
			if renders(t, b.String()) {
				accepted++
			}
		}
	})
	require.NotZero(t, accepted)
}

// renders reports whether a template parses; where it does, it must render for every recipient.
func renders(t require.TestingT, body string) bool {
	tmpl, err := messagetext.Parse(body)
	if err != nil {
		var place *messagetext.Error
		require.ErrorAs(t, err, &place, body)
		require.Positive(t, place.Line)
		require.Positive(t, place.Column)
		require.LessOrEqual(t, place.Line, strings.Count(body, "\n")+1, body)
		require.NotEmpty(t, place.Message)
		return false
	}
	for i := range 16 {
		f := messagetext.Fields{}
		for bit, field := range []*string{&f.Name, &f.City, &f.SiteURL, &f.UnsubscribeURL} {
			if i&(1<<bit) != 0 {
				*field = []string{"Ada", "Xela", "https://a.example", "https://b.example"}[bit]
			}
		}
		_, err := tmpl.Render(f)
		if !errors.Is(err, messagetext.ErrTooLong) {
			require.NoError(t, err, body)
		}
	}
	return true
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"Hi {{.Name}} in {{or .City \"town\"}}", "{{if eq .City \"x\"}}{{with .Name}}{{.}}{{end}}{{else}}{{end}}", "{{range .}}{{end}}",
		"{{define \"message\"}}{{end}}", "{{$x := 1}}", "{{printf \"%99999d\" 1}}", "{{- /* c */ -}}", "{{(and .Name (not .City)) | eq \"\"}}", "\x00\xff", "{{`a\nb`}}",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) { renders(t, body) })
}

func ExampleParse() {
	_, err := messagetext.Parse("Hello {{.Name}},\nyour site: {{.SiteUrl}}")
	fmt.Println(err)
	// Output: line 2, column 14: there is no field {{.SiteUrl}}; the fields are {{.Name}}, {{.City}}, {{.SiteURL}}, {{.UnsubscribeURL}}
}
