package inbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/riverqueue/river"

	"onward/jobs/jobtrace"
	"onward/jobs/pipeline"
)

// errOutage marks an error that is no single receipt's fault: the database is away, or refuses every write.
var errOutage = errors.New("database away")

// stored is what one transaction did.
type stored struct {
	ids      map[uuid.UUID]struct{} // the receipts that were new
	queues   []string               // of the jobs
	inFlight map[Hold]bool          // held addresses to which a provider call may be about to start
}

// store inserts a batch in one transaction. It calls inserted before it waits for a held address, or for the COMMIT.
func (i *Inbox) store(ctx context.Context, batch []*entry, inserted func()) (stored, error) {
	conn, err := i.opts.Pool.Acquire(ctx)
	if err != nil {
		return stored{}, fmt.Errorf("inbox: connect: %w: %w", errOutage, withCause(ctx, err))
	}
	defer conn.Release()
	knowColumns(conn.Conn())

	s := stored{ids: make(map[uuid.UUID]struct{}, len(batch))}
	// READ COMMITTED is spelled out because insert relies on each statement seeing what was committed before it.
	err = pipeline.Run(ctx, conn, pgx.TxOptions{IsoLevel: pgx.ReadCommitted},
		func(first *pgx.Batch) {
			first.Queue(i.lockTimeout())
			insertReceipts(first, batch, s.ids)
		},
		func(tx pgx.Tx, last *pgx.Batch) error { return i.insert(ctx, tx, last, batch, &s, inserted) })
	if err == nil {
		return s, nil
	}
	if ctx.Err() != nil || conn.Conn().IsClosed() || refusesAll(err) {
		return stored{}, fmt.Errorf("inbox: store %d receipts: %w: %w", len(batch), errOutage, withCause(ctx, err))
	}
	return stored{}, fmt.Errorf("inbox: store %d receipts: %w", len(batch), err)
}

// lockTimeout has a transaction wait for any one lock at most a fifth of CommitTimeout: when a dispatch is stuck and holds
// its address, there is time left to store the others.
func (i *Inbox) lockTimeout() string {
	d := max(i.opts.CommitTimeout/5, time.Millisecond)
	return "SET LOCAL lock_timeout = " + strconv.FormatInt(d.Milliseconds(), 10)
}

// refusesAll tells errors that every statement would get from those that may come from one receipt.
func refusesAll(err error) bool {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	if !ok || len(pgErr.Code) != 5 {
		return false
	}
	const readOnly = "25006" // a standby, or a primary that became one
	if pgErr.Code == readOnly {
		return true
	}
	switch pgErr.Code[:2] {
	case "08", // connection exception
		"53", // insufficient resources: disk full, too many connections
		"57", // operator intervention: shutdown, cancelled, cannot connect now
		"58": // system error
		return true
	}
	return false
}

// withCause adds which time-out ended ctx to the error that came of it.
func withCause(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		return fmt.Errorf("%w: %w", cause, err)
	}
	return err
}

// insert stores, of the receipts that were new, the jobs (or the outcome of those that have none) and the holds.
func (i *Inbox) insert(ctx context.Context, tx pgx.Tx, last *pgx.Batch, batch []*entry, s *stored, inserted func()) error {
	var (
		held    []*entry
		ignored []uuid.UUID
		params  []river.InsertManyParams
	)
	for _, e := range batch {
		if _, ok := s.ids[e.id]; !ok {
			continue
		}
		if e.hold != nil {
			held = append(held, e)
		}
		if e.job == nil {
			ignored = append(ignored, e.id)
			continue
		}
		params = append(params, river.InsertManyParams{Args: e.job, InsertOpts: insertOpts(e)})
		s.queues = appendQueue(s.queues, e.job)
	}

	if len(params) > 0 {
		if _, err := i.opts.River.InsertManyFastTx(ctx, tx, params); err != nil {
			return fmt.Errorf("insert jobs: %w", err)
		}
	}
	if len(ignored) > 0 {
		last.Queue(`
			INSERT INTO receipt_outcomes (receipt_id, outcome)
			SELECT unnest($1::uuid[]), 'ignored'`, ignored)
	}
	inserted()
	if len(held) == 0 {
		return nil
	}
	// Not with the COMMIT: a hold may wait longer than there is time, and must not be committed after its caller was refused.
	holds := &pgx.Batch{}
	s.inFlight = insertHolds(holds, held)
	if err := tx.SendBatch(ctx, holds).Close(); err != nil {
		return fmt.Errorf("insert holds: %w", err)
	}
	return nil
}

