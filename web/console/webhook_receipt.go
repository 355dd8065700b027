package console

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"onward/jobs"
	"onward/lifecycle/pgstore"
)

// receiptPage is one receipt: the raw request, and what came of it.
type receiptPage struct {
	Receipt    pgstore.ReceiptDetail
	Headers    []pair
	Query      []pair
	Body       bodyView
	Came       panel[receiptCame]
	Replayable bool
	Related    string // address of the receipts about the same contact; "" without one
	Contact    string // its address
	People     string // address of the businesses with it
}

// receiptCame is what came of a receipt.
type receiptCame struct {
	ID          uuid.UUID
	Outcome     string
	Detail      string
	MatchKey    string
	ProcessedAt *time.Time
	Facts       []receiptFact
	Jobs        []pgstore.ReceiptJob
	Actions     []pgstore.ReceiptAction
	Replies     []receiptReply
	Payments    []receiptPayment
	Messages    []receiptMessage // of ours, that it speaks of
}

// receiptFact is a fact with what it did.
type receiptFact struct {
	pgstore.ReceiptFact
	Business string
}

type receiptReply struct {
	Body, Action, Channel string
	Media                 []string
	Business              *string
	BusinessID, MessageID *uuid.UUID
}

type receiptPayment struct {
	Amount, Refunded int64
	Currency         string
}

type receiptMessage struct {
	ID       uuid.UUID
	Channel  string
	State    string
	Business string
	Owner    uuid.UUID
}

func (c *Console) webhook(v *visit) error {
	id, err := v.id("id")
	if err != nil {
		return err
	}
	var p receiptPage
	err = c.read(v.ctx(), func(tx pgx.Tx) error {
		var err error
		p.Receipt, err = pgstore.ReadReceipt(v.ctx(), tx, id)
		return err
	})
	if err != nil {
		return err
	}
	r := p.Receipt
	p.Headers = headerPairs(r.Headers)
	p.Query = formPairs(r.Query)
	p.Body = viewBody(r.Body, headerOf(r.Headers, "Content-Type"))
	p.Replayable = r.ErasedAt == nil && jobs.ForReceipt(r.Provider, r.Kind, r.ID.String()) != nil
	if _, address, ok := strings.Cut(r.ContactKey, ":"); ok {
		p.Contact = address
		p.Related = receiptAddress(nil, "q", address)
		p.People = "/businesses?" + pairQuery("q", address)
	}
	p.Came = c.readCame(v, id)
	return v.render("webhook", receiptTitle(r.ReceiptRow), p)
}

func receiptTitle(r pgstore.ReceiptRow) string {
	return label(r.Provider) + " " + label(r.Kind)
}

func (c *Console) webhookCame(v *visit) error {
	id, err := v.id("id")
	if err != nil {
		return err
	}
	return v.fragment("webhook", "came", map[string]any{"Came": c.readCame(v, id)})
}

// readCame reads what came of a receipt by now.
func (c *Console) readCame(v *visit, id uuid.UUID) panel[receiptCame] {
	return load(v, "what came of a receipt", func(ctx context.Context, tx pgx.Tx) (receiptCame, error) {
		r, err := pgstore.ReadReceipt(ctx, tx, id)
		if err != nil {
			return receiptCame{}, err
		}
		out := receiptCame{
			ID: id, Outcome: r.Outcome, Detail: r.Detail, MatchKey: r.MatchKey, ProcessedAt: r.ProcessedAt, Jobs: r.Jobs, Actions: r.Actions,
		}
		effects, err := pgstore.EffectsOfReceipts(ctx, tx, []uuid.UUID{id})
		if err != nil {
			return out, err
		}
		names := map[uuid.UUID]string{}
		for _, e := range effects[id] {
			names[e.BusinessID] = e.Business
		}
		for _, f := range r.Facts {
			out.Facts = append(out.Facts, receiptFact{ReceiptFact: f, Business: names[f.BusinessID]})
		}
		if out.Replies, err = repliesOfReceipt(ctx, tx, id); err != nil {
			return out, err
		}
		if out.Payments, err = paymentsOfReceipt(ctx, tx, id); err != nil {
			return out, err
		}
		out.Messages, err = messagesOfReceipt(ctx, tx, r)
		return out, err
	})
}

