package worker

import (
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
	"github.com/stretchr/testify/require"

	"onward/jobs"
)

func (b *bundle) halt(campaign int64) error {
	b.Helper()
	return b.s.workCampaignHalt(b.ctx, &river.Job[jobs.CampaignHaltArgs]{
		JobRow: &rivertype.JobRow{ID: 8}, Args: jobs.CampaignHaltArgs{CampaignID: campaign},
	})
}

func (b *bundle) setStatus(campaign int64, status string) {
	b.Helper()
	b.exec(`UPDATE campaigns SET status = $2 WHERE id = $1`, campaign, status)
}

// sends counts the send jobs of a state.
func (b *bundle) sends(state string) int {
	b.Helper()
	return b.count(`SELECT count(*) FROM river_job WHERE kind = 'send' AND state = $1::river_job_state`, state)
}

// A pause ends the jobs, not the messages; a resume gives each message one job again.
func TestHalt_pauseAndResume(t *testing.T) {
	t.Parallel()
	b := setup(t, func(o *Options) { o.FanOutChunk = 7 })
	id := b.launched(20, "Hi", everyone())
	require.NoError(t, b.fanOut(b.ctx, id, false))
	b.exec(`UPDATE river_job SET state = 'scheduled', scheduled_at = now() + interval '1 hour' WHERE kind = 'send' AND id % 3 = 0`)
	b.exec(`UPDATE river_job SET state = 'retryable', scheduled_at = now() + interval '1 hour' WHERE kind = 'send' AND id % 3 = 1`)
	kept, _ := b.message(0, jobs.ChannelSMS, someone)
	b.enqueue(kept)

	b.setStatus(id, "paused")
	require.NoError(t, b.halt(id))
	require.Equal(t, 20, b.sends("completed"))
	require.Equal(t, 20, b.count(`SELECT count(*) FROM messages WHERE campaign_id = $1 AND state = 'queued'`, id))
	require.NoError(t, b.halt(id), "once more changes nothing")

	// One job was missed by the halt, since it ran: that message gets another one, and still one call.
	b.exec(`UPDATE river_job SET state = 'running', finalized_at = NULL WHERE id = (SELECT min(id) FROM river_job WHERE state = 'completed')`)
	// And one is there already.
	b.enqueue(int64(b.count(`SELECT max(id) FROM messages WHERE campaign_id = $1`, id)))
	b.setStatus(id, "sending")
	require.NoError(t, b.halt(id), "resumed meanwhile: nothing to do")
	require.NoError(t, b.fanOut(b.ctx, id, true))
	require.Equal(t, 20+1, b.sends("available"), "the other message's, too")
	require.Equal(t, 20, b.count(`SELECT count(DISTINCT args ->> 'message_id') FROM river_job WHERE kind = 'send' AND state = 'available' AND args ->> 'message_id' <> $1`, strconv.FormatInt(kept, 10)))
	b.requireSound()
}

// A job that looked for a slot before a halt goes to sleep after it, for as long as the line is: it is ended, too.
func TestHalt_endsWhatFallsAsleepAfterIt(t *testing.T) {
	t.Parallel()
	for _, status := range []string{"paused", "cancelled"} {
		b := setup(t, nil)
		id := b.launched(3, "Hi", everyone())
		require.NoError(t, b.fanOut(b.ctx, id, false))
		b.exec(`UPDATE river_job SET state = 'running' WHERE id = (SELECT min(id) FROM river_job WHERE kind = 'send')`)
		b.setStatus(id, status)
		var snooze *river.JobSnoozeError
		require.ErrorAs(t, b.halt(id), &snooze, "one runs")
		require.Equal(t, 2, b.sends("completed"))
		b.exec(`UPDATE river_job SET state = 'scheduled', scheduled_at = now() + interval '1 hour' WHERE kind = 'send' AND state = 'running'`)
		require.NoError(t, b.halt(id))
		require.Equal(t, 3, b.sends("completed"), status)
		b.requireSound()
	}
}

