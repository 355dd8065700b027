package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"onward/jobs"
	"onward/lifecycle/pgstore"
	"onward/lifecycle/pgstore/analytics"
)

// apiFacts is how many facts a business has, on average, where nobody says.
const apiFacts = 4

// apiData fills the database: what `onward seed --outreach` makes, and in proportion to it the receipts of the part flat,
// jobs of which some failed, and tags.
func (b *bench) apiData(ctx context.Context, p *Part) error {
	facts := b.opts.Facts
	if facts == 0 {
		facts = b.size.apiBusinesses * apiFacts
	}
	receipts, queued := max(1, b.size.apiBusinesses/2), max(100, b.size.apiBusinesses/10)
	p.note(fmt.Sprintf("%s businesses, %s facts, %s receipts, %s jobs",
		thousands(int64(b.size.apiBusinesses)), thousands(int64(facts)), thousands(int64(receipts)), thousands(int64(queued))))
	if err := b.reset(ctx); err != nil {
		return err
	}
	b.step(PartAPI, 0, "receipts")
	past := *b // with as many receipts, and the facts of the seed instead of its own
	past.size.pastReceipts, past.size.pastFacts = receipts, 0
	past.opts.Progress = func(string) {}
	if err := past.past(ctx); err != nil {
		return err
	}
	if err := b.apiBusinesses(ctx, facts); err != nil {
		return err
	}
	b.step(PartAPI, 0, "jobs, tags")
	if err := b.apiBeside(ctx, queued); err != nil {
		return err
	}
	b.step(PartAPI, 0, "analytics")
	if err := analytics.Reset(ctx, b.pool); err != nil {
		return err
	}
	next := time.Now()
	done, err := analytics.Advance(ctx, b.pool, analytics.AdvanceOptions{Patience: time.Minute, Progress: func(id int64) {
		if time.Now().After(next) {
			b.step(PartAPI, 0, fmt.Sprintf("analytics: %s businesses", thousands(id)))
			next = time.Now().Add(5 * time.Second)
		}
	}})
	if err != nil {
		return err
	}
	if !done.Arrived {
		return errors.New("analytics did not come through: another program holds transactions open in this server")
	}
	b.step(PartAPI, 0, "vacuum")
	if _, err := b.pool.Exec(ctx, `VACUUM (ANALYZE)`); err != nil {
		return fmt.Errorf("vacuum: %w", err)
	}
	b.checkpoint(ctx)
	return nil
}

// apiBusinesses makes businesses and what became of them. Their search's index is built afterwards: trigram by trigram it
// would take as long as all the rest.
func (b *bench) apiBusinesses(ctx context.Context, facts int) error {
	var search *string
	if err := b.pool.QueryRow(ctx, `SELECT pg_get_indexdef(to_regclass('business_search_document'))`).Scan(&search); err != nil {
		return fmt.Errorf("look for the search's index: %w", err)
	}
	if _, err := b.pool.Exec(ctx, `DROP INDEX IF EXISTS business_search_document`); err != nil {
		return fmt.Errorf("drop the search's index: %w", err)
	}
	next := time.Now()
	_, err := pgstore.Generate(ctx, b.pool, pgstore.GenerateOptions{
		Businesses: b.size.apiBusinesses, Facts: facts, Seed: 1, Outreach: true, Progress: func(done, total int64) {
			if time.Now().After(next) {
				b.step(PartAPI, 0, fmt.Sprintf("businesses %s of %s", thousands(done), thousands(total)))
				next = time.Now().Add(5 * time.Second)
			}
		},
	})
	if err != nil || search == nil {
		return err
	}
	b.step(PartAPI, 0, "the search's index")
	if _, err := b.pool.Exec(ctx, *search); err != nil {
		return fmt.Errorf("build the search's index: %w", err)
	}
	return nil
}

