package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"onward/jobs"
	"onward/web/apitoken"
)

// fanOut measures how fast a campaign's audience becomes messages and their jobs: launched over the API, worked by a worker
// that sends nothing meanwhile. There is no floor: it is bounded by rows, not by commits.
func (b *bench) fanOut(ctx context.Context, p *Part) error {
	p.note("recipients a second, from the launch over the API to the last message and its job")
	for round := range b.opts.Rounds {
		l := p.line(fmt.Sprintf("worker, %s recipients", thousands(int64(b.size.recipients))))
		b.step(PartFanOut, round, l.Name)
		if _, err := b.populate(ctx, dataset{rows: b.size.recipients}); err != nil {
			return err
		}
		if err := b.fanOutOnce(ctx, l); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) fanOutOnce(ctx context.Context, l *Line) (err error) {
	token, err := b.token(ctx)
	if err != nil {
		return err
	}
	var web, worker appReady
	webProcess, err := b.start(ctx, roleWeb, appSettings{DatabaseURL: b.dsn}, &web)
	if err != nil {
		return err
	}
	defer func() { stopAll(&err, webProcess) }()
	workerProcess, err := b.start(ctx, roleWorker, appSettings{
		DatabaseURL: b.dsn, Concurrency: b.opts.Concurrency, Queues: []string{jobs.QueueMaintenance},
	}, &worker)
	if err != nil {
		return err
	}
	defer func() { stopAll(&err, workerProcess) }()
	if err := b.idle(ctx); err != nil {
		return err
	}

	api := apiClient{base: "http://" + web.Private + "/api/v1", token: token}
	var campaign struct {
		ID string `json:"id"`
	}
	err = api.post(ctx, "/campaigns", map[string]any{
		"name": "Benchmark", "channel": "sms", "audience": map[string]any{"filter": map[string]any{}},
		"body": "Hello {{.Name}}, we made a website for {{.City}}'s best: have a look and tell us what you think.",
	}, &campaign)
	if err != nil {
		return err
	}
	meter := cpuMeter{pid: workerProcess.pid()}
	used := startUsage(b.server, meter)
	if err := b.profile(workerProcess, "fanout"); err != nil {
		return err
	}
	begun := time.Now()
	if err := api.post(ctx, "/campaigns/"+campaign.ID+"/send", nil, nil); err != nil {
		return err
	}
	if err := b.waitFor(ctx, drainPatience, "the campaign is not fanned out", `SELECT fanned_out_at IS NOT NULL FROM campaigns WHERE public_id = $1::text::uuid`, campaign.ID); err != nil {
		return err
	}
	took := time.Since(begun)
	cpu := used.since(b.size.recipients)
	if err := b.profiled(workerProcess); err != nil {
		return err
	}
	made, err := b.count(ctx, `
		SELECT count(*)
		FROM messages m
		JOIN river_job j ON j.kind = 'send' AND (j.args ->> 'message_id')::bigint = m.id`)
	if err != nil {
		return err
	}
	if made != b.size.recipients {
		return fmt.Errorf("%d of %d recipients have a message and its job", made, b.size.recipients)
	}
	l.add(perSecond, float64(b.size.recipients)/took.Seconds())
	l.add(postgresCPU, cpu[0])
	l.add(processCPU, cpu[1])
	l.add(peakRSS, peak(workerProcess.pid()))
	return nil
}

// token makes one for the API.
func (b *bench) token(ctx context.Context) (string, error) {
	// A revoked one of the same name stays; rounds have names of their own.
	_, secret, err := apitoken.Create(ctx, b.pool, fmt.Sprintf("bench %d", time.Now().UnixNano()), apitoken.Operator)
	if err != nil {
		return "", fmt.Errorf("make a token: %w", err)
	}
	return secret, nil
}

// apiClient calls the API of a web process.
type apiClient struct{ base, token string }

func (c apiClient) post(ctx context.Context, path string, body, answer any) error {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("time-out of an API call"))
	defer cancel()
	var content bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&content).Encode(body); err != nil {
			return fmt.Errorf("POST %s: %w", path, err)
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+path, &content)
	if err != nil {
		return fmt.Errorf("POST %s: %w", path, err)
	}
	req.Close = true // the web process lives for a round
	req.Header.Set("Authorization", "Bearer "+c.token)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("POST %s: %w", path, err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("POST %s: %w", path, err)
	}
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("POST %s: status %d: %.300s", path, res.StatusCode, text)
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(text, answer)
}
