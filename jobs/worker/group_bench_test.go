package worker

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/riverqueue/river/rivertype"
	"github.com/stretchr/testify/require"

	"onward/jobs"
)

// BenchmarkStatusCallback applies delivered callbacks of different businesses, 100 jobs at a time, as a busy worker does.
// What River adds is not in it.
func BenchmarkStatusCallback(b *testing.B) {
	for _, mode := range []string{"alone", "group"} {
		b.Run(mode, func(b *testing.B) {
			s := setup(b, nil)
			ids := s.manyCallbacks(b.N)
			work := make(chan int, b.N)
			for i := range ids {
				work <- i
			}
			close(work)
			b.ResetTimer()
			var wg sync.WaitGroup
			for range 100 {
				wg.Go(func() {
					for i := range work {
						row := &rivertype.JobRow{ID: int64(i + 1), Attempt: 1, MaxAttempts: 25}
						args := jobs.ReceiptArgs{ReceiptID: ids[i].String()}
						var err error
						if mode == "group" {
							err = s.a.applyInGroup(s.ctx, row, args, s.a.callbacks, s.a.statusCallback)
						} else {
							err = s.a.apply(s.ctx, row, args, s.a.statusCallback)
						}
						if err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "callbacks/s")
		})
	}
}

// manyCallbacks inserts n accepted messages to as many businesses, with a callback receipt each.
func (b *bundle) manyCallbacks(n int) []uuid.UUID {
	_, err := b.pool.Exec(b.ctx, `
		WITH b AS (
			INSERT INTO businesses (public_id, name, phone)
			SELECT gen_random_uuid(), 'Business ' || i, '+1303' || lpad(i::text, 7, '0') FROM generate_series(1, $1) i
			RETURNING id, phone
		)
		INSERT INTO messages (public_id, business_id, channel, address, body, state, attempt, provider_sid, dispatched_at)
		SELECT gen_random_uuid(), id, 'sms', phone, 'Hello', 'accepted', 1, 'SM' || md5(id::text), now() FROM b`, n)
	require.NoError(b, err)
	ids := make([]uuid.UUID, n)
	text := make([]string, n)
	bodies := make([]string, n)
	rows, err := b.pool.Query(b.ctx, `SELECT provider_sid FROM messages ORDER BY id`)
	require.NoError(b, err)
	for i := 0; rows.Next(); i++ {
		var sid string
		require.NoError(b, rows.Scan(&sid))
		ids[i] = uuid.Must(uuid.NewV7())
		text[i] = ids[i].String()
		bodies[i] = fmt.Sprintf("AccountSid=%s&MessageSid=%s&MessageStatus=delivered&To=%%2B15558675310&From=%%2B15017122661&ApiVersion=2010-04-01", testAccount, sid)
	}
	require.NoError(b, rows.Err())
	_, err = b.pool.Exec(b.ctx, `
		INSERT INTO webhook_events (id, provider, kind, headers, body, dedupe_key, received_at)
		SELECT u.id::uuid, 'twilio', 'message_status', '{}', convert_to(u.body, 'UTF8'), u.id, $3
		FROM unnest($1::text[], $2::text[]) AS u (id, body)`, text, bodies, time.Now())
	require.NoError(b, err)
	_, err = b.pool.Exec(b.ctx, `VACUUM ANALYZE`)
	require.NoError(b, err)
	return ids
}
