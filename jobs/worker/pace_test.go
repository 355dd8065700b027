package worker

import (
	"context"
	"slices"
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

// noted is a provider that notes when it was called.
type noted struct {
	mu    sync.Mutex
	calls []time.Time
	all   chan struct{}
	want  int
}

func (p *noted) Send(_ context.Context, m provider.Message) (provider.Accepted, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, time.Now())
	if len(p.calls) == p.want {
		close(p.all)
	}
	return provider.Accepted{SID: "SM" + m.ID, Status: "queued"}, nil
}

// Four workers, two of them stopped and started anew on the way, share one sender's pace: over any window of n seconds
// at most n × rate + 1 calls are made. The clock is the provider's.
func TestPace_overAnyWindowOverTheWholeFleet(t *testing.T) {
	t.Parallel()
	const rate, n = 5.0, 20 // four seconds' worth, in slots that are long beside what a busy machine stalls a call for
	p := &noted{all: make(chan struct{}), want: n}
	b := setup(t, func(o *Options) { o.SMS, o.SMSPerSecond = p, rate })
	campaign := b.campaign(jobs.ChannelSMS)
	insert, err := river.NewClient(riverpgxv5.New(b.pool), &river.Config{Logger: b.s.Logger})
	require.NoError(t, err)
	var params []river.InsertManyParams
	for i := range n {
		m, _ := b.message(campaign, jobs.ChannelSMS, "+1202556"+string(rune('0'+i/100%10))+string(rune('0'+i/10%10))+string(rune('0'+i%10))+"0")
		params = append(params, river.InsertManyParams{Args: jobs.SendArgs{MessageID: m, Channel: jobs.ChannelSMS}})
	}
	_, err = insert.InsertMany(b.ctx, params)
	require.NoError(t, err)

	worker := func() *river.Client[pgx.Tx] {
		workers := river.NewWorkers()
		require.NoError(t, Register(workers, b.s.Options))
		c, err := river.NewClient(riverpgxv5.New(b.pool), &river.Config{
			Logger: b.s.Logger, Workers: workers, FetchCooldown: 5 * time.Millisecond, FetchPollInterval: 50 * time.Millisecond,
			Queues: map[string]river.QueueConfig{jobs.QueueSendSMS: {MaxWorkers: 10}},
		})
		require.NoError(t, err)
		require.NoError(t, c.Start(context.Background()))
		return c
	}
	fleet := make([]*river.Client[pgx.Tx], 4)
	for i := range fleet {
		fleet[i] = worker()
	}
	for i := range 2 {
		require.NoError(t, fleet[i].Stop(context.Background()))
		fleet[i] = worker()
	}
	select {
	case <-p.all:
	case <-time.After(2 * patience):
		t.Fatal("not all were sent")
	}
	for _, c := range fleet {
		require.NoError(t, c.Stop(context.Background()))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	require.Len(t, p.calls, n)
	slices.SortFunc(p.calls, time.Time.Compare)
	for i := range p.calls {
		for j := i; j < len(p.calls); j++ {
			window := p.calls[j].Sub(p.calls[i]).Seconds()
			require.LessOrEqual(t, float64(j-i+1), window*rate+1+slack(rate), "calls %d to %d within %.3f s", i, j, window)
		}
	}
}

// slack is what the way from the slot to the provider may vary by on a machine that runs other tests, in calls: one slot.
func slack(float64) float64 { return 1 }
