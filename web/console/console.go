package console

import (
	"context"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"onward/web/apitoken"
)

// Options are what the console needs. Pool, Sessions, Tokens, API and Logger are required.
type Options struct {
	Pool     *pgxpool.Pool
	Sessions *Sessions
	Tokens   *apitoken.Authenticator
	// API answers below /api/v1. The console acts through it, in process, as the token of the session: what it can do,
	// a script can do, with the same checks and the same entry in the operators' log.
	API    http.Handler
	Logger *slog.Logger
	Clock  func() time.Time // nil: time.Now
	// Rejected tells what was refused at the public door within the last hour. May be nil.
	Rejected func() []Rejected
	// Settings are shown as they are; the secret ones only as set. May be empty.
	Settings []Setting
	// Providers tells who posts webhooks. May be nil.
	Providers func() []Provider
	// Version is shown at the foot of every page.
	Version string
	// Demo is set where the data is made up; pages say so.
	Demo bool
}

// Console are the operators' pages, ready to be mounted.
type Console struct {
	opts   Options
	pages  map[string]*template.Template
	assets *assets
	logins *throttle
	table  []Route

	failures failureGroups
	lastHour pulse
}

// Route is one path of the console. Whoever has the role, or one above it, may use it.
type Route struct {
	Method, Path string // the path as chi takes it
	Role         apitoken.Role
	serve        func(*visit) error
}

// New builds the console.
func New(o Options) (*Console, error) {
	switch {
	case o.Pool == nil, o.Sessions == nil, o.Tokens == nil, o.API == nil, o.Logger == nil:
		return nil, errors.New("console: Pool, Sessions, Tokens, API and Logger are required")
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	c := &Console{opts: o, logins: newThrottle()}
	var err error
	if c.assets, err = readAssets(); err != nil {
		return nil, err
	}
	if c.pages, err = c.parsePages(); err != nil {
		return nil, err
	}
	c.table = slices.Concat(
		c.homeRoutes(), c.businessRoutes(), c.bulkRoutes(), c.messageRoutes(), c.webhookRoutes(),
	)
	c.table = append(c.table, slices.Concat(c.campaignRoutes(), c.replyRoutes(), c.queueRoutes(), c.analyticsRoutes(), c.settingRoutes())...)
	return c, nil
}

// Routes lists every path that needs a role.
func (c *Console) Routes() []Route { return slices.Clone(c.table) }

// navigation are the entries at the side; those whose page is not in the table are left out.
func navigation() []navItem {
	return []navItem{
		{Path: "/", Title: "Home", Key: "h"},
		{Path: "/businesses", Title: "Businesses", Key: "b"},
		{Path: "/campaigns", Title: "Campaigns", Key: "c"},
		{Path: "/replies", Title: "Replies", Key: "r"},
		{Path: "/webhooks", Title: "Webhooks", Key: "w"},
		{Path: "/queue", Title: "Jobs", Key: "j"},
		{Path: "/analytics", Title: "Analytics", Key: "a"},
		{Path: "/settings", Title: "Settings", Key: "s"},
	}
}

type navItem struct {
	Path, Title string
	Key         string // pressed after g
}

func (c *Console) navigation() []navItem {
	return slices.DeleteFunc(navigation(), func(n navItem) bool {
		return !slices.ContainsFunc(c.table, func(r Route) bool { return r.Method == http.MethodGet && r.Path == n.Path })
	})
}

// Mount puts the console on a router, behind [Sessions.Middleware].
func (c *Console) Mount(r chi.Router) {
	r.Group(func(r chi.Router) {
		r.Use(headers)
		r.Get(staticPrefix+"*", c.assets.serve)
		r.Head(staticPrefix+"*", c.assets.serve)
		r.Get("/favicon.ico", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, c.assets.url("icon.svg"), http.StatusSeeOther)
		})
		r.Get(loginPath, c.loginForm)
		// Also without a session: nobody may log a browser in from elsewhere.
		r.With(http.NewCrossOriginProtection().Handler).Post(loginPath, c.login)
		r.Post("/logout", c.logout)
		for _, route := range c.table {
			r.MethodFunc(route.Method, route.Path, func(w http.ResponseWriter, r *http.Request) { c.serve(w, r, route) })
		}
	})
}

// NotFound answers where nothing is: with a page for people, in a line for programs.
func (c *Console) NotFound(w http.ResponseWriter, r *http.Request) {
	token, ok := apitoken.FromContext(r.Context())
	if _, session := sessionOf(r.Context()); !ok || !session {
		http.NotFound(w, r)
		return
	}
	headers(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.fail(&visit{console: c, w: w, r: r, Token: token}, errNotFound)
	})).ServeHTTP(w, r)
}

// pageTime is what a page may take in all: an act may wait for a running provider call, as the API's may.
const pageTime = 35 * time.Second

var errPageTime = errors.New("the console's request time-out of 35 s")

// serve answers one request, by those who may make it.
func (c *Console) serve(w http.ResponseWriter, r *http.Request, route Route) {
	ctx, cancel := context.WithTimeoutCause(r.Context(), pageTime, errPageTime)
	defer cancel()
	r = r.WithContext(ctx)
	v := &visit{console: c, w: w, r: r}
	token, ok := apitoken.FromContext(ctx)
	if !ok {
		loginTo(w, r)
		return
	}
	v.Token = token
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		limit := int64(maxForm)
		if strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/form-data") {
			limit = maxUpload
		}
		r.Body = http.MaxBytesReader(w, r.Body, limit)
	}
	if !token.Role.Allows(route.Role) {
		c.fail(v, refuse(http.StatusForbidden, v.lacks(route.Role)))
		return
	}
	if err := route.serve(v); err != nil {
		c.fail(v, err)
	}
}

// readTime bounds each query of a page in the database itself, which ends it also when nobody waits any more.
const readTime = 3 * time.Second

// read runs queries on one snapshot that cannot change anything, each for readTime at most.
func (c *Console) read(ctx context.Context, fn func(pgx.Tx) error) error {
	return pgx.BeginTxFunc(ctx, c.opts.Pool, pgx.TxOptions{
		BeginQuery: "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL jit = off; SET LOCAL statement_timeout = " +
			strconv.FormatInt(readTime.Milliseconds(), 10),
	}, fn)
}
