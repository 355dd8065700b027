package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/pprof"
	"strings"
	"sync"
	"time"

	"onward/cmd/internal/app"
	"onward/jobs/worker"
)

// Child runs one of the roles that [Run] starts as processes of their own.
func Child(ctx context.Context, role string, stdin io.Reader, stdout, stderr io.Writer) error {
	c := &childProcess{in: bufio.NewReader(stdin), out: json.NewEncoder(stdout), stderr: stderr}
	switch role {
	case roleWeb, roleWorker:
		return c.app(ctx, app.Role(role))
	case roleNoop:
		return c.noop(ctx)
	case roleRiver:
		return c.river(ctx)
	case roleLoad:
		return c.load(ctx)
	}
	return fmt.Errorf("%w: no role %q", ErrUsage, role)
}

// childProcess is the inside of a child.
type childProcess struct {
	in     *bufio.Reader
	out    *json.Encoder
	stderr io.Writer
}

// settings reads the first line.
func (c *childProcess) settings(v any) error {
	line, err := c.in.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read the settings: %w", err)
	}
	return json.Unmarshal(line, v)
}

// next is the next command; io.EOF when the parent has no more.
func (c *childProcess) next(ctx context.Context) (string, error) {
	type read struct {
		line string
		err  error
	}
	// A read of stdin can't be interrupted; the process ends soon after a signal, and this with it.
	got := make(chan read, 1)
	go func() {
		line, err := c.in.ReadString('\n')
		got <- read{strings.TrimSpace(line), err}
	}()
	select {
	case r := <-got:
		return r.line, r.err
	case <-ctx.Done():
		return "", io.EOF
	}
}

// appSettings are those of a web or worker process.
type appSettings struct {
	DatabaseURL   string   `json:"database_url"`
	TwilioBaseURL string   `json:"twilio_base_url,omitempty"`
	Queues        []string `json:"queues,omitempty"`
	Concurrency   int      `json:"concurrency,omitempty"`
	// Commits makes a worker remember when it committed a change of which business.
	Commits bool `json:"commits,omitempty"`
}

// appReady is what a web or worker process says when it serves.
type appReady struct {
	Public  string `json:"public"`
	Private string `json:"private"`
}

// commit is when a worker saw a change of a business committed, in Unix nanoseconds.
type commit struct {
	Business int64 `json:"b"`
	At       int64 `json:"at"`
}

// app runs the real web or worker: all defaults, but for addresses and secrets.
func (c *childProcess) app(ctx context.Context, role app.Role) error {
	var s appSettings
	if err := c.settings(&s); err != nil {
		return err
	}
	config, err := app.FromEnv(s.environment())
	if err != nil {
		return err
	}
	log, err := newDiscardedLog(c.stderr)
	if err != nil {
		return err
	}
	defer log.close()
	role.TuneMemory()
	commits := &commitLog{}
	o := app.Options{
		Role: role, Config: config, Version: "bench", Stderr: log, Queues: s.Queues, Concurrency: s.Concurrency,
	}
	if s.Commits {
		o.Moved = commits.moved
	}
	a, err := app.New(ctx, o)
	if err != nil {
		return err
	}
	if err := a.Start(ctx); err != nil {
		return err
	}
	if err := app.GiveBackStartup(); err != nil {
		return err
	}
	go app.FollowLoad(ctx)
	err = c.out.Encode(appReady{Public: a.PublicAddr(), Private: a.PrivateAddr()})
	for err == nil {
		var command string
		if command, err = c.next(ctx); err == nil {
			err = c.obey(command, commits)
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return errors.Join(err, a.Stop(ctx))
}

// obey does what the parent asks of a running web or worker.
func (c *childProcess) obey(command string, commits *commitLog) error {
	verb, arg, _ := strings.Cut(command, " ")
	switch verb {
	case "commits":
		return c.out.Encode(commits.take())
	case "profile":
		f, err := os.Create(arg)
		if err != nil {
			return fmt.Errorf("write a profile: %w", err)
		}
		return pprof.StartCPUProfile(f) // closed with the process
	case "profiled":
		pprof.StopCPUProfile()
		return c.out.Encode(true)
	}
	return fmt.Errorf("no command %q", command)
}

// environment are the settings that have no default, and those that must not be one.
func (s appSettings) environment() []string {
	list := []string{
		"DATABASE_URL=" + s.DatabaseURL,
		"ONWARD_PUBLIC_ADDR=127.0.0.1:0", "ONWARD_PRIVATE_ADDR=127.0.0.1:0",
		"ONWARD_PUBLIC_URL=" + publicURL,
		"ONWARD_SECRET_KEY=" + strings.Repeat("k", 32),
		"ONWARD_QUIET_HOURS=off",
		"ONWARD_API_RATE=0", // what is measured is how fast it is, not how fast one token may ask
		"TWILIO_ACCOUNT_SID=" + twilioAccount, "TWILIO_AUTH_TOKEN=" + twilioToken, "TWILIO_FROM=" + twilioFrom,
		// Unused, but a process warns of what is missing.
		"RECURRENTE_WEBHOOK_SECRET=whsec_" + strings.Repeat("k", 32), "RESEND_WEBHOOK_SECRET=whsec_" + strings.Repeat("k", 32),
	}
	if s.TwilioBaseURL != "" {
		list = append(list, "TWILIO_API_BASE_URL="+s.TwilioBaseURL)
	}
	return list
}

// discardedLog writes all lines to the null device, so that logging costs what it costs, and passes warnings and errors on.
type discardedLog struct {
	null   *os.File
	stderr io.Writer
}

func newDiscardedLog(stderr io.Writer) (*discardedLog, error) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("open the null device: %w", err)
	}
	return &discardedLog{null: null, stderr: stderr}, nil
}

func (l *discardedLog) Write(lines []byte) (int, error) {
	for line := range bytes.Lines(lines) {
		if bytes.Contains(line, []byte("level=WARN")) || bytes.Contains(line, []byte("level=ERROR")) {
			_, _ = l.stderr.Write(line)
		}
	}
	return l.null.Write(lines)
}

func (l *discardedLog) close() { _ = l.null.Close() }

// commitLog remembers the first commit about each business.
type commitLog struct {
	mu   sync.Mutex
	list []commit
}

func (l *commitLog) moved(m worker.Moved) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, commit{m.BusinessID, m.CommittedAt.UnixNano()})
}

func (l *commitLog) take() []commit {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := l.list
	l.list = make([]commit, 0, len(list))
	if list == nil {
		list = []commit{}
	}
	return list
}

// sleep waits, or not, if ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
