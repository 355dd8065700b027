package providersim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	gosmtp "github.com/emersion/go-smtp"
	"golang.org/x/time/rate"
)

// Sim is one simulated world of providers. Its methods are safe for concurrent
// use; those that speak to Onward need a started Sim.
type Sim struct {
	opts   Options
	run    string
	log    *slog.Logger
	client *http.Client

	// ctx ends with Stop; every goroutine of spawn ends with it.
	ctx    context.Context
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	api      *http.Server
	apiAddr  net.Addr
	mail     *gosmtp.Server
	mailConn *trackedListener
	servers  sync.WaitGroup
	handling sync.RWMutex // read-held by every request to the API

	mu         sync.Mutex
	state      simState
	changed    chan struct{} // closed and replaced at every change
	pending    int           // goroutines of spawn
	publicURL  string
	deliverTo  string
	counts     map[string]int
	limiters   map[string]*rate.Limiter
	messages   map[string]*message
	order      []*message // oldest first
	optOuts    map[pair]bool
	calls      []*Call
	deliveries []*Delivery
	mails      []*Mail
}

type simState int

const (
	stateNew simState = iota
	stateStarted
	stateStopped
)

// New checks the options. Nothing runs before Start.
func New(opts Options) (*Sim, error) {
	if err := opts.complete(); err != nil {
		return nil, err
	}
	run := opts.RunID
	if run == "" {
		run = randomRunID()
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Sim{
		opts: opts, run: run, log: opts.Logger, client: newWebhookClient(),
		ctx: ctx, cancel: cancel,
		changed:   make(chan struct{}),
		publicURL: strings.TrimSuffix(opts.PublicURL, "/"), deliverTo: strings.TrimSuffix(opts.DeliverTo, "/"),
		counts: map[string]int{}, limiters: map[string]*rate.Limiter{},
		messages: map[string]*message{}, optOuts: map[pair]bool{},
	}, nil
}

// Start listens. ctx bounds the start, not the life: that is Stop's to end.
func (s *Sim) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != stateNew {
		return errors.New("providersim: started before")
	}
	var config net.ListenConfig
	api, err := config.Listen(ctx, "tcp", s.opts.TwilioAddr)
	if err != nil {
		return fmt.Errorf("providersim: Twilio API: %w", err)
	}
	smtp, err := config.Listen(ctx, "tcp", s.opts.SMTPAddr)
	if err != nil {
		_ = api.Close()
		return fmt.Errorf("providersim: mail server: %w", err)
	}
	s.state = stateStarted
	s.apiAddr = api.Addr()
	s.api = &http.Server{Handler: s.routes(), ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelWarn)}
	s.mailConn = newTrackedListener(smtp)
	s.mail = s.newMailServer()
	s.servers.Go(func() { s.served("Twilio API", s.api.Serve(api)) })
	s.servers.Go(func() { s.served("mail server", s.mail.Serve(s.mailConn)) })
	return nil
}

func (s *Sim) served(what string, err error) {
	if err != nil && s.ctx.Err() == nil {
		s.log.Error("simulator ended", slog.String("server", what), slog.Any("error", err))
	}
}

// Stop ends everything: no request, callback or retry of this Sim is under way
// when it returns nil. What was still to be posted is lost.
func (s *Sim) Stop(ctx context.Context) error {
	s.mu.Lock()
	started := s.state == stateStarted
	s.state = stateStopped
	s.mu.Unlock()
	s.cancel()
	var errs []error
	if started {
		errs = append(errs, s.stopAPI(ctx))
		if err := s.mail.Shutdown(ctx); err != nil && !errors.Is(err, gosmtp.ErrServerClosed) {
			errs = append(errs, err)
		}
		// Right after Start, go-smtp may not know its listener yet.
		errs = append(errs, s.mailConn.Close())
		s.servers.Wait()
	}
	s.tasks.Wait()
	s.client.CloseIdleConnections()
	return errors.Join(errs...)
}

// stopAPI lets requests end (those that hang do so with s.ctx) and then closes
// what is left: connections that a client opened and never used would hold a
// Shutdown up for five seconds.
func (s *Sim) stopAPI(ctx context.Context) error {
	grace, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var err error
	if s.api.Shutdown(grace) != nil {
		err = s.api.Close()
	}
	s.handling.Lock()
	defer s.handling.Unlock()
	return err
}

// TwilioURL is the base URL of the API. It is known once the Sim is started.
func (s *Sim) TwilioURL() string { return "http://" + s.apiAddr.String() }

// SMTPURL is the value for SMTP_URL. It is known once the Sim is started.
func (s *Sim) SMTPURL() string { return "smtp://" + s.mailConn.Addr().String() + "?tls=none" }

// SetTarget replaces PublicURL and DeliverTo (which may be empty) for what is
// posted from now on, since Onward's port is often known only after it started.
func (s *Sim) SetTarget(publicURL, deliverTo string) error {
	if err := checkTarget(publicURL, deliverTo); err != nil {
		return fmt.Errorf("providersim: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.publicURL, s.deliverTo = strings.TrimSuffix(publicURL, "/"), strings.TrimSuffix(deliverTo, "/")
	return nil
}

// endpoint is the address of one of Onward's webhooks.
func (s *Sim) endpoint(path string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != stateStarted {
		return "", errors.New("providersim: not running")
	}
	if s.publicURL == "" {
		return "", errors.New("providersim: no target; set PublicURL or call SetTarget")
	}
	return s.publicURL + path, nil
}

// spawn runs f in the background until it returns; ctx ends with Stop. After
// Stop it does nothing.
func (s *Sim) spawn(f func(ctx context.Context)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != stateStarted {
		return
	}
	s.pending++
	s.tasks.Go(func() {
		defer s.change(func() { s.pending-- })
		f(s.ctx)
	})
}

// sleep waits, and is false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
