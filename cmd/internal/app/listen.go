package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	"onward/cmd/internal/rawconn"
	"onward/jobs"
	"onward/jobs/recipienttime"
	"onward/lifecycle/pgstore"
	"onward/web"
	"onward/web/apitoken"
	"onward/web/console"
	"onward/web/crmapi"
	"onward/web/inbox"
	"onward/web/jobsui"
	"onward/web/plainhttp"
	"onward/web/track"
	"onward/web/webhook"
)

// listener is a door that is bound when it starts.
type listener struct {
	name   string
	addr   string
	bound  net.Addr
	server doorServer
}

// doorServer serves what a listener is bound to: one of net/http or of plainhttp.
type doorServer interface {
	Start(l *net.TCPListener)
	Shutdown(ctx context.Context) error
}

func (l *listener) start(ctx context.Context) error {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", l.addr)
	if err != nil {
		return fmt.Errorf("listen on the %s address %s: %w", l.name, l.addr, err)
	}
	l.bound = ln.Addr()
	tcp, _ := ln.(*net.TCPListener) // which it is, on a tcp network
	l.server.Start(tcp)
	return nil
}

func (l *listener) stop(ctx context.Context) error {
	if l.bound == nil {
		return nil
	}
	return l.server.Shutdown(ctx)
}

// netHTTP serves by net/http alone.
type netHTTP struct {
	*http.Server
	logger *slog.Logger
	done   chan struct{}
}

// Start serves until Shutdown.
func (s *netHTTP) Start(l *net.TCPListener) {
	s.done = make(chan struct{})
	go func() {
		defer close(s.done)
		if err := s.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
			s.logger.Error("serve", "listener", l.Addr().String(), "error", err)
		}
	}()
}

// Shutdown lets requests end, and cuts them off when ctx does.
func (s *netHTTP) Shutdown(ctx context.Context) error {
	err := s.Server.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.Close())
	}
	<-s.done
	return err
}

func (l *listener) address() string {
	switch {
	case l == nil:
		return ""
	case l.bound == nil:
		return l.addr
	}
	return l.bound.String()
}

// server has the time-outs of a door to the outside. Writing may take the inbox's whole patience and an opt-out's
// wait on top.
func server(h http.Handler, logger *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
}

func (a *App) buildPublic() error {
	inserts, err := insertClient(a.queue)
	if err != nil {
		return err
	}
	in, err := inbox.New(inbox.Options{
		Pool: a.pool, River: inserts, Wake: a.waker.Wake, Clock: a.opts.Clock, Logger: a.logger,
		Observe: inbox.Observe{Committed: func(receipts int, took time.Duration) {
			a.waker.Committed(receipts)
			a.metrics.InboxCommitted(receipts, took)
		}},
	})
	if err != nil {
		return fmt.Errorf("configure the inbox: %w", err)
	}
	a.inbox = in
	a.metrics.WatchInbox(in.Len)
	hooks, err := webhook.New(webhook.Options{
		Inbox: in, PublicURL: a.cfg.PublicURL, TwilioAuthTokens: a.cfg.TwilioAuthToken.List(),
		RecurrenteSecrets: a.cfg.RecurrenteWebhookSecret.List(), ResendSecrets: a.cfg.ResendWebhookSecret.List(),
		Clock: a.opts.Clock, Logger: a.logger, Observe: func(w webhook.Answered) {
			a.metrics.Webhook(w)
			a.rejected.observe(w)
			a.verified.observe(w)
		},
	})
	if err != nil {
		return err
	}
	for setting, provider := range map[string]string{
		"TWILIO_AUTH_TOKEN": jobs.ProviderTwilio, "RECURRENTE_WEBHOOK_SECRET": jobs.ProviderRecurrente, "RESEND_WEBHOOK_SECRET": jobs.ProviderResend,
	} {
		if !contains(hooks.Providers(), provider) {
			a.logger.Warn("no endpoint for this provider: its secret is not set", "provider", provider, "setting", setting)
		}
	}
	pages, err := track.New(track.Options{Inbox: in, Tokens: a.tokens, Logger: a.logger, Clock: a.opts.Clock})
	if err != nil {
		return fmt.Errorf("configure tracking: %w", err)
	}
	r := chi.NewRouter()
	each := web.Options{Logger: a.logger, Observe: a.metrics.HTTP, Tracer: a.tracing.requests(), Parent: publicParent}
	web.Common(r, each)
	r.Get("/healthz", web.Healthz)
	hooks.Routes(r)
	pages.Routes(r)
	plain := hooks.Plain()
	for path, h := range plain {
		plain[path] = web.Plain(each, path, h)
	}
	door, err := plainhttp.New(plainhttp.Options{HTTP: server(r, a.logger), Routes: plain, Conn: rawconn.Of, Logger: a.logger})
	if err != nil {
		return fmt.Errorf("configure the public listener: %w", err)
	}
	a.public = &listener{name: "public", addr: a.cfg.publicAddr(), server: door}
	return nil
}

