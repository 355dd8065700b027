package pgstore_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"onward/lifecycle"
	"onward/lifecycle/pgstore"
)

func TestTimeline(t *testing.T) {
	t.Parallel()
	pool := newDB(t)
	business := addBusinesses(t, pool, pgstore.NewBusiness{Name: "A", Phone: "+15005550006"})[0]
	other := addBusinesses(t, pool, pgstore.NewBusiness{Name: "B"})[0]
	b, err := pgstore.BusinessByID(t.Context(), pool, business)
	require.NoError(t, err)

	message := addMessage(t, pool, business, lifecycle.MessageSent)
	receipt := addReceipt(t, pool, "twilio", "inbound_message", "applied", "")
	var job int64
	require.NoError(t, pool.QueryRow(t.Context(), `
		INSERT INTO river_job (kind, queue, state, args, attempt, max_attempts, errors)
		VALUES ('reply', 'inbound', 'retryable', jsonb_build_object('receipt_id', $1::text), 2, 25, ARRAY['{"error": "first"}', '{"error": "second"}']::jsonb[])
		RETURNING id`, receipt).Scan(&job))
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var action int64
	inTx(t, pool, func(tx pgx.Tx) {
		require.NoError(t, tx.QueryRow(t.Context(), `
			INSERT INTO operator_actions (actor, action, target_type, target_id, reason)
			VALUES ('ana', 'event.record', 'business', $1, 'by phone')
			RETURNING id`, b.PublicID.String()).Scan(&action))
		_, err := pgstore.Apply(t.Context(), tx, []pgstore.Fact{
			{BusinessID: business, Event: lifecycle.SMSSentEvent, OccurredAt: at, Key: "m1:sent", Source: pgstore.SourceMessage, MessageID: message, JobID: 41},
			{BusinessID: business, Event: lifecycle.ReplyReceived, OccurredAt: at.Add(time.Minute), Key: "r1", Source: pgstore.SourceWebhook, ReceiptID: receipt, JobID: job},
			{BusinessID: business, Event: lifecycle.PurchaseCompleted, OccurredAt: at.Add(time.Hour), Key: "p1", Source: pgstore.SourceOperator, ActionID: action, Note: "by phone"},
			{BusinessID: other, Event: lifecycle.SMSSentEvent, OccurredAt: at, Key: "m2:sent", Source: pgstore.SourceMessage},
		})
		require.NoError(t, err)
		_, err = tx.Exec(t.Context(), `
			INSERT INTO inbound_messages (public_id, receipt_id, business_id, channel, from_address, to_address, body, action, received_at)
			VALUES ($1, $2, $3, 'sms', '+15005550006', '+15005550001', 'Yes please', 'reply', now())`,
			uuid.Must(uuid.NewV7()), receipt, business)
		require.NoError(t, err)
		_, err = tx.Exec(t.Context(), `
			INSERT INTO payments (business_id, amount_in_cents, currency, charge_key, receipt_id, paid_at)
			VALUES ($1, 12345, 'GTQ', 'ch_1', $2, $3)`, business, receipt, at)
		require.NoError(t, err)
	})

	all, err := pgstore.Timeline(t.Context(), pool, business, nil, 100)
	require.NoError(t, err)
	byKind := map[string][]pgstore.TimelineItem{}
	for _, i := range all {
		byKind[i.Kind] = append(byKind[i.Kind], i)
	}
	require.Len(t, all, 8)
	require.Equal(t, pgstore.TimelineTransition, all[0].Kind, "effects are newer than their cause")
	require.Equal(t, pgstore.TimelineMessage, all[len(all)-1].Kind)

	transitions := byKind[pgstore.TimelineTransition]
	require.Len(t, transitions, 4)
	bought, replied, sent := transitions[1], transitions[2], transitions[3]
	require.Equal(t, []string{"purchase_completed", "contact", "replied", "purchased", "applied", "by phone"},
		[]string{bought.Event, bought.Axis, bought.From, bought.To, bought.Verdict, bought.Note})
	require.Equal(t, pgstore.TimelineSource{Type: "operator", ID: "ana"}, bought.Source)
	require.Equal(t, action, bought.ActionID)
	require.Equal(t, pgstore.TimelineSource{Type: "webhook", ID: receipt.String()}, replied.Source)
	require.Equal(t, job, replied.JobID)
	require.Equal(t, &pgstore.TimelineJob{ID: job, Kind: "reply", State: "retryable", Attempt: 2, MaxAttempts: 25, LastError: "second"}, replied.Job)
	require.Equal(t, receipt, replied.Receipt.ID)
	require.Equal(t, []string{"twilio", "inbound_message", "applied"}, []string{replied.Receipt.Provider, replied.Receipt.Kind, replied.Receipt.Outcome})
	require.WithinDuration(t, time.Now(), replied.Receipt.ReceivedAt, time.Minute)
	require.Nil(t, sent.Job, "the queue does not keep it any more")
	require.EqualValues(t, 41, sent.JobID)
	require.Nil(t, sent.Receipt)
	require.Nil(t, bought.Job)
	require.Equal(t, receipt, byKind[pgstore.TimelineReply][0].Receipt.ID)
	require.Equal(t, at.Add(time.Minute), *replied.OccurredAt)
	require.Equal(t, "message", sent.Source.Type)
	require.Equal(t, sent.MessageID.String(), sent.Source.ID)
	require.Equal(t, "sms", sent.Channel)

	require.Equal(t, "123.45 GTQ", byKind[pgstore.TimelinePayment][0].Note)
	require.Equal(t, "Yes please", byKind[pgstore.TimelineReply][0].Note)
	require.Equal(t, "reply", byKind[pgstore.TimelineReply][0].Event)
	require.Equal(t, "sent", byKind[pgstore.TimelineMessage][0].To)
	require.Equal(t, "by phone", byKind[pgstore.TimelineAction][0].Note)

	// Page by page it is the same list, though new items come meanwhile.
	var paged []pgstore.TimelineItem
	var before *pgstore.TimelinePosition
	for {
		page, err := pgstore.Timeline(t.Context(), pool, business, before, 3)
		require.NoError(t, err)
		if len(page) == 0 {
			break
		}
		paged = append(paged, page...)
		encoded, err := json.Marshal(page[len(page)-1].Position)
		require.NoError(t, err)
		before = &pgstore.TimelinePosition{}
		require.NoError(t, json.Unmarshal(encoded, before))
		addMessage(t, pool, business, lifecycle.MessageQueued)
	}
	require.Equal(t, all, paged)
}
