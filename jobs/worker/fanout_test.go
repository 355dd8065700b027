package worker

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
	"github.com/stretchr/testify/require"

	"onward/jobs"
	"onward/lifecycle/pgstore"
)

// launched inserts n businesses and a campaign to all of them, as its launch leaves it.
func (b *bundle) launched(n int, body string, a pgstore.Audience) (campaign int64) {
	b.Helper()
	_, err := b.pool.Exec(b.ctx, `
		INSERT INTO businesses (public_id, name, phone)
		SELECT gen_random_uuid(), 'Business ' || i, '+1202' || (5550000 + i) FROM generate_series(1, $1) i`, n)
	require.NoError(b, err)
	encoded, err := json.Marshal(a)
	require.NoError(b, err)
	require.NoError(b, b.pool.QueryRow(b.ctx, `
		INSERT INTO campaigns (public_id, name, channel, body, audience, status, launched_at, fanout_last)
		SELECT $1, 'Test', 'sms', $2, $3::text::jsonb, 'sending', now(), COALESCE(max(id), 0) FROM businesses
		RETURNING id`, uuid.Must(uuid.NewV7()), body, string(encoded)).Scan(&campaign))
	return campaign
}

func everyone() pgstore.Audience { return pgstore.Audience{Filter: &pgstore.BusinessFilter{}} }

func (b *bundle) fanOut(ctx context.Context, campaign int64, resume bool) error {
	b.Helper()
	return b.s.workFanOut(ctx, &river.Job[jobs.FanOutArgs]{
		JobRow: &rivertype.JobRow{ID: 9}, Args: jobs.FanOutArgs{CampaignID: campaign, Resume: resume},
	})
}

func (b *bundle) count(sql string, args ...any) (n int) {
	b.Helper()
	require.NoError(b, b.pool.QueryRow(b.ctx, sql, args...).Scan(&n))
	return n
}

func (b *bundle) exec(sql string, args ...any) {
	b.Helper()
	_, err := b.pool.Exec(b.ctx, sql, args...)
	require.NoError(b, err)
}

// Each skip is counted and noted with its reason, and everybody else has one message with one job.
func TestFanOut_skipsWithReasons(t *testing.T) {
	t.Parallel()
	b := setup(t, func(o *Options) { o.FanOutChunk = 3 })
	id := b.launched(10, "Hi {{.Name}}{{if eq .Name \"Long\"}}"+strings.Repeat(".", 1600)+"{{end}}", everyone())
	b.exec(`UPDATE businesses SET phone = NULL WHERE id IN (2, 3)`)
	b.exec(`UPDATE businesses SET opted_out = true WHERE id = 4`)
	b.exec(`UPDATE businesses SET name = 'Long' WHERE id = 6`)
	b.exec(`INSERT INTO suppressions (channel, address, reason, source) SELECT 'sms', phone, 'stop', 'webhook' FROM businesses WHERE id IN (4, 5)`)
	for more := true; more; {
		var err error
		more, err = b.s.freezeChunk(b.ctx, id)
		require.NoError(t, err)
	}
	b.exec(`UPDATE businesses SET erased_at = now(), phone = NULL WHERE id = 7`)
	require.NoError(t, b.fanOut(b.ctx, id, false))

	var got string
	require.NoError(t, b.pool.QueryRow(b.ctx, `SELECT string_agg(business_id || ' ' || skipped, ', ' ORDER BY business_id) FROM campaign_recipients WHERE skipped IS NOT NULL`).Scan(&got))
	require.Equal(t, "2 no_address, 3 no_address, 4 suppressed, 5 suppressed, 6 unrenderable, 7 erased", got)
	require.NoError(t, b.pool.QueryRow(b.ctx, `SELECT string_agg(state || ' ' || n, ', ' ORDER BY state) FROM (SELECT state, sum(n) AS n FROM campaign_counters GROUP BY state) c`).Scan(&got))
	require.Equal(t, "queued 4, skipped_erased 1, skipped_no_address 2, skipped_suppressed 2, skipped_unrenderable 1", got)
	require.Equal(t, 10, b.count(`SELECT recipients FROM campaigns`))
	require.Equal(t, 4, b.count(`SELECT count(*) FROM messages m JOIN river_job j ON j.args ->> 'message_id' = m.id::text AND j.kind = 'send' AND j.queue = 'send_sms'`))
	require.Equal(t, 1, b.count(`SELECT count(*) FROM campaigns WHERE fanned_out_at IS NOT NULL AND status = 'sending'`))
	b.requireSound()
}

// The audience is who matched at the launch: what changes afterwards, by the campaign itself or otherwise, moves nobody
// in or out.
func TestFanOut_audienceIsFrozen(t *testing.T) {
	t.Parallel()
	b := setup(t, func(o *Options) { o.FanOutChunk = 10 })
	id := b.launched(50, "Hi", pgstore.Audience{Filter: &pgstore.BusinessFilter{ContactStatus: []string{"pending"}}})
	b.exec(`UPDATE businesses SET contact_status = 'replied' WHERE id > 40`)
	_, err := b.s.freezeChunk(b.ctx, id)
	require.NoError(t, err)
	b.exec(`UPDATE businesses SET contact_status = CASE contact_status WHEN 'pending' THEN 'sms_sent' ELSE 'pending' END`)
	require.NoError(t, b.fanOut(b.ctx, id, false))
	require.Equal(t, 40, b.count(`SELECT count(*) FROM messages`))
	require.Equal(t, 40, b.count(`SELECT max(business_id) FROM messages`))
}

