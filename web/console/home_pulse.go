package console

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// minute is what happened in one.
type minute struct {
	At       time.Time
	Receipts float64 // accepted
	Sends    float64 // sends that came to an end
	Jobs     float64 // all jobs that did
	P50, P95 float64 // milliseconds from a webhook's acceptance to its job's end; 0 where there was none
}

// pulseSQL reads minutes, each of them bounded: what comes in by the primary key of receipts, which is the time; what was
// done by River's index on the end of jobs. Above the bound a minute shows the bound.
const pulseSQL = `
	SELECT m.at, r.n, j.sends, j.n, COALESCE(j.p50, 0), COALESCE(j.p95, 0)
	FROM generate_series($1::timestamptz, $2::timestamptz, interval '1 minute') AS m (at)
	CROSS JOIN LATERAL (
		SELECT count(*)::float8 AS n
		FROM (SELECT 1 FROM webhook_events w WHERE w.id >= onward_uuid_floor(m.at) AND w.id < onward_uuid_floor(m.at + interval '1 minute') LIMIT 60000) l
	) r
	CROSS JOIN LATERAL (
		SELECT count(*)::float8 AS n, (count(*) FILTER (WHERE kind = 'send'))::float8 AS sends,
			percentile_cont(0.5) WITHIN GROUP (ORDER BY took) FILTER (WHERE queue IN ('inbound', 'callbacks', 'billing')) AS p50,
			percentile_cont(0.95) WITHIN GROUP (ORDER BY took) FILTER (WHERE queue IN ('inbound', 'callbacks', 'billing')) AS p95
		FROM (
			SELECT kind, queue, extract(epoch FROM finalized_at - created_at)::float8 * 1000 AS took
			FROM river_job
			WHERE state = 'completed' AND finalized_at >= m.at AND finalized_at < m.at + interval '1 minute'
			LIMIT 5000
		) l
	) j
	ORDER BY m.at`

// pulse remembers the minutes that are over, so that each is read once, whoever looks.
type pulse struct {
	mu   sync.Mutex
	list []minute // oldest first, without gaps
}

const pulseMinutes = 60

// read returns the last hour, up to the minute that runs.
func (p *pulse) read(ctx context.Context, tx pgx.Tx) ([]minute, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var now time.Time
	if err := tx.QueryRow(ctx, `SELECT date_trunc('minute', now())`).Scan(&now); err != nil {
		return nil, err
	}
	from := now.Add(-(pulseMinutes - 1) * time.Minute)
	// The last two may still change: the one that runs, and what was under way when the one before ended.
	keep := p.list[:0:0]
	for _, m := range p.list {
		if !m.At.Before(from) && m.At.Before(now.Add(-time.Minute)) {
			keep = append(keep, m)
		}
	}
	if len(keep) > 0 && keep[0].At.Equal(from) {
		from = keep[len(keep)-1].At.Add(time.Minute)
	} else {
		keep = nil
	}
	rows, err := tx.Query(ctx, pulseSQL, from, now)
	if err != nil {
		return nil, err
	}
	fresh, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (minute, error) {
		var m minute
		err := row.Scan(&m.At, &m.Receipts, &m.Sends, &m.Jobs, &m.P50, &m.P95)
		return m, err
	})
	if err != nil {
		return nil, fmt.Errorf("read the last hour: %w", err)
	}
	p.list = append(keep, fresh...)
	return p.list, nil
}

// pulsePage is the panel.
type pulsePage struct {
	Flow, Latency chart
	Last          []minute // newest first, for the table
	Receipts      float64  // within the hour
	Sends         float64
	P50, P95      float64 // of the last minute that had any
}

func (c *Console) pulse(v *visit) any {
	return load(v, "pulse", func(ctx context.Context, tx pgx.Tx) (pulsePage, error) {
		p := pulsePage{
			Flow:    chart{Title: "Per minute", Series: []series{{Name: "webhooks accepted"}, {Name: "sends", Tone: "b"}}},
			Latency: chart{Title: "Webhook accepted to applied", Unit: "ms", Series: []series{{Name: "95 %", Tone: "d"}, {Name: "median", Tone: "c"}}},
		}
		list, err := c.lastHour.read(ctx, tx)
		if err != nil {
			return p, err
		}
		zone := v.zone()
		for i, m := range list {
			at := m.At.In(zone)
			p.Flow.At, p.Latency.At = append(p.Flow.At, at), append(p.Latency.At, at)
			p.Flow.Series[0].Values = append(p.Flow.Series[0].Values, m.Receipts)
			p.Flow.Series[1].Values = append(p.Flow.Series[1].Values, m.Sends)
			p.Latency.Series[0].Values = append(p.Latency.Series[0].Values, m.P95)
			p.Latency.Series[1].Values = append(p.Latency.Series[1].Values, m.P50)
			p.Receipts += m.Receipts
			p.Sends += m.Sends
			if m.P95 > 0 {
				p.P50, p.P95 = m.P50, m.P95
			}
			if newest := list[len(list)-1-i]; newest.Receipts+newest.Jobs > 0 {
				p.Last = append(p.Last, newest)
			}
		}
		return p, nil
	})
}
