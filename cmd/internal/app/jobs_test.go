package app_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"testing"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/stretchr/testify/require"

	"onward/jobs/provider/providersim"
)

// private asks the private listener, as the holder of the token, with it as a password.
func (s *stack) private(method, path, body string) (int, string) {
	s.Helper()
	req, err := http.NewRequestWithContext(s.Context(), method, "http://"+s.app.PrivateAddr()+path, bytes.NewReader([]byte(body)))
	require.NoError(s, err)
	req.SetBasicAuth("ann", s.token)
	res, err := http.DefaultClient.Do(req)
	require.NoError(s, err)
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	require.NoError(s, err)
	return res.StatusCode, string(b)
}

// A send whose outcome is unknown is not repeated by whatever puts its job back: the pages refuse to, and where River's
// own retry is used all the same, the job finds the message unresolved and calls nobody.
func TestPromise3_aRetriedJobDoesNotSendWhatMayHaveBeenSent(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	id, phone, _ := s.business(providersim.MagicDrop) // no answer, and nothing went out: nobody here can know
	campaign := s.campaign("sms", id)
	s.awaitMessage(campaign, id, "held")
	calls := func() (n int) {
		for _, c := range s.sim.Calls() {
			if c.To == phone {
				n++
			}
		}
		return n
	}
	before := calls()
	require.Equal(t, 1, before)
	var job int64
	require.NoError(t, s.db.Pool.QueryRow(t.Context(), `
		UPDATE river_job SET state = 'discarded', finalized_at = now(), attempt = max_attempts WHERE kind = 'send' RETURNING id`).Scan(&job))
	ids, err := json.Marshal(map[string]any{"ids": []int64{job}})
	require.NoError(t, err)
	code, body := s.private("POST", "/jobs/api/jobs/retry", string(ids))
	require.Equal(t, http.StatusConflict, code, body)
	require.Contains(t, body, "may have been sent")
	var acted object
	s.call("POST", "/jobs/retry", object{"filter": object{"ids": []int64{job}}, "reason": "try"}, &acted, 200)
	require.InDelta(t, 1, acted["refused"], 0)

	client, err := river.NewClient(riverpgxv5.New(s.db.Pool), &river.Config{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	_, err = client.JobRetry(t.Context(), job)
	require.NoError(t, err)
	s.eventually("the job ran again", func() bool {
		return s.count(`SELECT count(*) FROM river_job WHERE id = $1 AND state = 'completed'`, job) == 1
	})
	require.Equal(t, before, calls(), "nobody was called")
	s.awaitMessage(campaign, id, "held")
}

// What stands on the private listener and is neither health nor metrics needs a token.
func TestPrivate_needsAToken(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	open := []string{"/healthz", "/readyz", "/metrics"}
	for _, path := range slices.Concat(open, []string{"/docs", "/openapi.json", "/jobs/", "/jobs/api/jobs", "/api/v1/jobs", "/debug/pprof/", "/debug/pprof/heap"}) {
		res, err := http.Get("http://" + s.app.PrivateAddr() + path) //nolint:noctx // a test's own server
		require.NoError(t, err)
		_ = res.Body.Close()
		require.Equal(t, !slices.Contains(open, path), res.StatusCode == http.StatusUnauthorized, path)
	}
	code, body := s.private("GET", "/jobs/", "")
	require.Equal(t, http.StatusOK, code)
	require.Contains(t, body, "<html")
	code, _ = s.private("GET", "/jobs/api/states", "")
	require.Equal(t, http.StatusOK, code)
}
