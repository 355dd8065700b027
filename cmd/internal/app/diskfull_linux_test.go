package app_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"onward/cmd/internal/app"
)

// The disk that the queue is on fills up. What does not fit is answered 503 before anything of it is stored, neighbours in
// the same batch included; what was answered 204 is applied once there is room again, without a restart.
func TestPromise6_diskOfTheQueueIsFull(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounts a file system of two megabytes, which only root may")
	}
	t.Parallel()
	db := mortalDatabase(t)
	small := filepath.Join(db.Server.Dir(), "small")
	require.NoError(t, os.Mkdir(small, 0o700))
	if err := syscall.Mount("onward-test", small, "tmpfs", 0, "size=2m"); err != nil {
		t.Skipf("mounts a file system of two megabytes: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(small, syscall.MNT_DETACH) })
	data, err := os.Stat(filepath.Join(db.Server.Dir(), "data"))
	require.NoError(t, err)
	owner, ok := data.Sys().(*syscall.Stat_t)
	require.True(t, ok)
	require.NoError(t, os.Chown(small, int(owner.Uid), int(owner.Gid)))
	for _, sql := range []string{
		`CREATE TABLESPACE small LOCATION '` + small + `'`, `ALTER TABLE river_job SET TABLESPACE small`,
	} {
		_, err := db.Pool.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	s := startOn(t, db, func(o *app.Options) { o.Role, o.Logger = app.RoleWeb, slog.New(slog.DiscardHandler) }, nil)
	const n = 12_000
	_, err = db.Pool.Exec(t.Context(), `
		WITH b AS (
			INSERT INTO businesses (public_id, name, phone)
			SELECT gen_random_uuid(), 'Business ' || i, '+120255' || lpad(i::text, 5, '0') FROM generate_series(1, $1) i
			RETURNING id, phone
		)
		INSERT INTO messages (public_id, business_id, channel, address, body, state, attempt, provider_sid, dispatched_at)
		SELECT gen_random_uuid(), id, 'sms', phone, 'Hello', 'accepted', 1, 'SM' || id, now() FROM b`, n)
	require.NoError(t, err)
	first := s.count(`SELECT min(id) FROM businesses`)

	// post delivers one callback once, and tells whether it was accepted; what it was told else is 503 with a time to wait.
	post := func(i int) bool {
		form := url.Values{"MessageSid": {fmt.Sprintf("SM%d", first+i)}, "MessageStatus": {"undelivered"}, "ErrorCode": {"30003"}}
		res, err := http.DefaultClient.Do(s.request("/webhooks/twilio/status", form))
		if err != nil {
			t.Error(err)
			return false
		}
		_ = res.Body.Close()
		if res.StatusCode == http.StatusServiceUnavailable && res.Header.Get("Retry-After") == "" {
			t.Error("503 without Retry-After")
		}
		if res.StatusCode != http.StatusNoContent && res.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("answered %d", res.StatusCode)
		}
		return res.StatusCode == http.StatusNoContent
	}
	var mu sync.Mutex
	var refused []int
	var accepted, next atomic.Int64
	var clients sync.WaitGroup
	for range 32 {
		clients.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if post(i) {
					accepted.Add(1)
					continue
				}
				mu.Lock()
				refused = append(refused, i)
				stop := len(refused) > 200
				mu.Unlock()
				if stop {
					return
				}
			}
		})
	}
	clients.Wait()
	require.Greater(t, len(refused), 200, "the disk did not fill up: nothing is proved")
	require.EqualValues(t, accepted.Load(), s.count(`SELECT count(*) FROM webhook_events`), "stored, though answered 503")
	require.EqualValues(t, accepted.Load(), s.count(`SELECT count(*) FROM river_job WHERE kind = 'status_callback'`))

	require.NoError(t, syscall.Mount("onward-test", small, "tmpfs", syscall.MS_REMOUNT, "size=64m"))
	s.eventually("what was refused is accepted", func() bool { return post(refused[0]) })
	for _, i := range refused[1:] {
		require.True(t, post(i))
	}
	total := int(accepted.Load()) + len(refused)
	s.spawn(app.RoleWorker, childConcurrency+"=50")
	require.Eventually(t, func() bool { return s.count(`SELECT count(*) FROM receipt_outcomes`) == total }, time.Minute, 50*time.Millisecond)
	require.Equal(t, total, s.count(`SELECT count(*) FROM facts WHERE event = 'sms_failed'`))
	require.Equal(t, total, s.count(`SELECT count(*) FROM messages WHERE state = 'undelivered'`))
}
