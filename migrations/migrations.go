// Package migrations carries the schema: Onward's own SQL files and, in the same command, River's.
// It imports pgx and River's migrator only.
package migrations

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

//go:embed *.sql
var files embed.FS

// lockKey is the advisory lock under which the schema is changed: any constant that nobody else uses.
const lockKey = 7206800

// Step is one migration of ours or of River's.
type Step struct {
	Line    string     `json:"line"` // "onward" or "river"
	Version int        `json:"version"`
	Name    string     `json:"name"`
	Applied bool       `json:"applied"`
	At      *time.Time `json:"applied_at,omitempty"` // known for our own alone
}

type migration struct {
	version  int
	name     string
	up, down string
}

// ErrOutdated says that the schema is older than this binary.
var ErrOutdated = errors.New("the database schema is older than this onward: run `onward migrate up`")

// ErrNewer says that the schema was made by a newer binary.
var ErrNewer = errors.New("the database schema is newer than this onward: run the newer version, or `onward migrate down` with it")

func load() ([]migration, error) {
	named := regexp.MustCompile(`^(\d{4})_([a-z0-9_]+)\.sql$`)
	entries, err := fs.ReadDir(files, ".")
	if err != nil {
		return nil, fmt.Errorf("read embedded migrations: %w", err)
	}
	var all []migration
	for _, e := range entries {
		m := named.FindStringSubmatch(e.Name())
		if m == nil {
			continue
		}
		version, err := strconv.Atoi(m[1])
		if err != nil {
			return nil, fmt.Errorf("migration %s: %w", e.Name(), err)
		}
		up, err := files.ReadFile(e.Name())
		if err != nil {
			return nil, fmt.Errorf("migration %s: %w", e.Name(), err)
		}
		down, err := files.ReadFile(strings.TrimSuffix(e.Name(), path.Ext(e.Name())) + ".down.sql")
		if err != nil {
			return nil, fmt.Errorf("migration %s has no way down: %w", e.Name(), err)
		}
		all = append(all, migration{version: version, name: m[2], up: string(up), down: string(down)})
	}
	slices.SortFunc(all, func(a, b migration) int { return a.version - b.version })
	for i, m := range all {
		if i > 0 && m.version == all[i-1].version {
			return nil, fmt.Errorf("migration %04d_%s: the number is taken by %s", m.version, m.name, all[i-1].name)
		}
	}
	return all, nil
}

// Up applies what is missing: River's migrations, then ours, each in a transaction, all under an
// advisory lock, so that any number of processes may call it at once. It returns the steps it took.
func Up(ctx context.Context, pool *pgxpool.Pool, logger *slog.Logger) ([]Step, error) {
	all, err := load()
	if err != nil {
		return nil, err
	}
	var done []Step
	err = locked(ctx, pool, func(conn *pgxpool.Conn) error {
		river, err := riverMigrator(pool, logger)
		if err != nil {
			return err
		}
		res, err := river.Migrate(ctx, rivermigrate.DirectionUp, nil)
		if err != nil {
			return fmt.Errorf("migrate River's tables: %w", err)
		}
		for _, v := range res.Versions {
			done = append(done, Step{Line: "river", Version: v.Version, Name: v.Name, Applied: true})
		}
		have, err := applied(ctx, conn.Conn())
		if err != nil {
			return err
		}
		for _, m := range all {
			if _, ok := have[m.version]; ok {
				continue
			}
			err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
				if _, err := tx.Exec(ctx, m.up); err != nil {
					return err
				}
				_, err := tx.Exec(ctx, `INSERT INTO onward_migrations (version, name) VALUES ($1, $2)`, m.version, m.name)
				return err
			})
			if err != nil {
				return fmt.Errorf("migrate up %04d_%s: %w", m.version, m.name, err)
			}
			done = append(done, Step{Line: "onward", Version: m.version, Name: m.name, Applied: true})
		}
		return repairSearch(ctx, conn.Conn())
	})
	return done, err
}

// Down takes back the newest of our own migrations; with all set, every one and River's, too, which
// leaves an empty database. It is for development: what the tables held is gone.
func Down(ctx context.Context, pool *pgxpool.Pool, logger *slog.Logger, everything bool) ([]Step, error) {
	all, err := load()
	if err != nil {
		return nil, err
	}
	var done []Step
	err = locked(ctx, pool, func(conn *pgxpool.Conn) error {
		have, err := applied(ctx, conn.Conn())
		if err != nil {
			return err
		}
		for _, m := range slices.Backward(all) {
			if _, ok := have[m.version]; !ok {
				continue
			}
			err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
				if _, err := tx.Exec(ctx, m.down); err != nil {
					return err
				}
				_, err := tx.Exec(ctx, `DELETE FROM onward_migrations WHERE version = $1`, m.version)
				return err
			})
			if err != nil {
				return fmt.Errorf("migrate down %04d_%s: %w", m.version, m.name, err)
			}
			done = append(done, Step{Line: "onward", Version: m.version, Name: m.name})
			if !everything {
				return nil
			}
		}
		if !everything {
			return nil
		}
		river, err := riverMigrator(pool, logger)
		if err != nil {
			return err
		}
		res, err := river.Migrate(ctx, rivermigrate.DirectionDown, &rivermigrate.MigrateOpts{TargetVersion: -1})
		if err != nil {
			return fmt.Errorf("migrate River's tables down: %w", err)
		}
		for _, v := range res.Versions {
			done = append(done, Step{Line: "river", Version: v.Version, Name: v.Name})
		}
		return nil
	})
	return done, err
}

