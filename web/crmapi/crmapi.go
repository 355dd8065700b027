package crmapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"

	"onward/jobs/recipienttime"
	"onward/jobs/tracktoken"
	"onward/lifecycle/pgstore"
	"onward/web/apitoken"
)

// Prefix is where the API is mounted.
const Prefix = "/api/v1"

// Options is what the API needs. Pool, River and Logger are required.
type Options struct {
	Pool   *pgxpool.Pool
	River  *river.Client[pgx.Tx]   // inserts only
	Tokens *apitoken.Authenticator // nil: one of its own over Pool
	Logger *slog.Logger
	Clock  func() time.Time // nil: time.Now

	// Wake is called after a commit that inserted jobs, with their queues. May be nil.
	Wake func(queues []string)
	// Settle waits until no provider call to the addresses can start any more: an opt-out is answered after
	// that. May be nil where no sends run.
	Settle func(ctx context.Context, addresses []pgstore.Address) error
	// Observe is told of facts that were applied, after the commit. May be nil.
	Observe func(applied []pgstore.Applied)
	// TryReceipt says what a receipt would come to if it were applied again, and changes nothing. Without it the API makes
	// no dry runs of replays.
	TryReceipt func(ctx context.Context, id uuid.UUID) (ReplayTrial, error)
	// Guard stands in front of the description and its page, which hold nothing secret. Nil: Tokens.Page, which lets in
	// who has a token or a session.
	Guard func(http.Handler) http.Handler

	// SMSFrom and EmailFrom are the senders' addresses as in table senders: their pace makes a campaign's eta.
	SMSFrom, EmailFrom string
	// EmailPostalAddress, QuietHours (zero: off), PublicURL and Links are the worker's own, for previews and tests.
	// Without Links a message's unsubscribe address is empty.
	EmailPostalAddress string
	QuietHours         recipienttime.Window
	PublicURL          string
	Links              *tracktoken.Codec
	// PerSecond is how many requests a second a token may make, four times as many at once; 0: any number.
	PerSecond float64
	// Version is shown in the description.
	Version string
}

// API is the API, ready to be mounted.
type API struct {
	opts   Options
	zones  *recipienttime.Zones
	router chi.Router
	lists  map[string][]string // routes of lists, and the columns of their CSV
	spec   []byte
	page   []byte
}

// New builds the API.
func New(o Options) (*API, error) {
	switch {
	case o.Pool == nil:
		return nil, errors.New("crmapi: Pool is required")
	case o.River == nil:
		return nil, errors.New("crmapi: River is required")
	case o.Logger == nil:
		return nil, errors.New("crmapi: Logger is required")
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Tokens == nil {
		o.Tokens = apitoken.NewAuthenticator(o.Pool, o.Clock)
	}
	if o.Guard == nil {
		o.Guard = o.Tokens.Page
	}
	if o.Version == "" {
		o.Version = "dev"
	}
	a := &API{opts: o, zones: recipienttime.NewZones(nil), router: chi.NewRouter(), lists: map[string][]string{}}
	a.router.Use(middleware.GetHead, timeLimit, requestIDs, sessions, o.Tokens.Middleware)
	if o.PerSecond > 0 {
		a.router.Use(newLimiter(o.PerSecond, o.Clock).limit)
	}
	a.router.Use(queries, a.exports, etags, bodies)
	a.router.NotFound(func(w http.ResponseWriter, _ *http.Request) {
		writeProblem(w, http.StatusNotFound, "there is no such path: see /docs")
	})
	a.router.MethodNotAllowed(a.otherMethods)
	h := humachi.New(a.router, config(o.Version))
	a.registerAll(h)
	tellNulls(h.OpenAPI().Components.Schemas)
	var err error
	if a.spec, a.page, err = describe(h.OpenAPI()); err != nil {
		return nil, err
	}
	return a, nil
}

// otherMethods answers 405 with the methods that there are.
func (a *API) otherMethods(w http.ResponseWriter, r *http.Request) {
	path := chi.RouteContext(r.Context()).RoutePath
	var allowed []string
	for _, method := range []string{http.MethodDelete, http.MethodGet, http.MethodPatch, http.MethodPost} {
		if a.router.Match(chi.NewRouteContext(), method, path) {
			allowed = append(allowed, method)
			if method == http.MethodGet {
				allowed = append(allowed, http.MethodHead)
			}
		}
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	writeProblem(w, http.StatusMethodNotAllowed, "this path has other methods: see /docs")
}

// Mount puts the API, /openapi.json and /docs on a router.
func (a *API) Mount(r chi.Router) {
	r.Mount(Prefix, a.router)
	r.Group(func(r chi.Router) {
		r.Use(a.opts.Guard)
		r.Get("/openapi.json", a.serveSpec)
		r.Get("/docs", a.serveDocs)
	})
}

// registerAll lists every operation, one line an entity.
func (a *API) registerAll(h huma.API) {
	a.registerBusinesses(h)
	a.registerErasure(h)
	a.registerTimeline(h)
	a.registerEvents(h)
	a.registerSites(h)
	a.registerCampaigns(h)
	a.registerMessages(h)
	a.registerMessageCreation(h)
	a.registerReplies(h)
	a.registerReceipts(h)
	a.registerSuppressions(h)
	a.registerJobs(h)
	a.registerAnalytics(h)
	a.registerQueues(h)
	a.registerBulk(h)
	a.registerTokens(h)
	a.registerSenders(h)
	a.registerOperatorActions(h)
}

const securityName = "token"

// config is huma's without what it would fetch from elsewhere, and without $schema members in answers.
func config(version string) huma.Config {
	c := huma.DefaultConfig("Onward", version)
	c.CreateHooks = nil
	c.OpenAPIPath, c.DocsPath, c.SchemasPath = "", "", ""
	c.RejectUnknownQueryParameters = true
	c.Transformers = []huma.Transformer{tidyProblem}
	c.Info.Description = "Contacts, campaigns, messages and receipts of Onward. Times are RFC 3339 in UTC, errors RFC 9457. " +
		"Lists are pages of items with next_cursor, null on the last; as CSV, with format=csv or Accept: text/csv, they are whole; " +
		"there a list of words, such as tags, is one cell with semicolons between them, and other lists are JSON. " +
		"Members and parameters that are unknown, in another case or given twice are refused. " +
		"What is read has an ETag. A POST with an Idempotency-Key is done once: for a day, the same request with the same key gets the same answer."
	c.Info.Contact = &huma.Contact{Name: "The operators of this Onward"}
	c.Info.License = &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"}
	c.Servers = []*huma.Server{{URL: Prefix}}
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		securityName: {Type: "http", Scheme: "bearer", Description: "A token from `onward token create`. Viewers read, operators act, admins also manage tokens and erase."},
	}
	return c
}
