package pgstore

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// madeOrder gives out the ids of what lists show by id, so that they grow with time over all businesses. Facts are not among
// it: whoever follows them by id relies on it that a transaction takes ids when it begins.
type madeOrder struct {
	messages, replies, suppressions idsInTime
}

// orderMade makes everything up once, to learn what happens when, and reserves ids. It keeps 16 bytes of each message,
// reply and suppression.
func orderMade(ctx context.Context, pool *pgxpool.Pool, o GenerateOptions, from int64, campaigns []madeCampaign) (*madeOrder, error) {
	order := &madeOrder{}
	for chunk := range makeChunks(o, from, campaigns) {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("make up businesses: %w", context.Cause(ctx))
		}
		for _, l := range chunk {
			if l.b.state.Contact.OptedOut {
				order.suppressions.add(l.optedOutAt)
			}
			if l.out == nil {
				continue
			}
			for _, m := range l.out.messages {
				order.messages.add(m.queuedAt)
			}
			for _, r := range l.out.replies {
				order.replies.add(r.at)
			}
		}
	}
	for table, of := range map[string]*idsInTime{"messages": &order.messages, "inbound_messages": &order.replies, "suppressions": &order.suppressions} {
		if err := of.reserve(ctx, pool, table); err != nil {
			return nil, err
		}
	}
	return order, nil
}

// idsInTime gives the rows of a table ids in the order of their times.
type idsInTime struct {
	times []int64 // in microseconds, ascending once they are reserved
	ids   []int64
	taken map[int64]int // by time: how many rows of the same time have theirs
}

func (i *idsInTime) add(at time.Time) { i.times = append(i.times, at.UnixMicro()) }

// reserve takes ids from the table's sequence, as inserts would: nobody else gets them.
func (i *idsInTime) reserve(ctx context.Context, pool *pgxpool.Pool, table string) error {
	slices.Sort(i.times)
	i.taken = map[int64]int{}
	err := pool.QueryRow(ctx, `
		SELECT COALESCE(array_agg(nextval(pg_get_serial_sequence($1, 'id'))), '{}')
		FROM generate_series(1, $2::int)`, table, len(i.times)).Scan(&i.ids)
	if err != nil {
		return fmt.Errorf("reserve ids of %s: %w", table, err)
	}
	return nil
}

// id is that of a row of a time that was added.
func (i *idsInTime) id(at time.Time) int64 {
	first, _ := slices.BinarySearch(i.times, at.UnixMicro())
	if first+1 < len(i.times) && i.times[first+1] == i.times[first] {
		i.taken[i.times[first]]++
		first += i.taken[i.times[first]] - 1
	}
	return i.ids[first]
}
