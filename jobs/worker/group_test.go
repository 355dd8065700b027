package worker

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/riverqueue/river/rivertype"
	"github.com/stretchr/testify/require"

	"onward/jobs"
)

// sentMessages inserts messages that the provider has taken, with a callback receipt each, and returns the receipts.
func (b *bundle) sentMessages(n int, campaign int64, status string) (receipts []uuid.UUID, businesses []int64) {
	b.Helper()
	for i := range n {
		m, business := b.message(campaign, jobs.ChannelSMS, fmt.Sprintf("+1303555%04d", i))
		sid := fmt.Sprintf("SM%032d", m)
		_, err := b.pool.Exec(b.ctx, `
			UPDATE messages SET state = 'accepted', attempt = 1, provider_sid = $2, dispatched_at = now() WHERE id = $1`, m, sid)
		require.NoError(b, err)
		receipts = append(receipts, b.receipt("message_status", time.Now(), "MessageSid="+sid+"&MessageStatus="+status))
		businesses = append(businesses, business)
	}
	if campaign != 0 {
		_, err := b.pool.Exec(b.ctx, `INSERT INTO campaign_counters (campaign_id, shard, state, n) VALUES ($1, 0, 'accepted', $2)`, campaign, n)
		require.NoError(b, err)
	}
	return receipts, businesses
}

// together runs callback jobs at once, as one process does, and returns their errors.
func (b *bundle) together(receipts []uuid.UUID) []error {
	b.Helper()
	errs := make([]error, len(receipts))
	var wg sync.WaitGroup
	for i, id := range receipts {
		wg.Go(func() {
			row := &rivertype.JobRow{ID: int64(1000 + i), Attempt: 1, MaxAttempts: 25}
			errs[i] = b.a.applyInGroup(b.ctx, row, jobs.ReceiptArgs{ReceiptID: id.String()}, b.a.callbacks, b.a.statusCallback)
		})
	}
	wg.Wait()
	return errs
}

func (b *bundle) number(sql string, args ...any) (n int) {
	b.Helper()
	require.NoError(b, b.pool.QueryRow(b.ctx, sql, args...).Scan(&n))
	return n
}

// One poisoned job in a group of 100 fails alone: its peers are applied once, in the same run.
func TestPromise1_poisonedJobInAGroupFailsAlone(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	campaign := b.campaign(jobs.ChannelSMS)
	receipts, businesses := b.sentMessages(100, campaign, "delivered")
	poisoned := businesses[37]
	cure := b.poison("facts", fmt.Sprintf("NEW.business_id = %d", poisoned))
	for i, err := range b.together(receipts) {
		if businesses[i] == poisoned {
			require.ErrorContains(t, err, "poisoned")
		} else {
			require.NoError(t, err)
		}
	}
	require.Equal(t, 99, b.number(`SELECT count(*) FROM facts WHERE event = 'sms_delivered'`))
	require.Equal(t, 99, b.number(`SELECT count(*) FROM receipt_outcomes WHERE outcome = 'applied'`))
	require.Equal(t, 99, b.number(`SELECT count(*) FROM messages WHERE state = 'delivered'`))
	b.requireSound()

	// Once what poisoned it is gone, the job's retry applies it.
	cure()
	b.apply(receipts[37], b.a.statusCallback)
	require.Equal(t, 100, b.number(`SELECT count(*) FROM facts WHERE event = 'sms_delivered'`))
	b.requireSound()
}

// A group whose transaction is cut off, here by the end of its backend, leaves nothing half done: its jobs run again.
func TestPromise1_groupThatIsCutOff(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	receipts, _ := b.sentMessages(60, b.campaign(jobs.ChannelSMS), "undelivered")
	b.a.callbacks.run = cutOnce(b.a.callbacks.run)
	for _, err := range b.together(receipts) {
		require.NoError(t, err)
	}
	require.Equal(t, 60, b.number(`SELECT count(*) FROM facts WHERE event = 'sms_failed'`))
	require.Equal(t, 60, b.number(`SELECT count(*) FROM transitions WHERE to_status = 'bounced' AND verdict = 'applied'`))
	b.requireSound()
}

// In one group: the same receipt by two jobs, several reports on one message, one without a message, one that says
// nothing, and one that is gone.
func TestGroup_oddCompany(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	receipts, _ := b.sentMessages(3, 0, "sent")
	sid := fmt.Sprintf("SM%032d", b.number(`SELECT min(id) FROM messages`))
	receipts = append(receipts, receipts[0],
		b.receipt("message_status", time.Now(), "MessageSid="+sid+"&MessageStatus=delivered"),
		b.receipt("message_status", time.Now(), "MessageSid="+sid+"&MessageStatus=undelivered&ErrorCode=30003"),
		b.receipt("message_status", time.Now(), "MessageSid=SMnobody&MessageStatus=sent"),
		b.receipt("message_status", time.Now(), "MessageSid="+sid+"&MessageStatus=levitating"),
		uuid.Must(uuid.NewV7()))
	errs := b.together(receipts)
	for i, err := range errs[:6] {
		require.NoError(t, err, i)
	}
	require.ErrorContains(t, errs[6], "JobSnooze", "it waits for its message")
	require.NoError(t, errs[7])
	require.ErrorContains(t, errs[8], "the receipt is gone")
	require.Equal(t, 1, b.number(`SELECT count(*) FROM messages WHERE state = 'delivered'`))
	require.Equal(t, 2, b.number(`SELECT count(*) FROM messages WHERE state = 'sent'`))
	require.Equal(t, 1, b.number(`SELECT count(*) FROM receipt_outcomes WHERE outcome = 'unmatched'`))
	require.Equal(t, 1, b.number(`SELECT count(*) FROM receipt_outcomes WHERE outcome = 'ignored'`))
	b.requireSound()
}
