package inbox_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"onward/jobs"
	"onward/web/inbox"
)

func TestNew_refuses(t *testing.T) {
	t.Parallel()

	pool := newDB(t)
	client := insertOnly(t, pool)
	for name, opts := range map[string]inbox.Options{
		"no pool":            {River: client},
		"no river":           {Pool: pool},
		"negative size":      {Pool: pool, River: client, MaxBatch: -1},
		"negative time-out":  {Pool: pool, River: client, CommitTimeout: -1},
		"settling too short": {Pool: pool, River: client, SettleTimeout: time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := inbox.New(opts)
			require.Error(t, err)
		})
	}
}

func TestAccept_storesTheReceiptAsItCame(t *testing.T) {
	t.Parallel()

	now := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	b := started(t, func(o *inbox.Options) { o.Clock = func() time.Time { return now } })

	id, result, err := b.Accept(t.Context(), status(7))
	require.NoError(t, err)
	require.Equal(t, inbox.Accepted, result)
	require.EqualValues(t, 7, id.Version())

	var (
		provider, kind, query, key, contact, contentType string
		body                                             []byte
		receivedAt                                       time.Time
	)
	require.NoError(t, b.pool.QueryRow(t.Context(), `
		SELECT provider, kind, query, dedupe_key, contact_key, headers->'Content-Type'->>0, body, received_at
		FROM webhook_events
		WHERE id = $1`, id).Scan(&provider, &kind, &query, &key, &contact, &contentType, &body, &receivedAt))
	require.Equal(t, "twilio", provider)
	require.Equal(t, "message_status", kind)
	require.Equal(t, "m=7&a=1", query)
	require.Equal(t, "ts:SM7:delivered", key)
	require.Equal(t, "sms:+15550000007", contact)
	require.Equal(t, "application/x-www-form-urlencoded", contentType)
	require.Equal(t, []byte("ts:SM7:delivered"), body)
	require.True(t, now.Equal(receivedAt))

	var jobKind, queue, receiptID string
	require.NoError(t, b.pool.QueryRow(t.Context(), `SELECT kind, queue, args->>'receipt_id' FROM river_job`).Scan(&jobKind, &queue, &receiptID))
	require.Equal(t, "status_callback", jobKind)
	require.Equal(t, jobs.QueueCallbacks, queue)
	require.Equal(t, id.String(), receiptID)
}

func TestAccept_receiptThatNothingAppliesHasItsOutcomeAtOnce(t *testing.T) {
	t.Parallel()

	b := started(t, nil)
	id, result, err := b.Accept(t.Context(), inbox.Receipt{
		Provider:  jobs.ProviderRecurrente,
		Kind:      "setup_intent.succeeded",
		DedupeKey: "rc:msg_1",
		// Nothing would ever lift it.
		Hold: &inbox.Hold{Channel: jobs.ChannelEmail, Address: "a@example.com"},
	})
	require.NoError(t, err)
	require.Equal(t, inbox.Accepted, result)

	b.requireWhole(t, 1)
	require.Equal(t, 1, b.count(t, "receipt_outcomes WHERE receipt_id = $1 AND outcome = 'ignored'", id))
	require.Zero(t, b.count(t, "inbound_pending"))
}

