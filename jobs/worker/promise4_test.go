package worker

import (
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/riverqueue/river"
	"github.com/stretchr/testify/require"

	"onward/jobs"
	"onward/jobs/provider/providersim"
	"onward/lifecycle/pgstore"
)

const someone = "+12025550001"

func (b *bundle) suppress(address string) {
	b.Helper()
	b.inTx(func(tx pgx.Tx) error {
		_, err := pgstore.Suppress(b.ctx, tx, []pgstore.Suppression{{
			Address: pgstore.Address{Channel: jobs.ChannelSMS, Address: address}, Reason: "stop", Source: pgstore.SourceSystem,
		}})
		return err
	})
}

// The database refuses a dispatch to a suppressed address, whoever writes it and however.
func TestPromise4_databaseRefusesWhateverSQL(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	message, business := b.message(0, jobs.ChannelSMS, someone)
	b.suppress(someone)
	for _, sql := range []string{
		`UPDATE messages SET state = 'dispatching'`,
		`UPDATE messages SET state = 'dispatching', attempt = 7 WHERE id > 0`,
		`INSERT INTO messages (public_id, business_id, channel, address, body, state) SELECT gen_random_uuid(), business_id, channel, address, body, 'dispatching' FROM messages`,
		`WITH m AS (UPDATE messages SET state = 'dispatching' RETURNING id) SELECT count(*) FROM m`,
	} {
		_, err := b.pool.Exec(b.ctx, sql)
		var pg *pgconn.PgError
		require.ErrorAs(t, err, &pg, sql)
		require.Equal(t, "ON001", pg.Code, sql)
	}
	require.NoError(t, b.send(message, jobs.ChannelSMS))
	state, reason := b.state(message)
	require.Equal(t, "canceled", state)
	require.Equal(t, "suppressed", reason)
	require.Zero(t, b.calls(someone))
	require.Equal(t, "pending", b.contactStatus(business))
	b.requireSound()
}

// While a receipt from an address is not applied, nothing is dispatched to it; once it is, the message goes or stays as
// the receipt says.
func TestPromise4_dispatchWaitsForInboundReceipts(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	message, _ := b.message(0, jobs.ChannelSMS, someone)
	receipt := uuid.Must(uuid.NewV7())
	_, err := b.pool.Exec(b.ctx, `INSERT INTO inbound_pending (receipt_id, channel, address) VALUES ($1, 'sms', $2)`, receipt, someone)
	require.NoError(t, err)
	var snooze *river.JobSnoozeError
	require.ErrorAs(t, b.send(message, jobs.ChannelSMS), &snooze)
	_, err = b.pool.Exec(b.ctx, `UPDATE messages SET state = 'dispatching'`)
	var pg *pgconn.PgError
	require.ErrorAs(t, err, &pg)
	require.Equal(t, "ON002", pg.Code)
	require.Zero(t, b.calls(someone))

	_, err = b.pool.Exec(b.ctx, `DELETE FROM inbound_pending`)
	require.NoError(t, err)
	require.NoError(t, b.send(message, jobs.ChannelSMS))
	require.Equal(t, 1, b.calls(someone))
}

// A requeue by an operator, a retry after 429, a resend after no evidence: none gets past an opt-out.
func TestPromise4_noWayRoundASuppression(t *testing.T) {
	t.Parallel()
	b := setup(t, func(o *Options) { o.UnknownSends = UnknownResend })
	limited, _ := b.message(0, jobs.ChannelSMS, providersim.MagicRateLimited)
	lost, _ := b.message(0, jobs.ChannelSMS, providersim.MagicDrop)
	require.NoError(t, b.send(lost, jobs.ChannelSMS))
	require.Error(t, b.send(limited, jobs.ChannelSMS)) // a snooze
	b.suppress(providersim.MagicRateLimited)
	b.suppress(providersim.MagicDrop)
	b.reconcile(lost)
	for _, m := range []int64{limited, lost} {
		err := b.send(m, jobs.ChannelSMS)
		var snooze *river.JobSnoozeError
		if errors.As(err, &snooze) {
			// The sender was slowed down by the 429: its slot comes.
			_, err := b.pool.Exec(b.ctx, `UPDATE senders SET next_slot_at = now()`)
			require.NoError(t, err)
			require.NoError(t, b.send(m, jobs.ChannelSMS))
		}
		state, reason := b.state(m)
		require.Equal(t, "canceled", state)
		require.Equal(t, "suppressed", reason)
	}
	require.Equal(t, 1, b.calls(providersim.MagicRateLimited))
	require.Equal(t, 1, b.calls(providersim.MagicDrop))
}

// Of a STOP and a START that are applied in the wrong order, the one received later counts.
func TestConsent_laterReceiptCounts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		first, second string // as received
		suppressed    bool
	}{
		{"STOP", "START", false},
		{"START", "STOP", true},
	} {
		for _, backwards := range []bool{false, true} {
			b := setup(t, nil)
			_, _ = b.message(0, jobs.ChannelSMS, someone)
			at := time.Now().Add(-time.Minute)
			ids := []uuid.UUID{
				b.receipt("inbound_message", at, "From=%2B12025550001&To=%2B15005550006&MessageSid=SM1&Body="+c.first),
				b.receipt("inbound_message", at.Add(time.Second), "From=%2B12025550001&To=%2B15005550006&MessageSid=SM2&Body="+c.second),
			}
			if backwards {
				ids[0], ids[1] = ids[1], ids[0]
			}
			for _, id := range ids {
				b.apply(id, b.a.reply)
			}
			var is bool
			b.inTx(func(tx pgx.Tx) (err error) {
				is, err = pgstore.Suppressed(b.ctx, tx, pgstore.Address{Channel: jobs.ChannelSMS, Address: someone})
				return err
			})
			require.Equal(t, c.suppressed, is, "%s, %s, backwards %v", c.first, c.second, backwards)
		}
	}
}
