package crmapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"onward/web/apitoken"
	"onward/web/crmapi"
)

// open is the role of what needs none.
const open apitoken.Role = ""

// authorization says who may do what. A route that is missing here fails the test.
func authorization() map[string]apitoken.Role {
	return map[string]apitoken.Role{
		"GET /openapi.json":                            apitoken.Viewer,
		"GET /docs":                                    apitoken.Viewer,
		"POST /api/v1/crm/businesses/bulk":             apitoken.Operator,
		"GET /api/v1/crm/businesses/bulk":              apitoken.Viewer,
		"GET /api/v1/crm/businesses/bulk/{id}":         apitoken.Viewer,
		"POST /api/v1/crm/businesses/bulk/{id}/cancel": apitoken.Operator,
		"POST /api/v1/crm/businesses/bulk/{id}/undo":   apitoken.Operator,
		"GET /api/v1/tokens":                           apitoken.Admin,
		"POST /api/v1/tokens":                          apitoken.Admin,
		"DELETE /api/v1/tokens/{id}":                   apitoken.Admin,
		"GET /api/v1/senders":                          apitoken.Viewer,
		"PATCH /api/v1/senders/{id}":                   apitoken.Operator,
		"GET /api/v1/operator-actions":                 apitoken.Viewer,
		"POST /api/v1/crm/businesses":                  apitoken.Operator,
		"GET /api/v1/crm/businesses":                   apitoken.Viewer,
		"GET /api/v1/crm/businesses/{id}":              apitoken.Viewer,
		"PATCH /api/v1/crm/businesses/{id}":            apitoken.Operator,
		"DELETE /api/v1/crm/businesses/{id}":           apitoken.Admin,
		"GET /api/v1/crm/businesses/{id}/timeline":     apitoken.Viewer,
		"POST /api/v1/crm/businesses/{id}/events":      apitoken.Operator,
		"POST /api/v1/crm/sites":                       apitoken.Operator,
		"GET /api/v1/crm/sites/{id}":                   apitoken.Viewer,
		"PATCH /api/v1/crm/sites/{id}":                 apitoken.Operator,
		"POST /api/v1/campaigns":                       apitoken.Operator,
		"GET /api/v1/campaigns":                        apitoken.Viewer,
		"GET /api/v1/campaigns/{id}":                   apitoken.Viewer,
		"PATCH /api/v1/campaigns/{id}":                 apitoken.Operator,
		"GET /api/v1/campaigns/{id}/preview":           apitoken.Viewer,
		"GET /api/v1/campaigns/{id}/estimate":          apitoken.Viewer,
		"POST /api/v1/campaigns/preview":               apitoken.Viewer,
		"POST /api/v1/campaigns/{id}/test":             apitoken.Operator,
		"POST /api/v1/campaigns/{id}/resend":           apitoken.Operator,
		"POST /api/v1/campaigns/{id}/send":             apitoken.Operator,
		"POST /api/v1/campaigns/{id}/pause":            apitoken.Operator,
		"POST /api/v1/campaigns/{id}/resume":           apitoken.Operator,
		"POST /api/v1/campaigns/{id}/cancel":           apitoken.Operator,
		"GET /api/v1/messages":                         apitoken.Viewer,
		"GET /api/v1/messages/{id}":                    apitoken.Viewer,
		"POST /api/v1/messages/{id}/resolve":           apitoken.Operator,
		"POST /api/v1/messages":                        apitoken.Operator,
		"GET /api/v1/replies":                          apitoken.Viewer,
		"GET /api/v1/replies/{id}":                     apitoken.Viewer,
		"POST /api/v1/replies/{id}/done":               apitoken.Operator,
		"POST /api/v1/replies/{id}/reopen":             apitoken.Operator,
		"GET /api/v1/webhook-events":                   apitoken.Viewer,
		"GET /api/v1/webhook-events/{id}":              apitoken.Viewer,
		"POST /api/v1/webhook-events/{id}/replay":      apitoken.Operator,
		"GET /api/v1/jobs":                             apitoken.Viewer,
		"GET /api/v1/jobs/groups":                      apitoken.Viewer,
		"GET /api/v1/jobs/{id}":                        apitoken.Viewer,
		"POST /api/v1/jobs/retry":                      apitoken.Operator,
		"POST /api/v1/jobs/cancel":                     apitoken.Operator,
		"GET /api/v1/queues":                           apitoken.Viewer,
		"POST /api/v1/queues/{name}/pause":             apitoken.Operator,
		"POST /api/v1/queues/{name}/resume":            apitoken.Operator,
		"GET /api/v1/suppressions":                     apitoken.Viewer,
		"GET /api/v1/suppressions.csv":                 apitoken.Viewer,
		"POST /api/v1/suppressions":                    apitoken.Operator,
		"DELETE /api/v1/suppressions":                  apitoken.Operator,
	}
}

func TestAuthorization(t *testing.T) {
	t.Parallel()
	b := setup(t)
	table := authorization()
	seen := map[string]bool{}
	require.NoError(t, chi.Walk(b.router, func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		name := method + " " + route
		need, ok := table[name]
		require.True(t, ok, "%s: say in the table who may do it", name)
		seen[name] = true
		path := strings.TrimPrefix(strings.ReplaceAll(route, "{id}", uuid.NewString()), crmapi.Prefix)
		for _, role := range append([]apitoken.Role{open}, apitoken.Roles()...) {
			// Without a body: whoever is let in gets an answer about the request, which changes nothing.
			status := b.send(role, method, path, nil).status
			switch {
			case need == open:
				require.Equal(t, http.StatusOK, status, name)
			case role == open:
				require.Equal(t, http.StatusUnauthorized, status, name)
			case role.Allows(need):
				require.NotContains(t, []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusInternalServerError}, status, "%s as %s", name, role)
			default:
				require.Equal(t, http.StatusForbidden, status, "%s as %s", name, role)
			}
		}
		return nil
	}))
	require.Len(t, seen, len(table), "the table has no route that does not exist")
	require.Zero(t, one[int](b, `SELECT count(*) FROM operator_actions`))
}

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
