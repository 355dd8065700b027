package jobadmin_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"onward/jobs/jobadmin"
)

func TestList_filters(t *testing.T) {
	t.Parallel()
	b := setup(t)
	away := b.job("reply", "inbound", "discarded", `{}`, `receipt 1: relation "facts" does not exist (SQLSTATE 42P01)`)
	refused := b.job("send", "send_sms", "retryable", `{}`, `Connection Refused`)
	done := b.job("reply", "inbound", "completed", `{}`, ``)
	old := b.job("reply", "inbound", "discarded", `{}`, `receipt 2: relation "facts" does not exist (SQLSTATE 42P01)`)
	_, err := b.pool.Exec(b.ctx, `UPDATE river_job SET attempted_at = now() - interval '2 days', created_at = now() - interval '2 days' WHERE id = $1`, old)
	require.NoError(t, err)
	print := jobadmin.FingerprintOf(`receipt 9: relation "x" does not exist (SQLSTATE 42P01)`).ID
	for _, c := range []struct {
		name   string
		filter jobadmin.Filter
		want   []int64
	}{
		{"all", jobadmin.Filter{}, []int64{old, done, refused, away}},
		{"ids", jobadmin.Filter{IDs: []int64{away, done}}, []int64{done, away}},
		{"kind", jobadmin.Filter{Kinds: []string{"send"}}, []int64{refused}},
		{"state", jobadmin.Filter{States: []string{"discarded", "retryable"}}, []int64{old, refused, away}},
		{"queue", jobadmin.Filter{Queues: []string{"inbound"}}, []int64{old, done, away}},
		{"error in any case", jobadmin.Filter{Error: "connection refused"}, []int64{refused}},
		{"error, literally", jobadmin.Filter{Error: "%"}, nil},
		{"fingerprint", jobadmin.Filter{Fingerprint: print}, []int64{old, away}},
		{"since", jobadmin.Filter{Since: time.Now().Add(-time.Hour)}, []int64{done, refused, away}},
		{"all of it", jobadmin.Filter{Fingerprint: print, Since: time.Now().Add(-time.Hour), States: []string{"discarded"}}, []int64{away}},
	} {
		list, err := jobadmin.List(b.ctx, b.pool, c.filter, 0, 100)
		require.NoError(t, err, c.name)
		var ids []int64
		for _, j := range list {
			ids = append(ids, j.ID)
		}
		require.Equal(t, c.want, ids, c.name)
	}
	require.ErrorContains(t, jobadmin.Filter{States: []string{"dead"}}.Validate(), `has no "dead"`)
	page, err := jobadmin.List(b.ctx, b.pool, jobadmin.Filter{}, done, 1)
	require.NoError(t, err)
	require.Len(t, page, 1)
	require.Equal(t, refused, page[0].ID)
	_, err = jobadmin.Get(b.ctx, b.pool, 999)
	require.ErrorIs(t, err, jobadmin.ErrNotFound)
	job, message := b.send("held")
	d, err := jobadmin.Get(b.ctx, b.pool, job)
	require.NoError(t, err)
	require.Equal(t, []string{message.String(), "held", "broken"}, []string{d.Message, d.MessageState, d.Errors[0].Error})
}

func TestGroups(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var newest int64
	for i := range 20 {
		newest = b.job("reply", "inbound", "discarded", `{}`, fmt.Sprintf(`receipt %d: relation "facts" does not exist (SQLSTATE 42P01)`, i))
	}
	b.job("purchase", "billing", "retryable", `{}`, `receipt 77: relation "facts" does not exist (SQLSTATE 42P01)`)
	b.job("send", "send_sms", "cancelled", `{}`, `no way`)
	b.job("send", "send_sms", "completed", `{}`, `was a problem once`)
	b.job("send", "send_sms", "cancelled", `{}`, ``)
	groups, more, err := jobadmin.Groups(b.ctx, b.pool, jobadmin.Filter{})
	require.NoError(t, err)
	require.False(t, more)
	require.Len(t, groups, 2)
	g := groups[0]
	require.Equal(t, 21, g.Count)
	require.Equal(t, map[string]int{"reply": 20, "purchase": 1}, g.Kinds)
	require.Equal(t, map[string]int{"discarded": 20, "retryable": 1}, g.States)
	require.Equal(t, newest+1, g.JobID)
	require.Equal(t, `receipt <number>: relation "…" does not exist (SQLSTATE 42P01)`, g.Text)
	require.Equal(t, `receipt 77: relation "facts" does not exist (SQLSTATE 42P01)`, g.Example)
	require.False(t, g.Last.Before(g.First))
	one, _, err := jobadmin.Groups(b.ctx, b.pool, jobadmin.Filter{Kinds: []string{"purchase"}})
	require.NoError(t, err)
	require.Len(t, one, 1)
	require.Equal(t, g.Fingerprint, one[0].Fingerprint)
}
