package app

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"

	"onward/jobs"
	"onward/jobs/jobtrace"
	"onward/jobs/provider"
	"onward/jobs/provider/smtp"
	"onward/jobs/provider/twilio"
	"onward/jobs/recipienttime"
	"onward/jobs/worker"
)

// FetchCooldown is how soon after a fetch River looks for jobs again when it is told of new ones. Its default of
// 100 ms is most of the latency of a webhook at idle. At 2 ms a busy queue costs up to 500 fetches a second, some 0.3 ms of
// PostgreSQL each, and a queue that is behind takes them as full as its free places.
const FetchCooldown = 2 * time.Millisecond

// How many jobs of a queue run at once by default. A callback holds a goroutine and its place in a group, no connection:
// 800 make groups of two hundred under load, which is where a statement's own cost no longer counts
// (docs/benchmarks.md). A text waits for its slot and for the provider, some 150 ms in all. Other jobs hold a connection.
const (
	concurrencyCallbacks = 800
	concurrencyTexts     = 200
	concurrencyOthers    = 50
)

// DefaultConcurrency is how many jobs of a queue a worker runs at once unless it is told otherwise.
func DefaultConcurrency(queue string) int {
	switch queue {
	case jobs.QueueCallbacks:
		return concurrencyCallbacks
	case jobs.QueueSendSMS:
		return concurrencyTexts
	}
	return concurrencyOthers
}

func (o Options) concurrency(queue string) int {
	if o.Concurrency > 0 {
		return o.Concurrency
	}
	return DefaultConcurrency(queue)
}

// Jobs that failed for good stay for as long as raw receipts do by default: River would delete them after 7 days.
const keepDiscarded = 90 * 24 * time.Hour

func (a *App) buildRiver() error {
	cfg := &river.Config{
		Logger:                      quietLogger(),
		FetchCooldown:               FetchCooldown,
		FetchPollInterval:           time.Second,
		JobTimeout:                  time.Minute,
		RescueStuckJobsAfter:        10 * time.Minute,
		CancelledJobRetentionPeriod: keepDiscarded,
		DiscardedJobRetentionPeriod: keepDiscarded,
	}
	fetched := &worker.Fetched{}
	if a.tracing != nil {
		cfg.Plugins = append(cfg.Plugins, &jobtrace.Plugin{Tracer: a.tracing.tracer})
	}
	if a.opts.Role.works() {
		cfg.ID = clientID()
		cfg.Logger = riverLogger(a.logger)
		cfg.Workers = river.NewWorkers()
		cfg.ErrorHandler = &errorHandler{logger: a.logger, metrics: a.metrics}
		cfg.Queues = map[string]river.QueueConfig{}
		queues := a.opts.Queues
		if queues == nil {
			queues = jobs.Queues()
		}
		capacity := 0
		for _, q := range queues {
			cfg.Queues[q] = river.QueueConfig{MaxWorkers: a.opts.concurrency(q)}
			capacity += a.opts.concurrency(q)
		}
		cfg.Plugins = append(cfg.Plugins, a.watchJobs(queues))
		cfg.PeriodicJobs = []*river.PeriodicJob{
			river.NewPeriodicJob(
				river.PeriodicInterval(6*time.Hour),
				func() (river.JobArgs, *river.InsertOpts) { return jobs.PartitionsArgs{}, nil },
				&river.PeriodicJobOpts{RunOnStart: true},
			),
			river.NewPeriodicJob(
				river.PeriodicInterval(10*time.Minute),
				func() (river.JobArgs, *river.InsertOpts) { return jobs.VerifySampleArgs{}, nil },
				&river.PeriodicJobOpts{RunOnStart: true},
			),
			river.NewPeriodicJob(
				river.PeriodicInterval(time.Hour),
				func() (river.JobArgs, *river.InsertOpts) { return jobs.TidyArgs{}, nil },
				&river.PeriodicJobOpts{RunOnStart: true},
			),
			river.NewPeriodicJob(
				river.PeriodicInterval(time.Minute),
				func() (river.JobArgs, *river.InsertOpts) { return jobs.PollMessagesArgs{}, nil },
				&river.PeriodicJobOpts{RunOnStart: true},
			),
			river.NewPeriodicJob(
				river.PeriodicInterval(time.Minute),
				func() (river.JobArgs, *river.InsertOpts) { return jobs.AnalyticsArgs{}, nil },
				&river.PeriodicJobOpts{RunOnStart: true},
			),
		}
		o, err := a.workerOptions()
		if err != nil {
			return err
		}
		o.Fetched = fetched
		if a.opts.Tune != nil {
			a.opts.Tune(&o)
		}
		if err := worker.Register(cfg.Workers, o); err != nil {
			return err
		}
		a.process = &worker.Process{
			Pool: a.pool, Logger: a.logger, ClientID: cfg.ID, Version: a.opts.Version, Queues: queues,
			Capacity: capacity, Wake: a.waker.Wake, Running: a.watch.Running,
		}
	}
	var driver riverdriver.Driver[pgx.Tx] = riverDriver(a.queue)
	if a.fetches != nil {
		driver = newFetchDriver(a.queue, a.fetches, fetched.Keep)
	}
	client, err := river.NewClient(driver, cfg)
	if err != nil {
		return fmt.Errorf("configure River: %w", err)
	}
	a.river = client
	return nil
}

