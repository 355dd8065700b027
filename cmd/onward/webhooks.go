package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"onward/lifecycle/pgstore"
	"onward/migrations"
)

func runWebhooks(ctx context.Context, t *terminal, args []string) error {
	verbs := map[string]func(context.Context, *terminal, []string) error{
		"list": runWebhooksList, "show": runWebhooksShow, "replay": runWebhooksReplay,
	}
	if len(args) == 0 {
		return usagef("say list, show or replay")
	}
	if run := verbs[args[0]]; run != nil {
		return run(ctx, t, args[1:])
	}
	if strings.HasPrefix(args[0], "-") {
		return parse(t.flags("webhooks", "list|show|replay",
			"The raw requests of providers, as they were accepted (receipts), and what came of each. `onward webhooks list -h`,\n"+
				"`show -h` and `replay -h` explain the verbs.",
			"onward webhooks list --outcome unmatched,failed --since 24h", "onward webhooks show 01997f3e-…",
			`onward webhooks replay 01997f3e-… --reason "site was created too late" --wait`,
			"onward webhooks replay --dry-run --since 7d"), args)
	}
	return usagef("no verb %q: say list, show or replay", args[0])
}

// receiptFlags are the filters that list and replay share.
type receiptFlags struct {
	provider, kind, outcome, contact *string
	since, until                     timeFlag
}

func addReceiptFlags(fs *flag.FlagSet) *receiptFlags {
	f := &receiptFlags{
		provider: fs.String("provider", "", "twilio, recurrente, resend or onward (our own pages); commas: any of"),
		kind:     fs.String("kind", "", "such as message_status, inbound_message or subscription.cancel; commas: any of"),
		outcome:  fs.String("outcome", "", strings.Join(pgstore.ReceiptOutcomes(), ", ")+"; commas: any of"),
		contact:  fs.String("contact", "", "id of a business that they concern"),
	}
	fs.Var(&f.since, "since", "received since: an age (90m, 24h, 7d), a day, or RFC 3339")
	fs.Var(&f.until, "until", "received before")
	return f
}

// any reports whether any filter is set.
func (f *receiptFlags) any() bool {
	return *f.provider != "" || *f.kind != "" || *f.outcome != "" || *f.contact != "" || !f.since.at.IsZero() || !f.until.at.IsZero()
}

// check tells a wrong call before anything is connected.
func (f *receiptFlags) check() error {
	for _, o := range splitList(*f.outcome) {
		if !slices.Contains(pgstore.ReceiptOutcomes(), o) {
			return usagef("--outcome %s: there are %s", o, strings.Join(pgstore.ReceiptOutcomes(), ", "))
		}
	}
	if *f.contact != "" {
		if _, err := uuid.Parse(*f.contact); err != nil {
			return usagef("--contact %s is not the id of a business", *f.contact)
		}
	}
	return nil
}

// filter is what the flags select.
func (f *receiptFlags) filter(ctx context.Context, q pgstore.Querier) (pgstore.ReceiptFilter, error) {
	out := pgstore.ReceiptFilter{
		Providers: splitList(*f.provider), Kinds: splitList(*f.kind), Outcomes: splitList(*f.outcome), Since: f.since.at, Until: f.until.at,
	}
	if *f.contact == "" {
		return out, nil
	}
	id, err := businessID(ctx, q, *f.contact)
	out.BusinessID = id
	return out, err
}

// businessID finds a business by the id that the API shows.
func businessID(ctx context.Context, q pgstore.Querier, public string) (int64, error) {
	id, err := uuid.Parse(public)
	if err != nil {
		return 0, usagef("%s is not the id of a business", public)
	}
	b, err := pgstore.BusinessByPublicID(ctx, q, id)
	if errors.Is(err, pgstore.ErrNoBusiness) {
		return 0, fmt.Errorf("there is no business %s", id)
	}
	return b.ID, err
}

// connectChecked opens the database of the settings, whose schema must be this version's.
func connectChecked(ctx context.Context, size int32) (*pgxpool.Pool, error) {
	pool, err := connect(ctx, size)
	if err != nil {
		return nil, err
	}
	if err := migrations.Check(ctx, pool, slog.New(slog.DiscardHandler)); err != nil {
		pool.Close()
		return nil, err
	}
	return pool, nil
}

// recordActions writes down who did the same to several things, and why. It returns the id of the last entry.
func recordActions(ctx context.Context, tx pgx.Tx, action, targetType string, targets []string, reason string, details map[string]any) (id int64, err error) {
	if details == nil {
		details = map[string]any{}
	}
	encoded, err := json.Marshal(details)
	if err != nil {
		return 0, fmt.Errorf("record %s: %w", action, err)
	}
	err = tx.QueryRow(ctx, `
		WITH added AS (
			INSERT INTO operator_actions (actor, action, target_type, target_id, reason, details)
			SELECT $1, $2, $3, u.id, $5, $6::text::jsonb
			FROM unnest($4::text[]) AS u (id)
			RETURNING id
		)
		SELECT COALESCE(max(id), 0) FROM added`, localActor(), action, targetType, targets, reason, string(encoded)).Scan(&id)
	if err != nil {
		return 0, fmt.Errorf("record %s: %w", action, err)
	}
	return id, nil
}
