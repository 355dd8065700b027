package jobs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"onward/jobs"
)

// Every type with a Kind is listed: metrics would call the others "other".
func TestKinds_areAllListed(t *testing.T) {
	t.Parallel()
	var declared []string
	require.NoError(t, fs.WalkDir(os.DirFS("."), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && path != "." {
			return fs.SkipDir
		}
		if filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, decl := range file.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok || fn.Recv == nil || fn.Name.Name != "Kind" {
				continue
			}
			result, ok := fn.Body.List[0].(*ast.ReturnStmt).Results[0].(*ast.BasicLit)
			require.True(t, ok, "Kind of %s is no plain string", path)
			kind, err := strconv.Unquote(result.Value)
			require.NoError(t, err)
			declared = append(declared, kind)
		}
		return nil
	}))
	require.NotEmpty(t, declared)
	require.ElementsMatch(t, declared, jobs.Kinds())
}