// apiBeside makes jobs, of which one in ten failed, receipts that ended in other ways, and tags.
func (b *bench) apiBeside(ctx context.Context, queued int) error {
	list := dataset{rows: queued, jobs: jobs.StatusCallbackArgs{}.Kind()}.queued()
	err := pgx.BeginFunc(ctx, b.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, list.sql, append([]any{queued, dataBase(queued)}, list.args...)...); err != nil {
			return err
		}
		for _, sql := range []string{
			`UPDATE river_job
			SET state = CASE WHEN id % 10 = 0 THEN 'discarded' ELSE 'completed' END::river_job_state, finalized_at = now(), attempted_at = now(),
				attempt = CASE WHEN id % 10 = 0 THEN max_attempts ELSE 1 END,
				errors = CASE WHEN id % 10 = 0 THEN ARRAY[jsonb_build_object('at', now(), 'attempt', 25, 'trace', '',
					'error', 'read what number ' || id || ' is about: ' || (ARRAY['connection refused', 'no such message', 'time-out of the provider',
						'status 500', 'status 503', 'no such host', 'disk full'])[1 + (id / 10 % 7)])] END
			WHERE id % 100 <> 99`,
			`UPDATE receipt_outcomes SET outcome = 'failed', detail = 'made up' WHERE get_byte(uuid_send(receipt_id), 15) = 7 AND get_byte(uuid_send(receipt_id), 14) < 8`,
			`UPDATE receipt_outcomes SET outcome = 'unmatched', match_key = 'message:SM' || receipt_id WHERE get_byte(uuid_send(receipt_id), 15) = 8 AND get_byte(uuid_send(receipt_id), 14) < 8`,
			`DELETE FROM receipt_outcomes WHERE receipt_id IN (SELECT receipt_id FROM receipt_outcomes ORDER BY receipt_id DESC LIMIT 100)`,
			`INSERT INTO business_tags (business_id, tag)
			SELECT id, (ARRAY['vip', 'call back', 'spring fair', 'has a website', 'friend of a friend'])[1 + (id / 37 % 5)]
			FROM businesses
			WHERE id % 37 = 0`,
		} {
			if _, err := tx.Exec(ctx, sql); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("make jobs and tags: %w", err)
	}
	return nil
}

// apiSample is what questions are about: some of everything that is in the database.
type apiSample struct {
	businesses                             []sampledBusiness
	tags                                   []string
	campaigns, messages, receipts, replies []string // public ids
	deep                                   []string // cursors into the list of businesses
}

type sampledBusiness struct {
	id, name, phone, email, city, country, category string
	createdAt, updatedAt                            time.Time
}

// drawn is the condition on 500 rows of a table, the same ones each time: more than are asked for in a measurement.
func drawn(table string) string {
	return `id IN (SELECT 1 + abs(hashint8(n)::bigint) % m FROM (SELECT max(id) AS m FROM ` + table + `) AS top, generate_series(1, 500) AS n)`
}

func (b *bench) sample(ctx context.Context) (*apiSample, error) {
	s := &apiSample{}
	rows, err := b.pool.Query(ctx, `
		SELECT public_id::text, name, COALESCE(phone, ''), COALESCE(email, ''), COALESCE(city, ''), COALESCE(country, ''), COALESCE(category, ''),
			created_at, updated_at
		FROM businesses
		WHERE erased_at IS NULL AND `+drawn("businesses"))
	if err == nil {
		s.businesses, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (one sampledBusiness, err error) {
			return one, row.Scan(&one.id, &one.name, &one.phone, &one.email, &one.city, &one.country, &one.category, &one.createdAt, &one.updatedAt)
		})
	}
	if err != nil {
		return nil, fmt.Errorf("draw businesses: %w", err)
	}
	for _, of := range []struct {
		to  *[]string
		sql string
	}{
		{&s.tags, `SELECT DISTINCT tag FROM (SELECT tag FROM business_tags LIMIT 1000) t ORDER BY 1`},
		{&s.campaigns, `SELECT public_id::text FROM campaigns ORDER BY id DESC LIMIT 500`},
		{&s.messages, `SELECT public_id::text FROM messages WHERE ` + drawn("messages")},
		{&s.replies, `SELECT public_id::text FROM inbound_messages WHERE action = 'reply' AND ` + drawn("inbound_messages")},
		{&s.receipts, `SELECT id::text FROM webhook_events ORDER BY id DESC LIMIT 500`},
	} {
		rows, err := b.pool.Query(ctx, of.sql)
		if err == nil {
			*of.to, err = pgx.CollectRows(rows, pgx.RowTo[string])
		}
		if err != nil {
			return nil, fmt.Errorf("draw from the data: %w", err)
		}
	}
	return s, nil
}