func TestAccept_duplicates(t *testing.T) {
	t.Parallel()

	t.Run("one after the other", func(t *testing.T) {
		t.Parallel()
		b := started(t, nil)

		_, result, err := b.Accept(t.Context(), status(1))
		require.NoError(t, err)
		require.Equal(t, inbox.Accepted, result)

		id, result, err := b.Accept(t.Context(), status(1))
		require.NoError(t, err)
		require.Equal(t, inbox.Duplicate, result)
		require.Equal(t, uuid.Nil, id)
		b.requireWhole(t, 1)
	})

	t.Run("in one batch", func(t *testing.T) {
		t.Parallel()
		b := setup(t, func(o *inbox.Options) { o.Committers = 1 })

		answers, wait := b.acceptAsync(t.Context(), []inbox.Receipt{status(1), status(2), status(1), status(1), status(2)})
		b.waitQueued(t, 5)
		b.Start()
		wait()

		require.Equal(t, map[inbox.Result]int{inbox.Accepted: 2, inbox.Duplicate: 3}, tally(answers))
		b.requireWhole(t, 2)
	})

	t.Run("in batches that run at the same time, in any order", func(t *testing.T) {
		t.Parallel()

		var failures sync.Map
		b := started(t, func(o *inbox.Options) {
			o.Committers, o.MaxBatch = 4, 10
			o.Observe.Failed = func(_ int, err error) { failures.Store(err.Error(), true) }
		})

		const keys, times = 40, 10
		var receipts []inbox.Receipt
		for round := range times {
			for n := range keys {
				if round%2 == 1 {
					n = keys - 1 - n
				}
				receipts = append(receipts, status(n))
			}
		}
		answers := b.acceptAll(t.Context(), receipts)

		require.Equal(t, map[inbox.Result]int{inbox.Accepted: keys, inbox.Duplicate: keys * (times - 1)}, tally(answers))
		b.requireWhole(t, keys)
		failures.Range(func(err, _ any) bool { t.Errorf("a transaction failed: %s", err); return true })
	})

	t.Run("in transactions that insert the same keys", func(t *testing.T) {
		t.Parallel()

		failures := make(chan error, 10)
		b := setup(t, func(o *inbox.Options) {
			o.Committers = 1
			o.Observe.Failed = func(_ int, err error) { failures <- err }
		})
		insert := `
			INSERT INTO webhook_events (id, provider, kind, headers, body, dedupe_key, received_at)
			VALUES ($1, 'twilio', 'message_status', '{}', '', $2, now())`

		other, err := b.pool.Begin(t.Context())
		require.NoError(t, err)
		defer func() { _ = other.Rollback(t.Context()) }()
		_, err = other.Exec(t.Context(), insert, uuid.Must(uuid.NewV7()), status(1).DedupeKey)
		require.NoError(t, err)

		// In the other order, so that each would wait for the other if keys were not sorted.
		two, wait2 := b.acceptAsync(t.Context(), []inbox.Receipt{status(2)})
		b.waitQueued(t, 1)
		one, wait1 := b.acceptAsync(t.Context(), []inbox.Receipt{status(1)})
		b.waitQueued(t, 2)
		b.Start()
		b.waitBlocked(t, 1)

		_, err = other.Exec(t.Context(), insert, uuid.Must(uuid.NewV7()), status(2).DedupeKey)
		require.NoError(t, err)
		require.NoError(t, other.Commit(t.Context()))
		wait1()
		wait2()
		require.Equal(t, inbox.Duplicate, one[0].result)
		require.Equal(t, inbox.Duplicate, two[0].result)
		require.Empty(t, failures)
	})

	t.Run("never without a key", func(t *testing.T) {
		t.Parallel()
		b := started(t, nil)

		r := status(1)
		r.DedupeKey = ""
		answers := b.acceptAll(t.Context(), []inbox.Receipt{r, r, r})
		require.Equal(t, map[inbox.Result]int{inbox.Accepted: 3}, tally(answers))
		b.requireWhole(t, 3)
	})
}

func TestAccept_idleCommitsAtOnceAndWhatArrivesMeanwhileIsOneBatch(t *testing.T) {
	t.Parallel()

	sizes := make(chan int, 100)
	b := started(t, func(o *inbox.Options) {
		o.Committers = 1
		o.Observe.Committed = func(size int, _ time.Duration) { sizes <- size }
	})

	release := b.block(t, "LOCK TABLE river_job IN ACCESS EXCLUSIVE MODE")

	_, first := b.acceptAsync(t.Context(), []inbox.Receipt{status(0)})
	b.waitBlocked(t, 1)

	var receipts []inbox.Receipt
	for n := range 50 {
		receipts = append(receipts, status(n+1))
	}
	_, rest := b.acceptAsync(t.Context(), receipts)
	b.waitQueued(t, 50)

	release()
	first()
	rest()
	require.Equal(t, 1, <-sizes)
	require.Equal(t, 50, <-sizes)
	b.requireWhole(t, 51)
}

