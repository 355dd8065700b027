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

// Run runs fn in a transaction of conn. What first queues is sent with BEGIN, and its results have been read when fn is
// called; what fn queues on last is sent with COMMIT, and its results are read before Run returns. Either may queue
// nothing. fn must not end tx. What the server refuses of last stops the COMMIT; what a callback makes of its results does
// not: it is returned, and the transaction stays.
//
// Like [pgx.BeginFunc] it rolls back when anything fails. A connection that breaks while Run waits for the COMMIT leaves
// open, here as there, whether it took place.
func Run(
	ctx context.Context, conn *pgxpool.Conn, opts pgx.TxOptions, first func(first *pgx.Batch), fn func(tx pgx.Tx, last *pgx.Batch) error,
) error {
	batch := &pgx.Batch{}
	batch.BeginTx(opts)
	first(batch)
	begun := conn.SendBatch(ctx, batch)
	tx := begun.Tx()
	defer rollBack(ctx, conn, tx)
	if err := begun.Close(); err != nil {
		return err
	}
	last := &pgx.Batch{}
	if err := fn(tx, last); err != nil {
		return err
	}
	if last.Len() == 0 {
		return tx.Commit(ctx)
	}
	queueCommit(last)
	return conn.SendBatch(ctx, last).Close()
}

// RunWhole runs a transaction of conn whose statements are known before it begins: what whole queues is sent with BEGIN and with
// COMMIT, and is otherwise as Run's last.
func RunWhole(ctx context.Context, conn *pgxpool.Conn, opts pgx.TxOptions, whole func(*pgx.Batch)) error {
	batch := &pgx.Batch{}
	batch.BeginTx(opts)
	whole(batch)
	queueCommit(batch)
	sent := conn.SendBatch(ctx, batch)
	defer rollBack(ctx, conn, sent.Tx())
	return sent.Close()
}

func queueCommit(batch *pgx.Batch) {
	batch.Queue(`COMMIT`).Exec(func(tag pgconn.CommandTag) error {
		if tag.String() == "ROLLBACK" {
			return pgx.ErrTxCommitRollback
		}
		return nil
	})
}

// rollBack ends a transaction that something kept from its COMMIT. The error is on its way already; a connection that can't
// roll back gets closed.
func rollBack(ctx context.Context, conn *pgxpool.Conn, tx pgx.Tx) {
	if pg := conn.Conn().PgConn(); !pg.IsClosed() && pg.TxStatus() != 'I' {
		_ = tx.Rollback(ctx)
	}
}
