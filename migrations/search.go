package migrations

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// search is what searches have to go by.
type search struct {
	table, index         bool
	extension, available bool // pg_trgm: in this database; on this server
	role                 string
}

func readSearch(ctx context.Context, q interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
},
) (s search, err error) {
	err = q.QueryRow(ctx, `
		SELECT to_regclass('business_search') IS NOT NULL, to_regclass('business_search_document') IS NOT NULL,
			EXISTS (SELECT 1 FROM pg_extension WHERE extname = 'pg_trgm'),
			EXISTS (SELECT 1 FROM pg_available_extensions WHERE name = 'pg_trgm'), current_user`).
		Scan(&s.table, &s.index, &s.extension, &s.available, &s.role)
	if err != nil {
		return s, fmt.Errorf("look for the index of searches: %w", err)
	}
	return s, nil
}

// repairSearch builds the index of searches where migration 0005 was refused the extension, and it is there by now.
func repairSearch(ctx context.Context, conn *pgx.Conn) error {
	s, err := readSearch(ctx, conn)
	if err != nil || !s.table || s.index || !s.extension {
		return err
	}
	_, err = conn.Exec(ctx, `
		DO $$
		BEGIN
			EXECUTE (SELECT format('CREATE INDEX business_search_document ON business_search USING gin (document %I.gin_trgm_ops) WITH (gin_pending_list_limit = 512)', n.nspname)
				FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_trgm');
		END
		$$`)
	if err != nil {
		return fmt.Errorf("build the index of searches: %w", err)
	}
	return nil
}

// SearchAdvice says in a line what to do where searches have no index; "" where they have one, or the schema is older than
// that. Without it everything works, but a search looks through businesses a bounded part at a time.
func SearchAdvice(ctx context.Context, pool *pgxpool.Pool) (string, error) {
	s, err := readSearch(ctx, pool)
	switch {
	case err != nil:
		return "", err
	case !s.table, s.index:
		return "", nil
	case s.extension:
		return "searches have no index, but the extension pg_trgm is there: run `onward migrate up`", nil
	case !s.available:
		return "searches have no index, since this PostgreSQL lacks the extension pg_trgm: install its contrib package, " +
			"let a superuser run `CREATE EXTENSION pg_trgm` in this database, then run `onward migrate up`", nil
	}
	return fmt.Sprintf("searches have no index, since the role %s may not create the extension pg_trgm: "+
		"let a superuser run `CREATE EXTENSION pg_trgm` in this database, then run `onward migrate up`", s.role), nil
}
