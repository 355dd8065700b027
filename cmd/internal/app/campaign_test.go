package app_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"onward/cmd/internal/app"
	"onward/jobs/provider/providersim"
	"onward/jobs/worker"
)

// campaignRecipients is how large the large campaign is. At 100000 its limits are checked, too.
var campaignRecipients = flag.Int("campaign.recipients", 3000, "recipients of the large campaign")

// Limits of a campaign of 100 000: what one transaction may take, and the process's memory.
const (
	longestTransaction = time.Second
	mostMemory         = 150 // MiB
)

// contacts inserts n businesses of a category, each with a phone of its own.
func (s *stack) contacts(category string, n int) {
	s.Helper()
	_, err := s.db.Pool.Exec(s.Context(), `
		INSERT INTO businesses (public_id, name, phone, city, category)
		SELECT gen_random_uuid(), 'Business ' || i, '+1303' || (2000000 + i), 'Denver', $1 FROM generate_series(1, $2) i`, category, n)
	require.NoError(s, err)
}

// launch creates a campaign to a category and sends it.
func (s *stack) launch(category, body string, perSecond float64) (path string) {
	s.Helper()
	var c object
	create := object{"name": "Test", "channel": "sms", "body": body, "audience": object{"filter": object{"category": category}}}
	if perSecond > 0 {
		create["per_second"] = perSecond
	}
	s.call("POST", "/campaigns", create, &c, 201)
	path = "/campaigns/" + c.str("id")
	s.call("POST", path+"/send", nil, nil, 202)
	return path
}

func (s *stack) counters(path string) map[string]any {
	s.Helper()
	var c object
	s.call("GET", path, nil, &c, 200)
	counters, _ := c["counters"].(map[string]any)
	return counters
}

// awaitLongCampaign waits until a campaign of many is sent, as long as that takes.
func (s *stack) awaitLongCampaign(path string) {
	s.Helper()
	require.Eventually(s, func() bool {
		var c object
		s.call("GET", path, nil, &c, 200)
		return c.str("status") == "sent"
	}, time.Hour, 50*time.Millisecond)
}

// callsOf lists the calls with a text that begins so.
func (s *stack) callsOf(prefix string) (list []providersim.Call) {
	for _, c := range s.sim.Calls() {
		if strings.HasPrefix(c.Body, prefix) {
			list = append(list, c)
		}
	}
	return list
}

// halt pauses or cancels a campaign and requires that no call begins after the answer but those that were being made,
// and that its queued jobs are gone within a second or so.
func (s *stack) halt(path, move, prefix string) (called int) {
	s.Helper()
	s.call("POST", path+"/"+move, nil, nil, 202)
	at := time.Now()
	s.eventually("no job of it waits", func() bool {
		return s.count(`SELECT count(*) FROM river_job WHERE kind = 'send' AND state IN ('available', 'scheduled', 'retryable')`) == 0
	})
	took := time.Since(at)
	s.eventually("no call is under way", func() bool {
		return s.count(`SELECT count(*) FROM river_job WHERE kind = 'send' AND state = 'running'`) == 0
	})
	late := 0
	for _, c := range s.callsOf(prefix) {
		if c.Begin.After(at) {
			late++
		}
	}
	s.Logf("%s: %d calls that were decided before the answer began after it; its jobs were gone after %s", move, late, took.Round(time.Millisecond))
	require.Zero(s, s.count(`SELECT count(*) FROM messages WHERE dispatched_at > $1`, at), "dispatched after the answer")
	require.LessOrEqual(s, late, 50, "no more than the workers that there are")
	require.Less(s, took, patience, "of themselves they would take 40 s")
	return len(s.callsOf(prefix))
}

