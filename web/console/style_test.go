package console_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every class that a template names is in the style sheet or asked for by a script: what is edited from several sides loses none.
func TestStyle_classes(t *testing.T) {
	t.Parallel()
	css, err := os.ReadFile("static/app.css")
	require.NoError(t, err)
	scripts, err := filepath.Glob("static/*.js")
	require.NoError(t, err)
	for _, f := range scripts {
		js, err := os.ReadFile(f)
		require.NoError(t, err)
		css = append(css, js...)
	}
	files, err := filepath.Glob("templates/*.html")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	attribute, action := regexp.MustCompile(`\sclass="((?:\{\{[^}]*\}\}|[^"])*)"`), regexp.MustCompile(`\S*\{\{[^}]*\}\}\S*`)
	var missing []string
	for _, f := range files {
		source, err := os.ReadFile(f)
		require.NoError(t, err)
		for _, m := range attribute.FindAllStringSubmatch(string(source), -1) {
			for class := range strings.FieldsSeq(action.ReplaceAllString(m[1], " ")) {
				if !regexp.MustCompile(`\.`+regexp.QuoteMeta(class)+`\b`).Match(css) && !slices.Contains(missing, class) {
					missing = append(missing, class)
				}
			}
		}
	}
	require.Empty(t, missing)
}
