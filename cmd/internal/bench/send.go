package bench

import (
	"context"
	"crypto/md5" // makes ids that look like Twilio's
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"onward/jobs"
)

// send measures what it costs to send a text beside the provider's own time: a worker drains messages of one campaign
// against a provider that answers at once, over HTTP. The floor writes the same rows in the same two transactions, and calls
// nobody.
func (b *bench) send(ctx context.Context, p *Part) error {
	provider, err := startProvider(ctx)
	if err != nil {
		return err
	}
	defer provider.stop()
	for round := range b.opts.Rounds {
		floor := p.line("pgbench, " + strconv.Itoa(b.size.pgbenchClients) + " clients")
		product := p.line("worker")
		_, err := b.populate(ctx, dataset{
			rows: b.size.sendFloor + b.size.sendJobs, floor: b.size.sendFloor, messages: "queued", campaign: true, jobs: jobs.SendArgs{}.Kind(),
		})
		if err != nil {
			return err
		}
		err = turns(round,
			func() error { return b.sendFloor(ctx, round, floor) },
			func() error { return b.sendProduct(ctx, round, provider, product) })
		if err != nil {
			return err
		}
		product.compare(floor)
	}
	return nil
}

func (b *bench) sendFloor(ctx context.Context, round int, l *Line) error {
	b.step(PartSend, round, l.Name)
	res, err := b.pgbench.run(ctx, floorRun{
		script: "send", clients: b.size.pgbenchClients, transactions: b.size.sendFloor / b.size.pgbenchClients,
		variables: map[string]string{"i": "-1"},
	})
	if err != nil {
		return err
	}
	res.addTo(l)
	return nil
}

func (b *bench) sendProduct(ctx context.Context, round int, provider *fakeProvider, l *Line) error {
	b.step(PartSend, round, l.Name)
	// A pace that holds nobody back: how fast a sender may go is not what is measured.
	_, err := b.pool.Exec(ctx, `
		INSERT INTO senders (channel, address, per_second)
		VALUES ('sms', $1, 1000000)
		ON CONFLICT (channel, address) DO NOTHING`, twilioFrom)
	if err != nil {
		return fmt.Errorf("set the sender's pace: %w", err)
	}
	called := provider.calls.Load()
	done, err := b.work(ctx, work{queue: jobs.QueueSendSMS, profile: "send", twilio: provider.url}, l)
	if err != nil {
		return err
	}
	if n := provider.calls.Load() - called; n < int64(done) {
		return fmt.Errorf("the provider was called %d times for %d messages", n, done)
	}
	return nil
}

// fakeProvider answers Twilio's create-message call at once. It reports nothing back.
type fakeProvider struct {
	url    string
	calls  atomic.Int64
	server *http.Server
}

func startProvider(ctx context.Context) (*fakeProvider, error) {
	p := &fakeProvider{}
	p.server = &http.Server{Handler: p, ReadHeaderTimeout: 10 * time.Second}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen as the provider: %w", err)
	}
	p.url = "http://" + l.Addr().String()
	go func() {
		if err := p.server.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
			p.calls.Store(-1) // every count is wrong from here on, and says so
		}
	}()
	return p, nil
}

func (p *fakeProvider) stop() { _ = p.server.Close() }

// ServeHTTP takes a message.
func (p *fakeProvider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	sid := md5.Sum(strconv.AppendInt([]byte("provider"), p.calls.Add(1), 10))
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_, _ = fmt.Fprintf(w, `{"sid":"SM%x","status":"queued","num_segments":"1","direction":"outbound-api","error_code":null}`, sid)
}
