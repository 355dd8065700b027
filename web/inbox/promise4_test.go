package inbox_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"onward/jobs"
	"onward/web/inbox"
)

// addMessage adds a business and a message queued for it.
func (b *bundle) addMessage(t testing.TB, address string) int64 {
	t.Helper()
	var id int64
	require.NoError(t, b.pool.QueryRow(t.Context(), `
		WITH business AS (
			INSERT INTO businesses (public_id, name, phone)
			VALUES (gen_random_uuid(), 'Panadería', $1)
			RETURNING id
		)
		INSERT INTO messages (public_id, business_id, channel, address, body)
		SELECT gen_random_uuid(), id, 'sms', $1, 'hello'
		FROM business
		RETURNING id`, address).Scan(&id))
	return id
}

// dispatch does what a worker does before it calls the provider.
func (b *bundle) dispatch(ctx context.Context, message int64, address string) error {
	return pgx.BeginFunc(ctx, b.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `UPDATE messages SET state = 'dispatching', attempt = attempt + 1 WHERE id = $1`, message); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `
			INSERT INTO dispatches (message_id, channel, address, attempt, dispatched_at)
			VALUES ($1, 'sms', $2, 1, now())`, message, address)
		return err
	})
}

// refusedForHold tells the refusal of a dispatch to an address that a receipt holds.
func refusedForHold(err error) bool {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pgErr.Code == "ON002"
}

func TestPromise4_acceptedHoldStopsDispatches(t *testing.T) {
	t.Parallel()

	b := started(t, nil)
	const held, free = "+15550000001", "+15550000002"
	message, other := b.addMessage(t, held), b.addMessage(t, free)

	id, _, err := b.Accept(t.Context(), stop(1, held))
	require.NoError(t, err)
	require.Equal(t, 1, b.count(t, "inbound_pending WHERE receipt_id = $1 AND channel = 'sms' AND address = $2", id, held))

	require.True(t, refusedForHold(b.dispatch(t.Context(), message, held)))
	require.NoError(t, b.dispatch(t.Context(), other, free))
}

func TestPromise4_answerWaitsForARunningDispatch(t *testing.T) {
	t.Parallel()

	// One answer waits for each delivery. The first one's may be lost, and then the second's is the one that counts.
	for name, deliveries := range map[string]int{"first delivery": 1, "duplicate": 2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			var settled atomic.Int32
			// Nothing but its end ends the waiting for a dispatch here, however long this takes.
			b := started(t, func(o *inbox.Options) {
				o.SettleTimeout, o.Observe.Settled = time.Hour, func(time.Duration) { settled.Add(1) }
			})
			const address = "+15550000001"
			require.NoError(t, b.dispatch(t.Context(), b.addMessage(t, address), address))
			b.exec(t, `UPDATE dispatches SET dispatched_at = now() + interval '1 hour'`)
			if deliveries == 2 {
				gone, cancel := context.WithCancel(t.Context())
				_, wait := b.acceptAsync(gone, []inbox.Receipt{stop(1, address)})
				require.Eventually(t, func() bool { return b.count(t, "inbound_pending") == 1 }, patience, time.Millisecond)
				cancel()
				wait()
			}

			var over, overAtAnswer atomic.Bool
			var caller sync.WaitGroup
			caller.Go(func() {
				_, result, err := b.Accept(t.Context(), stop(1, address))
				overAtAnswer.Store(over.Load() && result != 0 && err == nil)
			})
			require.Eventually(t, func() bool { return b.count(t, "inbound_pending") == 1 }, patience, time.Millisecond)

			over.Store(true)
			b.exec(t, "DELETE FROM dispatches")
			caller.Wait()
			require.True(t, overAtAnswer.Load())
			// The first delivery may be given up before its answer began to wait.
			require.Positive(t, settled.Load())
			require.LessOrEqual(t, int(settled.Load()), deliveries)
		})
	}
}

func TestPromise4_answerWaitsNoLongerThanACallCanStart(t *testing.T) {
	t.Parallel()

	const address = "+15550000001"
	for name, test := range map[string]struct {
		change string
		waits  bool
	}{
		"a dispatch that nobody ends": {`UPDATE dispatches SET state = 'calling'`, true},
		"an old dispatch":             {`UPDATE dispatches SET dispatched_at = now() - interval '3.1 seconds'`, false},
		"an unknown outcome":          {`UPDATE dispatches SET state = 'unknown', unknown_at = now()`, false},
		"another address":             {`UPDATE dispatches SET address = '+15550000009'`, false},
		"another channel":             {`UPDATE dispatches SET channel = 'email'`, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			waited := make(chan time.Duration, 1)
			b := started(t, func(o *inbox.Options) { o.Observe.Settled = func(d time.Duration) { waited <- d } })
			require.NoError(t, b.dispatch(t.Context(), b.addMessage(t, address), address))
			b.exec(t, test.change)

			_, result, err := b.Accept(t.Context(), stop(1, address))
			require.NoError(t, err)
			require.Equal(t, inbox.Accepted, result)
			if !test.waits {
				require.Empty(t, waited)
				return
			}
			// It waits until the call can't start any more, and it waits for nothing else: nobody ends this dispatch.
			require.Equal(t, 1, b.count(t, `dispatches WHERE dispatched_at <= now() - interval '3 seconds'`))
			require.Less(t, <-waited, patience)
		})
	}
}

func TestPromise4_callerWhoLeavesDuringTheWaitGetsNoAnswer(t *testing.T) {
	t.Parallel()

	b := started(t, nil)
	const address = "+15550000001"
	require.NoError(t, b.dispatch(t.Context(), b.addMessage(t, address), address))

	leaving, cancel := context.WithCancel(t.Context())
	answers, wait := b.acceptAsync(leaving, []inbox.Receipt{stop(1, address)})
	require.Eventually(t, func() bool { return b.count(t, "inbound_pending") == 1 }, patience, time.Millisecond)
	cancel()
	wait()
	require.ErrorIs(t, answers[0].err, context.Canceled)
	b.requireWhole(t, 1)
}

