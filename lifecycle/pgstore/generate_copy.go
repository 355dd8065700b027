package pgstore

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"onward/lifecycle"
)

// copyLives stores made-up businesses with their history, in the caller's transaction.
func copyLives(ctx context.Context, tx pgx.Tx, lives []*life) error {
	// A crash may cost the last of it; it can be made up again.
	if _, err := tx.Exec(ctx, `SET LOCAL synchronous_commit = off`); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	// Before it takes ids for facts, as whoever locks a business first does: analytics rely on it.
	if _, err := tx.Exec(ctx, `SELECT pg_current_xact_id()`); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	c := copier{tx: tx, lives: lives}
	for _, l := range lives {
		c.factCount += len(l.facts)
	}
	for _, step := range []func(context.Context) error{c.reserve, c.businesses, c.sites, c.outreach, c.facts, c.transitions, c.suppressions} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

type copier struct {
	tx        pgx.Tx
	lives     []*life
	factCount int

	business, site, fact []int64         // ids, by position; sites have a place for each business
	message              []map[int]int64 // by business: the message of a fact, by the fact's place; nil without outreach
}

// reserve takes ids from the sequences, as inserts would: nobody else gets them.
func (c *copier) reserve(ctx context.Context) error {
	for _, s := range []struct {
		table string
		n     int
		ids   *[]int64
	}{{"businesses", len(c.lives), &c.business}, {"sites", len(c.lives), &c.site}, {"facts", c.factCount, &c.fact}} {
		err := c.tx.QueryRow(ctx, `
			SELECT COALESCE(array_agg(nextval(pg_get_serial_sequence($1, 'id'))), '{}')
			FROM generate_series(1, $2::int)`, s.table, s.n).Scan(s.ids)
		if err != nil {
			return fmt.Errorf("reserve ids of %s: %w", s.table, err)
		}
	}
	return nil
}

func (c *copier) copy(ctx context.Context, table string, columns []string, rows [][]any) error {
	if _, err := c.tx.CopyFrom(ctx, pgx.Identifier{table}, columns, pgx.CopyFromRows(rows)); err != nil {
		return fmt.Errorf("copy %s: %w", table, err)
	}
	return nil
}

func (c *copier) businesses(ctx context.Context) error {
	rows := make([][]any, len(c.lives))
	for i, l := range c.lives {
		s := l.b.state
		rows[i] = []any{
			c.business[i], l.public, l.name, l.phone(), l.email(), l.place.city, l.place.country, l.place.zone, l.category,
			string(s.Contact.Status()), string(s.Website), string(s.Subscription), string(s.Ticket),
			string(s.Contact.Reached), s.Contact.Bounced, s.Contact.Purchased, s.Contact.OptedOut,
			l.b.foldedAt, l.b.key, l.createdAt, l.updatedAt,
		}
	}
	return c.copy(ctx, "businesses", []string{
		"id", "public_id", "name", "phone", "email", "city", "country", "timezone", "category",
		"contact_status", "website_status", "subscription_status", "ticket_status",
		"reached", "bounced", "purchased", "opted_out", "folded_at", "folded_key", "created_at", "updated_at",
	}, rows)
}

func (c *copier) sites(ctx context.Context) error {
	var rows [][]any
	for i, l := range c.lives {
		if l.hasSite {
			rows = append(rows, []any{
				c.site[i], l.sitePublic, c.business[i], fmt.Sprintf("https://business-%d.example", l.number),
				string(l.site.Status), fmt.Sprintf("su_seed_%d", l.number), string(l.site.Subscription), l.createdAt, l.updatedAt,
			})
		}
	}
	return c.copy(ctx, "sites", []string{
		"id", "public_id", "business_id", "url", "status", "subscription_id", "subscription_status", "created_at", "updated_at",
	}, rows)
}

func (c *copier) facts(ctx context.Context) error {
	rows := make([][]any, 0, c.factCount)
	for i, l := range c.lives {
		for n, f := range l.facts {
			var site *int64
			if f.namesSite {
				site = &c.site[i]
			}
			var message *int64
			source := SourceImport
			if c.message != nil {
				if id, ok := c.message[i][n]; ok {
					message = &id
					if f.Event == lifecycle.SMSSentEvent || f.Event == lifecycle.EmailSent {
						source = SourceMessage
					}
				}
			}
			rows = append(rows, []any{
				c.fact[len(rows)], c.business[i], site, string(f.Event), string(f.Event.Axes()[0]),
				f.OccurredAt, f.recordedAt, string(source), f.Key, message,
			})
		}
	}
	return c.copy(ctx, "facts", []string{
		"id", "business_id", "site_id", "event", "axis", "occurred_at", "recorded_at", "source", "dedupe_key", "message_id",
	}, rows)
}

func (c *copier) transitions(ctx context.Context) error {
	var rows [][]any
	first := 0 // of the business's facts
	for i, l := range c.lives {
		for _, t := range l.transitions {
			rows = append(rows, []any{
				c.fact[first+t.fact], c.business[i], string(t.Axis), string(t.From), string(t.To), string(t.Verdict), l.facts[t.fact].recordedAt,
			})
		}
		first += len(l.facts)
	}
	return c.copy(ctx, "transitions", []string{"fact_id", "business_id", "axis", "from_status", "to_status", "verdict", "at"}, rows)
}

// suppressions forbids the phones of those who opted out, as the opt-out would have.
func (c *copier) suppressions(ctx context.Context) error {
	var rows [][]any
	for _, l := range c.lives {
		if l.b.state.Contact.OptedOut {
			rows = append(rows, []any{"sms", l.phone(), "import", string(SourceImport), l.optedOutAt})
		}
	}
	return c.copy(ctx, "suppressions", []string{"channel", "address", "reason", "source", "since"}, rows)
}
