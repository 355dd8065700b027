package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"onward/jobs"
	"onward/jobs/messagetext"
	"onward/lifecycle/pgstore"
)

// fanOutBudget is how long one run goes on before it hands over to the next: well below the job time-out.
const fanOutBudget = 20 * time.Second

// workFanOut turns a campaign's audience into messages and send jobs. Each chunk is one transaction that also
// moves the cursor, so a fan-out that is cut off anywhere goes on behind the last whole chunk.
func (s *sender) workFanOut(ctx context.Context, job *river.Job[jobs.FanOutArgs]) error {
	if job.Args.Resume {
		if err := s.enqueueQueued(ctx, job.Args.CampaignID); err != nil {
			return err
		}
		s.wake([]string{jobs.QueueSendSMS, jobs.QueueSendEmail})
	}
	until := time.Now().Add(fanOutBudget)
	for {
		more, err := s.fanOutChunk(ctx, job.Args.CampaignID)
		if err != nil {
			return fmt.Errorf("fan out campaign %d: %w", job.Args.CampaignID, err)
		}
		s.wake([]string{jobs.QueueSendSMS, jobs.QueueSendEmail})
		if !more {
			return nil
		}
		if time.Now().After(until) {
			// The queued messages have their jobs by now; a second pass over them would be waste.
			if job.Args.Resume {
				_, err := river.ClientFromContext[pgx.Tx](ctx).Insert(ctx, jobs.FanOutArgs{CampaignID: job.Args.CampaignID}, nil)
				return err
			}
			return river.JobSnooze(0)
		}
	}
}

// campaign is what a fan-out needs of one.
type campaign struct {
	id            int64
	channel       string
	subject, body *messagetext.Template
	cursor, last  int64
	audience      audience
	status        string
}

// audience is campaigns.audience: the businesses by id, or all that match a filter.
type audience struct {
	BusinessIDs []uuid.UUID             `json:"business_ids"`
	Filter      *pgstore.BusinessFilter `json:"filter"`
}

// fanOutChunk takes the next businesses of a campaign. It reports whether there may be more.
func (s *sender) fanOutChunk(ctx context.Context, id int64) (more bool, err error) {
	err = pgx.BeginFunc(ctx, s.Pool, func(tx pgx.Tx) error {
		c, err := lockCampaign(ctx, tx, id)
		if err != nil || c.status == "" {
			return err
		}
		list, err := recipients(ctx, tx, c, s.FanOutChunk)
		if err != nil {
			return err
		}
		if len(list) > 0 {
			if err := s.insertMessages(ctx, tx, c, list); err != nil {
				return err
			}
			c.cursor = list[len(list)-1].ID
		}
		more = len(list) == s.FanOutChunk
		_, err = tx.Exec(ctx, `
			UPDATE campaigns
			SET fanout_cursor = $2, fanned_out_at = CASE WHEN $3 THEN NULL ELSE now() END, updated_at = now()
			WHERE id = $1`, id, c.cursor, more)
		return err
	})
	return more, err
}

// lockCampaign reads a campaign whose fan-out is to go on; its status is "" where it is not: paused, cancelled or
// done. A scheduled one starts sending here.
func lockCampaign(ctx context.Context, tx pgx.Tx, id int64) (campaign, error) {
	c := campaign{id: id}
	var subject, body string
	var raw []byte
	err := tx.QueryRow(ctx, `
		SELECT channel, subject, body, audience, fanout_cursor, COALESCE(fanout_last, 0), status
		FROM campaigns
		WHERE id = $1 AND status IN ('sending', 'scheduled') AND fanned_out_at IS NULL
		FOR NO KEY UPDATE`, id).Scan(&c.channel, &subject, &body, &raw, &c.cursor, &c.last, &c.status)
	if errors.Is(err, pgx.ErrNoRows) {
		return c, nil
	}
	if err != nil {
		return c, fmt.Errorf("read the campaign: %w", err)
	}
	if err := json.Unmarshal(raw, &c.audience); err != nil {
		return c, fmt.Errorf("read the audience: %w", err)
	}
	if c.body, err = messagetext.Parse(body); err != nil {
		return c, fmt.Errorf("parse the body: %w", err)
	}
	if c.subject, err = messagetext.Parse(subject); err != nil {
		return c, fmt.Errorf("parse the subject: %w", err)
	}
	if c.status == "scheduled" {
		_, err = tx.Exec(ctx, `UPDATE campaigns SET status = 'sending' WHERE id = $1`, id)
	}
	return c, err
}

type recipient struct {
	ID         int64
	Name       string
	City       string
	Address    string
	SiteURL    string
	OptedOut   bool
	Suppressed bool
}

