package pgstore_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"onward/lifecycle/pgstore"
)

// importRows imports and returns "verdict reason" of each row.
func importRows(t *testing.T, pool *pgxpool.Pool, o pgstore.ImportOptions, rows ...pgstore.NewBusiness) (got, keys []string) {
	t.Helper()
	inTx(t, pool, func(tx pgx.Tx) {
		out, k, err := pgstore.ImportBusinesses(t.Context(), tx, rows, o)
		require.NoError(t, err)
		for _, r := range out {
			got = append(got, strings.TrimSpace(string(r.Verdict)+" "+r.Reason))
		}
		keys = k
	})
	return got, keys
}

// stored lists businesses as "external_id|name|phone|email|city|country|timezone|category".
func storedBusinesses(t *testing.T, pool *pgxpool.Pool) []string {
	t.Helper()
	rows, err := pool.Query(t.Context(), `
		SELECT concat_ws('|', COALESCE(external_id, ''), name, COALESCE(phone, ''), COALESCE(email, ''), COALESCE(city, ''), COALESCE(country, ''),
			COALESCE(timezone, ''), COALESCE(category, ''))
		FROM businesses ORDER BY id`)
	require.NoError(t, err)
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return list
}

func TestImportBusinesses(t *testing.T) {
	t.Parallel()
	pool := newDB(t)
	gt := pgstore.ImportOptions{Country: "gt"}
	file := []pgstore.NewBusiness{
		{ExternalID: "x1", Name: " Panadería Lupita ", Phone: "5555 1234", Email: "Lupita@Example.com", City: "Antigua", Timezone: "America/Guatemala", Category: "bakery"},
		{Name: "By phone", Phone: "+1 305 555 0001", Country: "us"},
		{Name: "By mail", Email: "mail@example.com"},
		{Name: "Nobody"},
		{Name: "", Phone: "+13055550002"},
		{Name: "Short", Phone: "12"},
		{Name: "Nowhere", Phone: "+13055550003", Country: "Atlantis"},
	}
	got, keys := importRows(t, pool, gt, file...)
	require.Equal(t, []string{
		"created", "created", "created", "refused has neither external_id nor phone nor email: a second import could not find it again",
		"refused name: is empty", "refused phone: is too short for its country", "refused country: is not the ISO 3166-1 alpha-2 code of a country, such as GT or US",
	}, got)
	require.ElementsMatch(t, []string{"sms:+50255551234", "email:lupita@example.com", "sms:+13055550001", "email:mail@example.com"}, keys)
	want := []string{
		"x1|Panadería Lupita|+50255551234|lupita@example.com|Antigua|GT|America/Guatemala|bakery",
		"|By phone|+13055550001|||US||", "|By mail||mail@example.com||GT||",
	}
	require.Equal(t, want, storedBusinesses(t, pool))

	got, keys = importRows(t, pool, gt, file[:3]...)
	require.Equal(t, []string{"unchanged", "unchanged", "unchanged"}, got)
	require.Empty(t, keys)
	require.Equal(t, want, storedBusinesses(t, pool))

	exec(t, pool, `UPDATE businesses SET contact_status = 'replied', reached = 'replied', updated_at = now() - interval '1 hour'`)
	got, keys = importRows(t, pool, pgstore.ImportOptions{Country: "US"},
		pgstore.NewBusiness{ExternalID: "x1", Name: "Panadería Lupita", Phone: "5555 9999"},                    // read by the country that it has
		pgstore.NewBusiness{ExternalID: "x2", Name: "By phone", Phone: "+13055550001", City: "Miami"},          // adopted
		pgstore.NewBusiness{Name: "By mail", Email: "MAIL@example.com"},                                        // the same
		pgstore.NewBusiness{ExternalID: "x3", Name: "Another shop", Phone: "+13055550001"},                     // shares x2's phone
		pgstore.NewBusiness{Name: "Which?", Phone: "+13055550001"},                                             // of the two
		pgstore.NewBusiness{Name: "By mail", Email: "mail@example.com", Phone: "3055550004"},                   // a phone that is new: another business
		pgstore.NewBusiness{Name: "By mail 2", Phone: "+13055550004", City: "Tampa", Timezone: "Mars/Olympus"}, // refused
	)
	require.Equal(t, []string{
		"updated", "updated", "unchanged", "created", "refused several businesses have this address: give the external_id", "created",
		"refused timezone: is not an IANA time zone, such as America/Guatemala",
	}, got)
	require.ElementsMatch(t, []string{"sms:+50255559999", "email:lupita@example.com", "sms:+13055550001", "sms:+13055550004", "email:mail@example.com"}, keys)
	require.Equal(t, []string{
		"x1|Panadería Lupita|+50255559999|lupita@example.com|Antigua|GT|America/Guatemala|bakery",
		"x2|By phone|+13055550001||Miami|US||", "|By mail||mail@example.com||GT||",
		"x3|Another shop|+13055550001|||US||", "|By mail|+13055550004|mail@example.com||US||",
	}, storedBusinesses(t, pool))
	var moved, touched int
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT count(*) FILTER (WHERE contact_status <> 'replied'), count(*) FILTER (WHERE updated_at > now() - interval '1 minute') FROM businesses WHERE id <= 3`).Scan(&moved, &touched))
	require.Zero(t, moved, "statuses are not an import's")
	require.Equal(t, 2, touched, "an unchanged one is not written")
}

// One file: each row is the continuation of the one before, be it in one batch or in another.
func TestImportBusinesses_rowsGoOn(t *testing.T) {
	t.Parallel()
	rows := []pgstore.NewBusiness{
		{Name: "A", Phone: "+13055550001"},
		{Name: "B", Phone: "+13055550001", Email: "b@example.com"},
		{ExternalID: "x", Name: "B", Phone: "+13055550001"},
		{ExternalID: "x", Name: "B", Phone: "+13055550002"},
		{Name: "C", Phone: "+13055550001"},
		{Name: "B", Email: "b@example.com"},
		{Name: "B", Phone: "+13055550002"},
	}
	want := []string{"created", "updated", "updated", "updated", "created", "unchanged", "unchanged"}
	for _, size := range []int{1, 2, len(rows)} {
		pool := newDB(t)
		var got []string
		for from := 0; from < len(rows); from += size {
			part, _ := importRows(t, pool, pgstore.ImportOptions{}, rows[from:min(from+size, len(rows))]...)
			got = append(got, part...)
		}
		require.Equal(t, want, got, "batches of %d", size)
		require.Equal(t, []string{"x|B|+13055550002|b@example.com||||", "|C|+13055550001|||||"}, storedBusinesses(t, pool))
	}
}

func TestImportBusinesses_leavesAlone(t *testing.T) {
	t.Parallel()
	pool := newDB(t)
	importRows(t, pool, pgstore.ImportOptions{}, pgstore.NewBusiness{ExternalID: "gone", Name: "Gone", Phone: "+13055550001"})
	exec(t, pool, `UPDATE businesses SET erased_at = now()`)
	exec(t, pool, `INSERT INTO businesses (public_id, name, phone, test) VALUES (gen_random_uuid(), 'Test recipient', '+13055550002', true)`)
	before := storedBusinesses(t, pool)
	got, _ := importRows(t, pool, pgstore.ImportOptions{},
		pgstore.NewBusiness{ExternalID: "gone", Name: "Back", Phone: "+13055550001"})
	require.Equal(t, []string{"refused its personal data was erased, and is not to come back by a file"}, got)
	got, keys := importRows(t, pool, pgstore.ImportOptions{DryRun: true},
		pgstore.NewBusiness{Name: "New", Phone: "+13055550001"}, pgstore.NewBusiness{Name: "Mine", Phone: "+13055550002"}, pgstore.NewBusiness{Name: "Mine too", Phone: "+13055550002"})
	require.Equal(t, []string{"created", "created", "updated"}, got, "neither an erased contact nor a test's is found again")
	require.Empty(t, keys)
	require.Equal(t, before, storedBusinesses(t, pool), "a dry run changes nothing")
}

// Imports of one file at the same time make each business once.
func TestImportBusinesses_severalAtOnce(t *testing.T) {
	t.Parallel()
	pool := newDB(t)
	var rows []pgstore.NewBusiness
	for i := range 100 {
		rows = append(rows, pgstore.NewBusiness{Name: fmt.Sprint("Business ", i), Phone: fmt.Sprintf("+1305555%04d", 1000+i)})
	}
	created := make([]int, 4)
	var wg sync.WaitGroup
	for w := range created {
		wg.Go(func() {
			for from := 0; from < len(rows); from += 10 {
				err := pgx.BeginFunc(context.Background(), pool, func(tx pgx.Tx) error {
					out, _, err := pgstore.ImportBusinesses(context.Background(), tx, rows[from:from+10], pgstore.ImportOptions{})
					for _, r := range out {
						if r.Verdict == pgstore.ImportCreated {
							created[w]++
						}
					}
					return err
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	require.Equal(t, len(rows), created[0]+created[1]+created[2]+created[3])
	require.Len(t, storedBusinesses(t, pool), len(rows))
}

func TestImportSuppressions(t *testing.T) {
	t.Parallel()
	pool := newDB(t)
	list := []pgstore.Suppression{
		{Address: pgstore.Address{Channel: "sms", Address: "+13055550002"}, Reason: "stop", Source: pgstore.SourceImport, SourceID: "f.csv"},
		{Address: pgstore.Address{Channel: "email", Address: "A@example.com"}, Reason: "import", Source: pgstore.SourceImport},
		{Address: pgstore.Address{Channel: "sms", Address: "+13055550002"}, Reason: "again", Source: pgstore.SourceImport},
		{Address: pgstore.Address{Channel: "sms", Address: "+13055550003"}, Reason: "stop", Source: pgstore.SourceImport},
	}
	exec(t, pool, `INSERT INTO suppressions (channel, address, reason, source) VALUES ('sms', onward_address_hash('sms', '+13055550003'), 'stop', 'webhook')`)
	for _, c := range []struct {
		dry  bool
		want []bool
	}{{true, []bool{true, true, false, false}}, {false, []bool{true, true, false, false}}, {true, make([]bool, 4)}, {false, make([]bool, 4)}} {
		inTx(t, pool, func(tx pgx.Tx) {
			added, err := pgstore.ImportSuppressions(t.Context(), tx, list, c.dry)
			require.NoError(t, err)
			require.Equal(t, c.want, added)
		})
	}
	var got []string
	each := func(f pgstore.SuppressionFilter) []string {
		got = nil
		require.NoError(t, pgstore.EachSuppression(t.Context(), pool, f, func(s pgstore.StoredSuppression) error {
			got = append(got, s.Channel+" "+s.Address[:5]+" "+s.Reason)
			return nil
		}))
		return got
	}
	require.Equal(t, []string{"sms +1305 stop", "email a@exa import", "sms hmac: stop"}, each(pgstore.SuppressionFilter{}))
	require.Equal(t, []string{"sms +1305 stop", "email a@exa import"}, each(pgstore.SuppressionFilter{Readable: true}))
	require.Equal(t, []string{"sms +1305 stop"}, each(pgstore.SuppressionFilter{Channel: "sms", Limit: 1}))
	require.Equal(t, []string{"sms hmac: stop"}, each(pgstore.SuppressionFilter{Channel: "sms", Address: "+13055550003"}))
	require.Empty(t, each(pgstore.SuppressionFilter{State: "lifted"}))
}
