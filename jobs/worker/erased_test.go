package worker

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
	"github.com/stretchr/testify/require"

	"onward/jobs"
	"onward/lifecycle/pgstore"
)

func (b *bundle) erase(business int64) {
	b.Helper()
	b.inTx(func(tx pgx.Tx) error {
		_, err := pgstore.Erase(b.ctx, tx, business)
		return err
	})
}

// What comes about a contact after it was erased is applied, and kept without what it says of a person.
func TestErased_lateReceiptsAreAppliedAndBlanked(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	message, business := b.message(0, jobs.ChannelSMS, someone)
	_, err := b.pool.Exec(b.ctx, `UPDATE messages SET state = 'accepted', attempt = 1, provider_sid = 'SM1', dispatched_at = now(), sent_at = now() - interval '1 minute' WHERE id = $1`, message)
	require.NoError(t, err)
	_, err = b.pool.Exec(b.ctx, `INSERT INTO sites (public_id, business_id, subscription_id) VALUES (gen_random_uuid(), $1, 'su_1')`, business)
	require.NoError(t, err)
	var public uuid.UUID
	require.NoError(t, b.pool.QueryRow(b.ctx, `SELECT public_id FROM messages WHERE id = $1`, message).Scan(&public))
	b.erase(business)

	row := func() *rivertype.JobRow { return &rivertype.JobRow{ID: 9, Attempt: 1, MaxAttempts: 25} }
	status := func(of string) uuid.UUID {
		return b.post(jobs.ProviderTwilio, jobs.KindMessageStatus, "", "MessageSid=SM1&MessageStatus="+of+"&To=%2B12025550001")
	}
	delivered, late := status("delivered"), status("sending")
	for _, id := range []uuid.UUID{delivered, late} {
		require.NoError(t, b.a.workStatusCallback(b.ctx, &river.Job[jobs.StatusCallbackArgs]{
			JobRow: row(), Args: jobs.StatusCallbackArgs{ReceiptArgs: jobs.ReceiptArgs{ReceiptID: id.String()}},
		}))
	}
	cancelled := b.post(jobs.ProviderRecurrente, "subscription.cancel", "", `{"event_type":"subscription.cancel","id":"su_1","customer_email":"rosa@lupita.example"}`)
	b.apply(cancelled, b.a.cancellation)
	clicked := b.post(jobs.ProviderOnward, jobs.KindClick, "", `{"message_id":"`+public.String()+`","url":"https://lupita.example"}`)
	b.apply(clicked, b.a.track)

	state, _ := b.state(message)
	require.Equal(t, "delivered", state)
	require.Equal(t, "clicked", b.contactStatus(business))
	require.Equal(t, 1, b.number(`SELECT count(*) FROM businesses WHERE subscription_status = 'cancelled'`))
	require.Equal(t, 4, b.number(`SELECT count(*) FROM webhook_events WHERE erased_at IS NOT NULL AND body = '' AND query = '' AND contact_key IS NULL`))
	require.Equal(t, 3, b.number(`SELECT count(*) FROM receipt_outcomes WHERE outcome = 'applied'`))
	require.Equal(t, 3, b.number(`SELECT count(*) FROM facts WHERE receipt_id IS NOT NULL`))
	b.requireSound()

	// A replay finds nothing to apply, and takes nothing back.
	b.apply(delivered, b.a.statusCallback)
	require.Equal(t, 3, b.number(`SELECT count(*) FROM receipt_outcomes WHERE outcome = 'applied'`))
	r, err := b.replayer().DryRun(b.ctx, delivered)
	require.NoError(t, err)
	require.Equal(t, []any{"applied", "ignored", "erased", true}, []any{r.Then, r.Now, r.Detail, r.Stands()})
}

