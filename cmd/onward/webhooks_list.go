package main

import (
	"context"

	"github.com/google/uuid"

	"onward/lifecycle/pgstore"
)

// listPage is how many receipts one query of a list reads.
const listPage = 1000

func runWebhooksList(ctx context.Context, t *terminal, args []string) error {
	fs := t.flags("webhooks list", "[flags]", "Lists receipts, newest first: when, what, what came of it, and its id for `onward webhooks show`.",
		"onward webhooks list", "onward webhooks list --outcome unmatched,failed --since 24h",
		"onward webhooks list --provider recurrente --kind subscription.cancel --limit 0 --json | jq -r .id",
		"onward webhooks list --contact 01997f3e-…")
	filters := addReceiptFlags(fs)
	limit := fs.Int("limit", 50, "at most so many; 0: all")
	asJSON := fs.Bool("json", false, "print as JSON, one receipt a line")
	if err := parse(fs, args); err != nil {
		return err
	}
	switch {
	case fs.NArg() > 0:
		return usagef("unexpected argument %q", fs.Arg(0))
	case *limit < 0:
		return usagef("--limit is not negative")
	}
	if err := filters.check(); err != nil {
		return err
	}
	pool, err := connectChecked(ctx, 2)
	if err != nil {
		return err
	}
	defer pool.Close()
	filter, err := filters.filter(ctx, pool)
	if err != nil {
		return err
	}
	out := t.newListing(*asJSON, "received", "provider", "kind", "outcome", "detail", "id")
	left, before := *limit, uuid.Nil
	for {
		n := listPage
		if *limit > 0 {
			n = min(n, left)
		}
		page, err := pgstore.ListReceipts(ctx, pool, filter, before, n)
		if err != nil {
			return err
		}
		for _, r := range page {
			if err := out.row(r, when(r.ReceivedAt), r.Provider, r.Kind, r.Outcome, receiptDetail(r), r.ID.String()); err != nil {
				return err
			}
		}
		left -= len(page)
		if len(page) < n || *limit > 0 && left == 0 {
			return out.end()
		}
		before = page[len(page)-1].ID
	}
}

// receiptDetail is what there is to say of an outcome.
func receiptDetail(r pgstore.ReceiptRow) string {
	switch {
	case r.ErasedAt != nil:
		return "erased"
	case r.MatchKey != "":
		return "waits for " + r.MatchKey
	}
	return r.Detail
}
