package inbox

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Full reports whether the next receipt would be refused: the process should get no more traffic for now.
func (i *Inbox) Full() bool {
	return i.queue.len() >= i.opts.QueueLength || i.bytes.Load() >= i.opts.QueueBytes
}

// Settle waits, for an opt-out that came another way than by a receipt and is committed, until no provider call to
// the address can start any more. It is what [Inbox.Accept] does before it answers.
func Settle(ctx context.Context, pool *pgxpool.Pool, h Hold) error {
	base, cancel := context.WithCancel(ctx)
	defer cancel()
	i := &Inbox{opts: Options{Pool: pool, SettleTimeout: defaultSettleTimeout}, settles: make(chan struct{}, 1), base: base}
	return i.settle(ctx, h)
}
