package crmapi_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"onward/web/apitoken"
	"onward/web/crmapi"
)

// Promise 6: an outage is a 503 with Retry-After, not an error to puzzle over.
func TestPromise6OutageIs503(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.get("/crm/businesses", http.StatusOK) // the token is remembered
	b.post("/crm/businesses", obj{"name": "A"}, http.StatusCreated)
	b.pool.Close()
	for _, r := range []reply{
		b.send(apitoken.Viewer, http.MethodGet, "/crm/businesses", nil),
		b.send(apitoken.Operator, http.MethodPost, "/crm/businesses", obj{"name": "A"}),
		b.send(apitoken.Admin, http.MethodGet, "/crm/businesses", nil),
	} {
		require.Equal(t, http.StatusServiceUnavailable, r.status, r.raw)
		require.Equal(t, "1", r.header.Get("Retry-After"))
	}
}

func TestUnexpectedErrorsSayNothingOfTheInside(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	b := setup(t, func(o *crmapi.Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	b.exec(`ALTER TABLE suppressions RENAME COLUMN since TO since_when`)
	r := b.get("/suppressions", http.StatusInternalServerError)
	require.NotContains(t, r.raw, "since")
	require.Contains(t, log.String(), "42703")
	require.Contains(t, log.String(), "operation=listSuppressions")
}

func TestNewRefusesWhatItCannotWorkWith(t *testing.T) {
	t.Parallel()
	_, err := crmapi.New(crmapi.Options{})
	require.ErrorContains(t, err, "Pool is required")
}

// A transaction that PostgreSQL ends for the sake of another is run again.
func TestDeadlockIsTriedAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(`
		CREATE SEQUENCE tries MINVALUE -100 START 1;
		CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			IF nextval('tries') < 3 THEN
				RAISE EXCEPTION 'deadlock detected' USING ERRCODE = '40P01';
			END IF;
			RETURN NEW;
		END $$;
		CREATE TRIGGER lose BEFORE INSERT ON businesses FOR EACH ROW EXECUTE FUNCTION lose()`)
	b.business(obj{"name": "A"})
	b.exec(`ALTER SEQUENCE tries RESTART WITH -100`)
	r := b.send(apitoken.Operator, http.MethodPost, "/crm/businesses", obj{"name": "B"})
	require.Equal(t, http.StatusServiceUnavailable, r.status)
	require.Equal(t, 1, one[int](b, `SELECT count(*) FROM businesses`))
	require.WithinDuration(t, time.Now(), one[time.Time](b, `SELECT created_at FROM businesses`), time.Minute)
}
