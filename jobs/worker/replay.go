package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"onward/jobs"
	"onward/lifecycle"
	"onward/lifecycle/pgstore"
)

// ReplayOptions is what a [Replayer] needs. It has no provider and no River: nothing can be sent or enqueued by it.
type ReplayOptions struct {
	Pool           *pgxpool.Pool
	RecurrenteLive bool // as of the workers: sandbox deliveries are not applied
	// LockTimeout bounds the wait for a business that a worker has locked; default 5 s.
	LockTimeout time.Duration
}

// Replayer runs stored receipts through this version's rules without effect.
type Replayer struct {
	pool        *pgxpool.Pool
	lockTimeout time.Duration
	applier     applier
}

// NewReplayer makes one.
func NewReplayer(o ReplayOptions) (*Replayer, error) {
	if o.Pool == nil {
		return nil, errors.New("worker: Pool is required")
	}
	if o.LockTimeout == 0 {
		o.LockTimeout = 5 * time.Second
	}
	// What apply functions use of Options, and no more.
	a := applier{Options: Options{Pool: o.Pool, RecurrenteLive: o.RecurrenteLive, Clock: time.Now}}
	return &Replayer{pool: o.Pool, lockTimeout: o.LockTimeout, applier: a}, nil
}

// Replay is what a receipt would come to if it were applied again now.
type Replay struct {
	ReceiptID  uuid.UUID      `json:"receipt_id"`
	Provider   string         `json:"provider"`
	Kind       string         `json:"kind"`
	ReceivedAt time.Time      `json:"received_at"`
	Then       string         `json:"then"` // its outcome, or pending
	Now        string         `json:"now"`  // what this version makes of it; no_change where the effect stands
	Detail     string         `json:"detail,omitempty"`
	Changes    []ReplayChange `json:"changes"`
	// Facts counts those that are not there yet. With a fact that changes no status, or none and Now applied, what
	// differs lies beneath the statuses: a message would move.
	Facts int `json:"facts"`
	// Enqueued lists the kinds of the jobs that would be made: receipts that wait for this one, mostly.
	Enqueued []string `json:"enqueued"`
}

// ReplayChange is a status that would differ.
type ReplayChange struct {
	BusinessID uuid.UUID         `json:"business_id"`
	Axis       lifecycle.Axis    `json:"axis"`
	From       lifecycle.Status  `json:"from"`
	To         lifecycle.Status  `json:"to"`
	Event      lifecycle.Event   `json:"event"`
	Verdict    lifecycle.Verdict `json:"verdict"`
}

// Stands reports whether a replay would change nothing: not a status, not a fact, not a message, not a job.
func (r Replay) Stands() bool {
	return r.Facts == 0 && len(r.Enqueued) == 0 && r.Now != outcomeApplied && !r.worse() && !r.better()
}

// worse reports whether a receipt had an effect that this version would not give it.
func (r Replay) worse() bool {
	return (r.Then == outcomeApplied || r.Then == outcomeNoChange) && (r.Now == outcomeUnmatched || r.Now == outcomeFailed)
}

// better reports whether a receipt had none and this version finds that its effect is there.
func (r Replay) better() bool {
	return (r.Then == outcomeUnmatched || r.Then == outcomeFailed) && r.Now == outcomeNoChange
}

// outcomePending stands for a receipt that has no outcome yet.
const outcomePending = "pending"

// ErrNoReceipt says that there is no such receipt, or no longer.
var ErrNoReceipt = errNoReceipt

// dryRunKey marks the context of a dry run; see enqueue.
type dryRunKey struct{}

// dryRun takes note of what would be done outside the transaction's tables.
type dryRun struct{ enqueued []string }

// errDryRun ends the transaction of a dry run: it is never committed.
var errDryRun = errors.New("dry run")