// enqueue inserts a message's send.
func (b *bundle) enqueue(message int64) {
	b.Helper()
	_, err := river.ClientFromContext[pgx.Tx](b.ctx).Insert(b.ctx, jobs.SendArgs{MessageID: message, Channel: jobs.ChannelSMS}, nil)
	require.NoError(b, err)
}

// A cancellation ends jobs and messages, and waits for those whose call is under way.
func TestHalt_cancel(t *testing.T) {
	t.Parallel()
	b := setup(t, func(o *Options) { o.FanOutChunk = 7 })
	id := b.launched(20, "Hi", everyone())
	require.NoError(t, b.fanOut(b.ctx, id, false))
	moving := int64(b.count(`SELECT min(id) FROM messages`))
	d, err := b.s.dispatch(b.ctx, moving, 1)
	require.NoError(t, err)
	require.Empty(t, d.stop)

	b.setStatus(id, "cancelled")
	var snooze *river.JobSnoozeError
	require.ErrorAs(t, b.halt(id), &snooze, "one is being sent")
	require.Equal(t, 19, b.count(`SELECT count(*) FROM messages WHERE state = 'canceled' AND reason = 'campaign_cancelled'`))
	require.Zero(t, b.sends("available"))
	b.requireSound()

	// The provider did not take it: it comes back as queued, and ends, too.
	require.ErrorAs(t, b.s.giveBack(b.ctx, d, 1, "retry_later", time.Hour), &snooze)
	require.NoError(t, b.halt(id))
	require.Equal(t, 20, b.count(`SELECT count(*) FROM messages WHERE state = 'canceled'`))
	b.requireSound()
}

// From the commit of a pause or a cancellation on, the database refuses every dispatch of the campaign, whoever writes it.
func TestHalt_databaseRefusesDispatch(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	campaign := b.campaign(jobs.ChannelSMS)
	message, _ := b.message(campaign, jobs.ChannelSMS, someone)
	for _, status := range []string{"paused", "cancelled"} {
		b.setStatus(campaign, status)
		for _, sql := range []string{
			`UPDATE messages SET state = 'dispatching'`,
			`INSERT INTO messages (public_id, campaign_id, business_id, channel, address, body, state) SELECT gen_random_uuid(), campaign_id, business_id + 1, channel, address, body, 'dispatching' FROM messages`,
		} {
			_, err := b.pool.Exec(b.ctx, sql)
			var pg *pgconn.PgError
			require.ErrorAs(t, err, &pg, sql)
			require.Equal(t, "ON004", pg.Code, sql)
		}
	}
	require.NoError(t, b.send(message, jobs.ChannelSMS))
	require.Zero(t, b.calls(someone))
}

// A pause waits for the dispatches that are being committed: so none is committed after it.
func TestHalt_waitsForOpenDispatches(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	campaign := b.campaign(jobs.ChannelSMS)
	message, _ := b.message(campaign, jobs.ChannelSMS, someone)
	tx, err := b.pool.Begin(b.ctx)
	require.NoError(t, err)
	_, err = b.s.decide(b.ctx, tx, message, 1)
	require.NoError(t, err)
	paused := make(chan error, 1)
	go func() {
		_, err := b.pool.Exec(b.ctx, `UPDATE campaigns SET status = 'paused' WHERE id = $1`, campaign)
		paused <- err
	}()
	b.awaitLock()
	require.Empty(t, paused)
	require.NoError(t, tx.Commit(b.ctx))
	require.NoError(t, <-paused)
	state, _ := b.state(message)
	require.Equal(t, "dispatching", state)
}

