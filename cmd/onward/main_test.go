package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// call runs a command line as a shell would.
func call(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), &terminal{stdin: strings.NewReader(""), stdout: &out, stderr: &errs}, args)
	return code, out.String(), errs.String()
}

func TestRun_everyCommandExplainsItself(t *testing.T) {
	for _, c := range commands() {
		for _, flag := range []string{"-h", "--help"} {
			code, stdout, stderr := call(t, c.name, flag)
			require.Equal(t, exitOK, code, "%s %s: %s", c.name, flag, stderr)
			require.Empty(t, stderr)
			require.True(t, strings.HasPrefix(stdout, "Usage: onward "+c.name), stdout)
			require.Contains(t, stdout, "\nExamples:\n  ", c.name)
		}
	}
}

func TestRun_aWrongCallSaysWhatToDo(t *testing.T) {
	t.Setenv("DATABASE_URL", "")
	wrong := [][]string{
		{"bogus"},
		{"migrate"},
		{"migrate", "bogus"},
		{"token"},
		{"token", "bogus"},
		{"token", "create"},
		{"jobs"},
		{"jobs", "bogus"},
		{"webhooks"},
		{"webhooks", "bogus"},
		{"suppressions"},
		{"suppressions", "bogus"},
		{"import"},
		{"import", "bogus"},
		{"subscriptions"},
		{"erase"},
		{"migrate", "down"},
		{"version", "bogus"},
		{"up", "bogus"},
	}
	for _, c := range commands() {
		wrong = append(wrong, []string{c.name, "--no-such-flag"})
	}
	for _, args := range wrong {
		code, stdout, stderr := call(t, args...)
		require.Equal(t, exitUsage, code, "%v: %s", args, stderr)
		require.Empty(t, stdout, "%v", args)
		require.Equal(t, 1, strings.Count(stderr, "\n"), "%v: %q", args, stderr)
		require.Contains(t, stderr, "-h`", "%v: where to read on", args)
	}
}
