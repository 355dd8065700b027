package app_test

import (
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"onward/web/apitoken"
)

// anybody is the role of what needs none.
const anybody apitoken.Role = ""

// access says who may use a route.
type access struct {
	role apitoken.Role
	// refusals: only that others are kept out is tried. For what takes seconds, and for what ends the session that tries it.
	refusals bool
}

// authorization is who may do what at the private listener: the least role that is let in. TestAuthorization walks the
// router that really serves; a route that is missing here fails it, and so does a row without a route.
//
// To add a route, add its row: the method ("*" where the handler takes any), the pattern as chi has it, the role. Parts in
// braces are filled in by the test: {id} with a UUID that names nothing, others with "x". Whatever is let in is asked with
// an empty body, so that nothing changes.
func authorization() map[string]access {
	viewer, operator := access{role: apitoken.Viewer}, access{role: apitoken.Operator}
	return map[string]access{
		"GET /healthz":      {},
		"GET /readyz":       {},
		"* /metrics":        {},
		"GET /openapi.json": viewer,
		"GET /docs":         viewer,

		"POST /api/v1/crm/businesses/bulk":             {role: apitoken.Operator},
		"GET /api/v1/crm/businesses/bulk":              {role: apitoken.Viewer},
		"GET /api/v1/crm/businesses/bulk/{id}":         {role: apitoken.Viewer},
		"POST /api/v1/crm/businesses/bulk/{id}/cancel": {role: apitoken.Operator},
		"POST /api/v1/crm/businesses/bulk/{id}/undo":   {role: apitoken.Operator},
		"GET /api/v1/tokens":                           {role: apitoken.Admin},
		"POST /api/v1/tokens":                          {role: apitoken.Admin},
		"DELETE /api/v1/tokens/{id}":                   {role: apitoken.Admin},
		"GET /api/v1/senders":                          {role: apitoken.Viewer},
		"PATCH /api/v1/senders/{id}":                   {role: apitoken.Operator},
		"GET /api/v1/operator-actions":                 {role: apitoken.Viewer},
		"GET /api/v1/analytics/funnel":                 {role: apitoken.Viewer},
		"GET /api/v1/analytics/campaigns":              {role: apitoken.Viewer},
		"GET /api/v1/analytics/revenue":                {role: apitoken.Viewer},
		"GET /api/v1/analytics/at-risk":                {role: apitoken.Viewer},
		"POST /api/v1/crm/businesses":                  {role: apitoken.Operator},
		"GET /api/v1/crm/businesses":                   {role: apitoken.Viewer},
		"GET /api/v1/crm/businesses/{id}":              {role: apitoken.Viewer},
		"PATCH /api/v1/crm/businesses/{id}":            {role: apitoken.Operator},
		"DELETE /api/v1/crm/businesses/{id}":           {role: apitoken.Admin},
		"GET /api/v1/crm/businesses/{id}/timeline":     {role: apitoken.Viewer},
		"POST /api/v1/crm/businesses/{id}/events":      {role: apitoken.Operator},
		"POST /api/v1/crm/sites":                       {role: apitoken.Operator},
		"GET /api/v1/crm/sites/{id}":                   {role: apitoken.Viewer},
		"PATCH /api/v1/crm/sites/{id}":                 {role: apitoken.Operator},
		"POST /api/v1/campaigns":                       {role: apitoken.Operator},
		"GET /api/v1/campaigns":                        {role: apitoken.Viewer},
		"GET /api/v1/campaigns/{id}":                   {role: apitoken.Viewer},
		"PATCH /api/v1/campaigns/{id}":                 {role: apitoken.Operator},
		"GET /api/v1/campaigns/{id}/preview":           {role: apitoken.Viewer},
		"GET /api/v1/campaigns/{id}/estimate":          {role: apitoken.Viewer},
		"POST /api/v1/campaigns/preview":               {role: apitoken.Viewer},
		"POST /api/v1/campaigns/{id}/test":             {role: apitoken.Operator},
		"POST /api/v1/campaigns/{id}/resend":           {role: apitoken.Operator},
		"POST /api/v1/campaigns/{id}/send":             {role: apitoken.Operator},
		"POST /api/v1/campaigns/{id}/pause":            {role: apitoken.Operator},
		"POST /api/v1/campaigns/{id}/resume":           {role: apitoken.Operator},
		"POST /api/v1/campaigns/{id}/cancel":           {role: apitoken.Operator},
		"GET /api/v1/messages":                         {role: apitoken.Viewer},
		"GET /api/v1/messages/{id}":                    {role: apitoken.Viewer},
		"POST /api/v1/messages/{id}/resolve":           {role: apitoken.Operator},
		"POST /api/v1/messages":                        {role: apitoken.Operator},
		"GET /api/v1/replies":                          {role: apitoken.Viewer},
		"GET /api/v1/replies/{id}":                     {role: apitoken.Viewer},
		"POST /api/v1/replies/{id}/done":               {role: apitoken.Operator},
		"POST /api/v1/replies/{id}/reopen":             {role: apitoken.Operator},
		"GET /api/v1/webhook-events":                   {role: apitoken.Viewer},
		"GET /api/v1/webhook-events/{id}":              {role: apitoken.Viewer},
		"POST /api/v1/webhook-events/{id}/replay":      {role: apitoken.Operator},
		"GET /api/v1/jobs":                             {role: apitoken.Viewer},
		"GET /api/v1/jobs/groups":                      {role: apitoken.Viewer},
		"GET /api/v1/jobs/{id}":                        {role: apitoken.Viewer},
		"POST /api/v1/jobs/retry":                      {role: apitoken.Operator},
		"POST /api/v1/jobs/cancel":                     {role: apitoken.Operator},
		"GET /api/v1/queues":                           {role: apitoken.Viewer},
		"POST /api/v1/queues/{name}/pause":             {role: apitoken.Operator},
		"POST /api/v1/queues/{name}/resume":            {role: apitoken.Operator},
		"GET /api/v1/suppressions":                     {role: apitoken.Viewer},
		"GET /api/v1/suppressions.csv":                 {role: apitoken.Viewer},
		"POST /api/v1/suppressions":                    {role: apitoken.Operator},
		"POST /api/v1/suppressions/import":             {role: apitoken.Operator},
		"DELETE /api/v1/suppressions":                  {role: apitoken.Operator},

		"GET /jobs":                          viewer,
		"GET /jobs/*":                        viewer,
		"GET /jobs/api/states":               viewer,
		"GET /jobs/api/autocomplete":         viewer,
		"POST /jobs/api/jobs/retry":          operator,
		"POST /jobs/api/jobs/cancel":         operator,
		"POST /jobs/api/jobs/delete":         operator,
		"PUT /jobs/api/queues/{name}/pause":  operator,
		"PUT /jobs/api/queues/{name}/resume": operator,

		"* /debug/pprof/*":       viewer,
		"* /debug/pprof/cmdline": viewer,
		"* /debug/pprof/symbol":  viewer,
		"* /debug/pprof/profile": {role: apitoken.Viewer, refusals: true},
		"* /debug/pprof/trace":   {role: apitoken.Viewer, refusals: true},

		// The console's.
		"GET /login":                         {},
		"POST /login":                        {refusals: true},
		"POST /logout":                       {refusals: true},
		"GET /favicon.ico":                   {},
		"GET /static/*":                      {},
		"HEAD /static/*":                     {},
		"GET /":                              viewer,
		"GET /home/latest":                   viewer,
		"GET /home/needs":                    viewer,
		"GET /home/pulse":                    viewer,
		"GET /businesses":                    viewer,
		"GET /businesses/list":               viewer,
		"GET /businesses/{id}":               viewer,
		"GET /businesses/{id}/life":          viewer,
		"POST /businesses/{id}":              operator,
		"POST /businesses/{id}/events":       operator,
		"POST /businesses/{id}/erase":        {role: apitoken.Admin},
		"POST /businesses/views":             viewer,
		"POST /businesses/views/{id}/delete": viewer,
		"GET /webhooks":                      viewer,
		"GET /webhooks/list":                 viewer,
		"GET /webhooks/rows":                 viewer,
		"GET /webhooks/{id}":                 viewer,
		"GET /webhooks/{id}/came":            viewer,
		"GET /webhooks/{id}/replay":          operator,
		"POST /webhooks/{id}/replay":         operator,
		"GET /home/funnel":                   viewer,
		"GET /businesses/bulk":               operator,
		"POST /businesses/bulk/preview":      operator,
		"POST /businesses/bulk":              operator,
		"GET /businesses/bulk/{id}":          viewer,
		"GET /businesses/bulk/{id}/progress": viewer,
		"POST /businesses/bulk/{id}/cancel":  operator,
		"POST /businesses/bulk/{id}/undo":    operator,
		"GET /campaigns":                     viewer,
		"GET /campaigns/list":                viewer,
		"GET /campaigns/new":                 operator,
		"GET /campaigns/{id}":                viewer,
		"GET /campaigns/{id}/edit":           operator,
		"GET /campaigns/{id}/launch":         operator,
		"GET /campaigns/{id}/progress":       viewer,
		"GET /analytics":                     viewer,
		"GET /analytics/at-risk":             viewer,
		"GET /analytics/campaigns":           viewer,
		"GET /analytics/revenue":             viewer,
		"GET /queue":                         viewer,
		"GET /queue/act":                     operator,
		"GET /queue/acts/{id}":               viewer,
		"GET /queue/acts/{id}/progress":      viewer,
		"GET /queue/failures":                viewer,
		"GET /queue/jobs":                    viewer,
		"GET /queue/jobs/rows":               viewer,
		"GET /queue/jobs/{id}":               viewer,
		"GET /queue/jobs/{id}/now":           viewer,
		"GET /queue/queues":                  viewer,
		"GET /replies":                       viewer,
		"GET /replies/list":                  viewer,
		"GET /replies/{id}":                  viewer,
		"GET /replies/{id}/talk":             viewer,
		"POST /campaigns":                    operator,
		"POST /campaigns/preview":            viewer,
		"POST /campaigns/{id}":               operator,
		"POST /campaigns/{id}/cancel":        operator,
		"POST /campaigns/{id}/launch":        operator,
		"POST /campaigns/{id}/pause":         operator,
		"POST /campaigns/{id}/resend":        operator,
		"POST /campaigns/{id}/resume":        operator,
		"POST /campaigns/{id}/test":          operator,
		"POST /queue/act":                    operator,
		"POST /queue/queues/{name}/pause":    operator,
		"POST /queue/queues/{name}/resume":   operator,
		"POST /replies/{id}/answer":          operator,
		"POST /replies/{id}/done":            operator,
		"POST /replies/{id}/opt-out":         operator,
		"POST /replies/{id}/reopen":          operator,
		"GET /settings":                      viewer,
		"GET /settings/senders":              viewer,
		"POST /settings/senders/{id}":        operator,
		"GET /settings/suppressions":         viewer,
		"POST /settings/suppressions":        operator,
		"POST /settings/suppressions/lift":   operator,
		"GET /settings/suppressions.csv":     viewer,
		"GET /settings/suppressions/import":  operator,
		"POST /settings/suppressions/import": operator,
		"GET /settings/tokens":               {role: apitoken.Admin},
		"POST /settings/tokens":              {role: apitoken.Admin},
		"POST /settings/tokens/{id}/revoke":  {role: apitoken.Admin},
		"GET /settings/log":                  viewer,
		"GET /messages":                      viewer,
		"GET /messages/{id}":                 viewer,
		"GET /messages/{id}/now":             viewer,
		"POST /messages/{id}/resolve":        operator,
	}
}