// Whichever comes first: the dispatch is refused because of the hold, or the answer waits until its call is over.
func TestPromise4_noCallStartsAfterTheAnswer(t *testing.T) {
	t.Parallel()

	b := started(t, nil)
	const rounds, atOnce = 400, 8

	var refused, waitedFor atomic.Int32
	var next atomic.Int32
	messages := make([]int64, rounds)
	for n := range messages {
		messages[n] = b.addMessage(t, fmt.Sprintf("+1555%07d", n))
	}

	round := func(n int) error {
		address := fmt.Sprintf("+1555%07d", n)
		var (
			callOver, overAtAnswer atomic.Bool
			dispatchErr, acceptErr error
			both                   sync.WaitGroup
		)
		both.Go(func() {
			if dispatchErr = b.dispatch(t.Context(), messages[n], address); dispatchErr != nil {
				return
			}
			callOver.Store(true)
			_, dispatchErr = b.pool.Exec(t.Context(), "DELETE FROM dispatches WHERE message_id = $1", messages[n])
		})
		both.Go(func() {
			_, _, acceptErr = b.Accept(t.Context(), stop(n, address))
			overAtAnswer.Store(callOver.Load())
		})
		both.Wait()

		switch {
		case acceptErr != nil:
			return acceptErr
		case refusedForHold(dispatchErr):
			refused.Add(1)
			return nil
		case dispatchErr != nil:
			return dispatchErr
		case !overAtAnswer.Load():
			return fmt.Errorf("round %d: answered before the call to %s was over", n, address)
		}
		waitedFor.Add(1)
		return nil
	}

	errs := make(chan error, atOnce)
	for range atOnce {
		go func() {
			for n := int(next.Add(1)) - 1; n < rounds; n = int(next.Add(1)) - 1 {
				if err := round(n); err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	for range atOnce {
		require.NoError(t, <-errs)
	}
	t.Logf("%d dispatches were refused, %d came first", refused.Load(), waitedFor.Load())
	b.requireWhole(t, rounds)
}

// Every transaction takes the locks of its addresses in the same order.
func TestPromise4_holdsOnTheSameAddressesDoNotDeadlock(t *testing.T) {
	t.Parallel()

	failures := make(chan error, 10)
	b := setup(t, func(o *inbox.Options) {
		o.Committers = 1
		o.Observe.Failed = func(_ int, err error) { failures <- err }
	})
	const first, second = "+15550000001", "+15550000002"
	hold := `INSERT INTO inbound_pending (receipt_id, channel, address) VALUES (gen_random_uuid(), 'sms', $1)`

	other, err := b.pool.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = other.Rollback(t.Context()) }()
	_, err = other.Exec(t.Context(), hold, first)
	require.NoError(t, err)

	_, wait2 := b.acceptAsync(t.Context(), []inbox.Receipt{stop(2, second)})
	b.waitQueued(t, 1)
	_, wait1 := b.acceptAsync(t.Context(), []inbox.Receipt{stop(1, first)})
	b.waitQueued(t, 2)
	b.Start()
	b.waitBlocked(t, 1)

	_, err = other.Exec(t.Context(), hold, second)
	require.NoError(t, err)
	require.NoError(t, other.Commit(t.Context()))
	wait1()
	wait2()
	require.Empty(t, failures)
	require.Equal(t, 4, b.count(t, "inbound_pending"))
}

// A worker that hangs between its dispatch and its commit holds the address: its neighbours must not pay for it.
func TestPromise4_stuckDispatchDelaysItsAddressAlone(t *testing.T) {
	t.Parallel()

	b := setup(t, func(o *inbox.Options) { o.CommitTimeout, o.Committers = 5*time.Second, 1 }) // time for the others on a slow machine
	const address = "+15550000001"
	release := b.block(t, `UPDATE messages SET state = 'dispatching' WHERE id = $1`, b.addMessage(t, address))

	// Enough of them to use up the commit time-out, and first in the queue.
	var held, others []inbox.Receipt
	for n := range 8 {
		held = append(held, stop(n, address))
	}
	for n := range 20 {
		others = append(others, status(n))
	}
	answersHeld, waitHeld := b.acceptAsync(t.Context(), held)
	b.waitQueued(t, len(held))
	answers, wait := b.acceptAsync(t.Context(), others)
	b.waitQueued(t, len(held)+len(others))
	b.Start()
	waitHeld()
	wait()
	require.Equal(t, map[inbox.Result]int{0: len(held)}, tally(answersHeld))
	require.Equal(t, map[inbox.Result]int{inbox.Accepted: len(others)}, tally(answers))

	release()
	require.Equal(t, map[inbox.Result]int{inbox.Accepted: len(held)}, tally(b.acceptAll(t.Context(), held)))
	b.requireWhole(t, len(held)+len(others))
}

func TestPromise4_holdThatIsNoAddressIsNotKept(t *testing.T) {
	t.Parallel()

	b := started(t, nil)
	for n, hold := range []*inbox.Hold{
		nil,
		{},
		{Channel: jobs.ChannelSMS},
		{Address: "+15550000001"},
		{Channel: jobs.ChannelEmail, Address: "a\x00@example.com"},
	} {
		r := stop(n, "")
		r.Hold = hold
		_, result, err := b.Accept(t.Context(), r)
		require.NoError(t, err)
		require.Equal(t, inbox.Accepted, result)
	}
	require.Zero(t, b.count(t, "inbound_pending"))
	b.requireWhole(t, 5)
}
