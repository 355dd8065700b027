// Package pipeline runs transactions in fewer round trips: BEGIN goes out with the first statements, COMMIT with the last.
//
// A round trip to a database on the same machine costs 0.1 to 0.3 ms, most of it in waking up whoever waits for it: a
// transaction of eight takes its time there.
package pipeline

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Steps are those of a transaction, in their order.
type Steps struct {
	// First queues what is sent together with BEGIN.
	First func(first *pgx.Batch)

	// Do finds the results of First read; what it queues on last is sent together with COMMIT, and its results are read before
	// Run returns. It may queue nothing, and must not end tx. Without a Do, everything is sent at once.
	Do func(tx pgx.Tx, last *pgx.Batch) error
}

// Run runs a transaction of conn. What the server refuses of a step stops the COMMIT. What a callback makes of results that are
// read when the COMMIT is on its way (of last; without a Do, of First) does not: it is returned, and the transaction stays.
//
// Like [pgx.BeginFunc] it rolls back when anything fails. A connection that breaks while Run waits for the COMMIT leaves
// open, here as there, whether it took place.
func Run(ctx context.Context, conn *pgxpool.Conn, opts pgx.TxOptions, steps Steps) error {
	batch := &pgx.Batch{}
	batch.BeginTx(opts)
	steps.First(batch)
	if steps.Do == nil {
		return end(ctx, conn, batch)
	}
	defer rollback(ctx, conn)
	begun := conn.SendBatch(ctx, batch)
	tx := begun.Tx()
	if err := begun.Close(); err != nil {
		return err
	}

	last := &pgx.Batch{}
	if err := steps.Do(tx, last); err != nil {
		return err
	}
	return end(ctx, conn, last)
}

// end sends a batch and the COMMIT.
func end(ctx context.Context, conn *pgxpool.Conn, batch *pgx.Batch) error {
	defer rollback(ctx, conn)
	batch.Queue(`COMMIT`).Exec(func(tag pgconn.CommandTag) error {
		if tag.String() == "ROLLBACK" {
			return pgx.ErrTxCommitRollback
		}
		return nil
	})
	return conn.SendBatch(ctx, batch).Close()
}

// rollback ends a transaction that was not committed. The error is on its way already; a connection that can't roll back gets
// closed.
func rollback(ctx context.Context, conn *pgxpool.Conn) {
	if pg := conn.Conn().PgConn(); !pg.IsClosed() && pg.TxStatus() != 'I' {
		if _, err := conn.Exec(ctx, `ROLLBACK`); err != nil {
			_ = conn.Conn().Close(ctx)
		}
	}
}
