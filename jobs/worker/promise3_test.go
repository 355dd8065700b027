package worker

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/stretchr/testify/require"

	"onward/jobs"
	"onward/jobs/provider"
	"onward/jobs/provider/providersim"
	"onward/lifecycle/pgstore"
)

// refusedURL is an address where nobody listens.
func refusedURL(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return "http://" + l.Addr().String()
}

// plainURL is an https address whose server does not speak TLS.
func plainURL(t *testing.T) string {
	t.Helper()
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	return strings.Replace(plain.URL, "http:", "https:", 1)
}

// TestPromise3_faultMatrix crosses every way in which a provider can answer, or not, with every moment at which a
// worker can be killed. After the kill the job runs again, as River would have it, and the search for evidence runs to
// its end. In every cell the provider is called at most once, and the message ends where the evidence says.
func TestPromise3_faultMatrix(t *testing.T) {
	t.Parallel()
	kills := []string{"never", "before the call", "during the call", "after the call", "before the commit"}
	// The end of a message whose worker is never killed, and of one that is cut off once the call was made. Cut off
	// before the call, every message is held: nothing can prove that it was not made.
	providers := []struct {
		name, to   string
		base       func(*testing.T) string // where Twilio is believed to be; nil: where it is
		end, cut   string
		status     string // of the contact at the end, never killed
		suppressed bool
		paused     bool
		hangs      bool
	}{
		{name: "accepts", to: "+12025550001", end: "accepted", cut: "accepted", status: "sms_sent"},
		{name: "drops the connection, not sent", to: providersim.MagicDrop, end: "held", cut: "held", status: "pending"},
		{name: "drops the connection, sent", to: providersim.MagicDropOut, end: "accepted", cut: "accepted", status: "sms_sent"},
		{name: "hangs past our time-out, not sent", to: providersim.MagicHang, end: "held", cut: "held", status: "pending", hangs: true},
		{name: "hangs past our time-out, sent", to: providersim.MagicHangOut, end: "accepted", cut: "accepted", status: "sms_sent", hangs: true},
		{name: "201 garbage", to: providersim.MagicGarbage, end: "accepted", cut: "accepted", status: "sms_sent"},
		{name: "200 without a sid", to: providersim.MagicNoSID, end: "accepted", cut: "accepted", status: "sms_sent"},
		{name: "500 HTML, not sent", to: providersim.MagicServerError, end: "held", cut: "held", status: "pending"},
		{name: "500 HTML, sent", to: providersim.MagicServerErrorOut, end: "accepted", cut: "accepted", status: "sms_sent"},
		{name: "503", to: providersim.MagicUnavailable, end: "held", cut: "held", status: "pending"},
		{name: "429 with Retry-After", to: providersim.MagicRateLimited, end: "queued", cut: "held", status: "pending"},
		{name: "refuses the connection", to: "+12025550002", base: refusedURL, end: "queued", cut: "held", status: "pending"},
		{name: "TLS error", to: "+12025550003", base: plainURL, end: "queued", cut: "held", status: "pending"},
		{name: "21610 opted out", to: providersim.MagicOptedOut, end: "failed", cut: "held", status: "unsubscribed", suppressed: true},
		{name: "21211 no such number", to: providersim.MagicInvalid, end: "failed", cut: "held", status: "bounced"},
		{name: "account suspended", to: providersim.MagicBadToken, end: "queued", cut: "held", status: "pending", paused: true},
	}
	var mu sync.Mutex
	table := map[string]string{}
	t.Cleanup(func() {
		var b strings.Builder
		for _, p := range providers {
			fmt.Fprintf(&b, "\n%-36s", p.name)
			for _, k := range kills {
				fmt.Fprintf(&b, " %-22s", k+": "+table[p.name+k])
			}
		}
		t.Log(b.String())
	})
	for _, p := range providers {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			for _, kill := range kills {
				b := setup(t, func(o *Options) {
					if p.base != nil {
						o.SMS = newTwilio(t, p.base(t))
					}
				})
				if p.hangs {
					b.s.SMS = timedOut{b.s.SMS, b.sim}
				}
				campaign := b.campaign(jobs.ChannelSMS)
				message, business := b.message(campaign, jobs.ChannelSMS, p.to)
				b.inTx(func(tx pgx.Tx) error { return pgstore.CountMany(b.ctx, tx, campaign, []int64{message}, nil) })

				b.killed(message, kill)
				require.LessOrEqual(t, b.calls(p.to), 1, "%s: calls before the job ran again", kill)
				if kill != "never" {
					// River runs the job again. It must not call.
					before := b.calls(p.to)
					require.NoError(t, b.send(message, jobs.ChannelSMS))
					state, _ := b.state(message)
					require.Equal(t, "unknown", state, kill)
					require.LessOrEqual(t, b.calls(p.to), max(before, 1), kill)
				}
				if kill == "during the call" {
					b.s.SMS.(*cutOff).wait() // what the dead worker had under way is over at the provider, too
				}
				b.reconcile(message)

				state, reason := b.state(message)
				want := p.end
				switch kill {
				case "never":
				case "before the call":
					want = "held"
				default:
					want = p.cut
				}
				require.Equal(t, want, state, "%s (%s)", kill, reason)
				require.LessOrEqual(t, b.calls(p.to), 1, kill)
				if kill == "never" {
					require.Equal(t, p.status, b.contactStatus(business), kill)
					b.requireAftermath(campaign, p.to, p.suppressed, p.paused)
				}
				b.requireSound()
				mu.Lock()
				table[p.name+kill] = fmt.Sprintf("%s, %d", state, b.calls(p.to))
				mu.Unlock()
			}
		})
	}
}

