package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"onward/cmd/pgtest"
	"onward/jobs"
	"onward/lifecycle/pgstore"
)

// The test binary is also the children of the runs that it tests.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "child" {
		if err := Child(context.Background(), os.Args[2], os.Stdin, os.Stdout, os.Stderr); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(pgtest.Main(m))
}

func tinySize() *size {
	return &size{
		name: "tiny", rounds: 1, acceptFor: 200 * time.Millisecond, warmUp: 50 * time.Millisecond, connections: []int{2, 4},
		drainFor: 10 * time.Second, applyCases: applyCases(), applyFloor: 16, applyJobs: 40, noopJobs: 50, rateWarmUp: rate{20, 100 * time.Millisecond}, rates: []rate{{40, 500 * time.Millisecond}},
		sendFloor: 8, sendJobs: 12, recipients: 30, workers: []int{1, 2, 4}, webs: []int{1, 2}, pgbenchClients: 4, pastReceipts: 60, pastFacts: 30,
		apiBusinesses: 120, apiDeep: 1, apiRequests: 4, apiAtLeast: 2, apiPatience: 100 * time.Millisecond,
	}
}

func options(t *testing.T, dsn string) Options {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	return Options{DatabaseURL: dsn, Child: []string{self, "child"}, Version: "test", size: tinySize()}
}

// One tiny round of every part: that each produces its figures, not what they are.
func TestRun_everyPart(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t, nil)
	o := options(t, db.DSN)
	o.ProfileDir = t.TempDir()
	var steps []string
	o.Progress = func(step string) { steps = append(steps, step) }
	report, err := Run(t.Context(), o)
	require.NoError(t, err)
	require.NotEmpty(t, steps)
	require.Len(t, report.Parts, len(Parts()))
	for i, p := range report.Parts {
		require.Equal(t, Parts()[i], p.Name)
		require.NotEmpty(t, p.Lines)
	}
	get := func(part, name string) *Line {
		for i := range report.Parts {
			if report.Parts[i].Name == part {
				n := len(report.Parts[i].Lines)
				l := report.Parts[i].line(name)
				require.Len(t, report.Parts[i].Lines, n, "%s has no line %q", part, name)
				return l
			}
		}
		t.Fatalf("no part %s", part)
		return nil
	}
	for _, c := range [][2]string{
		{PartAccept, "pgbench, 4 clients"},
		{PartApply, "pgbench, 4 clients, one campaign"},
		{PartApply, "pgbench, 4 clients, no campaign"},
		{PartNoop, "River's own benchmark"},
		{PartNoop, "River no-op, the worker's settings"},
		{PartNoop, "River no-op, River's benchmark's settings"},
		{PartSend, "pgbench, 4 clients"},
		{PartFanOut, "worker, 30 recipients"},
	} {
		require.Positive(t, get(c[0], c[1]).PerSecond.Median, "%v", c)
	}
	for _, c := range [][2]string{
		{PartAccept, "web, 2 connections"},
		{PartAccept, "web, 4 connections"},
		{PartApply, "worker, one campaign"},
		{PartApply, "worker, no campaign"},
		{PartNoop, "worker, one campaign (apply, above), to River's own benchmark"},
		{PartNoop, "worker, one campaign (apply, above), to River no-op, the worker's settings"},
		{PartSend, "worker"},
		{PartFleet, "2 workers"},
		{PartFleet, "4 workers"},
		{PartFleet, "2 web processes, 64 connections"},
		{PartFlat, "worker, no campaign, 60 receipts and 30 facts before"},
		{PartFlat, "web, 64 connections, 60 receipts and 30 facts before"},
	} {
		l := get(c[0], c[1])
		require.Positive(t, l.PerSecond.Median, "%v", c)
		require.Positive(t, l.Ratio.Median, "%v", c)
	}
	for _, c := range [][2]string{
		{PartAccept, "web, 2 connections"}, {PartLatency, "40 a second, answered"}, {PartLatency, "40 a second, committed"},
	} {
		l := get(c[0], c[1])
		require.Positive(t, l.P50.Median, "%v", c)
		require.GreaterOrEqual(t, l.P99.Median, l.P50.Median, "%v", c)
	}
	for _, name := range []string{
		"businesses: everyone, sort name", "businesses: everyone, a page further down", "businesses: q, a phone with spaces",
		"businesses: tag, any order", "business: timeline", "messages: of a campaign", "webhook events: by outcome", "jobs: groups of failures",
		"analytics: funnel by week", "page: home", "page: a business", "page: a reply", "page: a webhook", "page: analytics, at risk",
	} {
		l := get(PartAPI, name)
		require.Positive(t, l.P50.Median, name)
		require.GreaterOrEqual(t, l.P99.Median, l.P50.Median, name)
		require.Positive(t, l.BusyP50.Median, name)
		require.GreaterOrEqual(t, l.BusyP99.Median, l.BusyP50.Median, name)
	}
	for _, name := range []string{"api", "accept-2", "accept-4", "apply", "apply-alone", "send", "fanout", "flat-apply", "flat-accept"} {
		info, err := os.Stat(filepath.Join(o.ProfileDir, name+".pprof"))
		require.NoError(t, err)
		require.Positive(t, info.Size(), name)
	}
	// It leaves the database as empty as it was.
	require.NoError(t, refuseUsed(t.Context(), db.Pool))
}

