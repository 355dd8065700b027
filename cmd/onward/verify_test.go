package main

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"onward/cmd/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// onward runs a command as main does, on a database.
func onward(t *testing.T, dsn string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	t.Setenv("DATABASE_URL", dsn)
	var out, errs bytes.Buffer
	code = run(t.Context(), &terminal{stdout: &out, stderr: &errs}, args)
	return code, out.String(), errs.String()
}

func tamper(t *testing.T, pool *pgxpool.Pool, sql string) {
	t.Helper()
	tag, err := pool.Exec(t.Context(), sql)
	require.NoError(t, err)
	require.Positive(t, tag.RowsAffected())
}

// The whole round (the environment is set: no test beside it): an empty database is sound, seeded it is, tampered with it is not, repaired it is again.
func TestVerify_roundTrip(t *testing.T) {
	db := pgtest.New(t, pgtest.Schema)
	code, out, errs := onward(t, db.DSN, "verify")
	require.Equal(t, 0, code, errs)
	require.Contains(t, out, "0 businesses in ")

	code, out, errs = onward(t, db.DSN, "seed", "--businesses", "40", "--facts", "400", "--seed", "2")
	require.Equal(t, 0, code, errs)
	require.Regexp(t, `^made 40 businesses, \d+ sites, 400 facts, \d+ transitions and \d+ suppressions in `, out)
	code, _, errs = onward(t, db.DSN, "seed")
	require.Equal(t, 1, code)
	require.Equal(t, "onward seed: the database has businesses already: give an empty one, or say --append\n", errs)

	code, out, errs = onward(t, db.DSN, "verify")
	require.Equal(t, 0, code, errs)
	require.Empty(t, errs)
	require.Contains(t, out, "40 businesses in ")
	require.Regexp(t, `(?m)^receipt_lost +0 +-$`, out)

	tamper(t, db.Pool, `UPDATE businesses SET ticket_status = CASE ticket_status WHEN 'open' THEN 'closed' ELSE 'open' END WHERE id = 7`)
	tamper(t, db.Pool, `INSERT INTO suppressions (channel, address, reason, source) VALUES ('email', 'a@x.example', 'stop', 'import'), ('email', 'A@x.example', 'stop', 'import')`)
	code, out, errs = onward(t, db.DSN, "verify")
	require.Equal(t, 1, code)
	require.Regexp(t, `(?m)^drift: business [0-9a-f-]{36}: ticket status: stored (open|closed), folded (none|open|closed)$`, out)
	require.Regexp(t, `(?m)^suppression_conflict +1 +suppression \d+$`, out)
	require.Contains(t, out, "suppression_conflict: two suppressions stand against one address")
	require.Equal(t, "onward verify: 1 business drifted: `onward verify --repair --reason …` writes what the facts say; 1 invariant is violated: the table names examples\n", errs)
	require.NotContains(t, strings.ToLower(out), "x.example")

	code, out, _ = onward(t, db.DSN, "verify", "--json")
	require.Equal(t, 1, code)
	kinds := map[string]int{}
	for line := range strings.Lines(out) {
		var object map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &object), line)
		kinds[object["kind"].(string)]++
	}
	require.Equal(t, map[string]int{"drift": 1, "invariant": 8, "summary": 1}, kinds)

	tamper(t, db.Pool, `DELETE FROM suppressions WHERE address = 'A@x.example'`)
	code, out, errs = onward(t, db.DSN, "verify", "--repair", "--reason", "set by hand, ticket 42")
	require.Equal(t, 0, code, errs)
	require.Contains(t, out, "(repaired)")
	require.Contains(t, out, "1 drifted, 1 repaired")
	var actor, reason string
	require.NoError(t, db.Pool.QueryRow(t.Context(), `SELECT actor, reason FROM operator_actions`).Scan(&actor, &reason))
	require.Equal(t, localActor(), actor)
	require.Equal(t, "set by hand, ticket 42", reason)
	code, _, errs = onward(t, db.DSN, "verify", "--sample", "10", "--since", "24h")
	require.Equal(t, 0, code, errs)
}

func TestVerify_usage(t *testing.T) {
	for want, args := range map[string][]string{
		"--repair needs --reason":                       {"verify", "--repair"},
		"--reason goes with --repair":                   {"verify", "--reason", "x"},
		"not negative":                                  {"verify", "--sample", "-1"},
		`unexpected argument "all"`:                     {"verify", "all"},
		"flag provided but not defined":                 {"verify", "--fix"},
		"--businesses: at least 1":                      {"seed", "--businesses", "0"},
		"--facts: between 0 and 10000 a business":       {"seed", "--businesses", "1", "--facts", "1000000"},
		`unexpected argument "some"`:                    {"seed", "some"},
		"invalid value \"x\" for flag -seed: parse err": {"seed", "--seed", "x"},
	} {
		code, _, errs := onward(t, "", args...)
		require.Equal(t, exitUsage, code, args)
		require.Contains(t, errs, want)
		require.Equal(t, 1, strings.Count(errs, "\n"), errs)
	}
	for _, command := range []string{"verify", "seed"} {
		code, out, _ := onward(t, "", command, "-h")
		require.Equal(t, exitOK, code)
		require.Contains(t, out, "Examples:\n  onward "+command)
		code, _, errs := onward(t, "", command)
		require.Equal(t, exitFailed, code)
		require.Contains(t, errs, "DATABASE_URL: missing")
	}
}
