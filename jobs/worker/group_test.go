package worker

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river/rivertype"
	"github.com/stretchr/testify/require"

	"onward/jobs"
	"onward/lifecycle"
	"onward/lifecycle/pgstore"
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

// fetch has the receipts of the jobs that [bundle.together] runs come along with their fetch.
func (b *bundle) fetch(receipts []uuid.UUID) {
	b.Helper()
	b.a.Fetched = &Fetched{}
	for i, id := range receipts {
		r := FetchedReceipt{JobID: int64(1000 + i), ID: id}
		err := b.pool.QueryRow(b.ctx, `SELECT provider, kind, query, body, dedupe_key, received_at FROM webhook_events WHERE id = $1`, id).
			Scan(&r.Provider, &r.Kind, &r.Query, &r.Body, &r.DedupeKey, &r.ReceivedAt)
		if errors.Is(err, pgx.ErrNoRows) {
			continue
		}
		require.NoError(b, err)
		b.a.Fetched.Keep(r)
	}
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
// nothing, and one that is gone, whose job has no receipt to come with.
func TestGroup_oddCompany(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name          string
		fetched, gone bool
	}{{"read", false, true}, {"some fetched", true, true}, {"fetched", true, false}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, nil)
			receipts, _ := b.sentMessages(3, 0, "sent")
			sid := fmt.Sprintf("SM%032d", b.number(`SELECT min(id) FROM messages`))
			receipts = append(receipts, receipts[0],
				b.receipt("message_status", time.Now(), "MessageSid="+sid+"&MessageStatus=delivered"),
				b.receipt("message_status", time.Now(), "MessageSid="+sid+"&MessageStatus=undelivered&ErrorCode=30003"),
				b.receipt("message_status", time.Now(), "MessageSid=SMnobody&MessageStatus=sent"),
				b.receipt("message_status", time.Now(), "MessageSid="+sid+"&MessageStatus=levitating"))
			if c.gone {
				receipts = append(receipts, uuid.Must(uuid.NewV7()))
			}
			if c.fetched {
				b.fetch(receipts)
			}
			errs := b.together(receipts)
			for i, err := range errs[:6] {
				require.NoError(t, err, i)
			}
			require.ErrorContains(t, errs[6], "JobSnooze", "it waits for its message")
			require.NoError(t, errs[7])
			if c.gone {
				require.ErrorContains(t, errs[8], "the receipt is gone")
			}
			require.Equal(t, 1, b.number(`SELECT count(*) FROM messages WHERE state = 'delivered'`))
			require.Equal(t, 2, b.number(`SELECT count(*) FROM messages WHERE state = 'sent'`))
			require.Equal(t, 1, b.number(`SELECT count(*) FROM receipt_outcomes WHERE outcome = 'unmatched'`))
			require.Equal(t, 1, b.number(`SELECT count(*) FROM receipt_outcomes WHERE outcome = 'ignored'`))
			b.requireSound()
			if c.fetched {
				require.Empty(t, b.a.Fetched.byJob, "all are taken")
			}
		})
	}
}

// callbackGroup has one group apply receipts.
func (b *bundle) callbackGroup(receipts ...uuid.UUID) ([]*groupItem, error) {
	b.Helper()
	var items []*groupItem
	for i, id := range receipts {
		items = append(items, &groupItem{member: newMember(), id: id, row: &rivertype.JobRow{ID: int64(1000 + i), Attempt: 1, MaxAttempts: 25}})
	}
	work := b.a.callbacks.work(items)
	return items, b.a.callbacks.run(b.ctx, work.first, func(tx pgx.Tx, last *pgx.Batch) error { return work.apply(b.ctx, tx, last) })
}

// A message that two reports of a group name differently rises by one of them; the other goes alone, and finds it there.
func TestGroup_namedDifferently(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	receipts, _ := b.sentMessages(1, b.campaign(jobs.ChannelSMS), "sent")
	other := b.receipt("message_status", time.Now(), "MessageSid=SMother&MessageStatus=delivered")
	b.exec(`UPDATE webhook_events SET query = 'm=' || (SELECT public_id FROM messages) WHERE id = '` + other.String() + `'`)
	items, err := b.callbackGroup(receipts[0], other)
	require.NoError(t, err)
	require.NotEqual(t, items[0].lone, items[1].lone)
	for _, i := range items {
		for _, a := range i.result.applied {
			require.Equal(t, 1, b.number(`SELECT count(*) FROM facts WHERE id = $1 AND dedupe_key = $2`, a.FactID, a.Fact.Key), "the fact that the log names")
		}
	}
	for _, err := range b.together([]uuid.UUID{receipts[0], other}) {
		require.NoError(t, err)
	}
	require.Equal(t, 1, b.number(`SELECT count(*) FROM messages WHERE state = 'delivered'`))
	require.Equal(t, 1, b.number(`SELECT count(*) FROM facts WHERE event = 'sms_delivered'`))
	b.requireSound()
}

// A fact whose key is there already, which no group expects, has it go alone, where it is a duplicate.
func TestGroup_factThatIsThere(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	receipts, businesses := b.sentMessages(3, b.campaign(jobs.ChannelSMS), "delivered")
	first := int64(b.number(`SELECT min(id) FROM messages`))
	require.NoError(t, pgx.BeginFunc(b.ctx, b.pool, func(tx pgx.Tx) error {
		_, err := pgstore.Apply(b.ctx, tx, []pgstore.Fact{{
			BusinessID: businesses[0], Event: lifecycle.SMSDelivered, OccurredAt: time.Now(), Key: messageKey(first, "delivered"),
			Source: pgstore.SourceSystem, MessageID: first,
		}})
		return err
	}))
	_, err := b.callbackGroup(receipts...)
	require.ErrorContains(t, err, "facts_dedupe_key_key")
	for _, err := range b.together(receipts) {
		require.NoError(t, err)
	}
	require.Equal(t, 3, b.number(`SELECT count(*) FROM facts WHERE event = 'sms_delivered'`))
	require.Equal(t, 3, b.number(`SELECT count(*) FROM receipt_outcomes WHERE outcome = 'applied'`))
	require.Equal(t, 3, b.number(`SELECT count(*) FROM messages WHERE state = 'delivered'`))
	b.requireSound()
}

// A message that was delivered and is read, in one group, was delivered once.
func TestGroup_deliveredAndRead(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	receipts, _ := b.sentMessages(1, b.campaign(jobs.ChannelSMS), "delivered")
	sid := fmt.Sprintf("SM%032d", b.number(`SELECT min(id) FROM messages`))
	read := b.receipt("message_status", time.Now(), "MessageSid="+sid+"&MessageStatus=read")
	items, err := b.callbackGroup(receipts[0], read)
	require.NoError(t, err)
	for _, i := range items {
		require.Equal(t, outcomeApplied, i.result.outcome)
	}
	require.Equal(t, 1, b.number(`SELECT count(*) FROM messages WHERE state = 'read'`))
	require.Equal(t, 1, b.number(`SELECT count(*) FROM facts WHERE event = 'sms_delivered'`))
	b.requireSound()
}
