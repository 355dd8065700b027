package worker

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
	"github.com/stretchr/testify/require"

	"onward/jobs"
	"onward/jobs/provider"
	"onward/jobs/provider/providersim"
)

// pollJob runs the periodic job once.
func (b *bundle) pollJob() {
	b.Helper()
	require.NoError(b, b.a.workPollMessages(b.ctx, &river.Job[jobs.PollMessagesArgs]{JobRow: &rivertype.JobRow{ID: 77}}))
}

// polls reads how many messages are to be looked up, and whether each was tried so often.
func (b *bundle) polls(tries int) (n int) {
	b.Helper()
	require.NoError(b, b.pool.QueryRow(b.ctx, `SELECT count(*) FROM message_polls WHERE tries = $1`, tries).Scan(&n))
	return n
}

// soon makes every delay pass at once.
func soon(drift *int) func(*Options) {
	return func(o *Options) {
		o.PollAfter = []time.Duration{time.Millisecond, 2 * time.Millisecond, 3 * time.Millisecond}
		o.Observer.Drift = func(p string) {
			if p == jobs.ProviderTwilio {
				*drift++
			}
		}
	}
}

// A text whose callbacks are lost gets its end by being looked up: as from a callback, but that the facts name no
// receipt.
func TestPoll_findsWhatCallbacksDidNotTell(t *testing.T) {
	t.Parallel()
	drift := 0
	b := setup(t, soon(&drift))
	type sent struct {
		to, state, contact string
		message, business  int64
	}
	list := []*sent{
		{to: someone, state: "delivered", contact: "sms_sent"},
		{to: providersim.MagicUnreachable, state: "undelivered", contact: "bounced"},
		{to: providersim.MagicAsyncOptedOut, state: "failed", contact: "unsubscribed"},
		{to: providersim.MagicStuck, state: "sent", contact: "sms_sent"},
	}
	campaign := b.campaign(jobs.ChannelSMS)
	for _, s := range list {
		s.message, s.business = b.message(campaign, jobs.ChannelSMS, s.to)
		_, err := b.pool.Exec(b.ctx, `INSERT INTO campaign_counters (campaign_id, shard, state, n) VALUES ($1, $2 % 16, 'queued', 1)`, campaign, s.message)
		require.NoError(t, err)
		require.NoError(t, b.send(s.message, jobs.ChannelSMS))
	}
	require.NoError(t, b.sim.Drain(t.Context()))
	require.Eventually(t, func() bool {
		b.pollJob()
		_, err := b.pool.Exec(b.ctx, `UPDATE message_polls SET next_at = now()`)
		require.NoError(t, err)
		return b.number(`SELECT count(*) FROM messages WHERE state = 'accepted'`) == 0 && b.number(`SELECT count(*) FROM message_polls`) == 0
	}, 30*time.Second, 5*time.Millisecond)
	for _, s := range list {
		state, _ := b.state(s.message)
		require.Equal(t, s.state, state, s.to)
		require.Equal(t, s.contact, b.contactStatus(s.business), s.to)
		require.Equal(t, 1, b.calls(s.to), "a look is no send")
	}
	require.Equal(t, len(list), drift, "each differed from what we knew")
	require.Zero(t, b.number(`SELECT count(*) FROM facts WHERE source = 'webhook' OR receipt_id IS NOT NULL`))
	require.Equal(t, 4, b.number(`SELECT count(*) FROM facts WHERE source = 'system' AND job_id = 77 AND message_id IS NOT NULL AND receipt_id IS NULL`))
	require.Equal(t, 1, b.number(`SELECT count(*) FROM suppressions WHERE address = $1 AND source = 'system'`, providersim.MagicAsyncOptedOut))
	require.Zero(t, b.number(`SELECT count(*) FROM facts WHERE source = 'system' AND occurred_at > recorded_at`))
	b.requireSound()

	// A callback that comes after all finds that everything is known.
	before := b.number(`SELECT count(*) FROM transitions`)
	b.pollJob()
	require.Equal(t, before, b.number(`SELECT count(*) FROM transitions`))
}