// insertOpts are those of an entry's job beside its own; nil for none.
func insertOpts(e *entry) *river.InsertOpts {
	if e.traceparent == "" {
		return nil
	}
	return &river.InsertOpts{Metadata: jobtrace.Metadata(e.traceparent)}
}

// insertReceipts queues the insert of receipts and fills added with the ids of those that were new. Without a conflict
// target, since the dedupe key is unique in each partition only; it also covers duplicates within the batch.
func insertReceipts(first *pgx.Batch, batch []*entry, added map[uuid.UUID]struct{}) {
	// Transactions that insert the same keys in different orders would wait for each other. Stable: of duplicates within
	// the batch, the first to come is stored.
	sorted := slices.Clone(batch)
	slices.SortStableFunc(sorted, func(a, b *entry) int { return cmp.Compare(a.dedupeKey, b.dedupeKey) })

	first.Queue(`
		INSERT INTO webhook_events (id, provider, kind, query, headers, body, dedupe_key, contact_key, received_at)
		SELECT id, provider, kind, query, headers::jsonb, body, dedupe_key, NULLIF(contact_key, ''), received_at
		FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bytea[], $7::text[], $8::text[], $9::timestamptz[])
			AS r (id, provider, kind, query, headers, body, dedupe_key, contact_key, received_at)
		ON CONFLICT DO NOTHING
		RETURNING id`,
		columns(sorted)...).Query(func(rows pgx.Rows) error {
		var id pgtype.UUID
		_, err := pgx.ForEachRow(rows, []any{&id}, func() error {
			added[id.Bytes] = struct{}{}
			return nil
		})
		if err != nil {
			return fmt.Errorf("insert receipts: %w", err)
		}
		return nil
	})
}

// insertHolds queues the insert of holds. The result, the held addresses to which a dispatch was committed whose provider
// call may not have started, is filled when the batch has been read. From the insert of its hold on, this transaction
// alone has the address's lock, so that answer stays complete: a later dispatch sees the hold.
func insertHolds(batch *pgx.Batch, held []*entry) map[Hold]bool {
	// The row's trigger takes the address's lock: in the same order in every transaction.
	held = slices.Clone(held)
	slices.SortStableFunc(held, func(a, b *entry) int {
		return cmp.Or(cmp.Compare(a.hold.Channel, b.hold.Channel), cmp.Compare(a.hold.Address, b.hold.Address))
	})
	ids, channels, addresses := make([]uuid.UUID, len(held)), make([]string, len(held)), make([]string, len(held))
	for at, e := range held {
		ids[at], channels[at], addresses[at] = e.id, e.hold.Channel, e.hold.Address
	}
	batch.Queue(`
		INSERT INTO inbound_pending (receipt_id, channel, address)
		SELECT receipt_id, channel, address
		FROM unnest($1::uuid[], $2::text[], $3::text[]) AS h (receipt_id, channel, address)`,
		ids, channels, addresses)
	inFlight := map[Hold]bool{}
	batch.Queue(`
		SELECT channel, address
		FROM dispatches
		WHERE `+mayStillCall+`
			AND (channel, address) IN (SELECT channel, address FROM unnest($1::text[], $2::text[]) AS h (channel, address))`,
		channels, addresses,
	).Query(func(rows pgx.Rows) error {
		var h Hold
		_, err := pgx.ForEachRow(rows, []any{&h.Channel, &h.Address}, func() error {
			inFlight[h] = true
			return nil
		})
		return err
	})
	return inFlight
}

// appendQueue adds the job's queue unless it is there.
func appendQueue(queues []string, job river.JobArgs) []string {
	queue := river.QueueDefault
	if withOpts, ok := job.(river.JobArgsWithInsertOpts); ok {
		queue = cmp.Or(withOpts.InsertOpts().Queue, queue)
	}
	if slices.Contains(queues, queue) {
		return queues
	}
	return append(queues, queue)
}
