package app_test

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"onward/cmd/internal/app"
	"onward/jobs/provider/providersim"
	"onward/jobs/worker"
)

// How often and how large the opt-out race is run. `make promises` runs 20 rounds of 2000.
var (
	raceRounds     = flag.Int("race.rounds", 2, "rounds of the opt-out race")
	raceRecipients = flag.Int("race.recipients", 400, "recipients of a round's campaign")
)

// Three workers send a campaign at full speed while random recipients say STOP. From the moment that the provider has
// our 2xx for a STOP, no call to that number begins: checked by the provider's own clock.
func TestPromise4_noCallBeginsAfterTheAnswerToAStop(t *testing.T) {
	t.Parallel()
	fast := func(o *worker.Options) { o.SMSPerSecond = 1e6 }
	s := start(t, func(o *app.Options) { o.Tune = fast }, func(o *providersim.Options) { o.LatencyMin, o.LatencyMax = time.Millisecond, 8*time.Millisecond })
	for range 2 {
		a, err := app.New(t.Context(), app.Options{Config: s.config, Role: app.RoleWorker, Logger: slog.New(slog.DiscardHandler), Version: "test", Tune: fast})
		require.NoError(t, err)
		require.NoError(t, a.Start(t.Context()))
		t.Cleanup(func() { require.NoError(t, a.Stop(context.Background())) })
	}
	spared := 0
	for round := range *raceRounds {
		spared += s.raceRound(round, *raceRecipients)
	}
	require.Positive(t, spared, "no STOP ever came before its text: the race was not run")
	t.Logf("%d rounds of %d: %d texts were stopped in time, none was sent after the answer", *raceRounds, *raceRecipients, spared)
}

// raceRound runs one campaign against STOPs, and returns how many texts were not sent because of one.
func (s *stack) raceRound(round, n int) (spared int) {
	s.Helper()
	category := fmt.Sprintf("race %d", round)
	_, err := s.db.Pool.Exec(s.Context(), `
		INSERT INTO businesses (public_id, name, phone, category)
		SELECT gen_random_uuid(), 'Business ' || i, '+1303' || lpad(($1 * 100000 + i)::text, 7, '0'), $2 FROM generate_series(1, $3) i`, round, category, n)
	require.NoError(s, err)
	var c object
	s.call("POST", "/campaigns", object{
		"name": category, "channel": "sms", "body": "Hello {{.Name}}", "audience": object{"filter": object{"category": category}}, "per_second": 10000,
	}, &c, 201)
	s.call("POST", "/campaigns/"+c.str("id")+"/send", nil, nil, 202)

	var mu sync.Mutex
	answered := map[string]time.Time{}
	order := rand.New(rand.NewPCG(uint64(round), 1)).Perm(n) //nolint:gosec // a test's order, not a secret
	var wg sync.WaitGroup
	for part := range 4 {
		wg.Go(func() {
			for i := part; i < n/2; i += 4 {
				phone := fmt.Sprintf("+1303%07d", round*100000+order[i]+1)
				code := s.reply(newSID("SM"), phone, "STOP")
				at := time.Now()
				if code != 200 {
					s.Errorf("STOP answered %d", code)
					return
				}
				mu.Lock()
				answered[phone] = at
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	s.awaitCampaign(c.str("id"), "sent")
	called := map[string]bool{}
	for _, call := range s.sim.Calls() {
		at, stopped := answered[call.To]
		if !stopped {
			continue
		}
		called[call.To] = true
		require.True(s, call.Begin.Before(at), "a call to a number began %s after its STOP was answered", call.Begin.Sub(at))
	}
	return len(answered) - len(called)
}
