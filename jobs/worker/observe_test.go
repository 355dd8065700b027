package worker

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every reason for not calling is listed: metrics would call the others "other".
func TestSendOutcomes_listEveryReason(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), "dispatch.go", nil, parser.SkipObjectResolution)
	require.NoError(t, err)
	declared := []string{notStarted}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, "stop") || len(spec.Values) == 0 {
			return true
		}
		if value, ok := spec.Values[0].(*ast.BasicLit); ok && value.Kind == token.STRING {
			reason, err := strconv.Unquote(value.Value)
			require.NoError(t, err)
			declared = append(declared, reason)
		}
		return true
	})
	require.Greater(t, len(declared), 5)
	require.ElementsMatch(t, declared, SendOutcomes())
}