// recipients reads the next businesses of the audience, those to be skipped included.
func recipients(ctx context.Context, tx pgx.Tx, c campaign, limit int) ([]recipient, error) {
	args := []any{c.channel, c.cursor, c.last, limit}
	var where string
	if c.audience.Filter != nil {
		where = c.audience.Filter.Where("b", &args)
	} else {
		args = append(args, c.audience.BusinessIDs)
		where = "b.public_id = ANY($5)"
	}
	rows, err := tx.Query(ctx, `
		WITH next AS (
			SELECT b.id, b.name, COALESCE(b.city, '') AS city, b.opted_out,
				CASE $1 WHEN 'sms' THEN COALESCE(b.phone, '') ELSE lower(COALESCE(b.email, '')) END AS address
			FROM businesses b
			WHERE b.id > $2 AND b.id <= $3 AND b.erased_at IS NULL AND `+where+`
			ORDER BY b.id
			LIMIT $4
			-- Whoever erases one of them waits, and then finds its message; inserting that takes this lock anyway.
			FOR KEY SHARE
		)
		SELECT n.id, n.name, n.city, n.address,
			COALESCE((SELECT url FROM sites t WHERE t.business_id = n.id ORDER BY t.id DESC LIMIT 1), '') AS site_url,
			n.opted_out,
			onward_suppressed($1, n.address) AS suppressed
		FROM next n
		ORDER BY n.id`, args...)
	if err != nil {
		return nil, fmt.Errorf("read recipients: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[recipient])
	if err != nil {
		return nil, fmt.Errorf("read recipients: %w", err)
	}
	return list, nil
}

// skip says why a recipient gets no message; "" for one who gets it.
func (r recipient) skip() string {
	switch {
	case r.Address == "":
		return "skipped_no_address"
	case r.Suppressed:
		return "skipped_suppressed"
	case r.OptedOut:
		return "skipped_unsubscribed"
	}
	return ""
}

func (s *sender) insertMessages(ctx context.Context, tx pgx.Tx, c campaign, list []recipient) error {
	var (
		public                   []uuid.UUID
		business                 []int64
		address, subject, bodies []string
		skipped                  = map[string]int64{}
	)
	for _, r := range list {
		if why := r.skip(); why != "" {
			skipped[why]++
			continue
		}
		id, err := uuid.NewV7()
		if err != nil {
			return fmt.Errorf("make an id: %w", err)
		}
		fields := messagetext.Fields{Name: r.Name, City: r.City, SiteURL: r.SiteURL, UnsubscribeURL: s.unsubscribeURL(id, c.channel, r.Address)}
		text, err := c.body.Render(fields)
		if err != nil {
			skipped["skipped_unrenderable"]++
			continue
		}
		title, err := c.subject.Render(fields)
		if err != nil {
			skipped["skipped_unrenderable"]++
			continue
		}
		public, business, address = append(public, id), append(business, r.ID), append(address, r.Address)
		subject, bodies = append(subject, oneLine(title)), append(bodies, text)
	}
	rows, err := tx.Query(ctx, `
		INSERT INTO messages (public_id, campaign_id, business_id, channel, address, subject, body)
		SELECT u.public_id, $1, u.business_id, $2, u.address, u.subject, u.body
		FROM unnest($3::uuid[], $4::bigint[], $5::text[], $6::text[], $7::text[]) AS u (public_id, business_id, address, subject, body)
		ON CONFLICT (campaign_id, business_id) DO NOTHING
		RETURNING id`, c.id, c.channel, public, business, address, subject, bodies)
	if err != nil {
		return fmt.Errorf("insert messages: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return fmt.Errorf("insert messages: %w", err)
	}
	if err := enqueueSends(ctx, tx, c.channel, ids); err != nil {
		return err
	}
	return pgstore.CountMany(ctx, tx, c.id, ids, skipped)
}

// oneLine keeps a rendered subject on one line.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func enqueueSends(ctx context.Context, tx pgx.Tx, channel string, ids []int64) error {
	if len(ids) == 0 {
		return nil
	}
	params := make([]river.InsertManyParams, len(ids))
	for i, id := range ids {
		params[i] = river.InsertManyParams{Args: jobs.SendArgs{MessageID: id, Channel: channel}}
	}
	if _, err := river.ClientFromContext[pgx.Tx](ctx).InsertManyFastTx(ctx, tx, params); err != nil {
		return fmt.Errorf("enqueue sends: %w", err)
	}
	return nil
}

// enqueueQueued gives every message of a resumed campaign that is still queued a job again. One that has a job
// already is sent once all the same: the second job finds it settled.
func (s *sender) enqueueQueued(ctx context.Context, id int64) error {
	var after int64
	for {
		var n int
		err := pgx.BeginFunc(ctx, s.Pool, func(tx pgx.Tx) error {
			rows, err := tx.Query(ctx, `
				SELECT id, channel
				FROM messages
				WHERE campaign_id = $1 AND id > $2 AND state = 'queued'
				ORDER BY id
				LIMIT $3`, id, after, s.FanOutChunk)
			if err != nil {
				return err
			}
			var ids []int64
			var message int64
			var channel string
			if _, err := pgx.ForEachRow(rows, []any{&message, &channel}, func() error {
				ids = append(ids, message)
				return nil
			}); err != nil {
				return err
			}
			if n = len(ids); n == 0 {
				return nil
			}
			after = ids[n-1]
			return enqueueSends(ctx, tx, channel, ids)
		})
		if err != nil {
			return fmt.Errorf("enqueue the queued messages of campaign %d: %w", id, err)
		}
		if n < s.FanOutChunk {
			return nil
		}
	}
}