// A database that is measured as it is holds afterwards what it held before, and nobody can use the token.
func TestRun_asIs(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t, pgtest.Schema)
	_, err := pgstore.Generate(t.Context(), db.Pool, pgstore.GenerateOptions{Businesses: 60, Facts: 200, Outreach: true})
	require.NoError(t, err)
	held := func() []int {
		var list []int
		require.NoError(t, db.Pool.QueryRow(t.Context(), `
			SELECT ARRAY[(SELECT count(*) FROM businesses), (SELECT count(*) FROM facts), (SELECT count(*) FROM messages),
				(SELECT count(*) FROM webhook_events), (SELECT count(*) FROM river_job), (SELECT count(*) FROM api_tokens WHERE revoked_at IS NULL)]`).Scan(&list))
		return list
	}
	before := held()
	o := options(t, db.DSN)
	o.AsIs, o.Only = true, []string{PartAPI}
	report, err := Run(t.Context(), o)
	require.NoError(t, err)
	require.Equal(t, before, held())
	require.Len(t, report.Parts, 1)
	names := map[string]bool{}
	for _, l := range report.Parts[0].Lines {
		names[l.Name] = true
	}
	require.True(t, names["page: a business"])
	require.False(t, names["webhook event"], "there is none to ask for")
	require.Contains(t, report.Parts[0].Notes, "the database as it was given")
}

func TestRun_refusesADatabaseThatIsNotEmpty(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t, nil)
	_, err := db.Pool.Exec(t.Context(), `CREATE TABLE precious (id int); INSERT INTO precious VALUES (1)`)
	require.NoError(t, err)
	_, err = Run(t.Context(), options(t, db.DSN))
	require.ErrorContains(t, err, "the database is not empty (it has precious)")
	var n int
	require.NoError(t, db.Pool.QueryRow(t.Context(), `SELECT count(*) FROM precious`).Scan(&n))
	require.Equal(t, 1, n)
}

func TestRun_refusesAWrongCall(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Options){
		"part":         func(o *Options) { o.Only = []string{"accept", "fly"} },
		"rounds":       func(o *Options) { o.Rounds = -1 },
		"concurrency":  func(o *Options) { o.Concurrency = 1_000_000 },
		"businesses":   func(o *Options) { o.Businesses = -1 },
		"as it is":     func(o *Options) { o.AsIs, o.Only = true, []string{PartAPI} },
		"all as it is": func(o *Options) { o.AsIs, o.DatabaseURL = true, "postgres://x" },
	} {
		o := Options{Child: []string{"onward"}}
		change(&o)
		_, err := Run(t.Context(), o)
		require.ErrorIs(t, err, ErrUsage, name)
	}
}

// A server of its own is durable, and gone afterwards with its folder.
func TestOpenDatabase_ownServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	db, err := openDatabase(t.Context(), Options{DataDir: dir})
	require.NoError(t, err)
	m, err := describeMachine(t.Context(), db)
	require.NoError(t, err)
	require.Equal(t, "on", m.Settings["fsync"])
	require.Equal(t, "on", m.Settings["synchronous_commit"])
	require.Positive(t, m.SyncMS)
	require.NoError(t, db.close(t.Context()))
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

// bundle is a benchmark on a migrated database of its own.
func bundle(t *testing.T) *bench {
	t.Helper()
	db := pgtest.New(t, pgtest.Schema)
	o := options(t, db.DSN)
	require.NoError(t, o.validate())
	tool, err := findPgbench(t.Context())
	require.NoError(t, err)
	return &bench{opts: o, size: *o.size, pool: db.Pool, dsn: db.DSN, pgbench: pgbench{path: tool, dsn: db.DSN}}
}

// verified fails unless every status is the fold of its facts.
func verified(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	v, err := pgstore.Verify(t.Context(), pool, pgstore.VerifyOptions{Found: func(d pgstore.Drift) { t.Errorf("drift: %+v", d) }})
	require.NoError(t, err)
	require.Positive(t, v.Businesses)
	require.Zero(t, v.Drifted)
}

