package crmapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/riverqueue/river"

	"onward/jobs"
	"onward/lifecycle/pgstore"
	"onward/web/apitoken"
)

// answer is what an act answers.
type answer[T any] struct {
	Status   int
	Location string `header:"Location" doc:"Where the new thing is, with 201"`
	Replayed string `header:"Idempotency-Replayed" doc:"true, when an earlier request with the same Idempotency-Key got this answer"`
	Body     T
}

// unit is one act: its transaction, who does it, and what is to be told after the commit.
type unit struct {
	pgx.Tx
	river  *river.Client[pgx.Tx]
	actor  apitoken.Token
	queues []string
	moved  []pgstore.Applied
}

// act runs an act in one transaction and answers a repeated request without running it again.
func act[T any](ctx context.Context, a *API, fn func(context.Context, *unit) (*answer[T], error)) (*answer[T], error) {
	actor, ok := apitoken.FromContext(ctx)
	if !ok {
		return nil, errors.New("an act without a token")
	}
	var out *answer[T]
	var u *unit
	err := again(ctx, func() error {
		return pgx.BeginFunc(ctx, a.opts.Pool, func(tx pgx.Tx) error {
			u = &unit{Tx: tx, river: a.opts.River, actor: actor}
			var err error
			out, err = once(ctx, u, fn)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	a.committed(ctx, u)
	return out, nil
}

// once runs an act, or repeats the answer that it got before.
func once[T any](ctx context.Context, u *unit, fn func(context.Context, *unit) (*answer[T], error)) (*answer[T], error) {
	key, repeats := ctx.Value(repeatableKey{}).(repeatable)
	if repeats {
		before, err := key.claim(ctx, u, u.actor.ID)
		if err != nil {
			return nil, err
		}
		if before != nil {
			out := &answer[T]{Status: before.status, Location: before.Location, Replayed: "true"}
			if err := json.Unmarshal(before.Body, &out.Body); err != nil {
				return nil, fmt.Errorf("repeat an answer: %w", err)
			}
			return out, nil
		}
	}
	out, err := fn(ctx, u)
	if err != nil || !repeats {
		return out, err
	}
	body, err := json.Marshal(out.Body)
	if err != nil {
		return nil, fmt.Errorf("keep an answer: %w", err)
	}
	if out.Status == 0 {
		out.Status = http.StatusOK
	}
	return out, key.keep(ctx, u, u.actor.ID, stored{status: out.Status, Location: out.Location, Body: body})
}

// maxTries bounds how often a transaction is run that PostgreSQL ended for the sake of others.
const maxTries = 4

func again(ctx context.Context, run func() error) error {
	for try := 1; ; try++ {
		err := run()
		pgErr, ok := errors.AsType[*pgconn.PgError](err)
		const serialization, deadlock = "40001", "40P01"
		if !ok || pgErr.Code != serialization && pgErr.Code != deadlock || try == maxTries || ctx.Err() != nil {
			return err
		}
	}
}

// committed tells everybody what an act did.
func (a *API) committed(ctx context.Context, u *unit) {
	if a.opts.Wake != nil && len(u.queues) > 0 {
		a.opts.Wake(u.queues)
	}
	for _, m := range u.moved {
		for _, c := range m.Changes {
			if c.From == c.To {
				continue
			}
			a.opts.Logger.LogAttrs(ctx, slog.LevelInfo, "status",
				slog.Int64("business_id", m.Fact.BusinessID), slog.String("axis", string(c.Axis)),
				slog.String("from", string(c.From)), slog.String("to", string(c.To)),
				slog.String("event", string(m.Fact.Event)), slog.String("verdict", string(c.Verdict)),
				slog.Int64("fact_id", m.FactID), slog.Int64("action_id", m.Fact.ActionID), slog.String("request_id", requestID(ctx)))
		}
	}
	if a.opts.Observe != nil && len(u.moved) > 0 {
		a.opts.Observe(u.moved)
	}
}

// apply records facts.
func (u *unit) apply(ctx context.Context, facts ...pgstore.Fact) ([]pgstore.Applied, error) {
	applied, err := pgstore.Apply(ctx, u, facts)
	if err != nil {
		return nil, err
	}
	u.moved = append(u.moved, applied...)
	return applied, nil
}

// enqueue inserts a job with the transaction.
func (u *unit) enqueue(ctx context.Context, args river.JobArgs) error {
	inserted, err := u.river.InsertTx(ctx, u, args, nil)
	if err != nil {
		return fmt.Errorf("enqueue %s: %w", args.Kind(), err)
	}
	if q := inserted.Job.Queue; !slices.Contains(u.queues, q) {
		u.queues = append(u.queues, q)
	}
	return nil
}

// requeue gives another run to the receipts that waited for what this transaction made known.
func (u *unit) requeue(ctx context.Context, keys []string) error {
	receipts, err := pgstore.RequeueMatching(ctx, u, keys)
	if err != nil {
		return err
	}
	for _, r := range receipts {
		args := jobs.ForReceipt(r.Provider, r.Kind, r.ID.String())
		if args == nil {
			continue
		}
		if err := u.enqueue(ctx, args); err != nil {
			return err
		}
	}
	return nil
}

// What operator_actions.target_type holds; target_id is the public id, or channel:address.
const (
	targetBusiness    = "business"
	targetSite        = "site"
	targetCampaign    = "campaign"
	targetMessage     = "message"
	targetReceipt     = "receipt"
	targetSuppression = "suppression"
)

// record writes down who does what, and why.
func (u *unit) record(ctx context.Context, action, targetType, targetID, reason string, details map[string]any) (int64, error) {
	if details == nil {
		details = map[string]any{}
	}
	encoded, err := json.Marshal(details)
	if err != nil {
		return 0, fmt.Errorf("record %s: %w", action, err)
	}
	var id int64
	err = u.QueryRow(ctx, `
		INSERT INTO operator_actions (actor, token_id, action, target_type, target_id, reason, details)
		VALUES ($1, $2, $3, $4, $5, $6, $7::text::jsonb)
		RETURNING id`, u.actor.Name, u.actor.ID, action, targetType, targetID, reason, string(encoded)).Scan(&id)
	if err != nil {
		return 0, fmt.Errorf("record %s: %w", action, err)
	}
	return id, nil
}