// Of two jobs of one message, the second leaves the call of the first alone: it was not cut off.
func TestHalt_twoJobsOfOneMessage(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	message, _ := b.message(0, jobs.ChannelSMS, someone)
	first, err := b.s.dispatch(b.ctx, message, 1)
	require.NoError(t, err)
	require.Empty(t, first.stop)
	second, err := b.s.dispatch(b.ctx, message, 2)
	require.NoError(t, err)
	require.Equal(t, []any{stopElsewhere, elsewhereAgain}, []any{second.stop, second.snooze})
	state, _ := b.state(message)
	require.Equal(t, "dispatching", state)

	// The first job itself, run again, was cut off.
	again, err := b.s.dispatch(b.ctx, message, 1)
	require.NoError(t, err)
	require.Equal(t, stopCutOff, again.stop)
	b.requireSound()

	// And a dispatch that no job can still be at is cut off, whoever finds it.
	lost, _ := b.message(0, jobs.ChannelSMS, "+12025550002")
	_, err = b.s.dispatch(b.ctx, lost, 1)
	require.NoError(t, err)
	b.exec(`UPDATE dispatches SET dispatched_at = now() - interval '3 minutes' WHERE message_id = $1`, lost)
	found, err := b.s.dispatch(b.ctx, lost, 2)
	require.NoError(t, err)
	require.Equal(t, stopCutOff, found.stop)
}

// When a long line at a sender goes away, those that slept behind it come up at its pace instead of at its end.
func TestHalt_closesRanks(t *testing.T) {
	t.Parallel()
	b := setup(t, func(o *Options) { o.SMSPerSecond, o.FanOutChunk = 0.1, 4 }) // no second slot comes near while this runs
	gone := b.launched(30, "Hi", everyone())
	require.NoError(t, b.fanOut(b.ctx, gone, false))
	other := b.campaign(jobs.ChannelSMS)
	var waits []int64
	for i := range 11 {
		m, _ := b.message(other, jobs.ChannelSMS, "+1303555000"+strconv.Itoa(i%10)+strconv.Itoa(i))
		b.enqueue(m)
		waits = append(waits, m)
	}
	// As they come up one after the other: the first finds a slot, the rest sleep.
	for _, m := range append(b.ids(`SELECT id FROM messages WHERE campaign_id = $1 ORDER BY id`, gone), waits...) {
		got, err := b.s.reserve(b.ctx, jobs.SendArgs{MessageID: m, Channel: jobs.ChannelSMS})
		require.NoError(t, err)
		if got.wait > 0 {
			b.exec(`UPDATE river_job SET state = 'scheduled', scheduled_at = now() + make_interval(secs => $2) WHERE args ->> 'message_id' = $1`, strconv.FormatInt(m, 10), got.wait.Seconds())
		}
	}
	// One sleeps for a reason of its own.
	b.exec(`UPDATE messages SET reason = 'quiet_hours' WHERE id = $1`, waits[10])
	const due = `SELECT extract(epoch FROM max(scheduled_at) - now())::int FROM river_job WHERE state = 'scheduled' AND args ->> 'message_id' = ANY($1)`
	of := func(list ...int64) (s []string) {
		for _, m := range list {
			s = append(s, strconv.FormatInt(m, 10))
		}
		return s
	}
	require.Greater(t, b.count(due, of(waits[9])), 300, "behind thirty")
	b.setStatus(gone, "cancelled")
	require.NoError(t, b.halt(gone))
	require.LessOrEqual(t, b.count(due, of(waits[:10]...)), 115, "ten at one in ten seconds, behind the slot that is taken")
	require.Greater(t, b.count(due, of(waits[10])), 300, "quiet hours are not the line's")
	order := b.ids(`SELECT (args ->> 'message_id')::bigint FROM river_job WHERE kind = 'send' AND state = 'scheduled' ORDER BY scheduled_at`)
	require.Equal(t, waits, order, "in their old order")
}

func (b *bundle) ids(sql string, args ...any) (list []int64) {
	b.Helper()
	rows, err := b.pool.Query(b.ctx, sql, args...)
	require.NoError(b, err)
	defer rows.Close()
	for rows.Next() {
		var id int64
		require.NoError(b, rows.Scan(&id))
		list = append(list, id)
	}
	require.NoError(b, rows.Err())
	return list
}
