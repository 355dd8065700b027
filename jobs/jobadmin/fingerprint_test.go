package jobadmin_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"onward/jobs/jobadmin"
)

func TestFingerprintOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ error, want string }{
		{
			`apply receipt 01999d3c-5a0e-7cc1-a7fb-5b1e0a3f4a11: record facts: ERROR: relation "facts" does not exist (SQLSTATE 42P01)`,
			`apply receipt <id>: record facts: ERROR: relation "…" does not exist (SQLSTATE 42P01)`,
		},
		{`dispatch message 1234: dial tcp 10.0.0.7:5432: connect: connection refused`, `dispatch message <number>: dial tcp <number>: connect: connection refused`},
		{`bad_recipient (21211): The 'To' number +12025550100 is not valid`, `bad_recipient (21211): The '…' number <number> is not valid`},
		{`retry_later (http_503): no answer`, `retry_later (http_503): no answer`},
		{`mail to ann@example.test refused`, `mail to <address> refused`},
		{`can't read SM0123456789abcdef0123456789abcdef, won't retry`, `can't read <id>, won't retry`},
		{"two\n  lines", "two lines"},
		{``, ``},
	} {
		got := jobadmin.FingerprintOf(c.error)
		require.Equal(t, c.want, got.Text)
		require.Len(t, got.ID, 8)
	}
	require.Equal(t, jobadmin.FingerprintOf("message 1: away").ID, jobadmin.FingerprintOf("message 22: away").ID)
	require.NotEqual(t, jobadmin.FingerprintOf("(SQLSTATE 42P01)").ID, jobadmin.FingerprintOf("(SQLSTATE 57P01)").ID)
}

func FuzzFingerprintOf(f *testing.F) {
	f.Add(`apply receipt 01999d3c-5a0e-7cc1-a7fb-5b1e0a3f4a11: "x" 'y' +1202 a@b.c`)
	f.Fuzz(func(t *testing.T, s string) {
		p := jobadmin.FingerprintOf(s)
		require.Equal(t, p, jobadmin.FingerprintOf(s))
		require.LessOrEqual(t, len(p.Text), 20*1000)
	})
}