func TestAuthorization(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	as := map[apitoken.Role]*visitor{anybody: s.visitor(anybody)}
	for _, role := range apitoken.Roles() {
		as[role] = s.visitor(role)
	}
	var actions int
	require.NoError(t, s.db.Pool.QueryRow(t.Context(), `SELECT count(*) FROM operator_actions`).Scan(&actions))
	table, seen := authorization(), map[string]bool{}
	var missing []string
	require.NoError(t, chi.Walk(s.app.PrivateRoutes(), func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		name := method + " " + route
		need, ok := table[name]
		if !ok {
			name = "* " + route
			need, ok = table[name]
		}
		if !ok {
			missing = append(missing, method+" "+route)
			return nil
		}
		if any := strings.HasPrefix(name, "* "); any && method != http.MethodGet && method != http.MethodPost {
			return nil
		}
		seen[name] = true
		for role, v := range as {
			allowed := need.role == anybody || role.Allows(need.role)
			if allowed && need.refusals {
				continue
			}
			code, location := v.ask(method, route)
			login := code == http.StatusSeeOther && strings.HasPrefix(location, "/login")
			if method == http.MethodGet {
				head, to := v.ask(http.MethodHead, route)
				require.Equal(t, []any{code, login}, []any{head, head == http.StatusSeeOther && strings.HasPrefix(to, "/login")},
					"HEAD %s as %q answers as GET", route, role)
			}
			switch {
			case allowed:
				require.False(t, login || slices.Contains([]int{http.StatusUnauthorized, http.StatusForbidden}, code) || code >= http.StatusInternalServerError,
					"%s %s as %q: %d", method, route, role, code)
			case role == anybody:
				require.True(t, login || code == http.StatusUnauthorized, "%s %s as nobody: %d", method, route, code)
			default:
				require.Equal(t, http.StatusForbidden, code, "%s %s as %s", method, route, role)
			}
		}
		return nil
	}))
	slices.Sort(missing)
	require.Empty(t, missing, "say in the table who may use these")
	for name := range table {
		require.True(t, seen[name], "the table has a route that does not exist: %s", name)
	}
	var after int
	require.NoError(t, s.db.Pool.QueryRow(t.Context(), `SELECT count(*) FROM operator_actions`).Scan(&after))
	require.Equal(t, actions, after, "nothing was done by asking")
}