// DryRun runs one receipt through the functions that a worker applies it with, in a transaction that is rolled back
// whatever comes of it. Each receipt is run by itself: what an earlier one of a range would change, a later one does
// not see.
func (p *Replayer) DryRun(ctx context.Context, id uuid.UUID) (Replay, error) {
	d := &dryRun{}
	ctx = context.WithValue(ctx, dryRunKey{}, d)
	out := Replay{ReceiptID: id, Changes: []ReplayChange{}, Enqueued: []string{}}
	err := pgx.BeginFunc(ctx, p.pool, func(tx pgx.Tx) error {
		if err := p.run(ctx, tx, id, &out); err != nil {
			return err
		}
		return errDryRun
	})
	if !errors.Is(err, errDryRun) {
		return out, fmt.Errorf("replay receipt %s: %w", id, err)
	}
	out.Enqueued = append(out.Enqueued, d.enqueued...)
	return out, nil
}

func (p *Replayer) run(ctx context.Context, tx pgx.Tx, id uuid.UUID, out *Replay) error {
	_, err := tx.Exec(ctx, `SELECT set_config('lock_timeout', $1, true)`, fmt.Sprintf("%dms", p.lockTimeout.Milliseconds()))
	if err != nil {
		return err
	}
	r, err := readReceipt(ctx, tx, id)
	if err != nil {
		return err
	}
	out.Provider, out.Kind, out.ReceivedAt = r.Provider, r.Kind, r.ReceivedAt.UTC()
	err = tx.QueryRow(ctx, `
		SELECT COALESCE((SELECT outcome FROM receipt_outcomes WHERE receipt_id = $1), $2)`, id, outcomePending).Scan(&out.Then)
	if err != nil {
		return fmt.Errorf("read its outcome: %w", err)
	}
	fn := p.applier.funcFor(r.Provider, r.Kind)
	if fn == nil {
		out.Now = outcomeIgnored
		return nil
	}
	res, err := outcome(ctx, tx, r, fn)
	if err != nil {
		return err
	}
	out.Now, out.Detail = res.outcome, res.detail
	return out.compare(ctx, tx, res.applied)
}

// compare lists what applied facts change.
func (r *Replay) compare(ctx context.Context, tx pgx.Tx, applied []pgstore.Applied) error {
	public := map[int64]uuid.UUID{}
	for _, a := range applied {
		if a.Duplicate {
			continue
		}
		r.Facts++
		for _, c := range a.Changes {
			if c.From == c.To {
				continue
			}
			id, known := public[a.Fact.BusinessID]
			if !known {
				err := tx.QueryRow(ctx, `SELECT public_id FROM businesses WHERE id = $1`, a.Fact.BusinessID).Scan(&id)
				if err != nil {
					return fmt.Errorf("read business %d: %w", a.Fact.BusinessID, err)
				}
				public[a.Fact.BusinessID] = id
			}
			r.Changes = append(r.Changes, ReplayChange{
				BusinessID: id, Axis: c.Axis, From: c.From, To: c.To, Event: a.Fact.Event, Verdict: c.Verdict,
			})
		}
	}
	return nil
}

// funcFor is what a worker applies a receipt of this provider and kind with; nil where no job does.
func (a *applier) funcFor(provider, kind string) applyFunc {
	switch jobs.ForReceipt(provider, kind, "").(type) {
	case jobs.StatusCallbackArgs:
		return a.statusCallback
	case jobs.ReplyArgs:
		return a.reply
	case jobs.EmailEventArgs:
		return a.emailEvent
	case jobs.UnsubscribeArgs:
		return a.unsubscribe
	case jobs.TrackArgs:
		return a.track
	case jobs.PurchaseArgs:
		return a.purchase
	case jobs.ChargeFailedArgs:
		return a.chargeFailed
	case jobs.RefundArgs:
		return a.refund
	case jobs.SubscriptionArgs:
		return a.subscription
	case jobs.CancellationArgs:
		return a.cancellation
	}
	return nil
}
