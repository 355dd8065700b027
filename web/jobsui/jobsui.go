// Package jobsui mounts River's own pages on the private listener, for people with a token. What they change goes the
// same way as by command and API (jobs/jobadmin): with the same refusals, and into the operators' log. Two of River's
// queries that read every job are answered from elsewhere.
//
// It imports web/apitoken, jobs/jobadmin, River UI, River and pgx.
package jobsui

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/go-chi/chi/v5"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"riverqueue.com/riverui"

	"onward/web/apitoken"
)

// Prefix is where the pages are mounted.
const Prefix = "/jobs"

// Options are what the pages need. All but Kinds, Counts and Wake are required.
type Options struct {
	Pool   *pgxpool.Pool
	River  *river.Client[pgx.Tx]
	Tokens *apitoken.Authenticator
	Logger *slog.Logger

	// Kinds are the kinds of jobs that the filter offers.
	Kinds []string
	// Counts is how many jobs there are of each state, and whether it is known; nil or not known: they are counted, which
	// reads all of them.
	Counts func() (map[string]int, bool)
	// Wake is called after a commit that put jobs back, with their queues. May be nil.
	Wake func(queues []string)
}

// UI are the pages.
type UI struct {
	opts  Options
	pages http.Handler
}

// New makes the pages. They have nothing that runs in the background: what River UI would, a count of all jobs every ten
// seconds, is not started.
func New(o Options) (*UI, error) {
	switch {
	case o.Pool == nil, o.River == nil, o.Tokens == nil, o.Logger == nil:
		return nil, errors.New("jobsui: Pool, River, Tokens and Logger are required")
	}
	pages, err := riverui.NewHandler(&riverui.HandlerOpts{
		Endpoints: riverui.NewEndpoints(o.River, nil), Logger: o.Logger, Prefix: Prefix,
	})
	if err != nil {
		return nil, err
	}
	return &UI{opts: o, pages: pages}, nil
}

// Mount puts the pages on a router.
func (u *UI) Mount(r chi.Router) {
	r.Group(func(r chi.Router) {
		// A browser sends the password along whoever makes it ask.
		r.Use(u.authenticate, http.NewCrossOriginProtection().Handler)
		r.Get(Prefix, http.RedirectHandler(Prefix+"/", http.StatusMovedPermanently).ServeHTTP)
		r.Get(Prefix+"/api/states", u.counts)
		r.Get(Prefix+"/api/autocomplete", u.autocomplete)
		r.Get(Prefix+"/*", u.pages.ServeHTTP)
		r.Group(func(r chi.Router) {
			r.Use(operatorsOnly)
			r.Post(Prefix+"/api/jobs/retry", u.retry)
			r.Post(Prefix+"/api/jobs/cancel", u.cancel)
			r.Post(Prefix+"/api/jobs/delete", u.remove)
			r.Put(Prefix+"/api/queues/{name}/pause", u.queue("pause"))
			r.Put(Prefix+"/api/queues/{name}/resume", u.queue("resume"))
		})
	})
}

// authenticate lets those with a token in: by session (in the request's context already), as a bearer, or as the password
// that a browser asks for, with any name.
func (u *UI) authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := apitoken.FromContext(r.Context()); ok {
			next.ServeHTTP(w, r)
			return
		}
		_, secret, ok := r.BasicAuth()
		if scheme, bearer, found := strings.Cut(r.Header.Get("Authorization"), " "); found && strings.EqualFold(scheme, "Bearer") {
			secret, ok = strings.TrimSpace(bearer), true
		}
		if !ok {
			refuse(w, r)
			return
		}
		token, err := u.opts.Tokens.Authenticate(r.Context(), secret)
		switch {
		case errors.Is(err, apitoken.ErrUnknown):
			refuse(w, r)
		case err != nil:
			w.Header().Set("Retry-After", "1")
			message(w, http.StatusServiceUnavailable, "Tokens cannot be checked right now: try again.")
		default:
			next.ServeHTTP(w, r.WithContext(apitoken.WithToken(r.Context(), token)))
		}
	})
}

func refuse(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("WWW-Authenticate", apitoken.Challenge(r))
	message(w, http.StatusUnauthorized, "This needs an API token: as the password, or as Authorization: Bearer TOKEN.")
}

func operatorsOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _ := apitoken.FromContext(r.Context())
		if !token.Role.Allows(apitoken.Operator) {
			message(w, http.StatusForbidden, "This needs the role operator; the token "+token.Name+" is a "+string(token.Role)+".")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// message answers in the form that River's pages show to people.
func message(w http.ResponseWriter, status int, text string) {
	answer(w, status, map[string]string{"message": text})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// The status is out: an error here is the client's connection, and nobody is left to tell.
	_ = json.NewEncoder(w).Encode(body)
}

// counts is how many jobs there are of each state.
func (u *UI) counts(w http.ResponseWriter, r *http.Request) {
	if u.opts.Counts != nil {
		if counts, ok := u.opts.Counts(); ok {
			answer(w, http.StatusOK, counts)
			return
		}
	}
	u.pages.ServeHTTP(w, r)
}

// autocomplete offers the kinds of this version; River would look through every job for them.
func (u *UI) autocomplete(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if q.Get("facet") != "job_kind" || u.opts.Kinds == nil {
		u.pages.ServeHTTP(w, r)
		return
	}
	match := strings.ToLower(q.Get("match"))
	kinds := []string{}
	for _, k := range slices.Sorted(slices.Values(u.opts.Kinds)) {
		if strings.Contains(k, match) && k > q.Get("after") && !slices.Contains(q["exclude"], k) {
			kinds = append(kinds, k)
		}
	}
	answer(w, http.StatusOK, map[string]any{"data": kinds})
}
