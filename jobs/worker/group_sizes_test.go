package worker

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"onward/jobs"
)

// groupSizes are of a lone job, of a few, and of more than one group holds.
var groupSizes = []int{1, 2, 3, 7, 64, 100, 2 * maxGroup}

// cutOnce ends the backend of the first transaction, when it has done everything but commit.
func cutOnce(run transact) transact {
	var cut sync.Once
	return func(ctx context.Context, first func(*pgx.Batch), fn func(pgx.Tx, *pgx.Batch) error) error {
		return run(ctx, first, func(tx pgx.Tx, last *pgx.Batch) error {
			err := fn(tx, last)
			cut.Do(func() { last.Queue(`SELECT pg_terminate_backend(pg_backend_pid())`) })
			return err
		})
	}
}

// poison lets the database refuse every row of a table for which a condition on NEW holds, until cure is called.
func (b *bundle) poison(table, condition string) (cure func()) {
	b.Helper()
	b.exec(`CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'poisoned'; END $$`)
	b.exec(`CREATE TRIGGER poison BEFORE INSERT ON ` + table + ` FOR EACH ROW WHEN (` + condition + `) EXECUTE FUNCTION poison()`)
	return func() {
		b.Helper()
		b.exec(`DROP TRIGGER poison ON ` + table)
	}
}

// Groups of callbacks of every size, whose receipts come along with their jobs or don't: the first transaction is cut off, and one job is poisoned. It fails alone; the others are
// applied once.
func TestPromise1_groupsOfEverySize(t *testing.T) {
	t.Parallel()
	forGroups(func(n int, fetched bool) {
		t.Run(fmt.Sprintf("%d, fetched %t", n, fetched), func(t *testing.T) {
			t.Parallel()
			b := setup(t, nil)
			receipts, businesses := b.sentMessages(n, b.campaign(jobs.ChannelSMS), "undelivered")
			poisoned := n / 2
			cure := b.poison("facts", fmt.Sprintf("NEW.business_id = %d", businesses[poisoned]))
			b.a.callbacks.run = cutOnce(b.a.callbacks.run)
			if fetched {
				b.fetch(receipts)
			}
			for i, err := range b.together(receipts) {
				if i == poisoned {
					require.ErrorContains(t, err, "poisoned")
				} else {
					require.NoError(t, err, i)
				}
			}
			applied := func(want int) {
				t.Helper()
				require.Equal(t, want, b.number(`SELECT count(*) FROM facts WHERE event = 'sms_failed'`))
				require.Equal(t, want, b.number(`SELECT count(*) FROM transitions WHERE to_status = 'bounced' AND verdict = 'applied'`))
				require.Equal(t, want, b.number(`SELECT count(*) FROM messages WHERE state = 'undelivered'`))
				require.Equal(t, want, b.number(`SELECT count(*) FROM receipt_outcomes WHERE outcome = 'applied'`))
				b.requireSound()
			}
			applied(n - 1)
			cure()
			b.apply(receipts[poisoned], b.a.statusCallback)
			applied(n)
		})
	})
}

// forGroups calls fn with every size, and with receipts that come along with their jobs, or not.
func forGroups(fn func(n int, fetched bool)) {
	for _, n := range groupSizes {
		fn(n, false)
		fn(n, true)
	}
}

// Groups of sends of every size: the first transaction of slots, of decisions and of outcomes is cut off, and one message is
// poisoned. It fails alone, and is not called; the others are called once.
func TestPromise3_groupsOfSendsOfEverySize(t *testing.T) {
	t.Parallel()
	for _, n := range groupSizes {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			t.Parallel()
			b := setup(t, nil)
			messages, addresses := b.queuedTexts(b.campaign(jobs.ChannelSMS), n)
			poisoned := n / 2
			cure := b.poison("dispatches", fmt.Sprintf("NEW.message_id = %d", messages[poisoned]))
			b.s.slots.run, b.s.dispatches.run, b.s.settled.run = cutOnce(b.s.slots.run), cutOnce(b.s.dispatches.run), cutOnce(b.s.settled.run)
			for i, err := range b.sendTogether(messages) {
				if i == poisoned {
					require.ErrorContains(t, err, "poisoned")
				} else {
					require.NoError(t, err, i)
				}
			}
			sent := func(want int) {
				t.Helper()
				called := map[string]int{}
				for _, c := range b.sim.Calls() {
					called[c.To]++
					require.Equal(t, 1, called[c.To], "calls of %s", c.To)
				}
				require.Len(t, called, want)
				require.Equal(t, want, b.number(`SELECT count(*) FROM messages WHERE state = 'accepted'`))
				require.Equal(t, want, b.number(`SELECT count(*) FROM facts WHERE event = 'sms_sent'`))
				b.requireSound()
			}
			sent(n - 1)
			require.Zero(t, b.calls(addresses[poisoned]))
			cure()
			require.NoError(t, b.send(messages[poisoned], jobs.ChannelSMS))
			sent(n)
		})
	}
}
