package app_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"onward/cmd/internal/app"
	"onward/lifecycle/pgstore"
)

// A bulk opt-out whose worker is killed with -9 in the middle, twice, ends with each contact opted out once.
func TestBulk_workerKilledInTheMiddle(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *app.Options) { o.Role = app.RoleWeb }, nil)
	const n = 5000
	s.contacts("bakery", n)
	s.contacts("gym", 1)
	var bulk object
	s.call("POST", "/crm/businesses/bulk", object{"action": "opt_out", "filter": object{"category": "bakery"}, "reason": "they closed"}, &bulk, 202)
	path := "/crm/businesses/bulk/" + bulk.str("id")
	require.EqualValues(t, n, bulk["total"])
	done := func() int {
		var b object
		s.call("GET", path, nil, &b, 200)
		d, _ := b["done"].(float64)
		return int(d)
	}
	// Nobody gets past the 3001st before both kills, however late this test comes to them.
	release := s.hold(`SELECT 1 FROM businesses WHERE id = (SELECT id FROM businesses WHERE category = 'bakery' ORDER BY id OFFSET 3000 LIMIT 1) FOR UPDATE`)
	for _, until := range []int{200, 1500} {
		worker := s.spawn(app.RoleWorker)
		s.eventually("the worker is in the middle", func() bool { return done() >= until })
		s.killWorker(worker)
		require.Less(t, done(), n, "the worker was killed too late to prove anything")
	}
	release()
	s.spawn(app.RoleWorker)
	require.Eventually(t, func() bool {
		s.call("GET", path, nil, &bulk, 200)
		return bulk.str("state") == "done"
	}, time.Minute, 20*time.Millisecond)
	require.EqualValues(t, n, bulk["done"])
	require.Equal(t, n, s.count(`SELECT count(*) FROM facts WHERE event = 'opted_out'`))
	require.Equal(t, n, s.count(`SELECT count(*) FROM businesses WHERE contact_status = 'unsubscribed'`))
	require.Equal(t, n, s.count(`SELECT count(*) FROM suppressions WHERE lifted_at IS NULL`))
	require.Equal(t, n, s.count(`SELECT count(*) FROM transitions WHERE axis = 'contact' AND verdict = 'applied'`))
	v, err := pgstore.Verify(t.Context(), s.db.Pool, pgstore.VerifyOptions{})
	require.NoError(t, err)
	require.Zero(t, v.Drifted)
}

// What a filter started goes out to those who matched, and to nobody who came later.
func TestBulk_startsACampaign(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	s.contacts("bakery", 30)
	var bulk object
	s.call("POST", "/crm/businesses/bulk", object{
		"action": "start_campaign", "filter": object{"category": "bakery"}, "reason": "spring",
		"campaign": object{"name": "Spring", "channel": "sms", "body": "Hello {{.Name}}"},
	}, &bulk, 202)
	_, err := s.db.Pool.Exec(t.Context(), `INSERT INTO businesses (public_id, name, phone, category) VALUES (gen_random_uuid(), 'Late', '+13039999999', 'bakery')`)
	require.NoError(t, err)
	s.eventually("it is over", func() bool {
		s.call("GET", "/crm/businesses/bulk/"+bulk.str("id"), nil, &bulk, 200)
		return bulk.str("state") == "done"
	})
	require.EqualValues(t, 30, bulk["total"])
	require.EqualValues(t, 30, bulk["done"])
	require.Len(t, s.sim.Calls(), 30)
	s.call("POST", "/crm/businesses/bulk/"+bulk.str("id")+"/undo", object{"reason": "too late"}, nil, 409)
}