func (a *App) workerOptions() (worker.Options, error) {
	window, err := recipienttime.ParseWindow(a.cfg.QuietHours)
	if err != nil {
		return worker.Options{}, &ConfigError{Problems: []string{"ONWARD_QUIET_HOURS: " + err.Error()}}
	}
	o := worker.Options{
		Pool: a.pool, Logger: a.logger, Clock: a.opts.Clock, PublicURL: a.cfg.PublicURL, Tokens: a.tokens,
		QuietHours: window, UnknownSends: a.cfg.UnknownSends, RecurrenteLive: a.cfg.RecurrenteLive,
		RetentionDays: a.cfg.RetentionDays, EmailFrom: a.cfg.EmailFrom, EmailPostalAddress: a.cfg.EmailPostalAddress,
		Wake:     a.waker.Wake,
		Observer: a.observer(),
		Tracer:   a.tracing.requests(),
	}
	if a.cfg.TwilioAccountSID != "" {
		a.twilio, err = twilio.New(twilio.Options{
			AccountSID: a.cfg.TwilioAccountSID, AuthToken: a.cfg.TwilioAuthToken.List()[0], From: a.cfg.TwilioFrom,
			MessagingServiceSID: a.cfg.TwilioMessagingServiceSID, BaseURL: a.cfg.TwilioAPIBaseURL,
		})
		if err != nil {
			return o, fmt.Errorf("configure Twilio: %w", err)
		}
		o.SMS, o.SMSLookup = a.twilio, a.twilio
		o.SMSFrom = a.smsFrom()
	}
	if a.cfg.SMTPURL != "" {
		mail, err := newMailer(a.cfg)
		if err != nil {
			return o, err
		}
		o.Email = mail
	}
	return o, nil
}

// smsFrom is what the pace of texts is kept by: the number, else the messaging service.
func (a *App) smsFrom() string {
	if a.cfg.TwilioFrom != "" {
		return a.cfg.TwilioFrom
	}
	return a.cfg.TwilioMessagingServiceSID
}

func newMailer(cfg Config) (provider.Sender, error) {
	opts, err := smtp.ParseURL(string(cfg.SMTPURL))
	if err != nil {
		return nil, &ConfigError{Problems: []string{"SMTP_URL: " + err.Error()}}
	}
	opts.From = cfg.EmailFrom
	client, err := smtp.New(opts)
	if err != nil {
		return nil, &ConfigError{Problems: []string{"SMTP_URL: " + err.Error()}}
	}
	return client, nil
}

// clientID names this process in River's tables: unique among all that ever ran.
func clientID() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d %d", host, os.Getpid(), time.Now().UnixNano()))
	return fmt.Sprintf("%s_%d_%s", host, os.Getpid(), hex.EncodeToString(sum[:6]))
}