// The data is what the product itself would have written, and what the floor makes of it is what the product makes of it.
func TestApply_floorAndProductWriteTheSame(t *testing.T) {
	t.Parallel()
	for _, c := range applyCases() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := bundle(t)
			rows := b.size.applyFloor + b.size.applyJobs
			base, err := b.populate(t.Context(), dataset{
				rows: rows, floor: b.size.applyFloor, messages: "sent", campaign: c.campaign, receipts: true, jobs: jobs.StatusCallbackArgs{}.Kind(),
			})
			require.NoError(t, err)
			verified(t, b.pool)

			var p Part
			require.NoError(t, b.applyFloor(t.Context(), 0, c, base, p.line("floor")))
			require.NoError(t, b.applyProduct(t.Context(), 0, c, p.line("product")))
			verified(t, b.pool)
			// Apart from ids and times, the rows of the first and of the last business are alike.
			for _, query := range []string{
				`SELECT jsonb_agg(jsonb_build_array(f.event, f.axis, f.source, f.receipt_id IS NULL, f.message_id IS NULL, f.dedupe_key LIKE 'm%:%') ORDER BY id)
					FROM facts f WHERE business_id = $1`,
				`SELECT jsonb_agg(jsonb_build_array(axis, from_status, to_status, verdict) ORDER BY id) FROM transitions WHERE business_id = $1`,
				`SELECT jsonb_agg(jsonb_build_array(state, attempt, error_code, reason, delivered_at IS NULL)) FROM messages WHERE business_id = $1`,
				`SELECT jsonb_agg(jsonb_build_array(contact_status, reached, bounced, folded_key LIKE '%:delivered')) FROM businesses WHERE id = $1`,
				`SELECT jsonb_agg(jsonb_build_array(o.outcome, o.detail)) FROM receipt_outcomes o
					JOIN facts f USING (receipt_id) WHERE f.business_id = $1`,
				`SELECT jsonb_agg(jsonb_build_array(state, kind)) FROM river_job WHERE id = $1`,
			} {
				var first, last string
				require.NoError(t, b.pool.QueryRow(t.Context(), query, 1).Scan(&first))
				require.NoError(t, b.pool.QueryRow(t.Context(), query, rows).Scan(&last))
				require.Equal(t, first, last)
			}
			if c.campaign {
				delivered, err := b.count(t.Context(), `SELECT sum(n)::int FROM campaign_counters WHERE state = 'delivered'`)
				require.NoError(t, err)
				require.Equal(t, rows, delivered)
				sent, err := b.count(t.Context(), `SELECT sum(n)::int FROM campaign_counters WHERE state = 'sent'`)
				require.NoError(t, err)
				require.Zero(t, sent)
			}
		})
	}
}

func TestSend_floorAndProductWriteTheSame(t *testing.T) {
	t.Parallel()
	b := bundle(t)
	rows := b.size.sendFloor + b.size.sendJobs
	_, err := b.populate(t.Context(), dataset{rows: rows, floor: b.size.sendFloor, messages: "queued", campaign: true, jobs: jobs.SendArgs{}.Kind()})
	require.NoError(t, err)
	provider, err := startProvider(t.Context())
	require.NoError(t, err)
	defer provider.stop()
	var p Part
	require.NoError(t, b.sendFloor(t.Context(), 0, p.line("floor")))
	require.NoError(t, b.sendProduct(t.Context(), 0, provider, p.line("product")))
	verified(t, b.pool)
	for _, query := range []string{
		`SELECT jsonb_agg(jsonb_build_array(event, axis, source, message_id IS NULL, dedupe_key LIKE 'm%:sent') ORDER BY id) FROM facts WHERE business_id = $1`,
		`SELECT jsonb_agg(jsonb_build_array(axis, from_status, to_status, verdict) ORDER BY id) FROM transitions WHERE business_id = $1`,
		`SELECT jsonb_agg(jsonb_build_array(state, attempt, segments, provider_sid LIKE 'SM%', sent_at = dispatched_at)) FROM messages WHERE id = $1`,
		`SELECT jsonb_agg(jsonb_build_array(contact_status, reached, folded_key LIKE '%:sent')) FROM businesses WHERE id = $1`,
	} {
		var first, last string
		require.NoError(t, b.pool.QueryRow(t.Context(), query, 1).Scan(&first))
		require.NoError(t, b.pool.QueryRow(t.Context(), query, rows).Scan(&last))
		require.Equal(t, first, last)
	}
	left, err := b.count(t.Context(), `SELECT count(*) FROM dispatches`)
	require.NoError(t, err)
	require.Zero(t, left)
	accepted, err := b.count(t.Context(), `SELECT sum(n)::int FROM campaign_counters WHERE state = 'accepted'`)
	require.NoError(t, err)
	require.Equal(t, rows, accepted)
}
