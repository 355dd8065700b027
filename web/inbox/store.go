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

// store inserts a batch in one transaction. It calls inserted before it waits for a held address, or for the COMMIT, if that is
// apart from the insert.
func (i *Inbox) store(ctx context.Context, batch []*entry, inserted func()) (stored, error) {
	conn, err := i.opts.Pool.Acquire(ctx)
	if err != nil {
		return stored{}, fmt.Errorf("inbox: connect: %w: %w", errOutage, withCause(ctx, err))
	}
	defer conn.Release()
	knowColumns(conn.Conn())

	s := stored{ids: make(map[uuid.UUID]struct{}, len(batch))}
	// READ COMMITTED is spelled out because holds rely on each statement seeing what was committed before it.
	first := &pgx.Batch{}
	if err = i.insertReceipts(ctx, conn.Conn(), first, batch, s.ids); err == nil {
		insert := func(begin *pgx.Batch) { begin.QueuedQueries = append(begin.QueuedQueries, first.QueuedQueries...) }
		if opts := (pgx.TxOptions{IsoLevel: pgx.ReadCommitted}); whole(batch) {
			err = pipeline.RunWhole(ctx, conn, opts, insert)
		} else {
			err = pipeline.Run(ctx, conn, opts, insert, func(tx pgx.Tx, _ *pgx.Batch) error {
				inserted()
				return s.addHolds(ctx, tx, batch)
			})
		}
	}
	if err == nil {
		s.addQueues(batch)
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

// whole reports whether a batch's insert is sent with its COMMIT, which is a round trip less. Not one with a hold, since that
// may have to wait; and while a large one waits for the disk, another committer can insert.
func whole(batch []*entry) bool {
	return len(batch) < largeBatch && !slices.ContainsFunc(batch, func(e *entry) bool { return e.hold != nil })
}

// addQueues adds the queues of the jobs of the receipts that were new.
func (s *stored) addQueues(batch []*entry) {
	for _, e := range batch {
		if _, ok := s.ids[e.id]; ok && e.job != nil && !slices.Contains(s.queues, e.row.queue) {
			s.queues = append(s.queues, e.row.queue)
		}
	}
}

// addHolds stores the holds of the receipts that were new.
func (s *stored) addHolds(ctx context.Context, tx pgx.Tx, batch []*entry) error {
	var held []*entry
	for _, e := range batch {
		if _, ok := s.ids[e.id]; ok && e.hold != nil {
			held = append(held, e)
		}
	}
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

// storeReceipts stores receipts. Without a conflict target, since the dedupe key is unique in each partition only; it also
// covers duplicates within the batch.
const storeReceipts = `
		INSERT INTO webhook_events (id, provider, kind, query, headers, body, dedupe_key, contact_key, received_at)
		SELECT id, provider, kind, query, headers::jsonb, body, dedupe_key, NULLIF(contact_key, ''), received_at
		FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bytea[], $7::text[], $8::text[], $9::timestamptz[])
			AS r (id, provider, kind, query, headers, body, dedupe_key, contact_key, received_at)
		ON CONFLICT DO NOTHING
		RETURNING id`

// enqueueJobs inserts the jobs of those that were new. IS TRUE has them looked up in a hash table: the planner, which knows
// of no batch how large it will be, would as soon compare each with all.
const enqueueJobs = `
		INSERT INTO river_job (args, created_at, kind, max_attempts, metadata, priority, queue, scheduled_at, state)
		SELECT args::jsonb, created_at, kind, max_attempts, metadata::jsonb, priority, queue, scheduled_at, state::river_job_state
		FROM unnest($10::uuid[], $11::text[], $12::timestamptz[], $13::text[], $14::smallint[], $15::text[], $16::smallint[], $17::text[],
				$18::timestamptz[], $19::text[])
			AS j (receipt_id, args, created_at, kind, max_attempts, metadata, priority, queue, scheduled_at, state)
		WHERE (receipt_id IN (SELECT id FROM stored)) IS TRUE`

// storeWithJobs does both.
const storeWithJobs = "WITH stored AS (" + storeReceipts + "), enqueued AS (" + enqueueJobs + ") SELECT id FROM stored"

// insertReceipts queues the insert of receipts and, for those that are new, of their jobs, or of the outcome of those that
// have none. It fills added with the new ones' ids.
func (i *Inbox) insertReceipts(
	ctx context.Context, conn *pgx.Conn, first *pgx.Batch, batch []*entry, added map[uuid.UUID]struct{},
) error {
	// Transactions that insert the same keys in different orders would wait for each other. Stable: of duplicates within
	// the batch, the first to come is stored.
	sorted := slices.Clone(batch)
	slices.SortStableFunc(sorted, func(a, b *entry) int { return cmp.Compare(a.dedupeKey, b.dedupeKey) })

	first.Queue(i.lockTimeout())
	insert, args := storeReceipts, columns(receiptFields(), sorted)
	var (
		ignored []uuid.UUID
		toDo    = make([]*entry, 0, len(batch))
	)
	for _, e := range batch {
		if e.job == nil {
			ignored = append(ignored, e.id)
		} else {
			toDo = append(toDo, e)
		}
	}
	var made *jobTx
	if len(toDo) > 0 {
		var err error
		if made, err = i.jobRows(ctx, conn, toDo); err != nil {
			return err
		}
		insert = storeWithJobs
		args = append(args, columns(jobFields(), toDo)...)
	}
	first.Queue(insert, args...).Query(func(rows pgx.Rows) error {
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
	if len(ignored) > 0 {
		first.Queue(`
			INSERT INTO receipt_outcomes (receipt_id, outcome)
			SELECT id, 'ignored'
			FROM webhook_events
			WHERE id = ANY ($1::uuid[])`, ignored)
	}
	if made != nil {
		for _, s := range made.statements {
			first.Queue(s.sql, s.args...)
		}
	}
	return nil
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