// Status lists every step and whether it is applied. It changes nothing.
func Status(ctx context.Context, pool *pgxpool.Pool, logger *slog.Logger) ([]Step, error) {
	all, err := load()
	if err != nil {
		return nil, err
	}
	river, err := riverMigrator(pool, logger)
	if err != nil {
		return nil, err
	}
	existing, err := river.ExistingVersions(ctx)
	if err != nil {
		return nil, fmt.Errorf("read River's migrations: %w", err)
	}
	var steps []Step
	for _, v := range river.AllVersions() {
		ok := slices.ContainsFunc(existing, func(e rivermigrate.Migration) bool { return e.Version == v.Version })
		steps = append(steps, Step{Line: "river", Version: v.Version, Name: v.Name, Applied: ok})
	}
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	defer conn.Release()
	have, err := appliedIfAny(ctx, conn.Conn())
	if err != nil {
		return nil, err
	}
	for _, m := range all {
		s := Step{Line: "onward", Version: m.version, Name: m.name}
		if at, ok := have[m.version]; ok {
			s.Applied, s.At = true, &at
			delete(have, m.version)
		}
		steps = append(steps, s)
	}
	for version := range have {
		steps = append(steps, Step{Line: "onward", Version: version, Name: "(unknown to this version)", Applied: true})
	}
	return steps, nil
}

// Check returns nil when the schema is exactly the one that this binary was built for, else
// ErrOutdated or ErrNewer.
func Check(ctx context.Context, pool *pgxpool.Pool, logger *slog.Logger) error {
	steps, err := Status(ctx, pool, logger)
	if err != nil {
		return err
	}
	all, err := load()
	if err != nil {
		return err
	}
	for _, s := range steps {
		if !s.Applied {
			return ErrOutdated
		}
		if s.Line == "onward" && s.Version > all[len(all)-1].version {
			return ErrNewer
		}
	}
	return nil
}

func riverMigrator(pool *pgxpool.Pool, logger *slog.Logger) (*rivermigrate.Migrator[pgx.Tx], error) {
	m, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Logger: logger})
	if err != nil {
		return nil, fmt.Errorf("prepare River's migrations: %w", err)
	}
	return m, nil
}

// locked runs fn while this session alone may change the schema.
func locked(ctx context.Context, pool *pgxpool.Pool, fn func(*pgxpool.Conn) error) error {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Release()
	if _, err := conn.Exec(ctx, `SELECT pg_advisory_lock($1)`, lockKey); err != nil {
		return fmt.Errorf("wait for the migration lock: %w", err)
	}
	defer func() {
		// The session's end would free it, too; an error here is no reason to fail what was done.
		_, _ = conn.Exec(context.WithoutCancel(ctx), `SELECT pg_advisory_unlock($1)`, lockKey)
	}()
	return fn(conn)
}

func applied(ctx context.Context, conn *pgx.Conn) (map[int]time.Time, error) {
	_, err := conn.Exec(ctx, `
		CREATE TABLE IF NOT EXISTS onward_migrations (
			version int PRIMARY KEY,
			name text NOT NULL,
			applied_at timestamptz NOT NULL DEFAULT now()
		)`)
	if err != nil {
		return nil, fmt.Errorf("create onward_migrations: %w", err)
	}
	return appliedIfAny(ctx, conn)
}

func appliedIfAny(ctx context.Context, conn *pgx.Conn) (map[int]time.Time, error) {
	have := map[int]time.Time{}
	var exists bool
	if err := conn.QueryRow(ctx, `SELECT to_regclass('onward_migrations') IS NOT NULL`).Scan(&exists); err != nil {
		return nil, fmt.Errorf("look for onward_migrations: %w", err)
	}
	if !exists {
		return have, nil
	}
	rows, err := conn.Query(ctx, `SELECT version, applied_at FROM onward_migrations ORDER BY version`)
	if err != nil {
		return nil, fmt.Errorf("read onward_migrations: %w", err)
	}
	var version int
	var at time.Time
	_, err = pgx.ForEachRow(rows, []any{&version, &at}, func() error {
		have[version] = at
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read onward_migrations: %w", err)
	}
	return have, nil
}
