package console

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"onward/jobs"
	"onward/lifecycle/pgstore"
)

// messageEvent is one thing that happened to a message: a provider's report, a fact of our own, or an operator's word.
type messageEvent struct {
	At       time.Time
	Said     string // delivered, clicked, sms_sent, message.resolve.sent, …
	Receipt  *pgstore.ReceiptRow
	Actor    string // of an operator's word
	Reason   string
	Moves    []pgstore.ReceiptEffect // of statuses of the business
	Job      int64
	JobState string // "" once the queue keeps it no more
}

type messageEvents struct {
	Items []messageEvent // newest first
	More  bool           // there are older reports
	Sent  bool           // the provider has it, so that reports may come
}

// maxMessageReports is how many reports a message's page shows: a text has a handful, a mail's opens and clicks may be many.
const maxMessageReports = 100

func (c *Console) readMessageEvents(v *visit, m apiMessage) panel[messageEvents] {
	return load(v, "what happened to a message", func(ctx context.Context, tx pgx.Tx) (messageEvents, error) {
		out := messageEvents{Sent: m.ProviderSID != ""}
		name := m.ProviderSID // by which reports are found that moved nothing, too
		if name == "" {
			name = m.ID.String()
		}
		reports, err := pgstore.LookForReceipts(ctx, tx, pgstore.ReceiptLook{Text: name}, uuid.Nil, maxMessageReports)
		if err != nil {
			return out, err
		}
		out.More = reports.Next != uuid.Nil
		ids := make([]uuid.UUID, len(reports.Rows))
		for i, r := range reports.Rows {
			ids[i] = r.ID
		}
		effects, err := pgstore.EffectsOfReceipts(ctx, tx, ids)
		if err != nil {
			return out, err
		}
		workers, err := jobsOfReceipts(ctx, tx, ids)
		if err != nil {
			return out, err
		}
		for i, r := range reports.Rows {
			e := messageEvent{At: r.ReceivedAt, Said: reported(r), Receipt: &reports.Rows[i], Job: workers[r.ID].ID, JobState: workers[r.ID].State}
			for _, f := range effects[r.ID] {
				if f.From != f.To {
					e.Moves = append(e.Moves, f)
				}
				if e.Job == 0 {
					e.Job = f.JobID
				}
			}
			out.Items = append(out.Items, e)
		}
		own, err := ownMessageEvents(ctx, tx, m.ID)
		if err != nil {
			return out, err
		}
		out.Items = append(out.Items, own...)
		slices.SortStableFunc(out.Items, func(a, b messageEvent) int { return cmp.Compare(b.At.UnixNano(), a.At.UnixNano()) })
		return out, nil
	})
}

// reported is what a receipt says of a message, in a word: for a delivery report of Twilio the status, which is in its key.
func reported(r pgstore.ReceiptRow) string { return cmp.Or(deliveryStatus(r), r.Kind) }

func deliveryStatus(r pgstore.ReceiptRow) string {
	if parts := strings.Split(r.DedupeKey, ":"); r.Provider == jobs.ProviderTwilio && len(parts) == 3 && parts[0] == "ts" {
		return parts[2]
	}
	return ""
}

// receiptWorker is the newest job that applied a receipt.
type receiptWorker struct {
	Receipt, State string
	ID             int64
}

func jobsOfReceipts(ctx context.Context, tx pgx.Tx, ids []uuid.UUID) (map[uuid.UUID]receiptWorker, error) {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = id.String()
	}
	rows, err := tx.Query(ctx, `
		SELECT j.args ->> 'receipt_id', j.state::text, j.id
		FROM river_job j
		WHERE j.args ->> 'receipt_id' = ANY($1)
		ORDER BY j.id`, texts)
	if err != nil {
		return nil, fmt.Errorf("read the jobs of receipts: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[receiptWorker])
	if err != nil {
		return nil, fmt.Errorf("read the jobs of receipts: %w", err)
	}
	out := make(map[uuid.UUID]receiptWorker, len(list))
	for _, w := range list {
		id, err := uuid.Parse(w.Receipt)
		if err != nil {
			return nil, fmt.Errorf("read the jobs of receipts: %w", err)
		}
		out[id] = w
	}
	return out, nil
}

// ownMessageEvents are those that no provider told: what the send itself recorded, and what operators said.
func ownMessageEvents(ctx context.Context, tx pgx.Tx, id uuid.UUID) ([]messageEvent, error) {
	rows, err := tx.Query(ctx, `
		SELECT f.recorded_at AS at, f.event, '' AS actor, '' AS reason, COALESCE(f.job_id, 0) AS job, COALESCE(j.state::text, '') AS state
		FROM messages m
		JOIN facts f ON f.business_id = m.business_id AND f.message_id = m.id AND f.receipt_id IS NULL
		LEFT JOIN river_job j ON j.id = f.job_id
		WHERE m.public_id = $1
		UNION ALL
		SELECT a.at, a.action, a.actor, a.reason, 0, ''
		FROM operator_actions a
		WHERE a.target_type = 'message' AND a.target_id = $1::text
		ORDER BY at DESC
		LIMIT $2`, id, maxMessageReports)
	if err != nil {
		return nil, fmt.Errorf("read what happened to a message: %w", err)
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (messageEvent, error) {
		var e messageEvent
		err := row.Scan(&e.At, &e.Said, &e.Actor, &e.Reason, &e.Job, &e.JobState)
		return e, err
	})
}
