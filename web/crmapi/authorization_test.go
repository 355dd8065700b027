package crmapi_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"onward/web/apitoken"
)

// open is the role of what needs none.
const open apitoken.Role = ""

func TestRevokedToken(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := apitoken.Revoke(t.Context(), b.pool, "viewer")
	require.NoError(t, err)
	r := b.send(apitoken.Viewer, http.MethodGet, "/crm/businesses", nil)
	require.Equal(t, http.StatusUnauthorized, r.status)
	require.Contains(t, r.header.Get("WWW-Authenticate"), "invalid_token")
	require.Equal(t, http.StatusUnauthorized, b.send(open, http.MethodGet, "/nonsense", nil).status, "strangers learn of no path")
}

func TestForbiddenSaysWhatIsNeeded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := b.send(apitoken.Viewer, http.MethodPost, "/crm/businesses", obj{"name": "A"}, keyHeader, "k1")
	require.Equal(t, http.StatusForbidden, r.status)
	require.Contains(t, r.body["detail"], "needs the role operator")
	require.Zero(t, one[int](b, `SELECT count(*) FROM idempotency_keys`))
}
