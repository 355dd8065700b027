package worker

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/stretchr/testify/require"

	"onward/jobs"
	"onward/jobs/provider"
)

// throttled is a provider that answers 429 while it is told to, and notes when it was called for what.
type throttled struct {
	mu       sync.Mutex
	busy     bool
	after    time.Duration // Retry-After
	refused  []time.Time
	accepted []time.Time
	taken    map[string]int // by address
	all      chan struct{}
	want     int
}

func (p *throttled) Send(_ context.Context, m provider.Message) (provider.Accepted, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.busy {
		p.refused = append(p.refused, time.Now())
		return provider.Accepted{}, &provider.SendError{Class: provider.ClassRetryLater, Code: "20429", RetryAfter: p.after, Err: errors.New("too many requests")}
	}
	p.accepted = append(p.accepted, time.Now())
	p.taken[m.To]++
	if len(p.accepted) == p.want {
		close(p.all)
	}
	return provider.Accepted{SID: "SM" + m.ID, Status: "queued"}, nil
}

func (p *throttled) setBusy(busy bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy = busy
}

func (b *bundle) slowdown() (v float64) {
	b.Helper()
	require.NoError(b, b.pool.QueryRow(b.ctx, `SELECT slowdown::float8 FROM senders`).Scan(&v))
	return v
}

// nextTurn lets the sender's next slot be now, and what was under way be over.
func (b *bundle) nextTurn() {
	b.Helper()
	b.exec(`UPDATE senders SET next_slot_at = now(), backlog_at = now(), updated_at = updated_at - interval '3 seconds'`)
}

// Each 429 doubles the time between two calls, up to 64 times; each call that is taken eases it by 2 %, until it is as
// before. The state is the database's: a worker that starts anew goes on with it.
func TestThrottle_doublesAndRecovers(t *testing.T) {
	t.Parallel()
	p := &throttled{busy: true, taken: map[string]int{}, all: make(chan struct{})}
	// A slot is so long that no machine is too slow for it: each call takes one.
	b := setup(t, func(o *Options) { o.SMS, o.SMSPerSecond = p, 0.001 })
	message, _ := b.message(0, jobs.ChannelSMS, someone)
	var snooze *river.JobSnoozeError
	for before := 1.0; before < 60; before = b.slowdown() {
		require.ErrorAs(t, b.send(message, jobs.ChannelSMS), &snooze)
		// The slot that the call takes eases it by 2 %.
		require.InDelta(t, min(max(before*0.98, 1)*2, 64), b.slowdown(), 1e-6)
		b.nextTurn()
		b.newWorker(b.s.Options)
	}
	require.LessOrEqual(t, b.slowdown(), 64.0)
	state, reason := b.state(message)
	require.Equal(t, []string{"queued", "retry_later"}, []string{state, reason})

	p.setBusy(false)
	b.exec(`UPDATE senders SET slowdown = 4`)
	calls := 0
	for b.slowdown() > 1 {
		m, _ := b.message(0, jobs.ChannelSMS, "+1202556"+strconv.Itoa(1000+calls))
		require.NoError(t, b.send(m, jobs.ChannelSMS))
		b.nextTurn()
		calls++
		require.Less(t, calls, 100)
	}
	require.Equal(t, 69, calls, "4 × 0.98^69 < 1")
}

