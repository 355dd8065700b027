package worker

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"onward/jobs"
)

// A campaign fills a sender's slots as far as they may be taken, and the rest of it goes to sleep one behind the other.
// A test message takes the slot behind the last one that is taken, and is behind no sleeper.
func TestPace_whatSomebodyWaitsForIsBehindNoCampaign(t *testing.T) {
	t.Parallel()
	const rate = 20
	b := setup(t, func(o *Options) { o.SMSPerSecond = rate })
	campaign := b.campaign(jobs.ChannelSMS)
	var taken int
	var until []time.Time // each one's turn: what is left of its wait shrinks while the others are made
	for i := range 60 {
		m, _ := b.message(campaign, jobs.ChannelSMS, "+1202556"+strconv.Itoa(4000+i))
		got, err := b.s.reserve(b.ctx, jobs.SendArgs{MessageID: m, Channel: jobs.ChannelSMS})
		require.NoError(t, err)
		if got.wait == 0 {
			taken++
			continue
		}
		until = append(until, time.Now().Add(got.wait))
	}
	require.GreaterOrEqual(t, taken, int(nearSlot.Seconds()*rate), "the slots of one poll to the next are taken at once")
	require.Greater(t, until[len(until)-1].Sub(until[0]), time.Duration(len(until)-2)*time.Second/rate/2, "a place each")

	alone, _ := b.message(0, jobs.ChannelSMS, someone)
	got, err := b.s.reserve(b.ctx, jobs.SendArgs{MessageID: alone, Channel: jobs.ChannelSMS})
	require.NoError(t, err)
	require.Zero(t, got.wait)
	require.Less(t, time.Until(got.at), 20*nearSlot)

	// Where the provider asked for a pause, it waits for that, and for nobody else.
	b.exec(`UPDATE senders SET next_slot_at = now() + interval '10 seconds', backlog_at = now() + interval '1 hour'`)
	got, err = b.s.reserve(b.ctx, jobs.SendArgs{MessageID: alone, Channel: jobs.ChannelSMS})
	require.NoError(t, err)
	require.InDelta(t, 10, got.wait.Seconds(), 1)
}
