package crmapi

import (
	"reflect"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// tellNulls makes the description say of every member that may be null that it may. Huma tells it of plain values alone: not of
// objects, which are references to another schema, nor in a list of the values that there are.
func tellNulls(schemas huma.Registry) {
	const prefix = "#/components/schemas/"
	for name, s := range schemas.Map() {
		if t := schemas.TypeFromRef(prefix + name); t != nil && t.Kind() == reflect.Struct {
			for member, null := range nullable(t) {
				if p := s.Properties[member]; p != nil && null {
					s.Properties[member] = orNullSchema(p)
				}
			}
		}
		for _, p := range s.Properties {
			if p.Nullable && len(p.Enum) > 0 && !slices.Contains(p.Enum, nil) {
				p.Enum = append(slices.Clip(p.Enum), nil)
			}
		}
	}
}

// nullable says of the members of a type whether they are null where they have no value.
func nullable(t reflect.Type) map[string]bool {
	members := map[string]bool{}
	for f := range t.Fields() {
		tag, ok := f.Tag.Lookup("json")
		name, options, _ := strings.Cut(tag, ",")
		switch {
		case f.Anonymous && !ok:
			for member, null := range nullable(f.Type) {
				members[member] = null
			}
		case f.IsExported() && name != "" && name != "-":
			members[name] = f.Type.Kind() == reflect.Pointer && !strings.Contains(options, "omit")
		}
	}
	return members
}

func orNullSchema(s *huma.Schema) *huma.Schema {
	if s.Ref != "" {
		return &huma.Schema{OneOf: []*huma.Schema{s, {Type: "null"}}}
	}
	s.Nullable = true
	return s
}