func TestAccept_batchesAreBoundedInNumberAndBytes(t *testing.T) {
	t.Parallel()

	sizes := make(chan int, 100)
	b := setup(t, func(o *inbox.Options) {
		o.Committers, o.MaxBatch = 1, 10
		o.Observe.Committed = func(size int, _ time.Duration) { sizes <- size }
	})

	var receipts []inbox.Receipt
	for n := range 15 {
		receipts = append(receipts, status(n))
	}
	_, small := b.acceptAsync(t.Context(), receipts)
	b.waitQueued(t, 15)

	receipts = nil
	for n := range 6 {
		large := status(100 + n)
		large.Body = make([]byte, 1<<20)
		receipts = append(receipts, large)
	}
	_, large := b.acceptAsync(t.Context(), receipts)
	b.waitQueued(t, 21)
	b.Start()
	small()
	large()

	require.Equal(t, 10, <-sizes)
	require.Equal(t, 9, <-sizes, "five small and four MiB")
	require.Equal(t, 2, <-sizes)
}

func TestAccept_wakesTheQueuesOfNewJobsAfterTheCommit(t *testing.T) {
	t.Parallel()

	woken := make(chan []string, 10)
	b := setup(t, func(o *inbox.Options) {
		o.Committers = 1
		o.Wake = func(queues []string) { woken <- queues }
	})

	_, wait := b.acceptAsync(t.Context(), []inbox.Receipt{status(1), status(2)})
	b.waitQueued(t, 2)
	_, wait2 := b.acceptAsync(t.Context(), []inbox.Receipt{stop(1, "+15550000001")})
	b.waitQueued(t, 3)
	b.Start()
	wait()
	wait2()
	require.Equal(t, []string{jobs.QueueCallbacks, jobs.QueueInbound}, <-woken)

	_, result, err := b.Accept(t.Context(), status(1))
	require.NoError(t, err)
	require.Equal(t, inbox.Duplicate, result)
	_, _, err = b.Accept(t.Context(), inbox.Receipt{Provider: jobs.ProviderRecurrente, Kind: "new.event", DedupeKey: "rc:1"})
	require.NoError(t, err)
	require.NoError(t, b.Stop(t.Context()))
	require.Empty(t, woken, "neither a duplicate nor a receipt without a job wakes anyone")
}

func TestPromise6_fullQueueRefusesAtOnce(t *testing.T) {
	t.Parallel()

	b := setup(t, func(o *inbox.Options) { o.QueueLength = 3 })
	answers, wait := b.acceptAsync(t.Context(), []inbox.Receipt{status(1), status(2), status(3)})
	b.waitQueued(t, 3)

	_, _, err := b.Accept(t.Context(), status(4))
	require.ErrorIs(t, err, inbox.ErrOverloaded)

	b.Start()
	wait()
	require.Equal(t, map[inbox.Result]int{inbox.Accepted: 3}, tally(answers))
	b.requireWhole(t, 3)
	require.Zero(t, b.count(t, "webhook_events WHERE dedupe_key = 'ts:SM4:delivered'"))

	_, result, err := b.Accept(t.Context(), status(4))
	require.NoError(t, err)
	require.Equal(t, inbox.Accepted, result)
}