// A pause and a cancellation act at once, not as each job's turn comes; a resume goes on, and everyone is called once. It
// looks at the clock, so no test runs beside it.
func TestCampaign_pauseResumeCancel(t *testing.T) {
	const n, pace = 2000, 50
	s := start(t, func(o *app.Options) {
		o.Tune = func(w *worker.Options) { w.SMSPerSecond = 1e5 }
	}, func(o *providersim.Options) {
		o.LatencyMin, o.LatencyMax, o.Faults.LoseCallback = 5*time.Millisecond, 50*time.Millisecond, 1
	})
	s.contacts("halt", n)

	first := s.launch("halt", "First {{.Name}}", pace)
	s.eventually("it is under way", func() bool { return len(s.callsOf("First")) >= 3*pace })
	// Its pace is what was asked for, not a fraction of it: two seconds for a hundred, and what a loaded machine adds.
	calls := s.callsOf("First")
	t.Logf("a hundred calls at 50 a second took %s", calls[3*pace-1].Begin.Sub(calls[pace-1].Begin).Round(time.Millisecond))
	paused := s.halt(first, "pause", "First")
	require.InDelta(t, n-paused, s.counters(first)["queued"], 0)
	require.Zero(t, s.counters(first)["dispatching"])

	s.call("POST", first+"/resume", nil, nil, 202)
	s.eventually("it goes on", func() bool { return len(s.callsOf("First")) >= paused+pace })
	s.eventually("everybody has a message", func() bool {
		return s.count(`SELECT count(*) FROM campaigns WHERE fanned_out_at IS NOT NULL`) == 1
	})
	var c object
	asked := time.Now().Truncate(time.Second)
	s.call("GET", first, nil, &c, 200)
	answered := time.Now()
	eta, err := time.Parse(time.RFC3339, c.str("eta"))
	require.NoError(t, err)
	counters, _ := c["counters"].(map[string]any)
	left := time.Duration((counters["queued"].(float64) + counters["dispatching"].(float64)) / pace * float64(time.Second))
	require.False(t, eta.Before(asked.Add(left).Truncate(time.Second)) || eta.After(answered.Add(left)), "what is left at its pace: %s, asked at %s", eta, asked)
	s.halt(first, "pause", "First")
	_, err = s.db.Pool.Exec(t.Context(), `UPDATE campaigns SET per_second = NULL`) // the rest of the test need not take 40 s
	require.NoError(t, err)
	s.call("POST", first+"/resume", nil, nil, 202)
	s.awaitLongCampaign(first)
	called := map[string]int{}
	for _, c := range s.callsOf("First") {
		called[c.To]++
	}
	require.Len(t, called, n)
	require.Len(t, s.callsOf("First"), n, "each once")

	second := s.launch("halt", "Second {{.Name}}", pace)
	s.eventually("it is under way", func() bool { return len(s.callsOf("Second")) >= pace })
	cancelled := s.halt(second, "cancel", "Second")
	s.eventually("all that was queued is canceled", func() bool { return s.counters(second)["canceled"] == float64(n-cancelled) })
	counters = s.counters(second)
	require.Zero(t, counters["queued"])
	require.Zero(t, counters["dispatching"])
	require.Zero(t, s.count(`SELECT count(*) FROM messages WHERE state IN ('queued', 'dispatching')`))
	require.Equal(t, n-cancelled, s.count(`SELECT count(*) FROM messages WHERE state = 'canceled' AND reason = 'campaign_cancelled'`))
	require.Len(t, s.callsOf("Second"), cancelled)
	s.call("POST", second+"/resume", nil, nil, 409)
}

// A test message goes out while a campaign has the sender's line full; a follow-up goes to those whom the campaign failed
// to reach, and to nobody else.
func TestCampaign_testAndResend(t *testing.T) {
	t.Parallel()
	// A slot of 200 ms is one that a slow machine, too, is in time for; the line stays long.
	s := start(t, func(o *app.Options) {
		o.Tune = func(w *worker.Options) { w.SMSPerSecond = 5 }
	}, nil)
	fine, _, _ := s.business("")
	bad, _, _ := s.business(providersim.MagicUnreachable)
	campaign := s.campaign("sms", fine, bad)
	s.awaitMessage(campaign, bad, "undelivered")
	s.awaitMessage(campaign, fine, "delivered")
	s.awaitCampaign(campaign, "sent")

	s.contacts("line", 1000)
	line := s.launch("line", "Line {{.Name}}", 0)
	s.eventually("the line is long", func() bool { return s.counters(line)["queued"].(float64) > 900 })
	var m object
	s.call("POST", line+"/test", object{"to": "+13055550199"}, &m, 202)
	s.eventually("the test message is delivered", func() bool {
		var got object
		s.call("GET", "/messages/"+m.str("id"), nil, &got, 200)
		return got.str("state") == "delivered"
	})
	require.Positive(t, s.counters(line)["queued"], "it did not wait for a thousand others")
	require.Zero(t, s.count(`SELECT count(*) FROM businesses WHERE category = 'line' AND contact_status <> 'pending' AND id NOT IN (SELECT business_id FROM messages WHERE state <> 'queued')`))
	s.call("POST", line+"/cancel", nil, nil, 202)

	var follow object
	s.call("POST", "/campaigns/"+campaign+"/resend", object{"name": "Once more"}, &follow, 201)
	// The number works by now.
	var b object
	s.call("PATCH", "/crm/businesses/"+bad, object{"phone": "+12025559876", "country": "US"}, &b, 200)
	s.call("POST", "/campaigns/"+follow.str("id")+"/send", nil, nil, 202)
	s.awaitMessage(follow.str("id"), bad, "delivered")
	done := s.awaitCampaign(follow.str("id"), "sent")
	require.InDelta(t, 1, done["recipients"], 0)
	s.call("POST", "/campaigns/"+campaign+"/resend", nil, nil, 409) // nobody is left
}