// cutAt ends a context at its nth statement, before the database has it.
type cutAt struct {
	left int
	cut  context.CancelFunc
}

func (c *cutAt) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	if c.left--; c.left == 0 {
		c.cut()
	}
	return ctx
}

func (*cutAt) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// A fan-out that is cut off, many times and anywhere, goes on behind its last whole chunk: nobody is left out, nobody
// is in it twice.
func TestFanOut_resumesAfterACrash(t *testing.T) {
	t.Parallel()
	b := setup(t, func(o *Options) { o.FanOutChunk = 20 })
	id := b.launched(400, "Hi {{.Name}}", everyone())
	tracer := &cutAt{}
	config := b.pool.Config()
	config.ConnConfig.Tracer = tracer
	config.MaxConns = 1
	pool, err := pgxpool.NewWithConfig(b.ctx, config)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	b.s.Pool = pool
	cuts := 0
	for {
		ctx, cancel := context.WithCancel(b.ctx)
		tracer.left, tracer.cut = cuts+1, cancel
		err := b.fanOut(ctx, id, false)
		cut := ctx.Err()
		cancel()
		if err == nil {
			break
		}
		require.Error(t, cut, "%v", err)
		cuts++
	}
	require.Greater(t, cuts, 10)
	require.Equal(t, 400, b.count(`SELECT count(*) FROM messages`))
	require.Equal(t, 400, b.count(`SELECT count(DISTINCT business_id) FROM messages`))
	require.Equal(t, 400, b.count(`SELECT count(DISTINCT args ->> 'message_id') FROM river_job WHERE kind = 'send'`))
	require.Equal(t, 400, b.count(`SELECT count(*) FROM river_job WHERE kind = 'send'`))
	b.requireSound()
}

func TestFanOut_severalAtOnceTakeTurns(t *testing.T) {
	t.Parallel()
	b := setup(t, func(o *Options) { o.FanOutChunk = 10 })
	id := b.launched(200, "Hi", everyone())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := b.fanOut(b.ctx, id, false); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.Equal(t, 200, b.count(`SELECT count(*) FROM messages`))
	require.Equal(t, 200, b.count(`SELECT count(*) FROM river_job WHERE kind = 'send'`))
	b.requireSound()
}

// A scheduled campaign's audience is frozen at the launch, and its messages are made at its hour.
func TestFanOut_scheduled(t *testing.T) {
	t.Parallel()
	now := time.Now()
	b := setup(t, func(o *Options) { o.Clock = func() time.Time { return now } })
	id := b.launched(5, "Hi", everyone())
	b.exec(`UPDATE campaigns SET status = 'scheduled', send_at = $1`, now.Add(3*time.Hour))
	var snooze *river.JobSnoozeError
	require.ErrorAs(t, b.fanOut(b.ctx, id, false), &snooze)
	require.InDelta(t, (3 * time.Hour).Seconds(), snooze.Duration.Seconds(), 1)
	require.Equal(t, 5, b.count(`SELECT recipients FROM campaigns WHERE frozen_at IS NOT NULL AND status = 'scheduled'`))
	require.Zero(t, b.count(`SELECT count(*) FROM messages`))
	// Resumed, it leaves a job of its own for the hour.
	require.NoError(t, b.fanOut(b.ctx, id, true))
	require.Equal(t, 1, b.count(`SELECT count(*) FROM river_job WHERE kind = 'campaign_fan_out' AND state = 'scheduled' AND NOT args ? 'resume'`))
	now = now.Add(3 * time.Hour)
	require.NoError(t, b.fanOut(b.ctx, id, false))
	require.Equal(t, 5, b.count(`SELECT count(*) FROM messages`))
	require.Equal(t, 1, b.count(`SELECT count(*) FROM campaigns WHERE status = 'sending' AND fanned_out_at IS NOT NULL`))
	b.exec(`UPDATE campaigns SET status = 'paused'`)
	require.NoError(t, b.fanOut(b.ctx, id, false), "what is halted is left alone")
}

func TestFanOut_outOfTimeHandsOver(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	job := &river.Job[jobs.FanOutArgs]{JobRow: &rivertype.JobRow{ID: 9}, Args: jobs.FanOutArgs{CampaignID: 7}}
	var snooze *river.JobSnoozeError
	require.True(t, errors.As(b.s.goOn(b.ctx, job, 0), &snooze))
	job.Args.Resume = true
	require.NoError(t, b.s.goOn(b.ctx, job, 0))
	require.Equal(t, 1, b.count(`SELECT count(*) FROM river_job WHERE args = '{"campaign_id": 7}'`))
}
