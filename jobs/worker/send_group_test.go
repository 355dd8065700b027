package worker

import (
	"fmt"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
	"github.com/stretchr/testify/require"

	"onward/jobs"
)

// queuedTexts inserts n queued messages of a campaign and lifts its sender's pace, so that they are sent at once.
func (b *bundle) queuedTexts(campaign int64, n int) (messages []int64, addresses []string) {
	b.Helper()
	first := b.number(`SELECT count(*) FROM messages`)
	for i := range n {
		address := fmt.Sprintf("+1303556%04d", first+i)
		m, _ := b.message(campaign, jobs.ChannelSMS, address)
		messages, addresses = append(messages, m), append(addresses, address)
	}
	_, err := b.pool.Exec(b.ctx, `
		INSERT INTO senders (channel, address, per_second) VALUES ('sms', $1, 100000)
		ON CONFLICT (channel, address) DO UPDATE SET per_second = 100000`, testFrom)
	require.NoError(b, err)
	if campaign != 0 {
		_, err := b.pool.Exec(b.ctx, `INSERT INTO campaign_counters (campaign_id, shard, state, n) VALUES ($1, 0, 'queued', $2)`, campaign, n)
		require.NoError(b, err)
	}
	return messages, addresses
}

// sendTogether runs send jobs at once, as one process does, and returns their errors.
func (b *bundle) sendTogether(messages []int64) []error {
	b.Helper()
	errs := make([]error, len(messages))
	var wg sync.WaitGroup
	for i, m := range messages {
		wg.Go(func() {
			errs[i] = b.s.workSend(b.ctx, &river.Job[jobs.SendArgs]{
				JobRow: &rivertype.JobRow{ID: int64(1000 + i), Attempt: 1, MaxAttempts: 25}, Args: jobs.SendArgs{MessageID: m, Channel: jobs.ChannelSMS},
			})
		})
	}
	wg.Wait()
	return errs
}

// In a group of 100 sends one is refused by the database, one has opted out, one waits for a receipt that may be an opt-out:
// each fares as it would alone, and the others are sent, once each.
func TestPromise3_groupOfSendsWithOneThatFails(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	campaign := b.campaign(jobs.ChannelSMS)
	messages, addresses := b.queuedTexts(campaign, 100)
	const poisoned, suppressed, pending = 11, 42, 77
	b.poison("dispatches", fmt.Sprintf("NEW.message_id = %d", messages[poisoned]))
	b.suppress(addresses[suppressed])
	_, err := b.pool.Exec(b.ctx, `INSERT INTO inbound_pending (receipt_id, channel, address) VALUES ($1, 'sms', $2)`,
		uuid.Must(uuid.NewV7()), addresses[pending])
	require.NoError(t, err)

	for i, err := range b.sendTogether(messages) {
		calls := 1
		switch i {
		case poisoned:
			require.ErrorContains(t, err, "poisoned")
			calls = 0
		case suppressed:
			require.NoError(t, err)
			calls = 0
		case pending:
			require.ErrorContains(t, err, "JobSnooze")
			calls = 0
		default:
			require.NoError(t, err)
		}
		require.Equal(t, calls, b.calls(addresses[i]), i)
	}
	require.Equal(t, 97, b.number(`SELECT count(*) FROM messages WHERE state = 'accepted'`))
	require.Equal(t, 97, b.number(`SELECT count(*) FROM facts WHERE event = 'sms_sent'`))
	require.Equal(t, 2, b.number(`SELECT count(*) FROM messages WHERE state = 'queued'`))
	require.Equal(t, 1, b.number(`SELECT count(*) FROM messages WHERE state = 'canceled' AND reason = 'suppressed'`))
	require.Zero(t, b.number(`SELECT count(*) FROM dispatches`))
	b.requireSound()
}

// A group of decisions, or of outcomes, whose transaction is cut off leaves nothing half done: every message is called once.
func TestPromise3_groupOfSendsThatIsCutOff(t *testing.T) {
	t.Parallel()
	for _, which := range []string{"decisions", "outcomes"} {
		t.Run(which, func(t *testing.T) {
			t.Parallel()
			b := setup(t, nil)
			messages, addresses := b.queuedTexts(b.campaign(jobs.ChannelSMS), 60)
			if which == "decisions" {
				b.s.dispatches.run = cutOnce(b.s.dispatches.run)
			} else {
				b.s.settled.run = cutOnce(b.s.settled.run)
			}
			for i, err := range b.sendTogether(messages) {
				require.NoError(t, err, i)
				require.Equal(t, 1, b.calls(addresses[i]), i)
			}
			require.Equal(t, 60, b.number(`SELECT count(*) FROM messages WHERE state = 'accepted'`))
			require.Equal(t, 60, b.number(`SELECT count(*) FROM facts WHERE event = 'sms_sent'`))
			b.requireSound()
		})
	}
}

// Whoever decides about an address alone, as an opt-out that is being accepted does, holds up its message and no other.
func TestPromise4_groupLeavesOutAnAddressThatIsBeingDecided(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	messages, addresses := b.queuedTexts(0, 20)
	tx, err := b.pool.Begin(b.ctx)
	require.NoError(t, err)
	defer func() { _ = tx.Rollback(b.ctx) }()
	_, err = tx.Exec(b.ctx, `INSERT INTO inbound_pending (receipt_id, channel, address) VALUES ($1, 'sms', $2)`, uuid.Must(uuid.NewV7()), addresses[7])
	require.NoError(t, err)

	held := make(chan error, 1)
	go func() { held <- b.sendTogether(messages[7:8])[0] }()
	others := append(append([]int64(nil), messages[:7]...), messages[8:]...)
	for _, err := range b.sendTogether(others) {
		require.NoError(t, err)
	}
	require.Equal(t, 19, b.number(`SELECT count(*) FROM messages WHERE state = 'accepted'`))
	require.NoError(t, tx.Commit(b.ctx))
	require.ErrorContains(t, <-held, "JobSnooze", "it waits for the receipt now")
	require.Zero(t, b.calls(addresses[7]))
}

// A message with two jobs in one group is called by one of them.
func TestPromise3_twoJobsOfAMessageInAGroup(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	messages, addresses := b.queuedTexts(0, 5)
	for range 3 {
		messages = append(messages, messages[2])
	}
	b.sendTogether(messages) // the others find it under way, or done
	for _, a := range addresses {
		require.Equal(t, 1, b.calls(a))
	}
	require.Equal(t, 5, b.number(`SELECT count(*) FROM messages WHERE state = 'accepted'`))
	b.requireSound()
}
