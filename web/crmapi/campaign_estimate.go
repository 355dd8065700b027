package crmapi

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/jackc/pgx/v5"

	"onward/jobs"
	"onward/jobs/segments"
	"onward/lifecycle"
	"onward/lifecycle/pgstore"
)

// CampaignEstimate is what a campaign would do, and cost.
type CampaignEstimate struct {
	Recipients int64            `json:"recipients" doc:"Businesses in the audience now"`
	ByStatus   map[string]int64 `json:"by_contact_status" doc:"The recipients by their contact status; each status is there, and together they are all"`
	Skipped    map[string]int64 `json:"skipped" doc:"Of these, by reason; unrenderable is carried over from the sample, suppressions that outlived an erasure are not counted"`
	Messages   int64            `json:"messages" doc:"The rest"`
	Sampled    int              `json:"sampled" doc:"Recipients whose text was rendered: those that came first"`
	Segments   *SegmentEstimate `json:"segments" doc:"Of text messages; null where the sample has none"`
	Cost       *CostEstimate    `json:"cost" doc:"Null where no recent message of the channel has a price"`
}

// SegmentEstimate is carried over from the sample to the whole.
type SegmentEstimate struct {
	Min   int   `json:"min" doc:"In the sample"`
	Max   int   `json:"max" doc:"In the sample"`
	Total int64 `json:"total" doc:"The sample's mean, times messages"`
}

// CostEstimate is the segments at the mean price of those sent last.
type CostEstimate struct {
	Amount   float64 `json:"amount"`
	Currency string  `json:"currency" doc:"ISO 4217"`
}

// estimateSample is how many texts are rendered for an estimate: some 10 ms.
const estimateSample = 500

func (a *API) estimateCampaign(ctx context.Context, in *PathID) (*struct{ Body CampaignEstimate }, error) {
	out := &struct{ Body CampaignEstimate }{}
	err := a.read(ctx, func(tx pgx.Tx) error {
		p, err := a.plan(ctx, tx, in.ID)
		if err != nil {
			return err
		}
		out.Body, _, err = a.estimate(ctx, tx, p)
		return err
	})
	return out, err
}

// estimate counts a plan's audience and renders a sample of it, which it returns.
func (a *API) estimate(ctx context.Context, q pgstore.Querier, p plan) (CampaignEstimate, []pgstore.Recipient, error) {
	var e CampaignEstimate
	size, err := pgstore.SizeAudience(ctx, q, p.channel, p.audience)
	if err != nil {
		return e, nil, err
	}
	sample, err := pgstore.SampleAudience(ctx, q, p.channel, p.audience, estimateSample)
	if err != nil {
		return e, nil, err
	}
	e.Recipients, e.Messages, e.Sampled = size.Recipients, size.Recipients, len(sample)
	e.ByStatus, e.Skipped = map[string]int64{}, map[string]int64{}
	for _, status := range lifecycle.Statuses(lifecycle.AxisContact) {
		e.ByStatus[string(status)] = size.ByContact[status]
	}
	for _, why := range pgstore.Skips() {
		e.Skipped[string(why)] = size.Skipped[why]
		e.Messages -= size.Skipped[why]
	}
	rendered, failed, sum := 0, 0, 0
	least, most := math.MaxInt, 0
	for _, r := range sample {
		if r.Skip() != "" {
			continue
		}
		_, text, err := p.text.Render(textFields(r, a.exampleUnsubscribeURL(p.channel, r.Address)))
		if err != nil {
			failed++
			continue
		}
		n, _, _ := segments.Count(text)
		rendered, sum, least, most = rendered+1, sum+n, min(least, n), max(most, n)
	}
	if tried := rendered + failed; tried > 0 {
		unrenderable := int64(math.Round(float64(e.Messages) * float64(failed) / float64(tried)))
		e.Skipped[string(pgstore.SkipUnrenderable)] = unrenderable
		e.Messages -= unrenderable
	}
	if p.channel == jobs.ChannelSMS && rendered > 0 {
		e.Segments = &SegmentEstimate{Min: least, Max: most, Total: int64(math.Round(float64(e.Messages) * float64(sum) / float64(rendered)))}
		e.Cost, err = costOf(ctx, q, p.channel, e.Segments.Total)
	}
	return e, sample, err
}

// costOf prices segments by those that were sent last, nil where none of them has a price yet.
func costOf(ctx context.Context, q pgstore.Querier, channel string, count int64) (*CostEstimate, error) {
	const look = 10_000 // messages back
	c := &CostEstimate{}
	var each float64
	err := q.QueryRow(ctx, `
		SELECT (sum(abs(price)) / sum(segments))::float8, price_unit
		FROM (SELECT channel, price, price_unit, segments FROM messages ORDER BY id DESC LIMIT $2) m
		WHERE channel = $1 AND price IS NOT NULL AND price_unit IS NOT NULL AND segments > 0
		GROUP BY price_unit
		ORDER BY count(*) DESC
		LIMIT 1`, channel, look).Scan(&each, &c.Currency)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil // no price is an answer
	}
	if err != nil {
		return nil, fmt.Errorf("read the price of a segment: %w", err)
	}
	const cents = 100
	c.Amount = math.Round(each*float64(count)*cents) / cents
	return c, nil
}
