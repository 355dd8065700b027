package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"onward/jobs"
	"onward/lifecycle/pgstore"
)

// Outcomes of a receipt, as in receipt_outcomes.
const (
	outcomeApplied   = "applied"
	outcomeNoChange  = "no_change"
	outcomeIgnored   = "ignored"
	outcomeUnmatched = "unmatched"
	outcomeFailed    = "failed"
)

// receipt is a raw request as it was accepted.
type receipt struct {
	ID         uuid.UUID
	Provider   string
	Kind       string
	Query      string
	Body       []byte
	DedupeKey  string
	ReceivedAt time.Time
	Erased     bool // blanked: there is nothing left to apply
	JobID      int64
}

// source is who reports what a receipt says: the provider by a webhook, or us, who asked it.
func (r receipt) source() pgstore.Source {
	if r.ID == uuid.Nil {
		return pgstore.SourceSystem
	}
	return pgstore.SourceWebhook
}

// sourceID is the receipt's id; "" where there is none.
func (r receipt) sourceID() string {
	if r.ID == uuid.Nil {
		return ""
	}
	return r.ID.String()
}

// result is what applying a receipt came to.
type result struct {
	outcome  string
	detail   string // for operators: a code, never a body or an address
	matchKey string // with outcomeUnmatched: what to wait for
	applied  []pgstore.Applied
	wake     []string // queues that got jobs in this transaction
	erased   bool     // it is about a contact that was erased
}

// aboutErased reports whether a receipt concerns a contact that was erased before it came: it is applied, and kept
// without what it says of a person.
func (r result) aboutErased() bool {
	return r.erased || slices.ContainsFunc(r.applied, func(a pgstore.Applied) bool { return a.Erased })
}

func ignored(detail string) result { return result{outcome: outcomeIgnored, detail: detail} }
func failed(detail string) result  { return result{outcome: outcomeFailed, detail: detail} }

func unmatched(key string) result {
	return result{outcome: outcomeUnmatched, detail: "nothing known by this key yet", matchKey: key}
}

// of names the outcome of applied facts.
func of(applied []pgstore.Applied) result {
	r := result{outcome: outcomeNoChange, applied: applied}
	for _, a := range applied {
		if a.Changed() {
			r.outcome = outcomeApplied
		}
	}
	return r
}

type applier struct {
	Options
	callbacks *group[*groupItem]
}

// applyFunc applies one kind of receipt in a transaction.
type applyFunc func(context.Context, pgx.Tx, receipt) (result, error)

// apply runs fn over a receipt in one transaction, together with the mark of what came of it. A receipt that
// was applied before goes through fn again, which then changes nothing: the facts' keys see to that, not the
// mark.
func (a *applier) apply(ctx context.Context, row *rivertype.JobRow, args jobs.ReceiptArgs, fn applyFunc) error {
	id, err := uuid.Parse(args.ReceiptID)
	if err != nil {
		return river.JobCancel(fmt.Errorf("receipt id %q: %w", args.ReceiptID, err))
	}
	var r receipt
	var res result
	err = beginHot(ctx, a.Pool, func(tx pgx.Tx) error {
		var err error
		if r, err = readReceipt(ctx, tx, id); err != nil {
			return err
		}
		r.JobID = row.ID
		if res, err = outcome(ctx, tx, r, fn); err != nil {
			return err
		}
		if err := markReceipt(ctx, tx, r.ID, res); err != nil || !res.aboutErased() {
			return err
		}
		return pgstore.BlankReceipt(ctx, tx, r.ID)
	})
	if errors.Is(err, errNoReceipt) {
		return river.JobCancel(err)
	}
	if err != nil {
		if row.Attempt >= row.MaxAttempts {
			a.markFailed(ctx, id, err)
		}
		return fmt.Errorf("apply receipt %s: %w", id, err)
	}
	return a.applied(ctx, r, res)
}

// applied tells, after the commit, what came of a receipt, and returns what River is to make of its job.
func (a *applier) applied(ctx context.Context, r receipt, res result) error {
	a.wake(res.wake)
	a.report(ctx, res.applied, r.ReceivedAt)
	age := a.Clock().Sub(r.ReceivedAt)
	if a.Observer.Receipt != nil {
		a.Observer.Receipt(ReceiptDone{Provider: r.Provider, Kind: r.Kind, Outcome: res.outcome, Latency: age})
	}
	switch {
	case res.outcome == outcomeFailed:
		return river.JobCancel(errors.New(res.detail))
	case res.outcome == outcomeUnmatched && age < a.UnmatchedFor:
		// Soon at first, since what is missing is mostly being committed right now; then ever slower.
		return river.JobSnooze(min(max(age/2, 100*time.Millisecond), 30*time.Second))
	}
	return nil
}