// What is young, final or not a text is not looked up, and the budget of a minute holds over the whole fleet.
func TestPoll_asksNoMoreThanItMay(t *testing.T) {
	t.Parallel()
	lookup := &countingLookup{}
	b := setup(t, func(o *Options) {
		o.PollAfter, o.PollsPerMinute, o.SMSLookup = []time.Duration{time.Hour, 2 * time.Hour}, 3, lookup
	})
	move := b.stopClock() // or a minute may end between two polls
	insert := func(state string, age time.Duration) (message int64) {
		message, business := b.message(0, jobs.ChannelSMS, someone)
		_, err := b.pool.Exec(b.ctx, `
			UPDATE messages SET state = $2, provider_sid = $3, sent_at = now() - make_interval(secs => $4) WHERE id = $1`,
			message, state, "SM"+uuid.NewString(), age.Seconds())
		require.NoError(t, err)
		_, err = b.pool.Exec(b.ctx, `
			INSERT INTO facts (business_id, event, axis, occurred_at, recorded_at, source, message_id, dedupe_key)
			VALUES ($1, 'sms_sent', 'contact', now(), now() - make_interval(secs => $3), 'message', $2::bigint, 'k' || $2::bigint)`, business, message, age.Seconds())
		require.NoError(t, err)
		return message
	}
	for range 5 {
		insert("sent", 90*time.Minute)
	}
	insert("delivered", 90*time.Minute)
	insert("sent", 100*24*time.Hour) // of before there were polls
	young := insert("sent", time.Minute)
	insert("sent", 90*time.Minute) // recorded behind a younger one: its turn comes with that one's

	for range 3 {
		b.pollJob()
	}
	require.Equal(t, 3, lookup.n)
	require.Equal(t, 3, b.polls(1))
	require.Equal(t, 2, b.polls(0))
	require.Zero(t, b.number(`SELECT count(*) FROM message_polls WHERE message_id >= $1`, young))
	require.Equal(t, 3, b.number(`SELECT count(*) FROM message_polls WHERE next_at > now() + interval '29 minutes'`), "two hours after the send")

	// In the next minute the others; one that became final meanwhile costs nothing.
	_, err := b.pool.Exec(b.ctx, `UPDATE messages SET state = 'delivered' WHERE id = (SELECT min(message_id) FROM message_polls WHERE tries = 0)`)
	require.NoError(t, err)
	move(time.Minute)
	lookup.n = 0
	b.pollJob()
	require.Equal(t, 1, lookup.n)
	require.Equal(t, 4, b.number(`SELECT count(*) FROM message_polls`))

	// A provider that does not answer, or does not let us in, is not asked on; a message that it does not know is let go.
	due := func() {
		_, err := b.pool.Exec(b.ctx, `UPDATE message_polls SET next_at = now()`)
		require.NoError(t, err)
		_, err = b.pool.Exec(b.ctx, `UPDATE poll_progress SET minute = 'epoch'`)
		require.NoError(t, err)
		lookup.n = 0
		b.pollJob()
	}
	lookup.err = &provider.SendError{Class: provider.ClassRetryLater, Code: "20429", Err: errors.New("too many")}
	due()
	require.Equal(t, 1, lookup.n)
	require.Equal(t, 4, b.number(`SELECT count(*) FROM message_polls`))
	lookup.err = &provider.SendError{Class: provider.ClassUnknown, Err: provider.ErrNotFound}
	due()
	require.Equal(t, 3, lookup.n)
	require.Equal(t, 1, b.number(`SELECT count(*) FROM message_polls`))
	// After the last delay there is no more to ask.
	lookup.err = nil
	due()
	require.Zero(t, b.number(`SELECT count(*) FROM message_polls`))
}

// countingLookup says that everything is sent.
type countingLookup struct {
	provider.Lookup
	n   int
	err error
}

func (c *countingLookup) Get(_ context.Context, sid string) (provider.Status, error) {
	c.n++
	return provider.Status{SID: sid, Status: "sent"}, c.err
}
