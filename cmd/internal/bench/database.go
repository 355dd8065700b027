package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"onward/cmd/internal/devdb"
	"onward/migrations"
)

// database is what a run has for itself.
type database struct {
	pool   *pgxpool.Pool
	dsn    string
	server *devdb.Server // nil: the database was given
	folder string        // of server, to be removed
	pid    int           // of PostgreSQL; 0: it runs who knows where
	asIs   bool          // what it holds is somebody's
}

// openDatabase starts a durable server in a temporary folder, or takes the given database if it is empty, and migrates it;
// or takes it as it is.
func openDatabase(ctx context.Context, o Options) (_ *database, err error) {
	db := &database{dsn: o.DatabaseURL, asIs: o.AsIs}
	defer func() {
		if err != nil {
			err = errors.Join(err, db.close(context.WithoutCancel(ctx)))
		}
	}()
	if db.dsn == "" {
		if err := db.start(ctx, o.DataDir); err != nil {
			return nil, err
		}
	}
	config, err := pgxpool.ParseConfig(db.dsn)
	if err != nil {
		return nil, fmt.Errorf("%w: --database-url is not a PostgreSQL DSN", ErrUsage) // err may quote the password
	}
	config.MaxConns = 4
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open a pool: %w", err)
	}
	if db.asIs {
		db.pool = pool
		return db, migrations.Check(ctx, pool, slog.New(slog.DiscardHandler))
	}
	if db.server == nil {
		if err := refuseUsed(ctx, pool); err != nil {
			pool.Close()
			return nil, err
		}
	}
	// From here on close drops what is in the database.
	db.pool = pool
	if _, err := migrations.Up(ctx, pool, slog.New(slog.DiscardHandler)); err != nil {
		return nil, fmt.Errorf("migrate: %w", err)
	}
	return db, nil
}

func (db *database) start(ctx context.Context, dataDir string) error {
	if err := os.MkdirAll(dataDir, 0o755); err != nil {
		return fmt.Errorf("make the data folder: %w", err)
	}
	// Beside the data of `onward up`: on the disk whose commits count.
	folder, err := os.MkdirTemp(dataDir, "bench-")
	if err != nil {
		return fmt.Errorf("make a temporary folder: %w", err)
	}
	db.folder = folder
	if err := os.Chmod(folder, 0o711); err != nil { // as root, the server runs as another user
		return fmt.Errorf("open the temporary folder: %w", err)
	}
	// The server outlives a Ctrl-C, as the workers do that then stop; it is stopped by close.
	db.server, err = devdb.Start(context.WithoutCancel(ctx), devdb.Options{Dir: filepath.Join(folder, "postgres"), Fsync: true})
	if err != nil {
		return err
	}
	db.pid = db.server.PID()
	db.dsn = db.server.DSN("bench")
	return db.server.EnsureDatabase(ctx, "bench")
}

// refuseUsed returns an error unless the database holds nothing: the benchmark truncates and drops as it likes.
func refuseUsed(ctx context.Context, pool *pgxpool.Pool) error {
	var relation *string
	err := pool.QueryRow(ctx, `
		SELECT min(c.oid::regclass::text)
		FROM pg_class c
		JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'
			AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')`).Scan(&relation)
	if err != nil {
		return fmt.Errorf("look into the database: %w", err)
	}
	if relation != nil {
		return fmt.Errorf("the database is not empty (it has %s): give one that holds nothing, since the benchmark empties it", *relation)
	}
	return nil
}

// close leaves a given database as it was, or stops and removes the server.
func (db *database) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("time-out of cleaning up"))
	defer cancel()
	var errs []error
	if db.pool != nil && db.server == nil && !db.asIs {
		_, err := migrations.Down(ctx, db.pool, slog.New(slog.DiscardHandler), true)
		if err == nil {
			_, err = db.pool.Exec(ctx, `DROP TABLE IF EXISTS onward_migrations`)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("empty the database: %w", err))
		}
	}
	if db.pool != nil {
		db.pool.Close()
	}
	if db.server != nil {
		errs = append(errs, db.server.Stop(ctx), os.RemoveAll(db.server.Dir()))
	}
	if db.folder != "" {
		errs = append(errs, os.RemoveAll(db.folder))
	}
	return errors.Join(errs...)
}

// reset empties every table that a part fills, and makes a checkpoint, so that each measurement begins alike. No process of
// ours may run: it would hold on to the tables.
func (b *bench) reset(ctx context.Context) error {
	// The trail may not be truncated, not even by its owner: this database is the benchmark's own. What has one row for
	// ever, which says how far something got, starts anew with its table's defaults.
	return b.truncate(ctx, `
		ALTER TABLE facts DISABLE TRIGGER USER;
		ALTER TABLE transitions DISABLE TRIGGER USER;
		DO $$
		BEGIN
			EXECUTE (
				SELECT 'TRUNCATE ' || string_agg(c.oid::regclass::text, ', ') || ' RESTART IDENTITY CASCADE'
				FROM pg_class c
				WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
					AND c.relname NOT IN ('onward_migrations', 'river_migration', 'erasure_key', 'api_tokens')
			);
		END
		$$;
		INSERT INTO poll_progress DEFAULT VALUES;
		INSERT INTO analytics_progress DEFAULT VALUES;
		ALTER TABLE facts ENABLE TRIGGER USER;
		ALTER TABLE transitions ENABLE TRIGGER USER`)
}

// resetReceipts is reset for the tables that accepting fills; a web process may run.
func (b *bench) resetReceipts(ctx context.Context) error {
	return b.truncate(ctx, `TRUNCATE webhook_events, river_job`)
}

func (b *bench) truncate(ctx context.Context, statements string) error {
	err := pgx.BeginFunc(ctx, b.pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, statements)
		return err
	})
	if err != nil {
		return fmt.Errorf("empty the tables: %w", err)
	}
	b.checkpoint(ctx)
	return nil
}

// checkpoint is for servers that allow it: one that falls into a measurement costs it.
func (b *bench) checkpoint(ctx context.Context) { _, _ = b.pool.Exec(ctx, `CHECKPOINT`) }

// count is a number that a query returns.
func (b *bench) count(ctx context.Context, query string) (n int, err error) {
	if err = b.pool.QueryRow(ctx, query).Scan(&n); err != nil {
		return 0, fmt.Errorf("count: %w", err)
	}
	return n, nil
}
