package lifecycle_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"onward/lifecycle"
)

// TestTheListsAreComplete reads the constants in the source: one that is missing from its list would be
// missing from metrics, documents and these tests alike.
func TestTheListsAreComplete(t *testing.T) {
	t.Parallel()
	declared := constants(t)
	listed := map[string][]string{}
	for _, e := range lifecycle.Events() {
		listed["Event"] = append(listed["Event"], string(e))
	}
	for _, v := range lifecycle.Verdicts() {
		listed["Verdict"] = append(listed["Verdict"], string(v))
	}
	for _, s := range lifecycle.MessageStates() {
		listed["MessageState"] = append(listed["MessageState"], string(s))
	}
	axes := append(lifecycle.Axes(), lifecycle.AxisSite, lifecycle.AxisSiteSubscription)
	seen := map[lifecycle.Status]bool{}
	for _, a := range axes {
		listed["Axis"] = append(listed["Axis"], string(a))
		require.NotEmpty(t, lifecycle.Statuses(a))
		for _, s := range lifecycle.Statuses(a) {
			if !seen[s] {
				seen[s] = true
				listed["Status"] = append(listed["Status"], string(s))
			}
		}
	}
	require.Empty(t, lifecycle.Statuses("other"))
	require.Len(t, declared, len(listed), "a new type of constants wants a list")
	for typ, names := range declared {
		require.ElementsMatch(t, names, listed[typ], typ)
	}
}

// constants are the string constants of the package by the name of their type.
func constants(t *testing.T) map[string][]string {
	entries, err := os.ReadDir(".")
	require.NoError(t, err)
	found := map[string][]string{}
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), ".go") || strings.HasSuffix(entry.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), entry.Name(), nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, decl := range file.Decls {
			gen, ok := decl.(*ast.GenDecl)
			if !ok || gen.Tok != token.CONST {
				continue
			}
			for _, spec := range gen.Specs {
				value, ok := spec.(*ast.ValueSpec)
				if !ok {
					continue
				}
				typ, ok := value.Type.(*ast.Ident)
				if !ok || len(value.Values) != 1 {
					continue
				}
				if lit, ok := value.Values[0].(*ast.BasicLit); ok && lit.Kind == token.STRING {
					text, err := strconv.Unquote(lit.Value)
					require.NoError(t, err)
					found[typ.Name] = append(found[typ.Name], text)
				}
			}
		}
	}
	return found
}
