package app_test

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"onward/cmd/internal/app"
	"onward/jobs/provider/providersim"
)

// childRole makes this test binary a process of the application, to be killed by a test.
const childRole = "ONWARD_TEST_CHILD_ROLE"

// childConcurrency is how many jobs of a queue such a process runs at once; 5 unless set.
const childConcurrency = "ONWARD_TEST_CHILD_CONCURRENCY"

// childQueues are the queues that it works, between commas; all unless set.
const childQueues = "ONWARD_TEST_CHILD_QUEUES"

// child runs a process of the application until it is told to stop, or killed.
func child() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	cfg, err := app.FromEnv(nil)
	concurrency, _ := strconv.Atoi(os.Getenv(childConcurrency))
	var queues []string
	if list := os.Getenv(childQueues); list != "" {
		queues = strings.Split(list, ",")
	}
	if err == nil {
		var a *app.App
		a, err = app.New(ctx, app.Options{
			Config: cfg, Role: app.Role(os.Getenv(childRole)), Version: "test", Concurrency: cmp.Or(concurrency, 5), Queues: queues,
		})
		if err == nil {
			err = a.Start(ctx)
		}
		if err == nil {
			<-ctx.Done()
			err = a.Stop(ctx)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// spawn starts a process of the application with the stack's settings.
func (s *stack) spawn(role app.Role, settings ...string) *exec.Cmd {
	s.Helper()
	c := s.config
	cmd := exec.Command(os.Args[0]) //nolint:gosec // ourselves
	cmd.Env = append(os.Environ(), childRole+"="+string(role), "DATABASE_URL="+c.DatabaseURL, "ONWARD_PUBLIC_ADDR=127.0.0.1:0",
		"ONWARD_PRIVATE_ADDR=127.0.0.1:0", "ONWARD_PUBLIC_URL="+c.PublicURL, "ONWARD_SECRET_KEY="+string(c.SecretKey), "ONWARD_LOG_LEVEL=warn",
		"TWILIO_ACCOUNT_SID="+account, "TWILIO_AUTH_TOKEN="+authToken, "TWILIO_FROM="+from, "TWILIO_API_BASE_URL="+s.sim.TwilioURL())
	cmd.Env = append(cmd.Env, settings...) // the last of a name counts
	cmd.Stderr = s.Output()
	require.NoError(s, cmd.Start())
	s.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	return cmd
}

// webProcess is a web process of its own.
type webProcess struct {
	s    *stack
	cmd  *exec.Cmd
	base string
}

// spawnWeb starts one and waits until it serves.
func (s *stack) spawnWeb() *webProcess {
	s.Helper()
	port, err := app.FreePort(s.Context())
	require.NoError(s, err)
	w := &webProcess{s: s, base: fmt.Sprintf("http://127.0.0.1:%d", port)}
	w.cmd = s.spawn(app.RoleWeb, fmt.Sprintf("ONWARD_PUBLIC_ADDR=127.0.0.1:%d", port))
	s.eventually("the web process serves", func() bool {
		res, err := http.Get(w.base + "/healthz") //nolint:noctx // a test's own server
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	return w
}

// post posts a callback, and reports whether it was answered 204; a process that is dead answers nothing.
func (w *webProcess) post(sid string) bool {
	const path = "/webhooks/twilio/status"
	form := url.Values{"MessageSid": {sid}, "MessageStatus": {"sent"}}
	req, err := http.NewRequestWithContext(w.s.Context(), http.MethodPost, w.base+path, strings.NewReader(form.Encode()))
	if err != nil {
		return false
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("X-Twilio-Signature", providersim.SignTwilio(authToken, publicURL+path, form))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	_ = res.Body.Close()
	return res.StatusCode == http.StatusNoContent
}

// kill is kill -9.
func kill(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
}

// killWorker is kill for a worker; the time passes after which the others notice that it is dead.
func (s *stack) killWorker(cmd *exec.Cmd) {
	s.Helper()
	kill(s.T, cmd)
	_, err := s.db.Pool.Exec(s.Context(), `
		WITH dead AS (
			UPDATE worker_processes
			SET seen_at = seen_at - interval '1 minute'
			WHERE pid = $1
			RETURNING client_id
		)
		UPDATE river_job j
		SET attempted_at = j.attempted_at - interval '1 minute'
		FROM dead
		WHERE j.state = 'running' AND j.attempted_by[array_upper(j.attempted_by, 1)] = dead.client_id`, cmd.Process.Pid)
	require.NoError(s, err)
}

// hold keeps the rows that a query locks from every worker, until release is called: nobody gets past them.
func (s *stack) hold(sql string, args ...any) (release func()) {
	s.Helper()
	tx, err := s.db.Pool.Begin(s.Context())
	require.NoError(s, err)
	release = func() { _ = tx.Rollback(context.WithoutCancel(s.Context())) }
	s.Cleanup(release) // a test that failed must not keep its connection
	tag, err := tx.Exec(s.Context(), sql, args...)
	require.NoError(s, err)
	require.Positive(s, tag.RowsAffected(), "nothing is held")
	return release
}

// waitsForLock reports whether somebody waits for a lock.
func (s *stack) waitsForLock() bool {
	s.Helper()
	return s.count(`SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()`) > 0
}

// 500 callbacks are accepted, and the worker is killed in the middle of applying them, twice: the second time in the middle
// of a group's transaction. After a restart each is applied exactly once.
func TestPromise1_workerKilledInTheMiddleOf500Jobs(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *app.Options) { o.Role = app.RoleWeb }, nil)
	const n = 500
	// Sent by an earlier life of the system: what matters here is their callbacks.
	_, err := s.db.Pool.Exec(t.Context(), `
		WITH b AS (
			INSERT INTO businesses (public_id, name, phone)
			SELECT gen_random_uuid(), 'Business ' || i, '+1202556' || lpad(i::text, 4, '0') FROM generate_series(1, $1) i
			RETURNING id, phone
		)
		INSERT INTO messages (public_id, business_id, channel, address, body, state, attempt, provider_sid, dispatched_at)
		SELECT gen_random_uuid(), id, 'sms', phone, 'Hello', 'accepted', 1, 'SM' || id, now() FROM b`, n)
	require.NoError(t, err)
	var sids []string
	rows, err := s.db.Pool.Query(t.Context(), `SELECT provider_sid FROM messages`)
	require.NoError(t, err)
	for rows.Next() {
		var sid string
		require.NoError(t, rows.Scan(&sid))
		sids = append(sids, sid)
	}
	require.NoError(t, rows.Err())
	var wg sync.WaitGroup
	for part := range 10 {
		wg.Go(func() {
			for i := part; i < n; i += 10 {
				code := s.twilio("/webhooks/twilio/status", url.Values{"MessageSid": {sids[i]}, "MessageStatus": {"undelivered"}, "ErrorCode": {"30003"}})
				if code != 204 {
					t.Errorf("callback %d: %d", i, code)
				}
			}
		})
	}
	wg.Wait()
	require.Equal(t, n, s.count(`SELECT count(*) FROM river_job WHERE kind = 'status_callback'`))

	// The last 200 can't be applied before both kills, however late this test comes to them.
	release := s.hold(`
		SELECT 1
		FROM messages m
		JOIN webhook_events e ON e.dedupe_key = 'ts:' || m.provider_sid || ':undelivered'
		JOIN river_job j ON j.args ->> 'receipt_id' = e.id::text
		ORDER BY j.scheduled_at DESC, j.id DESC
		LIMIT 200
		FOR UPDATE OF m`)
	applied := func() int { return s.count(`SELECT count(*) FROM receipt_outcomes`) }
	for _, until := range []int{100, 200} {
		worker := s.spawn(app.RoleWorker, childConcurrency+"=40")
		s.eventually("the worker is in the middle", func() bool { return applied() >= until && (until == 100 || s.waitsForLock()) })
		s.killWorker(worker)
		require.Less(t, applied(), n, "the worker was killed too late to prove anything")
	}
	release()
	s.spawn(app.RoleWorker)
	require.Eventually(t, func() bool { return applied() == n }, time.Minute, 20*time.Millisecond)
	require.Equal(t, n, s.count(`SELECT count(*) FROM facts WHERE event = 'sms_failed'`))
	require.Equal(t, n, s.count(`SELECT count(*) FROM transitions WHERE axis = 'contact' AND to_status = 'bounced' AND verdict = 'applied'`))
	require.Equal(t, n, s.count(`SELECT count(*) FROM businesses WHERE contact_status = 'bounced'`))
	require.Equal(t, n, s.count(`SELECT count(*) FROM messages WHERE state = 'undelivered'`))
	s.eventually("no job is left", func() bool {
		return s.count(`SELECT count(*) FROM river_job WHERE state <> 'completed' AND kind = 'status_callback'`) == 0
	})
}

// The web process is killed while 16 clients post. Every callback that was answered 2xx has its receipt and its job; those
// that were not can be posted again, and count once.
func TestPromise1_webKilledWhileItAccepts(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *app.Options) { o.Role = app.RoleWorker }, nil)
	web := s.spawnWeb()
	var mu sync.Mutex
	answered := map[string]bool{}
	var wg sync.WaitGroup
	for c := range 16 {
		wg.Go(func() {
			for i := 0; ; i++ { // until it is killed
				sid := fmt.Sprintf("SM%02d%06d", c, i)
				if !web.post(sid) {
					return
				}
				mu.Lock()
				answered[sid] = true
				mu.Unlock()
			}
		})
	}
	s.eventually("some are accepted", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(answered) > 300
	})
	kill(t, web.cmd)
	wg.Wait()
	keys := make([]string, 0, len(answered))
	for sid := range answered {
		keys = append(keys, "ts:"+sid+":sent")
	}
	require.Equal(t, len(keys), s.count(`SELECT count(*) FROM webhook_events WHERE dedupe_key = ANY($1)`, keys), "each that was answered, once")
	require.Equal(t, len(keys), s.count(`SELECT count(DISTINCT dedupe_key) FROM webhook_events WHERE dedupe_key = ANY($1)`, keys))
	require.Zero(t, s.count(`
		SELECT count(*) FROM webhook_events e
		WHERE NOT EXISTS (SELECT 1 FROM river_job j WHERE j.args ->> 'receipt_id' = e.id::text)`), "receipts without a job")
	require.Equal(t, s.count(`SELECT count(*) FROM webhook_events`), s.count(`SELECT count(*) FROM river_job WHERE kind = 'status_callback'`))
}
