package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
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
	return b.s.workFanOut(ctx, fanOutJob(campaign, resume))
}

func fanOutJob(campaign int64, resume bool) *river.Job[jobs.FanOutArgs] {
	return &river.Job[jobs.FanOutArgs]{
		JobRow: &rivertype.JobRow{ID: 9}, Args: jobs.FanOutArgs{CampaignID: campaign, Resume: resume},
	}
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
	left atomic.Int64
	cut  atomic.Pointer[context.CancelFunc]
}

func (c *cutAt) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	if c.left.Add(-1) == 0 {
		(*c.cut.Load())()
	}
	return ctx
}

func (*cutAt) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// A fan-out that is cut off, many times and anywhere, goes on behind its last whole chunk: nobody is left out, nobody
// is in it twice.
func TestFanOut_resumesAfterACrash(t *testing.T) {
	t.Parallel()
	for _, connections := range []int32{1, 2} {
		t.Run(fmt.Sprintf("connections=%d", connections), func(t *testing.T) {
			t.Parallel()
			resumesAfterACrash(t, connections)
		})
	}
}

func resumesAfterACrash(t *testing.T, connections int32) {
	b := setup(t, func(o *Options) { o.FanOutChunk = 20 })
	id := b.launched(400, "Hi {{.Name}}", everyone())
	tracer := &cutAt{}
	config := b.pool.Config()
	config.ConnConfig.Tracer = tracer
	config.MaxConns = connections
	pool, err := pgxpool.NewWithConfig(b.ctx, config)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	b.s.Pool = pool
	cuts := 0
	for {
		ctx, cancel := context.WithCancel(b.ctx)
		tracer.cut.Store(&cancel)
		tracer.left.Store(int64(cuts) + 1)
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
	// A version with larger chunks is among them, as while workers are replaced one after another.
	larger := *b.s
	larger.FanOutChunk = 17
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			s := b.s
			if i%2 == 1 {
				s = &larger
			}
			if err := s.workFanOut(b.ctx, fanOutJob(id, false)); err != nil {
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

// A campaign that is halted between two chunks keeps what was committed, and gets no more: the chunks that were being made are
// given up, and made once it is resumed.
func TestFanOut_haltedBetweenChunks(t *testing.T) {
	t.Parallel()
	b := setup(t, func(o *Options) { o.FanOutChunk = 10 })
	id := b.launched(100, "Hi", everyone())
	halt, err := b.pool.Begin(b.ctx)
	require.NoError(t, err)
	_, err = b.s.freezeChunk(b.ctx, id)
	require.NoError(t, err)
	more, err := b.s.fanOut(b.ctx, id, time.Time{})
	require.NoError(t, err)
	require.True(t, more, "the time was up after one chunk")
	_, err = halt.Exec(b.ctx, `UPDATE campaigns SET status = 'paused' WHERE id = $1`, id)
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() {
		_, err := b.s.fanOut(b.ctx, id, time.Now().Add(time.Hour))
		done <- err
	}()
	b.awaitLock() // the next chunk is made, and wants to be committed
	require.NoError(t, halt.Commit(b.ctx))
	require.NoError(t, <-done)
	require.Equal(t, 10, b.count(`SELECT count(*) FROM messages`))
	require.Equal(t, 10, b.count(`SELECT count(*) FROM river_job WHERE kind = 'send'`))
	require.Zero(t, b.count(`SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`))
	b.exec(`UPDATE campaigns SET status = 'sending' WHERE id = $1`, id)
	require.NoError(t, b.fanOut(b.ctx, id, false))
	require.Equal(t, 100, b.count(`SELECT count(*) FROM messages`))
	b.requireSound()
}

// A panic while a chunk is made fails the job, as one anywhere else in it does, and not the worker.
func TestFanOut_panicIsAnError(t *testing.T) {
	t.Parallel()
	b := setup(t, func(o *Options) { o.FanOutChunk = 10 })
	id := b.launched(30, "Hi", everyone())
	tokens := b.s.Tokens
	b.exec(`UPDATE campaigns SET channel = 'email', subject = 'Hi', body = 'Hi {{.UnsubscribeURL}}' WHERE id = $1`, id)
	b.exec(`UPDATE businesses SET email = 'someone' || id || '@example.com'`)
	b.s.Tokens = nil
	require.ErrorContains(t, b.fanOut(b.ctx, id, false), "panic")
	b.s.Tokens = tokens
	require.NoError(t, b.fanOut(b.ctx, id, false))
	require.Equal(t, 30, b.count(`SELECT count(*) FROM messages`))
	b.requireSound()
}

// One while a chunk is committed, here by who is told afterwards, leaves nothing of the next chunk behind.
func TestFanOut_panicBesideTheNextChunk(t *testing.T) {
	t.Parallel()
	b := setup(t, func(o *Options) {
		o.FanOutChunk = 10
		o.Observer.Skipped = func(string) { panic("told") }
	})
	id := b.launched(30, "Hi", everyone())
	b.exec(`UPDATE businesses SET phone = NULL WHERE id = 2`)
	require.PanicsWithValue(t, "told", func() { _ = b.fanOut(b.ctx, id, false) })
	require.Zero(t, b.s.Pool.Stat().AcquiredConns())
	require.Equal(t, 9, b.count(`SELECT count(*) FROM messages`))
	require.NoError(t, b.fanOut(b.ctx, id, false))
	require.Equal(t, 29, b.count(`SELECT count(*) FROM messages`))
	b.requireSound()
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
