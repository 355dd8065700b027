package app_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"onward/cmd/internal/app"
	"onward/jobs"
	"onward/lifecycle/pgstore"
)

// gate stands between a worker and the provider.
type gate struct {
	*httptest.Server
	held atomic.Int64 // calls, or answers, that were held back
}

type gateMode int

const (
	pass        gateMode = iota
	holdCalls            // the provider does not get them
	holdAnswers          // the provider gets the calls, and its answers don't come back
)

func (s *stack) newGate(mode gateMode) *gate {
	s.Helper()
	target, err := url.Parse(s.sim.TwilioURL())
	require.NoError(s, err)
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	g := &gate{}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		gone := r.Context().Done()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		// What has come this far is passed on, whether or not who called still lives. (A context that can't end at all would make
		// ReverseProxy watch the caller's connection instead, and drop the call where nobody waits for it until it has come.)
		ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
		defer cancel()
		r = r.WithContext(ctx)
		r.Body = io.NopCloser(bytes.NewReader(body))
		switch mode {
		case pass:
			proxy.ServeHTTP(w, r)
			return
		case holdAnswers:
			proxy.ServeHTTP(httptest.NewRecorder(), r)
		case holdCalls:
		}
		g.held.Add(1)
		<-gone
	}))
	s.Cleanup(g.Close)
	return g
}

// A worker is killed with -9 in the middle of groups of sends, at each of their steps; another one goes on. No message has a
// second call, whatever became of the first; each ends delivered, or waits for an operator where nobody can know whether it
// was called; and none is lost.
func TestPromise3_workerKilledInTheMiddleOfGroupedSends(t *testing.T) {
	t.Parallel()
	// Everything but sending goes on here: fan-out, callbacks, the search for evidence, putting back what dead workers left.
	s := start(t, func(o *app.Options) {
		o.Queues = slices.DeleteFunc(jobs.Queues(), func(q string) bool { return q == jobs.QueueSendSMS })
	}, nil)
	_, err := s.db.Pool.Exec(t.Context(), `INSERT INTO senders (channel, address, per_second) VALUES ('sms', $1, 100000)`, from)
	require.NoError(t, err)
	const n, atOnce, enough = 60, 50, 20
	for i, step := range []struct {
		name    string
		mode    gateMode
		hold    string // rows of the campaign's messages that no transaction gets past
		reached func(*gate) bool
	}{
		{"slots taken", pass, `SELECT 1 FROM messages m WHERE campaign_id = $1 FOR UPDATE`, func(*gate) bool {
			return s.count(`SELECT count(*) FROM river_job WHERE kind = 'send' AND state = 'running'`) == atOnce && s.waitsForLock()
		}},
		{"decided and not called", holdCalls, "", func(g *gate) bool { return g.held.Load() >= enough }},
		{"called and not answered", holdAnswers, "", func(g *gate) bool { return g.held.Load() >= enough }},
		{"answered and not recorded", pass, `SELECT 1 FROM messages m JOIN businesses b ON b.id = m.business_id WHERE campaign_id = $1 FOR UPDATE OF b`, func(*gate) bool {
			return len(s.callsOf("answered and not recorded")) >= enough && s.waitsForLock()
		}},
	} {
		_, err := s.db.Pool.Exec(t.Context(), `
			INSERT INTO businesses (public_id, name, phone, category)
			SELECT gen_random_uuid(), 'Business ' || i, '+1303' || (2000000 + $3 * 1000 + i), $1 FROM generate_series(1, $2) i`, step.name, n, i)
		require.NoError(t, err)
		public := strings.TrimPrefix(s.launch(step.name, step.name+" {{.Name}}", 0), "/campaigns/")
		campaign := s.count(`SELECT id FROM campaigns WHERE public_id = $1`, public)
		s.eventually("everybody has a message", func() bool {
			return s.count(`SELECT count(*) FROM river_job WHERE kind = 'send' AND state = 'available'`) == n
		})
		release := func() {}
		if step.hold != "" {
			release = s.hold(step.hold, campaign)
		}
		g := s.newGate(step.mode)
		var before time.Time
		require.NoError(t, s.db.Pool.QueryRow(t.Context(), `SELECT next_slot_at FROM senders`).Scan(&before))
		s.sends(atOnce, g.URL, func(worker *exec.Cmd) {
			s.eventually(step.name, func() bool { return step.reached(g) })
			s.killWorker(worker)
		})
		g.Close() // nothing of the dead is on its way any more
		require.Equal(t, 1, s.count(`SELECT count(*) FROM senders WHERE next_slot_at > $1`, before), "%s: slots are taken", step.name)
		called := s.calledOf(step.name)
		inFlight := s.addresses(campaign, "dispatching", "unknown")
		release()
		s.sends(atOnce, s.sim.TwilioURL(), func(worker *exec.Cmd) {
			s.eventually(step.name+": all is settled", func() bool {
				return len(s.addresses(campaign, "delivered", "held")) == n
			})
			s.eventually(step.name+": no job is left", func() bool {
				return s.count(`SELECT count(*) FROM river_job WHERE kind IN ('send', 'reconcile') AND state <> 'completed'`) == 0
			})
			require.NoError(t, worker.Process.Signal(syscall.SIGTERM))
			_ = worker.Wait()
		})
		calls := s.calledOf(step.name)
		held := s.addresses(campaign, "held")
		t.Logf("%s: %d decided and %d called at the kill, %d held at the end", step.name, len(inFlight), len(called), len(held))
		switch i {
		case 0:
			require.Empty(t, inFlight, step.name)
		case 1:
			require.GreaterOrEqual(t, len(inFlight), enough, step.name)
			require.Empty(t, called, step.name)
		default:
			require.GreaterOrEqual(t, len(called), enough, step.name)
		}
		// Each has one call, but for those of which nobody can say that they were not called.
		unknown := slices.DeleteFunc(inFlight, func(to string) bool { return slices.Contains(called, to) })
		require.ElementsMatch(t, unknown, held, step.name)
		require.ElementsMatch(t, s.addresses(campaign, "delivered"), calls, "%s: one call for each, and none for who is held", step.name)
	}
	violations, err := pgstore.CheckInvariants(t.Context(), s.db.Pool, pgstore.InvariantOptions{})
	require.NoError(t, err)
	for _, v := range violations {
		require.Zero(t, v.Count, "%s: %v", v.Invariant, v.Examples)
	}
}

// sends runs a process that sends, and does nothing else, until fn has ended it.
func (s *stack) sends(atOnce int, provider string, fn func(*exec.Cmd)) {
	s.Helper()
	fn(s.spawn(app.RoleWorker, childConcurrency+"="+strconv.Itoa(atOnce), childQueues+"="+jobs.QueueSendSMS,
		"TWILIO_API_BASE_URL="+provider, "ONWARD_QUIET_HOURS=off"))
}

// calledOf lists the numbers of the calls with a text that begins so: one that was called twice stands there twice.
func (s *stack) calledOf(prefix string) (list []string) {
	for _, c := range s.callsOf(prefix) {
		list = append(list, c.To)
	}
	return list
}

// addresses lists those of a campaign's messages in one of the states.
func (s *stack) addresses(campaign int, states ...string) []string {
	s.Helper()
	rows, err := s.db.Pool.Query(s.Context(), `SELECT address FROM messages WHERE campaign_id = $1 AND state = ANY($2)`, campaign, states)
	require.NoError(s, err)
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(s, err)
	return list
}