func (b *bundle) requireAftermath(campaign int64, address string, suppressed, paused bool) {
	b.Helper()
	b.inTx(func(tx pgx.Tx) error {
		is, err := pgstore.Suppressed(b.ctx, tx, pgstore.Address{Channel: jobs.ChannelSMS, Address: address})
		require.Equal(b, suppressed, is)
		return err
	})
	var status string
	require.NoError(b, b.pool.QueryRow(b.ctx, `SELECT status FROM campaigns WHERE id = $1`, campaign).Scan(&status))
	require.Equal(b, map[bool]string{true: "paused", false: "sending"}[paused], status)
}

// killed runs a send up to the moment at which the worker is killed: what it would have done after that never happens.
func (b *bundle) killed(message int64, kill string) {
	b.Helper()
	if kill == "never" {
		_ = b.send(message, jobs.ChannelSMS) // an error is a snooze here, or the matrix finds the wrong state
		return
	}
	d, err := b.s.dispatch(b.ctx, message, 1)
	require.NoError(b, err)
	require.Empty(b, d.stop)
	switch kill {
	case "before the call":
	case "during the call":
		cut := &cutOff{Sender: d.via}
		cut.start(d.message)
		b.s.SMS = cut
	case "after the call":
		_, _ = d.via.Send(b.ctx, d.message)
	case "before the commit":
		accepted, err := d.via.Send(b.ctx, d.message)
		tx, txErr := b.pool.Begin(b.ctx)
		require.NoError(b, txErr)
		if err == nil {
			_, _, err = b.s.accepted(b.ctx, tx, d, 1, accepted)
			require.NoError(b, err)
		}
		require.NoError(b, tx.Rollback(b.ctx))
	}
}

// timedOut gives a call up as a time-out does, once the provider has it: on no machine too early.
type timedOut struct {
	provider.Sender
	sim *providersim.Sim
}

func (s timedOut) Send(ctx context.Context, m provider.Message) (provider.Accepted, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		_ = s.sim.Wait(ctx, func() bool {
			return slices.ContainsFunc(s.sim.Calls(), func(c providersim.Call) bool { return c.To == m.To })
		})
		cancel()
	}()
	return s.Sender.Send(ctx, m)
}

// cutOff is a call that goes on at the provider while its worker is dead.
type cutOff struct {
	provider.Sender
	done chan struct{}
}

func (c *cutOff) start(m provider.Message) {
	c.done = make(chan struct{})
	go func() {
		defer close(c.done)
		_, _ = c.Send(context.Background(), m)
	}()
}

func (c *cutOff) wait() { <-c.done }

// A late answer of the provider, after the message became unknown, is evidence like any other.
func TestPromise3_lateAnswerSettlesTheUnknown(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	message, business := b.message(0, jobs.ChannelSMS, "+12025550001")
	d, err := b.s.dispatch(b.ctx, message, 1)
	require.NoError(t, err)
	require.NoError(t, b.send(message, jobs.ChannelSMS)) // a second worker, while the first is still calling
	state, _ := b.state(message)
	require.Equal(t, "unknown", state)
	accepted, err := d.via.Send(b.ctx, d.message)
	require.NoError(t, err)
	require.NoError(t, b.s.settle(b.ctx, d, 1, accepted, nil))
	state, _ = b.state(message)
	require.Equal(t, "accepted", state)
	require.Equal(t, "sms_sent", b.contactStatus(business))
	require.Equal(t, 1, b.calls("+12025550001"))
	b.requireSound()
}

// A call that could not begin within its second is not made.
func TestPromise4_callThatComesTooLateIsNotMade(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	message, _ := b.message(0, jobs.ChannelSMS, "+12025550001")
	d, err := b.s.dispatch(b.ctx, message, 1)
	require.NoError(t, err)
	require.Error(t, b.s.giveBack(b.ctx, d, 1, "not_started", 0)) // a snooze
	b.s.startWithin = 0
	var snooze *river.JobSnoozeError
	require.ErrorAs(t, b.send(message, jobs.ChannelSMS), &snooze)
	state, reason := b.state(message)
	require.Equal(t, "queued", state)
	require.Equal(t, "not_started", reason)
	require.Zero(t, b.calls("+12025550001"))
	b.s.startWithin = patience
	require.NoError(t, b.send(message, jobs.ChannelSMS))
	require.Equal(t, 1, b.calls("+12025550001"))
	b.requireSound()
}

// With the policy resend, a send without evidence is made again: once, as a new attempt.
func TestUnknownSends_resend(t *testing.T) {
	t.Parallel()
	b := setup(t, func(o *Options) { o.UnknownSends = UnknownResend })
	message, _ := b.message(0, jobs.ChannelSMS, providersim.MagicDrop)
	require.NoError(t, b.send(message, jobs.ChannelSMS))
	b.reconcile(message)
	state, reason := b.state(message)
	require.Equal(t, "queued", state)
	require.Equal(t, "no_evidence", reason)
	var waiting int
	require.NoError(t, b.pool.QueryRow(b.ctx, `SELECT count(*) FROM river_job WHERE kind = 'send' AND (args ->> 'message_id')::bigint = $1`, message).Scan(&waiting))
	require.Equal(t, 1, waiting)
	b.requireSound()
}
