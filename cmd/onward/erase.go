package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"onward/lifecycle/pgstore"
)

// eraseAgain is the time between two tries of an erasure that something under way keeps from beginning.
const eraseAgain = 200 * time.Millisecond

func runErase(ctx context.Context, t *terminal, args []string) error {
	fs := t.flags("erase", "[flags] BUSINESS_ID",
		"Erases a contact's personal data for good: name, addresses, place, texts, replies, raw requests, notes and reasons that\n"+
			"operators wrote. Facts, statuses and payments stay without them, and suppressions as keyed hashes that still block.\n"+
			"What another business shares (a number that both have) stays with that one. The country stays.",
		`onward erase 01997f3e-… --reason "request of 3 May, by letter"`)
	reason := fs.String("reason", "", "why: goes to the operators' log; name nobody in it")
	patience := fs.Duration("timeout", 30*time.Second, "how long to wait for a message that is being sent, or a receipt that is not applied yet")
	asJSON := fs.Bool("json", false, "print as JSON what was erased")
	ids, err := parseMixed(fs, args)
	if err != nil {
		return err
	}
	switch {
	case len(ids) != 1:
		return usagef("name one business, by the id that the API shows")
	case strings.TrimSpace(*reason) == "":
		return usagef("--reason is missing: it goes to the operators' log")
	}
	pool, err := connectChecked(ctx, 2)
	if err != nil {
		return err
	}
	defer pool.Close()
	business, err := businessID(ctx, pool, ids[0])
	if err != nil {
		return err
	}
	did, err := eraseWhenQuiet(ctx, pool, business, *reason, *patience)
	if err != nil {
		return err
	}
	if *asJSON {
		return json.NewEncoder(t.stdout).Encode(did)
	}
	if did.Already {
		fmt.Fprintf(t.stdout, "%s was erased before: nothing was left to do\n", did.PublicID)
		return nil
	}
	fmt.Fprintf(t.stdout, "erased %s: %s, %s and %s blanked, %s kept as hashes\n", did.PublicID, plural(int64(did.Messages), "message"),
		replies(did.Replies), plural(int64(did.Receipts), "receipt"), plural(int64(did.Suppressions), "suppression"))
	return nil
}

func replies(n int) string {
	if n == 1 {
		return "1 reply"
	}
	return grouped(int64(n)) + " replies"
}

// eraseWhenQuiet erases as soon as nothing of the contact is under way.
func eraseWhenQuiet(ctx context.Context, pool *pgxpool.Pool, business int64, reason string, patience time.Duration) (pgstore.Erasure, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("time-out of %s", patience))
	defer cancel()
	tick := time.NewTicker(eraseAgain)
	defer tick.Stop()
	var underWay error // what the last try found
	for {
		var did pgstore.Erasure
		err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			var err error
			did, err = pgstore.Erase(ctx, tx, business)
			if err != nil || did.Already {
				return err
			}
			_, err = recordActions(ctx, tx, "business.erase", "business", []string{did.PublicID.String()}, reason, map[string]any{
				"messages": did.Messages, "replies": did.Replies, "receipts": did.Receipts, "suppressions": did.Suppressions,
			})
			return err
		})
		switch {
		case errors.Is(err, pgstore.ErrUnderWay):
			underWay = err
		case err == nil || !errors.Is(ctx.Err(), context.DeadlineExceeded):
			return did, err
		case underWay == nil:
			return did, fmt.Errorf("%w: try again, with a longer --timeout (%w)", err, context.Cause(ctx))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			return did, fmt.Errorf("%w: try again when workers run (%w)", underWay, context.Cause(ctx))
		}
	}
}