func repliesOfReceipt(ctx context.Context, tx pgx.Tx, id uuid.UUID) ([]receiptReply, error) {
	rows, err := tx.Query(ctx, `
		SELECT i.body, i.action, i.channel, i.media, b.name, b.public_id, m.public_id
		FROM inbound_messages i
		LEFT JOIN businesses b ON b.id = i.business_id
		LEFT JOIN messages m ON m.id = i.message_id
		WHERE i.receipt_id = $1`, id)
	if err != nil {
		return nil, fmt.Errorf("read the reply of a receipt: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[receiptReply])
}

// paymentsOfReceipt reads them by the businesses that the receipt has facts of: payments have no index by receipt.
func paymentsOfReceipt(ctx context.Context, tx pgx.Tx, id uuid.UUID) ([]receiptPayment, error) {
	rows, err := tx.Query(ctx, `
		SELECT p.amount_in_cents, p.refunded_in_cents, p.currency
		FROM payments p
		WHERE p.business_id IN (SELECT f.business_id FROM facts f WHERE f.receipt_id = $1) AND p.receipt_id = $1
		ORDER BY p.id`, id)
	if err != nil {
		return nil, fmt.Errorf("read the payments of a receipt: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[receiptPayment])
}

// messagesOfReceipt finds our messages that a receipt speaks of: by its facts, and by the provider's id in the key of a
// delivery report, which may have led to none.
func messagesOfReceipt(ctx context.Context, tx pgx.Tx, r pgstore.ReceiptDetail) ([]receiptMessage, error) {
	ids, sid := []string{}, ""
	for _, f := range r.Facts {
		if f.MessageID != nil && !slices.Contains(ids, f.MessageID.String()) {
			ids = append(ids, f.MessageID.String())
		}
	}
	if parts := strings.Split(r.DedupeKey, ":"); r.Provider == jobs.ProviderTwilio && len(parts) > 1 && parts[0] == "ts" {
		sid = parts[1]
	}
	rows, err := tx.Query(ctx, `
		SELECT m.public_id, m.channel, m.state, b.name, b.public_id
		FROM messages m
		JOIN businesses b ON b.id = m.business_id
		WHERE m.public_id = ANY($1::text[]::uuid[]) OR $2 <> '' AND m.provider_sid = $2
		ORDER BY m.id`, ids, sid)
	if err != nil {
		return nil, fmt.Errorf("read the messages of a receipt: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[receiptMessage])
}

// apiTrial is the API's answer to a dry run.
type apiTrial struct {
	Job   string `json:"job"`
	Trial struct {
		Then     string   `json:"then"`
		Now      string   `json:"now"`
		Detail   string   `json:"detail"`
		Stands   bool     `json:"stands"`
		Facts    int      `json:"facts"`
		Enqueued []string `json:"enqueued"`
		Changes  []struct {
			BusinessID uuid.UUID `json:"business_id"`
			Axis       string    `json:"axis"`
			From       string    `json:"from"`
			To         string    `json:"to"`
			Event      string    `json:"event"`
			Verdict    string    `json:"verdict"`
		} `json:"changes"`
	} `json:"trial"`
}

// tryWebhook shows what a replay would change, and asks for the reason.
func (c *Console) tryWebhook(v *visit) error {
	id, err := v.id("id")
	if err != nil {
		return err
	}
	var trial apiTrial
	if err := v.api(http.MethodPost, "/webhook-events/"+id.String()+"/replay", map[string]any{"dry_run": true}, &trial); err != nil {
		return err
	}
	return v.render("webhook_replay", "Replay a webhook", map[string]any{"ID": id, "Job": trial.Job, "Trial": trial.Trial})
}

// replayWebhook applies a receipt again.
func (c *Console) replayWebhook(v *visit) error {
	id, err := v.id("id")
	if err != nil {
		return err
	}
	if v.form("reason") == "" {
		return field("reason", "Say why: it goes to the operators' log.")
	}
	if err := v.api(http.MethodPost, "/webhook-events/"+id.String()+"/replay", map[string]any{"note": v.form("reason")}, nil); err != nil {
		return err
	}
	return v.done("/webhooks/"+id.String(), toneGood, "It is being applied again. What comes of it shows here.")
}