func contains(list []string, s string) bool {
	for _, e := range list {
		if e == s {
			return true
		}
	}
	return false
}

func (a *App) buildPrivate() error {
	r := chi.NewRouter()
	web.Common(r, web.Options{Logger: a.logger, Observe: a.metrics.HTTP, Tracer: a.tracing.requests(), Parent: privateParent})
	r.Use(middleware.GetHead)
	sessions := console.NewSessions(a.pool, a.logger)
	if a.opts.Role.serves() {
		r.Use(sessions.Middleware)
	}
	r.Get("/healthz", web.Healthz)
	r.Get("/readyz", web.Readyz(a.ready))
	r.Handle("/metrics", a.metrics.Handler())
	tokens := apitoken.NewAuthenticator(a.pool, a.opts.Clock)
	if a.opts.Role.serves() {
		window, err := recipienttime.ParseWindow(a.cfg.QuietHours)
		if err != nil {
			return &ConfigError{Problems: []string{"ONWARD_QUIET_HOURS: " + err.Error()}}
		}
		try, err := a.tryReceipts()
		if err != nil {
			return err
		}
		api, err := crmapi.New(crmapi.Options{
			Pool: a.pool, River: a.river, Tokens: tokens, Logger: a.logger, Clock: a.opts.Clock, Wake: a.waker.Wake, Settle: a.settle,
			Observe: a.observeAPI, SMSFrom: a.smsFrom(), EmailFrom: a.cfg.EmailFrom, Version: a.opts.Version,
			EmailPostalAddress: a.cfg.EmailPostalAddress, QuietHours: window, PublicURL: a.cfg.PublicURL, Links: a.tokens,
			PerSecond:  a.cfg.APIRate,
			TryReceipt: try,
		})
		if err != nil {
			return fmt.Errorf("configure the API: %w", err)
		}
		api.Mount(r)
		if err := a.buildConsole(r, api, sessions, tokens); err != nil {
			return err
		}
		pages, err := jobsui.New(jobsui.Options{
			Pool: a.pool, River: a.river, Tokens: tokens, Logger: riverLogger(a.logger), Kinds: jobs.Kinds(), Counts: a.jobCounts, Wake: a.waker.Wake,
		})
		if err != nil {
			return fmt.Errorf("configure the jobs' pages: %w", err)
		}
		r.Group(func(r chi.Router) {
			r.Use(console.RequireSession)
			pages.Mount(r)
		})
	}
	r.Group(func(r chi.Router) {
		r.Use(tokens.Middleware)
		r.HandleFunc("/debug/pprof/*", pprof.Index)
		r.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		r.HandleFunc("/debug/pprof/profile", pprof.Profile)
		r.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		r.HandleFunc("/debug/pprof/trace", pprof.Trace)
	})
	a.private = &listener{name: "private", addr: a.cfg.privateAddr(a.opts.Role), server: &netHTTP{Server: server(r, a.logger), logger: a.logger}}
	return nil
}

// buildConsole mounts the operators' pages, which act through the API.
func (a *App) buildConsole(r chi.Router, api *crmapi.API, sessions *console.Sessions, tokens *apitoken.Authenticator) error {
	calls := chi.NewRouter()
	api.Mount(calls)
	pages, err := console.New(console.Options{
		Pool: a.pool, Sessions: sessions, Tokens: tokens, API: calls, Logger: a.logger, Clock: a.opts.Clock, Version: a.opts.Version,
		Demo: a.opts.Demo, Rejected: a.rejected.lastHour,
		Settings: a.cfg.shown(), Providers: a.providers,
	})
	if err != nil {
		return fmt.Errorf("configure the console: %w", err)
	}
	pages.Mount(r)
	r.NotFound(pages.NotFound)
	return nil
}

// settle waits until no provider call to these addresses can start any more.
func (a *App) settle(ctx context.Context, list []pgstore.Address) error {
	for _, addr := range list {
		if err := inbox.Settle(ctx, a.pool, inbox.Hold{Channel: addr.Channel, Address: addr.Address}); err != nil {
			return err
		}
	}
	return nil
}