// A burst of calls that is refused together is one message of the provider's, not ten.
func TestThrottle_oneBurstDoublesOnce(t *testing.T) {
	t.Parallel()
	p := &throttled{busy: true, taken: map[string]int{}, all: make(chan struct{})}
	b := setup(t, func(o *Options) { o.SMS, o.SMSPerSecond = p, 1e5 })
	first, _ := b.message(0, jobs.ChannelSMS, someone)
	got, err := b.s.reserve(b.ctx, jobs.SendArgs{MessageID: first, Channel: jobs.ChannelSMS}) // lists the sender
	require.NoError(t, err)
	require.Zero(t, got.wait)
	var burst []dispatch
	for i := range 10 {
		m, _ := b.message(0, jobs.ChannelSMS, "+1202556"+strconv.Itoa(2000+i))
		d, err := b.s.dispatch(b.ctx, m, int64(i))
		require.NoError(t, err)
		require.Empty(t, d.stop)
		burst = append(burst, d)
	}
	refusal := &provider.SendError{Class: provider.ClassRetryLater, Code: "20429", RetryAfter: 2 * time.Hour}
	var snooze *river.JobSnoozeError
	for _, d := range burst {
		require.ErrorAs(t, b.s.retryLater(b.ctx, d, 1, refusal), &snooze)
		require.Equal(t, 2*time.Hour, snooze.Duration)
	}
	require.InDelta(t, 2, b.slowdown(), 0.01)
	require.Equal(t, 1, b.count(`SELECT count(*) FROM senders WHERE next_slot_at BETWEEN now() + interval '1 hour' AND now() + interval '2 hours'`),
		"nobody calls before the time that the provider asked for")
	b.nextTurn()
	again, err := b.s.dispatch(b.ctx, first, 99)
	require.NoError(t, err)
	require.ErrorAs(t, b.s.retryLater(b.ctx, again, 99, refusal), &snooze)
	require.InDelta(t, 4, b.slowdown(), 0.01, "a call that began well after the first refusal is another matter")
}

// A provider refuses for a while, and the fleet is restarted meanwhile: it calls more slowly, loses nothing, repeats nothing,
// and is as fast as before in the end.
func TestThrottle_fleetSlowsDownAndRecovers(t *testing.T) {
	t.Parallel()
	const n, rate = 220, 100.0 // 64 × 0.98^206 < 1
	p := &throttled{busy: true, taken: map[string]int{}, all: make(chan struct{}), want: n}
	b := setup(t, func(o *Options) { o.SMS, o.SMSPerSecond = p, rate })
	campaign := b.campaign(jobs.ChannelSMS)
	insert, err := river.NewClient(riverpgxv5.New(b.pool), &river.Config{Logger: b.s.Logger})
	require.NoError(t, err)
	var params []river.InsertManyParams
	for i := range n {
		m, _ := b.message(campaign, jobs.ChannelSMS, "+1202556"+strconv.Itoa(3000+i))
		params = append(params, river.InsertManyParams{Args: jobs.SendArgs{MessageID: m, Channel: jobs.ChannelSMS}})
	}
	_, err = insert.InsertMany(b.ctx, params)
	require.NoError(t, err)
	worker := func() *river.Client[pgx.Tx] {
		workers := river.NewWorkers()
		require.NoError(t, Register(workers, b.s.Options))
		c, err := river.NewClient(riverpgxv5.New(b.pool), &river.Config{
			Logger: b.s.Logger, Workers: workers, FetchCooldown: 5 * time.Millisecond, FetchPollInterval: 50 * time.Millisecond,
			Queues: map[string]river.QueueConfig{jobs.QueueSendSMS: {MaxWorkers: 20}},
		})
		require.NoError(t, err)
		require.NoError(t, c.Start(context.Background()))
		return c
	}
	refusals := func() int {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.refused)
	}
	fleet := []*river.Client[pgx.Tx]{worker(), worker()}
	require.Eventually(t, func() bool { return refusals() > 0 && b.slowdown() >= 4 }, patience, 10*time.Millisecond)
	for i := range fleet {
		require.NoError(t, fleet[i].Stop(context.Background()))
	}
	before := b.slowdown()
	require.Greater(t, before, 2.0, "the slow-down outlives the fleet")
	for i := range fleet {
		fleet[i] = worker()
	}
	p.setBusy(false)
	// What is left is enough to be fast again: what each call eases is all it takes.
	select {
	case <-p.all:
	case <-time.After(90 * time.Second):
		t.Fatalf("not all were sent: %d", len(p.accepted))
	}
	for _, c := range fleet {
		require.NoError(t, c.Stop(context.Background()))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	require.Len(t, p.taken, n)
	for to, times := range p.taken {
		require.Equal(t, 1, times, to)
	}
	// The state says how fast the end is; a clock would say how fast the machine is.
	require.InDelta(t, 1, b.slowdown(), 0.2)
	const first = 30
	slow := p.accepted[first-1].Sub(p.accepted[0])
	t.Logf("%d refusals, slowed down %.1f times; the first %d calls took %s", len(p.refused), before, first, slow)
	require.Greater(t, slow, time.Duration(float64(first-1)*1.2/rate*float64(time.Second)), "what was refused is slow at first")
}