// Nobody is erased between the fetch of a receipt about them and its job: what came along with the job is still what is stored.
func TestErased_notBetweenFetchAndJob(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	receipts, businesses := b.sentMessages(3, b.campaign(jobs.ChannelSMS), "delivered&To=%2B13035550000")
	b.fetch(receipts)
	err := pgx.BeginFunc(b.ctx, b.pool, func(tx pgx.Tx) error {
		_, err := pgstore.Erase(b.ctx, tx, businesses[0])
		return err
	})
	require.ErrorContains(t, err, "a receipt that is not applied yet")
	for _, err := range b.together(receipts) {
		require.NoError(t, err)
	}
	b.erase(businesses[0])
	require.Equal(t, 3, b.number(`SELECT count(*) FROM messages WHERE state = 'delivered'`))
	require.Equal(t, 1, b.number(`SELECT count(*) FROM webhook_events WHERE erased_at IS NOT NULL AND body = ''`))
	b.requireSound()
}

// Who writes STOP from the number of an erased contact is suppressed; who writes START is no longer.
func TestPromise4_optOutAfterAnErasure(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	_, business := b.message(0, jobs.ChannelSMS, someone)
	b.erase(business)
	say := func(n, text string) {
		id := b.post(jobs.ProviderTwilio, jobs.KindInboundMessage, "", "MessageSid=SM"+n+"&From=%2B12025550001&Body="+text)
		err := b.a.apply(b.ctx, &rivertype.JobRow{ID: 3, Attempt: 1, MaxAttempts: 25}, jobs.ReceiptArgs{ReceiptID: id.String()}, b.a.reply)
		var snooze *river.JobSnoozeError // it may yet turn out whose number it is; the consent is taken already
		if !errors.As(err, &snooze) {
			require.NoError(t, err)
		}
	}
	suppressed := func() (is bool) {
		b.inTx(func(tx pgx.Tx) (err error) {
			is, err = pgstore.Suppressed(b.ctx, tx, pgstore.Address{Channel: jobs.ChannelSMS, Address: someone})
			return err
		})
		return is
	}
	say("1", "STOP")
	require.True(t, suppressed())
	again, back := b.message(0, jobs.ChannelSMS, someone)
	require.NoError(t, b.send(again, jobs.ChannelSMS))
	state, reason := b.state(again)
	require.Equal(t, []string{"canceled", "suppressed"}, []string{state, reason})

	// Erased once more, it stands as a hash: for the contact that comes back a third time, and for START and YES.
	b.erase(back)
	require.Zero(t, b.number(`SELECT count(*) FROM suppressions WHERE address = $1`, someone))
	third, _ := b.message(0, jobs.ChannelSMS, someone)
	require.NoError(t, b.send(third, jobs.ChannelSMS))
	_, reason = b.state(third)
	require.Equal(t, "suppressed", reason)
	say("2", "YES")
	require.False(t, suppressed())
	require.Equal(t, 1, b.number(`SELECT count(*) FROM suppressions WHERE lifted_by = 'recipient'`))
	fourth, _ := b.message(0, jobs.ChannelSMS, someone)
	require.NoError(t, b.send(fourth, jobs.ChannelSMS))
	require.Equal(t, 1, b.calls(someone))
}

// A fan-out that meets an erasure makes no message to who is being erased.
func TestErased_fanOutWaits(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	_, business := b.message(0, jobs.ChannelSMS, someone)
	campaign := b.campaign(jobs.ChannelSMS)
	_, err := b.pool.Exec(b.ctx, `UPDATE campaigns SET frozen_at = now(), body = 'Hi {{.Name}}' WHERE id = $1`, campaign)
	require.NoError(t, err)
	_, err = b.pool.Exec(b.ctx, `INSERT INTO campaign_recipients (campaign_id, business_id) VALUES ($1, $2)`, campaign, business)
	require.NoError(t, err)
	erasure, err := b.pool.Begin(b.ctx)
	require.NoError(t, err)
	_, err = pgstore.Erase(b.ctx, erasure, business)
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() {
		_, err := b.s.fanOut(b.ctx, campaign, time.Time{})
		done <- err
	}()
	b.awaitLock()
	require.NoError(t, erasure.Commit(context.WithoutCancel(b.ctx)))
	require.NoError(t, <-done)
	require.Zero(t, b.number(`SELECT count(*) FROM messages WHERE campaign_id = $1`, campaign))
	require.Equal(t, 1, b.number(`SELECT count(*) FROM campaign_recipients WHERE skipped = 'erased'`))
}