// outcome runs fn over a receipt.
func outcome(ctx context.Context, tx pgx.Tx, r receipt, fn applyFunc) (result, error) {
	if r.Erased {
		return ignored("erased"), nil
	}
	res, err := fn(ctx, tx, r)
	if err != nil || res.outcome != outcomeUnmatched {
		return res, err
	}
	// Whoever creates what is missing looks for us under this lock: either it finds us waiting, or we find it now.
	if err := pgstore.LockMatchKeys(ctx, tx, []string{res.matchKey}); err != nil {
		return result{}, err
	}
	return fn(ctx, tx, r)
}

var errNoReceipt = errors.New("the receipt is gone: past its retention")

func readReceipt(ctx context.Context, tx pgx.Tx, id uuid.UUID) (receipt, error) {
	r := receipt{ID: id}
	err := tx.QueryRow(ctx, `
		SELECT provider, kind, query, body, dedupe_key, received_at, erased_at IS NOT NULL
		FROM webhook_events
		WHERE id = $1`, id).Scan(&r.Provider, &r.Kind, &r.Query, &r.Body, &r.DedupeKey, &r.ReceivedAt, &r.Erased)
	if errors.Is(err, pgx.ErrNoRows) {
		return r, errNoReceipt
	}
	if err != nil {
		return r, fmt.Errorf("read receipt: %w", err)
	}
	return r, nil
}

// markReceipt records the outcome and lets sends to its address go on. Once applied, a receipt stays so: a
// later run finds nothing left to do, which says nothing about the first.
func markReceipt(ctx context.Context, tx pgx.Tx, id uuid.UUID, res result) error {
	_, err := tx.Exec(ctx, `
		WITH freed AS (
			DELETE FROM inbound_pending
			WHERE receipt_id = $1
		)
		INSERT INTO receipt_outcomes AS o (receipt_id, outcome, detail, match_key)
		VALUES ($1, $2, NULLIF($3, ''), NULLIF($4, ''))
		ON CONFLICT (receipt_id) DO UPDATE
		SET outcome = EXCLUDED.outcome, detail = EXCLUDED.detail, match_key = EXCLUDED.match_key, processed_at = now()
		WHERE o.outcome <> 'applied' AND (o.outcome, o.match_key) IS DISTINCT FROM (EXCLUDED.outcome, EXCLUDED.match_key)`,
		id, res.outcome, res.detail, res.matchKey)
	if err != nil {
		return fmt.Errorf("mark receipt: %w", err)
	}
	return nil
}

// markFailed notes, beside the discarded job, that a receipt ran out of attempts. Sends to its address stay
// held: what could not be applied may be an opt-out.
func (a *applier) markFailed(ctx context.Context, id uuid.UUID, cause error) {
	_, err := a.Pool.Exec(ctx, `
		INSERT INTO receipt_outcomes (receipt_id, outcome, detail)
		VALUES ($1, 'failed', $2)
		ON CONFLICT (receipt_id) DO UPDATE
		SET outcome = 'failed', detail = EXCLUDED.detail, processed_at = now()
		WHERE receipt_outcomes.outcome <> 'applied'`, id, cause.Error())
	if err != nil {
		a.Logger.ErrorContext(ctx, "mark receipt as failed", "receipt_id", id, "error", err)
	}
}

func (o *Options) wake(queues []string) {
	if o.Wake != nil && len(queues) > 0 {
		o.Wake(queues)
	}
}

// requeueMatching gives another run to the receipts that waited for what this transaction just made known. It
// returns the queues to wake after the commit.
func requeueMatching(ctx context.Context, tx pgx.Tx, keys ...string) (wake []string, err error) {
	waiting, err := pgstore.RequeueMatching(ctx, tx, keys)
	if err != nil {
		return nil, err
	}
	for _, w := range waiting {
		args := jobs.ForReceipt(w.Provider, w.Kind, w.ID.String())
		if args == nil {
			continue
		}
		queue, err := enqueue(ctx, tx, args, nil)
		if err != nil {
			return nil, fmt.Errorf("requeue receipt %s: %w", w.ID, err)
		}
		wake = append(wake, queue)
	}
	return wake, nil
}

// enqueue inserts a job with the transaction of a receipt and returns its queue. A dry run has no River: it takes note.
func enqueue(ctx context.Context, tx pgx.Tx, args river.JobArgs, opts *river.InsertOpts) (queue string, err error) {
	if d, ok := ctx.Value(dryRunKey{}).(*dryRun); ok {
		d.enqueued = append(d.enqueued, args.Kind())
		return "", nil
	}
	res, err := river.ClientFromContext[pgx.Tx](ctx).InsertTx(ctx, tx, args, opts)
	if err != nil {
		return "", err
	}
	return res.Job.Queue, nil
}