func TestPromise6_memoryOfWaitingReceiptsIsBounded(t *testing.T) {
	t.Parallel()

	b := setup(t, func(o *inbox.Options) { o.QueueBytes = 3 << 20 })
	large := func(n int) inbox.Receipt {
		r := status(n)
		r.Body = make([]byte, 1<<20)
		return r
	}
	_, wait := b.acceptAsync(t.Context(), []inbox.Receipt{large(1), large(2)})
	b.waitQueued(t, 2)

	_, _, err := b.Accept(t.Context(), large(3))
	require.ErrorIs(t, err, inbox.ErrOverloaded)

	b.Start()
	wait()
	// The bytes of those that are answered are free again, over and over.
	for n := range 10 {
		_, _, err := b.Accept(t.Context(), large(10+n))
		require.NoError(t, err)
	}
	b.requireWhole(t, 12)
}

func TestPromise6_waitingTooLongIsRefusedAndNotStoredAfterwards(t *testing.T) {
	t.Parallel()

	b := setup(t, func(o *inbox.Options) { o.QueueTimeout = 20 * time.Millisecond })
	_, _, err := b.Accept(t.Context(), status(1))
	require.ErrorIs(t, err, inbox.ErrOverloaded)

	b.Start()
	require.NoError(t, b.Stop(t.Context()))
	b.requireWhole(t, 0)
}

func TestAccept_callerThatIsGoneIsHarmless(t *testing.T) {
	t.Parallel()

	b := setup(t, nil)

	gone, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := b.Accept(gone, status(1))
	require.ErrorIs(t, err, context.Canceled)
	require.Zero(t, b.Len(), "it was gone before it came")

	leaving, cancel := context.WithCancel(t.Context())
	answers, wait := b.acceptAsync(leaving, []inbox.Receipt{status(2), status(3), stop(4, "+15550000004")})
	b.waitQueued(t, 3)
	cancel()
	wait()
	for _, a := range answers {
		require.ErrorIs(t, a.err, context.Canceled)
	}

	b.Start()
	_, _, err = b.Accept(t.Context(), status(5))
	require.NoError(t, err)
	require.NoError(t, b.Stop(t.Context()))
	b.requireWhole(t, 4)
}

func TestStop_storesWhatIsQueued(t *testing.T) {
	t.Parallel()

	b := setup(t, func(o *inbox.Options) { o.MaxBatch = 7 })
	var receipts []inbox.Receipt
	for n := range 100 {
		receipts = append(receipts, status(n))
	}
	answers, wait := b.acceptAsync(t.Context(), receipts)
	b.waitQueued(t, 100)
	b.Start()
	require.NoError(t, b.Stop(t.Context()))
	wait()

	require.Equal(t, map[inbox.Result]int{inbox.Accepted: 100}, tally(answers))
	b.requireWhole(t, 100)

	_, _, err := b.Accept(t.Context(), status(200))
	require.ErrorIs(t, err, inbox.ErrStopped)
	require.NoError(t, b.Stop(t.Context()), "a second time")
}

func TestStop_beforeStart(t *testing.T) {
	t.Parallel()

	b := setup(t, nil)
	answers, wait := b.acceptAsync(t.Context(), []inbox.Receipt{status(1)})
	b.waitQueued(t, 1)
	require.NoError(t, b.Stop(t.Context()))
	wait()
	require.ErrorIs(t, answers[0].err, inbox.ErrStopped)

	b.Start()
	_, _, err := b.Accept(t.Context(), status(2))
	require.ErrorIs(t, err, inbox.ErrStopped)
}

func TestStop_withoutPatienceAnswersEveryone(t *testing.T) {
	t.Parallel()

	b := started(t, nil)
	release := b.block(t, "LOCK TABLE river_job IN ACCESS EXCLUSIVE MODE")

	var receipts []inbox.Receipt
	for n := range 20 {
		receipts = append(receipts, status(n))
	}
	answers, wait := b.acceptAsync(t.Context(), receipts)
	b.waitBlocked(t, 1)

	now, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, b.Stop(now), context.Canceled)
	wait()
	require.Equal(t, map[inbox.Result]int{0: 20}, tally(answers))

	release()
	b.requireWhole(t, 0)
}
