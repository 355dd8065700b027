package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"

	"onward/jobs/jobwatch"
	"onward/web/metrics"
)

func riverDriver(pool *pgxpool.Pool) *riverpgxv5.Driver { return riverpgxv5.New(pool) }

// insertClient returns a client of River that only inserts, for transactions that commit many times a second and wake the
// workers by other means afterwards. River notifies inside of the transaction, once a cool-down, and PostgreSQL lets
// transactions with a notification commit only one after another, each with its flush to disk. With this cool-down it
// notifies at the first insert and never again.
func insertClient(pool *pgxpool.Pool) (*river.Client[pgx.Tx], error) {
	const never = 10 * 365 * 24 * time.Hour
	client, err := river.NewClient(riverDriver(pool), &river.Config{Logger: quietLogger(), FetchCooldown: never, FetchPollInterval: never})
	if err != nil {
		return nil, fmt.Errorf("configure River for inserts: %w", err)
	}
	return client, nil
}

// errorHandler tells what no attempt can tell of itself (jobwatch tells of the others); River keeps the text of every
// error on its job.
type errorHandler struct {
	logger  *slog.Logger
	metrics *metrics.Metrics
}

// HandleError logs a job that nobody here can work: it is retried as its attempts allow, by a newer version of onward
// or when whoever enqueued it is put right.
func (h *errorHandler) HandleError(ctx context.Context, job *rivertype.JobRow, err error) *river.ErrorHandlerResult {
	var unknown *rivertype.UnknownJobKindError
	if !errors.As(err, &unknown) {
		return nil
	}
	level, outcome := slog.LevelWarn, jobwatch.Failed
	if job.Attempt >= job.MaxAttempts {
		level, outcome = slog.LevelError, jobwatch.Discarded
	}
	h.logger.LogAttrs(ctx, level, "job", slog.Int64("job_id", job.ID), slog.String("kind", job.Kind), slog.String("queue", job.Queue),
		slog.Int("attempt", job.Attempt), slog.String("outcome", string(outcome)), slog.String("error", "this version knows no such job"))
	h.metrics.Job(metrics.JobDone{Kind: job.Kind, Queue: job.Queue, Outcome: string(outcome)})
	return nil
}

// HandlePanic logs a panic with its stack; the job is retried like one that failed.
func (h *errorHandler) HandlePanic(ctx context.Context, job *rivertype.JobRow, value any, trace string) *river.ErrorHandlerResult {
	h.logger.LogAttrs(ctx, slog.LevelError, "job panicked", slog.Int64("job_id", job.ID), slog.String("kind", job.Kind),
		slog.Int("attempt", job.Attempt), slog.String("panic", fmt.Sprint(value)), slog.String("stack", trace))
	return nil
}

// NewLogger makes the logger that the settings ask for.
func NewLogger(cfg Config, w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.LogLevel)); err != nil {
		level = slog.LevelInfo
	}
	opts := &slog.HandlerOptions{Level: level}
	if cfg.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

func quietLogger() *slog.Logger { return slog.New(slog.DiscardHandler) }

// riverLogger passes River's warnings and errors on; what it says of each start and stop is noise here.
func riverLogger(l *slog.Logger) *slog.Logger { return slog.New(warnings{l.Handler()}) }

type warnings struct{ slog.Handler }

// Enabled drops what is below a warning.
func (w warnings) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && w.Handler.Enabled(ctx, level)
}

// WithAttrs keeps the threshold.
func (w warnings) WithAttrs(attrs []slog.Attr) slog.Handler {
	return warnings{w.Handler.WithAttrs(attrs)}
}

// WithGroup keeps the threshold.
func (w warnings) WithGroup(name string) slog.Handler { return warnings{w.Handler.WithGroup(name)} }

// loops are the goroutines that live as long as the process.
type loops struct{ wg sync.WaitGroup }

func (l *loops) start(fn func()) { l.wg.Go(fn) }
func (l *loops) wait()           { l.wg.Wait() }
