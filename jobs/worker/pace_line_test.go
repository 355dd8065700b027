package worker

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"onward/jobs"
)

// A campaign fills a sender's slots as far as they may be taken, and the rest of it goes to sleep one behind the other.
// A test message takes the slot behind the last one that is taken, and is behind no sleeper.
func TestPace_whatSomebodyWaitsForIsBehindNoCampaign(t *testing.T) {
	t.Parallel()
	const rate = 20
	b := setup(t, func(o *Options) { o.SMSPerSecond = rate })
	b.stopClock() // or slots pass while the line is made
	b.exec(`INSERT INTO senders (channel, address, per_second, next_slot_at, backlog_at) VALUES ('sms', $1, $2, now(), now())`, testFrom, rate)
	campaign := b.campaign(jobs.ChannelSMS)
	var taken int
	var waits []time.Duration
	for i := range 60 {
		m, _ := b.message(campaign, jobs.ChannelSMS, "+1202556"+strconv.Itoa(4000+i))
		got, err := b.s.reserve(b.ctx, jobs.SendArgs{MessageID: m, Channel: jobs.ChannelSMS})
		require.NoError(t, err)
		if got.wait == 0 {
			taken++
			continue
		}
		waits = append(waits, got.wait)
	}
	require.Equal(t, 1+int((nearSlot-lead).Seconds()*rate/margin), taken, "the slots of one poll to the next are taken at once")
	for i, wait := range waits[1:] {
		require.InDelta(t, margin/rate, (wait - waits[i]).Seconds(), 1e-4, "a place each")
	}

	alone, _ := b.message(0, jobs.ChannelSMS, someone)
	got, err := b.s.reserve(b.ctx, jobs.SendArgs{MessageID: alone, Channel: jobs.ChannelSMS})
	require.NoError(t, err)
	require.Zero(t, got.wait)
	require.Less(t, time.Until(got.at), 2*nearSlot)

	// Where the provider asked for a pause, it waits for that, and for nobody else.
	b.exec(`UPDATE senders SET next_slot_at = now() + interval '10 seconds', backlog_at = now() + interval '1 hour'`)
	got, err = b.s.reserve(b.ctx, jobs.SendArgs{MessageID: alone, Channel: jobs.ChannelSMS})
	require.NoError(t, err)
	require.Equal(t, 10*time.Second, got.wait)
}

// Where reserving a slot takes longer than the nearest slot is away, a later one is reserved: the message goes out all the
// same, instead of missing slot after slot. Where slots are as near to each other as calls anyway, none is missed.
func TestPace_databaseThatIsSlowerThanTheSlots(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rate     float64
		slowdown int
		missed   bool
	}{
		"a pace":                  {500, 1, true},
		"a pace beyond a machine": {100_000, 1, false},
		"slowed down":             {100_000, 200, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, nil)
			b.s.missedAfter = missedAfter
			b.exec(`INSERT INTO senders (channel, address, per_second, slowdown) VALUES ('sms', $1, $2, $3)`, testFrom, c.rate, c.slowdown)
			message, _ := b.message(0, jobs.ChannelSMS, someone)
			run, reserved := b.s.slots.run, 0
			b.s.slots.run = func(ctx context.Context, first func(*pgx.Batch), fn func(pgx.Tx, *pgx.Batch) error) error {
				err := run(ctx, first, fn)
				reserved++
				time.Sleep(2 * lead) // the way back of its commit
				return err
			}
			require.NoError(t, b.send(message, jobs.ChannelSMS))
			state, _ := b.state(message)
			require.Equal(t, "accepted", state)
			if c.missed {
				require.Greater(t, reserved, 1, "no slot was missed: nothing is proved")
			} else {
				require.Equal(t, 1, reserved)
			}
		})
	}
}
