package app_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"onward/cmd/internal/app"
	"onward/jobs"
)

// readiness asks a process whether it is ready.
func (s *stack) readiness() (code int, reasons map[string]string) {
	s.Helper()
	res, err := http.Get("http://" + s.app.PrivateAddr() + "/readyz") //nolint:noctx // a test's own server
	require.NoError(s, err)
	defer func() { _ = res.Body.Close() }()
	var answer struct {
		Ready   bool              `json:"ready"`
		Reasons map[string]string `json:"reasons"`
	}
	require.NoError(s, json.NewDecoder(res.Body).Decode(&answer))
	require.Equal(s, res.StatusCode == http.StatusOK, answer.Ready)
	require.Equal(s, "application/json", res.Header.Get("Content-Type"))
	return res.StatusCode, answer.Reasons
}

func TestReady_saysWhatIsMissing(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	s.eventually("it is ready", func() bool { code, _ := s.readiness(); return code == http.StatusOK })

	_, err := s.db.Pool.Exec(t.Context(), `UPDATE onward_migrations SET version = version + 1000`)
	require.NoError(t, err)
	code, reasons := s.readiness()
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.Contains(t, reasons["schema"], "onward migrate up")
	_, err = s.db.Pool.Exec(t.Context(), `UPDATE onward_migrations SET version = version - 1000`)
	require.NoError(t, err)
	code, reasons = s.readiness()
	require.Equal(t, http.StatusOK, code)
	require.Empty(t, reasons)
}

// A worker that fetches no jobs is of no use, however alive it is.
func TestReady_aWorkerThatDoesNotFetch(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *app.Options) {
		o.Role, o.Queues = app.RoleWorker, []string{jobs.QueueInbound, jobs.QueueBilling}
	}, nil)
	s.eventually("it is ready", func() bool { code, _ := s.readiness(); return code == http.StatusOK })
	// Its queries fail from now on; its process, its pool and the schema are well.
	_, err := s.db.Pool.Exec(t.Context(), `ALTER TABLE river_job RENAME TO river_job_away`)
	require.NoError(t, err)
	s.eventually("it says that it does not fetch", func() bool {
		code, reasons := s.readiness()
		return code == http.StatusServiceUnavailable && reasons["worker"] == "does not fetch jobs of billing, inbound"
	})
	_, err = s.db.Pool.Exec(t.Context(), `ALTER TABLE river_job_away RENAME TO river_job`)
	require.NoError(t, err)
	s.eventually("it is ready again", func() bool { code, _ := s.readiness(); return code == http.StatusOK })
}