// visitor is somebody with a role, by token at the API and by session elsewhere.
type visitor struct {
	*stack
	secret string
	client *http.Client
}

func (s *stack) visitor(role apitoken.Role) *visitor {
	s.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(s, err)
	v := &visitor{stack: s, client: &http.Client{
		Jar: jar, Timeout: patience, Transport: &http.Transport{},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	s.Cleanup(v.client.CloseIdleConnections)
	if role == anybody {
		return v
	}
	_, v.secret, err = apitoken.Create(s.Context(), s.db.Pool, string(role), role)
	require.NoError(s, err)
	res, err := v.client.PostForm("http://"+s.app.PrivateAddr()+"/login", url.Values{"token": {v.secret}}) //nolint:noctx // a test's own server
	require.NoError(s, err)
	require.NoError(s, res.Body.Close())
	require.Equal(s, http.StatusSeeOther, res.StatusCode, "logged in as %s", role)
	return v
}

// ask makes a request, and returns its status and where it is sent.
func (v *visitor) ask(method, route string) (code int, location string) {
	v.Helper()
	var parts []string
	for part := range strings.SplitSeq(route, "/") {
		switch {
		case strings.HasPrefix(part, "{id"):
			part = uuid.NewString()
		case strings.HasPrefix(part, "{"), part == "*":
			part = "x"
		}
		parts = append(parts, part)
	}
	req, err := http.NewRequestWithContext(v.Context(), method, "http://"+v.app.PrivateAddr()+strings.Join(parts, "/"), nil)
	require.NoError(v, err)
	if v.secret != "" && strings.HasPrefix(route, "/api/") {
		req.Header.Set("Authorization", "Bearer "+v.secret)
	}
	res, err := v.client.Do(req)
	require.NoError(v, err)
	require.NoError(v, res.Body.Close())
	return res.StatusCode, res.Header.Get("Location")
}

// What guards the description takes a token as a bearer, as a password, and a session; nothing else.
func TestDescriptionNeedsAToken(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	for _, path := range []string{"/docs", "/openapi.json"} {
		get := func(set func(*http.Request)) (int, http.Header) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.app.PrivateAddr()+path, nil)
			require.NoError(t, err)
			set(req)
			res, err := http.DefaultClient.Do(req)
			require.NoError(t, err)
			require.NoError(t, res.Body.Close())
			return res.StatusCode, res.Header
		}
		code, header := get(func(*http.Request) {})
		require.Equal(t, http.StatusUnauthorized, code)
		require.Contains(t, header.Get("WWW-Authenticate"), "Basic ", "a browser asks for the password")
		code, _ = get(func(r *http.Request) { r.SetBasicAuth("ann", "wrong") })
		require.Equal(t, http.StatusUnauthorized, code)
		code, _ = get(func(r *http.Request) { r.SetBasicAuth("ann", s.token) })
		require.Equal(t, http.StatusOK, code)
		code, _ = get(func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+s.token) })
		require.Equal(t, http.StatusOK, code)
		code, _ = s.visitor(apitoken.Viewer).ask(http.MethodGet, path)
		require.Equal(t, http.StatusOK, code, "by session")
	}
}
