package crmapi

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"onward/web/apitoken"
)

//go:embed docs.html
var docsSource string

//go:embed docs.css
var docsCSS string

// describe renders the description as JSON and as a page. The page needs no script, and nothing from elsewhere.
func describe(spec *huma.OpenAPI) (encoded, page []byte, err error) {
	if encoded, err = json.MarshalIndent(spec, "", "  "); err != nil {
		return nil, nil, fmt.Errorf("describe the API: %w", err)
	}
	t, err := template.New("docs").Parse(docsSource)
	if err != nil {
		return nil, nil, fmt.Errorf("parse the page of the API: %w", err)
	}
	var buf bytes.Buffer
	if err := t.Execute(&buf, docsView(spec)); err != nil {
		return nil, nil, fmt.Errorf("render the page of the API: %w", err)
	}
	return encoded, buf.Bytes(), nil
}

func (a *API) serveSpec(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(a.spec) // the client's connection: nobody is left to tell
}

func (a *API) serveDocs(w http.ResponseWriter, _ *http.Request) {
	sum := sha256.Sum256([]byte(docsCSS))
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'none'; "+
		"style-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'")
	_, _ = w.Write(a.page) // see above
}

type docsPage struct {
	Title, Version, Description, Prefix string
	CSS                                 template.CSS
	Groups                              []docsGroup
	Schemas                             []docsSchema
}

type docsGroup struct {
	Name       string
	Operations []docsOperation
}

type docsOperation struct {
	ID, Method, Path, Summary, Description string
	Role                                   apitoken.Role
	Params                                 []docsField
	Body                                   []docsField
	Success                                []string // statuses
	Answer                                 string   // schema
}

type docsSchema struct {
	Name   string
	Fields []docsField
}

type docsField struct {
	Name, In, Type, Description string
	Required                    bool
}

func docsView(spec *huma.OpenAPI) docsPage {
	p := docsPage{
		Title: spec.Info.Title, Version: spec.Info.Version, Description: spec.Info.Description, Prefix: Prefix,
		CSS: template.CSS(docsCSS), // our own file
	}
	groups := map[string]int{}
	for _, path := range slices.Sorted(maps.Keys(spec.Paths)) {
		item := spec.Paths[path]
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Patch, item.Put, item.Delete} {
			if op == nil {
				continue
			}
			tag := op.Tags[0]
			if _, ok := groups[tag]; !ok {
				groups[tag] = len(p.Groups)
				p.Groups = append(p.Groups, docsGroup{Name: tag})
			}
			g := &p.Groups[groups[tag]]
			g.Operations = append(g.Operations, docsOperationOf(spec, op))
		}
	}
	schemas := spec.Components.Schemas.Map()
	for _, name := range slices.Sorted(maps.Keys(schemas)) {
		p.Schemas = append(p.Schemas, docsSchema{Name: name, Fields: fieldsOf(schemas[name])})
	}
	return p
}

func docsOperationOf(spec *huma.OpenAPI, op *huma.Operation) docsOperation {
	d := docsOperation{ID: op.OperationID, Method: op.Method, Path: op.Path, Summary: op.Summary, Description: op.Description}
	d.Role, _ = op.Metadata[roleKey].(apitoken.Role)
	for _, param := range op.Parameters {
		d.Params = append(d.Params, docsField{
			Name: param.Name, In: param.In, Type: typeOf(param.Schema), Description: param.Description, Required: param.Required,
		})
	}
	if op.RequestBody != nil {
		for _, media := range op.RequestBody.Content {
			s := media.Schema
			if s.Ref != "" {
				s = spec.Components.Schemas.SchemaFromRef(s.Ref)
			}
			d.Body = fieldsOf(s)
		}
	}
	for _, status := range slices.Sorted(maps.Keys(op.Responses)) {
		if !strings.HasPrefix(status, "2") {
			continue
		}
		d.Success = append(d.Success, status)
		for _, name := range slices.Backward(slices.Sorted(maps.Keys(op.Responses[status].Content))) {
			d.Answer = typeOf(op.Responses[status].Content[name].Schema) // JSON, where there is CSV beside it
		}
	}
	return d
}

func fieldsOf(s *huma.Schema) []docsField {
	var fields []docsField
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		p := s.Properties[name]
		fields = append(fields, docsField{Name: name, Type: typeOf(p), Description: p.Description, Required: slices.Contains(s.Required, name)})
	}
	return fields
}

// typeOf writes a schema in one line.
func typeOf(s *huma.Schema) string {
	if s == nil {
		return ""
	}
	t := s.Type
	switch {
	case s.Ref != "":
		t = s.Ref[strings.LastIndexByte(s.Ref, '/')+1:]
	case s.Type == huma.TypeArray:
		t = "list of " + typeOf(s.Items)
	case len(s.OneOf) > 0:
		parts := make([]string, len(s.OneOf))
		for i, o := range s.OneOf {
			parts[i] = typeOf(o)
		}
		t = strings.Join(parts, " or ")
	case len(s.Enum) > 0:
		parts := make([]string, len(s.Enum))
		for i, e := range s.Enum {
			parts[i] = fmt.Sprint(e)
		}
		t = strings.Join(parts, " | ")
	case s.Format != "":
		t = s.Format
	}
	if s.Nullable {
		t += " or null"
	}
	return t
}
