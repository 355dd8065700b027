package pgstore

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// copyLives stores made-up businesses with their history, in the caller's transaction.
func copyLives(ctx context.Context, tx pgx.Tx, lives []*life, order *madeOrder) error {
	// A crash may cost the last of it; it can be made up again.
	if _, err := tx.Exec(ctx, `SET LOCAL synchronous_commit = off`); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	// Before it takes ids for facts, as whoever locks a business first does: analytics rely on it.
	if _, err := tx.Exec(ctx, `SELECT pg_current_xact_id()`); err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	c := copier{tx: tx, lives: lives, order: order}
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
	order     *madeOrder
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

// inTime lists the facts of all lives in the order in which they were recorded; those of a life stay in theirs.
func (c *copier) inTime() []placedFact {
	list := make([]placedFact, 0, c.factCount)
	for i, l := range c.lives {
		for n := range l.facts {
			list = append(list, placedFact{life: i, fact: n, at: l.facts[n].recordedAt.UnixMicro()})
		}
	}
	slices.SortStableFunc(list, func(a, b placedFact) int { return cmp.Compare(a.at, b.at) })
	return list
}

// placedFact is a fact by its place among the lives and in its life.
type placedFact struct {
	life, fact int
	at         int64
}

func (c *copier) facts(ctx context.Context) error {
	rows := make([][]any, 0, c.factCount)
	for _, p := range c.inTime() {
		f := c.lives[p.life].facts[p.fact]
		var site *int64
		if f.namesSite {
			site = &c.site[p.life]
		}
		var message *int64
		source := SourceImport
		if c.message != nil {
			if id, ok := c.message[p.life][p.fact]; ok {
				message = &id
				if sends(f.Event) != "" {
					source = SourceMessage
				}
			}
		}
		rows = append(rows, []any{
			c.fact[len(rows)], c.business[p.life], site, string(f.Event), string(f.Event.Axes()[0]),
			f.OccurredAt, f.recordedAt, string(source), f.Key, message,
		})
	}
	return c.copy(ctx, "facts", []string{
		"id", "business_id", "site_id", "event", "axis", "occurred_at", "recorded_at", "source", "dedupe_key", "message_id",
	}, rows)
}

func (c *copier) transitions(ctx context.Context) error {
	var rows [][]any
	next := make([]int, len(c.lives)) // by business: the first transition that is not there yet
	for id, p := range c.inTime() {
		l := c.lives[p.life]
		for ; next[p.life] < len(l.transitions) && l.transitions[next[p.life]].fact == p.fact; next[p.life]++ {
			t := l.transitions[next[p.life]]
			rows = append(rows, []any{
				c.fact[id], c.business[p.life], string(t.Axis), string(t.From), string(t.To), string(t.Verdict), l.facts[p.fact].recordedAt,
			})
		}
	}
	return c.copy(ctx, "transitions", []string{"fact_id", "business_id", "axis", "from_status", "to_status", "verdict", "at"}, rows)
}

// suppressions forbids the phones of those who opted out, as the opt-out would have.
func (c *copier) suppressions(ctx context.Context) error {
	var rows [][]any
	for _, l := range c.lives {
		if l.b.state.Contact.OptedOut {
			rows = append(rows, []any{c.order.suppressions.id(l.optedOutAt), "sms", l.phone(), "import", string(SourceImport), l.optedOutAt})
		}
	}
	return c.copy(ctx, "suppressions", []string{"id", "channel", "address", "reason", "source", "since"}, rows)
}