// A large campaign, by one process of its own: how long it takes, how much memory, and what its longest transaction is.
func TestCampaign_large(t *testing.T) {
	t.Parallel()
	n := *campaignRecipients
	s := start(t, func(o *app.Options) { o.Role = app.RoleWeb }, func(o *providersim.Options) { o.Keep = 4 * n })
	s.contacts("large", n)
	_, err := s.db.Pool.Exec(t.Context(), `INSERT INTO senders (channel, address, per_second) VALUES ('sms', $1, 100000)`, from)
	require.NoError(t, err)
	_, err = s.db.Pool.Exec(t.Context(), `VACUUM ANALYZE businesses`)
	require.NoError(t, err)
	public, err := app.FreePort(t.Context())
	require.NoError(t, err)
	child := s.spawn(app.RoleUp, "ONWARD_PUBLIC_ADDR=127.0.0.1:"+strconv.Itoa(public), childConcurrency+"=50", "ONWARD_QUIET_HOURS=off")
	require.NoError(t, s.sim.SetTarget(publicURL, "http://127.0.0.1:"+strconv.Itoa(public)))
	watch := s.watchTransactions()

	id := strings.TrimPrefix(s.launch("large", "Hello {{.Name}} of {{.City}}", 0), "/campaigns/")
	s.awaitLongCampaign("/campaigns/" + id)
	memory := peakMemory(t, child.Process.Pid)
	longest, query := watch()

	var frozen, fanOut, sending float64
	require.NoError(t, s.db.Pool.QueryRow(t.Context(), `
		SELECT extract(epoch FROM frozen_at - launched_at)::float8, extract(epoch FROM fanned_out_at - launched_at)::float8,
			extract(epoch FROM finished_at - launched_at)::float8
		FROM campaigns WHERE public_id = $1`, id).Scan(&frozen, &fanOut, &sending))
	t.Logf("%d recipients: audience frozen after %.2f s, fanned out after %.1f s, sent after %.1f s (%.0f a second); "+
		"peak memory of web and worker in one process %d MiB; longest transaction %s: %s",
		n, frozen, fanOut, sending, float64(n)/sending, memory, longest.Round(time.Millisecond), query)
	called := map[string]bool{}
	for _, c := range s.sim.Calls() {
		require.False(t, called[c.To], "twice to %s", c.To)
		called[c.To] = true
	}
	require.Len(t, called, n)
	require.Equal(t, n, s.count(`SELECT recipients FROM campaigns`))
	if n >= 100_000 {
		require.Less(t, longest, longestTransaction)
		require.Less(t, memory, mostMemory)
	}
}

// watchTransactions samples the application's transactions that have written until the function that it returns is
// called, which tells the longest: those hold locks, and keep dead rows from being removed. River's fetches are left out:
// they are a statement each, and hold jobs that nobody else wants.
func (s *stack) watchTransactions() func() (longest time.Duration, query string) {
	s.Helper()
	ctx, cancel := context.WithCancel(s.Context())
	type sample struct {
		age   time.Duration
		query string
	}
	done := make(chan sample)
	conn, err := s.db.Pool.Acquire(ctx)
	require.NoError(s, err)
	go func() {
		defer conn.Release()
		var most sample
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			var age float64
			var query string
			err := conn.QueryRow(ctx, `
				SELECT extract(epoch FROM clock_timestamp() - xact_start)::float8, left(regexp_replace(query, '\s+', ' ', 'g'), 160)
				FROM pg_stat_activity
				WHERE datname = current_database() AND application_name = 'onward' AND backend_xid IS NOT NULL AND query NOT LIKE '-- name: JobGetAvailable%'
				ORDER BY xact_start
				LIMIT 1`).Scan(&age, &query)
			if d := time.Duration(age * float64(time.Second)); err == nil && d > most.age {
				most = sample{d, query}
			}
			select {
			case <-ctx.Done():
				done <- most
				return
			case <-tick.C:
			}
		}
	}()
	return func() (time.Duration, string) {
		cancel()
		most := <-done
		return most.age, most.query
	}
}

// peakMemory is the most memory that a process ever had, in MiB: VmHWM.
func peakMemory(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	require.NoError(t, err)
	for line := range strings.SplitSeq(string(status), "\n") {
		var kib int
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kib); n == 1 {
			return kib / 1024
		}
	}
	t.Fatal("no VmHWM in the process's status")
	return 0
}
