package app_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A campaign with an hour of its own waits for it, and then goes out by itself.
func TestCampaign_waitsForItsHour(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	create := func(name string, at time.Time, business string) string {
		var c object
		s.call("POST", "/campaigns", object{
			"name": name, "channel": "sms", "body": "Hello {{.Name}}", "audience": object{"business_ids": []string{business}}, "send_at": at,
		}, &c, 201)
		s.call("POST", "/campaigns/"+c.str("id")+"/send", nil, &c, 202)
		require.Equal(t, "scheduled", c.str("status"))
		return c.str("id")
	}
	status := func(id string) string {
		var c object
		s.call("GET", "/campaigns/"+id, nil, &c, 200)
		return c.str("status")
	}
	frozen := func(id string) (is bool) {
		require.NoError(t, s.db.Pool.QueryRow(t.Context(), `SELECT frozen_at IS NOT NULL FROM campaigns WHERE public_id = $1`, id).Scan(&is))
		return is
	}
	calls := func(phone string) (n int) {
		for _, c := range s.sim.Calls() {
			if c.To == phone {
				n++
			}
		}
		return n
	}

	soon, soonPhone, _ := s.business("")
	never, neverPhone, _ := s.business("")
	later, laterPhone, _ := s.business("")
	waits := create("soon", time.Now().Add(time.Hour), soon)
	cancelled := create("cancelled", time.Now().Add(time.Hour), never)
	far := create("far", time.Now().Add(2*time.Hour), later)
	s.eventually("the audience is frozen before the hour", func() bool { return frozen(waits) && frozen(far) })
	s.call("POST", "/campaigns/"+cancelled+"/cancel", object{"reason": "changed our mind"}, nil, 202)
	require.Equal(t, "cancelled", status(cancelled))
	require.Equal(t, "scheduled", status(waits))

	// The hour comes: it is put to now, and what sleeps until it wakes.
	ids := []string{waits, cancelled}
	const fanOut = `kind = 'campaign_fan_out' AND state = 'scheduled'
		AND (args ->> 'campaign_id')::bigint IN (SELECT id FROM campaigns WHERE public_id = ANY($1::text[]::uuid[]))`
	s.eventually("they sleep", func() bool {
		return s.count(`SELECT count(*) FROM river_job WHERE `+fanOut, []string{waits, far}) == 2
	})
	_, err := s.db.Pool.Exec(t.Context(), `UPDATE campaigns SET send_at = clock_timestamp() WHERE public_id = ANY($1::text[]::uuid[])`, ids)
	require.NoError(t, err)
	_, err = s.db.Pool.Exec(t.Context(), `UPDATE river_job SET state = 'available', scheduled_at = now() WHERE `+fanOut, ids)
	require.NoError(t, err)
	s.awaitMessage(waits, soon, "delivered")
	require.Equal(t, 1, calls(soonPhone))
	var sent time.Time
	var due time.Time
	require.NoError(t, s.db.Pool.QueryRow(t.Context(), `
		SELECT m.dispatched_at, c.send_at FROM messages m JOIN campaigns c ON c.id = m.campaign_id WHERE c.public_id = $1`, waits).Scan(&sent, &due))
	require.False(t, sent.Before(due), "not before its hour")
	s.eventually("the campaign is over", func() bool { return status(waits) == "sent" })

	// What was cancelled in time never goes out, and the far one waits.
	require.Zero(t, calls(neverPhone))
	require.Equal(t, "cancelled", status(cancelled))
	require.Equal(t, "scheduled", status(far))
	require.Zero(t, calls(laterPhone))
	s.call("POST", "/campaigns/"+far+"/pause", nil, nil, 202)
	s.call("POST", "/campaigns/"+far+"/resume", nil, nil, 202)
	require.Equal(t, "scheduled", status(far), "a pause does not bring the hour forward")
	s.call("POST", "/campaigns/"+far+"/cancel", nil, nil, 202)
	require.Equal(t, "cancelled", status(far))
}
