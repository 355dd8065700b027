package worker

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"onward/jobs"
	"onward/jobs/messagetext"
	"onward/lifecycle/pgstore"
)

const (
	// fanOutBudget is how long one run goes on before it hands over to the next: well below the job time-out.
	fanOutBudget = 20 * time.Second
	// freezeWindow is how many businesses one transaction looks at for the audience: some 50 ms.
	freezeWindow = 10_000
)

// workFanOut freezes a campaign's audience, waits for its hour, and turns the audience into messages and send jobs.
// Each chunk is one transaction that also moves a cursor, so what is cut off anywhere goes on behind the last whole
// chunk. Two fan-outs of one campaign take turns.
func (s *sender) workFanOut(ctx context.Context, job *river.Job[jobs.FanOutArgs]) error {
	id := job.Args.CampaignID
	if job.Args.Resume {
		if err := s.enqueueQueued(ctx, id); err != nil {
			return err
		}
	}
	until := time.Now().Add(fanOutBudget)
	fanOut := func(ctx context.Context, id int64) (more bool, err error) { return s.fanOut(ctx, id, until) }
	for _, step := range []func(context.Context, int64) (more bool, err error){s.freezeChunk, s.begin, fanOut} {
		for {
			more, err := step(ctx, id)
			var wait notYet
			switch {
			case errors.As(err, &wait):
				return s.goOn(ctx, job, time.Duration(wait))
			case err != nil:
				return fmt.Errorf("fan out campaign %d: %w", id, err)
			case more && time.Now().After(until):
				return s.goOn(ctx, job, 0)
			}
			if !more {
				break
			}
		}
	}
	return nil
}

// goOn hands over to another run. One that resumed has given the queued messages their jobs by now: a second pass over
// them would be waste.
func (s *sender) goOn(ctx context.Context, job *river.Job[jobs.FanOutArgs], wait time.Duration) error {
	if !job.Args.Resume {
		return river.JobSnooze(wait)
	}
	_, err := river.ClientFromContext[pgx.Tx](ctx).Insert(ctx, jobs.FanOutArgs{CampaignID: job.Args.CampaignID},
		&river.InsertOpts{ScheduledAt: s.Clock().Add(wait)})
	return err
}

// notYet says that a campaign's hour has not come, and how long it is till then.
type notYet time.Duration

// Error names the wait.
func (n notYet) Error() string { return "not before " + time.Duration(n).String() }

func (s *sender) freezeChunk(ctx context.Context, id int64) (more bool, err error) {
	err = pgx.BeginFunc(ctx, s.Pool, func(tx pgx.Tx) error {
		frozen, err := pgstore.FreezeAudience(ctx, tx, id, freezeWindow)
		more = !frozen
		return err
	})
	return more, err
}

// begin makes a scheduled campaign sending, once its time has come.
func (s *sender) begin(ctx context.Context, id int64) (more bool, err error) {
	now := s.Clock()
	var sendAt *time.Time
	err = s.Pool.QueryRow(ctx, `
		WITH begun AS (
			UPDATE campaigns
			SET status = 'sending', updated_at = now()
			WHERE id = $1 AND status = 'scheduled' AND (send_at IS NULL OR send_at <= $2)
		)
		SELECT send_at
		FROM campaigns
		WHERE id = $1 AND status = 'scheduled' AND send_at > $2`, id, now).Scan(&sendAt)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return false, nil
	case err != nil:
		return false, err
	}
	return false, notYet(sendAt.Sub(now))
}

// campaign is what a fan-out needs of one.
type campaign struct {
	id      int64
	channel string
	text    messagetext.Campaign
	cursor  int64
}

// chunk is a part of a campaign's audience, whose messages and jobs are made in a transaction that is not committed yet.
type chunk struct {
	tx             pgx.Tx
	behind, cursor int64
	last           bool
	made           *drafts
	skipped        *skips
}

// Why a chunk is not committed, without anything being wrong.
var (
	errHalted      = errors.New("the campaign is paused, cancelled or done")
	errCursorMoved = errors.New("another fan-out was first")
)

// fanOut makes messages and jobs of what is left of a frozen audience. It reports whether there may be more: the time
// was up.
func (s *sender) fanOut(ctx context.Context, id int64, until time.Time) (more bool, err error) {
	for {
		c, err := s.sendingCampaign(ctx, id)
		if err != nil || c == nil {
			return false, err
		}
		more, err = s.fanOutFrom(ctx, c, until)
		if !errors.Is(err, errCursorMoved) {
			return more, err
		}
	}
}

// fanOutFrom goes on behind a campaign's cursor, with two chunks at once: one begins as soon as the one before it has read
// its recipients. They are committed in their order. No chunk waits for a connection that the one behind it has.
func (s *sender) fanOutFrom(ctx context.Context, c *campaign, until time.Time) (more bool, err error) {
	var this, next *pendingChunk
	defer func() {
		// After an error; or a panic, when this one's transaction has ended.
		for _, p := range []*pendingChunk{this, next} {
			if p != nil {
				p.drop(ctx)
			}
		}
	}()
	this = s.beginChunk(ctx, c, c.cursor, 0)
	for slot := 1; this != nil; slot = 1 - slot {
		if cursor, last := this.wait(); !last && time.Now().Before(until) {
			next = s.beginChunk(ctx, c, cursor, slot)
		}
		n, err := this.get()
		if err == nil {
			more = !n.last
			err = s.commitChunk(ctx, c, n)
		}
		this, next = next, nil
		switch {
		case errors.Is(err, errHalted):
			return false, nil
		case err != nil:
			return false, err
		}
	}
	return more, nil
}

// pendingChunk is a chunk that is being made.
type pendingChunk struct {
	read chan struct{} // closed once cursor and last are known, or never will be
	done chan struct{}

	cursor int64
	last   bool

	chunk *chunk
	err   error
}

func (s *sender) beginChunk(ctx context.Context, c *campaign, behind int64, slot int) *pendingChunk {
	p := &pendingChunk{read: make(chan struct{}), done: make(chan struct{}), last: true}
	go func() {
		isRead := sync.OnceFunc(func() { close(p.read) })
		defer func() {
			if r := recover(); r != nil {
				p.err = fmt.Errorf("recipients behind %d: panic: %v\n%s", behind, r, debug.Stack())
			}
			isRead()
			close(p.done)
		}()
		p.chunk, p.err = s.makeChunk(ctx, c, behind, slot, func(cursor int64, last bool) {
			p.cursor, p.last = cursor, last
			isRead()
		})
	}()
	return p
}

// wait returns where a chunk ends, and whether nobody is behind it.
func (p *pendingChunk) wait() (cursor int64, last bool) {
	<-p.read
	return p.cursor, p.last
}

func (p *pendingChunk) get() (*chunk, error) {
	<-p.done
	return p.chunk, p.err
}

func (p *pendingChunk) drop(ctx context.Context) {
	if n, err := p.get(); err == nil {
		_ = n.tx.Rollback(ctx) // nothing is left of it either way
	}
}

// sendingCampaign reads a campaign whose fan-out is to go on; nil where it is not: paused, cancelled or done.
func (s *sender) sendingCampaign(ctx context.Context, id int64) (*campaign, error) {
	c := &campaign{id: id}
	var subject, body string
	err := s.Pool.QueryRow(ctx, `
		SELECT channel, subject, body, fanout_cursor
		FROM campaigns
		WHERE id = $1 AND status = 'sending' AND frozen_at IS NOT NULL AND fanned_out_at IS NULL`, id).Scan(&c.channel, &subject, &body, &c.cursor)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil // nothing to do is no error
	}
	if err != nil {
		return nil, fmt.Errorf("read the campaign: %w", err)
	}
	c.text, err = messagetext.ParseCampaign(c.channel == jobs.ChannelSMS, subject, body)
	return c, err
}

// makeChunk makes messages and jobs for the next recipients of a campaign, in a transaction that stays open. It tells where
// they end as soon as it has read them.
//
// Each slot of a campaign holds one chunk at a time, of whichever fan-out. So nobody waits for messages of a chunk that itself
// waits, for its turn, for one that waits for him: PostgreSQL would not see that.
func (s *sender) makeChunk(ctx context.Context, c *campaign, behind int64, slot int, read func(cursor int64, last bool)) (n *chunk, err error) {
	tx, err := s.Pool.Begin(ctx)
	if err != nil {
		return nil, err
	}
	defer func() {
		if n == nil {
			_ = tx.Rollback(ctx) // the first error says why
		}
	}()
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended('fan-out:' || $1::bigint || ':' || $2::int, 7206819))`, c.id, slot); err != nil {
		return nil, fmt.Errorf("wait for another fan-out: %w", err)
	}
	list, err := pgstore.NextRecipients(ctx, tx, c.id, c.channel, behind, s.FanOutChunk)
	if err != nil {
		return nil, err
	}
	cursor, last := behind, len(list) < s.FanOutChunk
	if len(list) > 0 {
		cursor = list[len(list)-1].ID
	}
	read(cursor, last)
	made, skipped, err := s.render(c, list)
	if err != nil {
		return nil, err
	}
	if err := made.insert(ctx, tx, c); err != nil {
		return nil, err
	}
	return &chunk{tx: tx, behind: behind, cursor: cursor, last: last, made: made, skipped: skipped}, nil
}

// commitChunk ends a chunk's transaction, unless its campaign is halted or its part of the audience has been stored meanwhile.
func (s *sender) commitChunk(ctx context.Context, c *campaign, n *chunk) error {
	defer func() { _ = n.tx.Rollback(ctx) }() // does nothing after a commit
	var cursor int64
	err := n.tx.QueryRow(ctx, `
		SELECT fanout_cursor
		FROM campaigns
		WHERE id = $1 AND status = 'sending' AND fanned_out_at IS NULL
		FOR NO KEY UPDATE`, c.id).Scan(&cursor)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return errHalted
	case err != nil:
		return fmt.Errorf("lock the campaign: %w", err)
	case cursor != n.behind:
		return errCursorMoved
	}
	_, err = n.tx.Exec(ctx, `
		UPDATE campaigns
		SET fanout_cursor = $2, fanned_out_at = CASE WHEN $3 THEN now() END, updated_at = now()
		WHERE id = $1`, c.id, n.cursor, n.last)
	if err != nil {
		return err
	}
	if err := pgstore.MarkSkipped(ctx, n.tx, c.id, n.skipped.businesses, n.skipped.why); err != nil {
		return err
	}
	if err := pgstore.CountMany(ctx, n.tx, c.id, n.made.ids, n.skipped.counters()); err != nil {
		return err
	}
	if err := n.tx.Commit(ctx); err != nil {
		return err
	}
	if n.cursor != n.behind {
		s.wake([]string{sendQueue(c.channel)})
	}
	if s.Observer.Skipped != nil {
		for _, why := range n.skipped.why {
			s.Observer.Skipped(string(why))
		}
	}
	return nil
}

// drafts are messages that are not stored yet, column by column; ids are those that were stored.
type drafts struct {
	public                 []string
	business               []int64
	address, subject, body []string
	ids                    []int64
}

// skips are recipients that get no message.
type skips struct {
	businesses []int64
	why        []pgstore.Skip
}

func (k *skips) add(business int64, why pgstore.Skip) {
	k.businesses, k.why = append(k.businesses, business), append(k.why, why)
}

func (k *skips) counters() map[string]int64 {
	n := map[string]int64{}
	for _, why := range k.why {
		n[why.Counter()]++
	}
	return n
}

// render makes the messages of some recipients.
func (s *sender) render(c *campaign, list []pgstore.Recipient) (made *drafts, skipped *skips, err error) {
	made, skipped = &drafts{}, &skips{}
	for _, r := range list {
		if why := r.Skip(); why != "" {
			skipped.add(r.ID, why)
			continue
		}
		id, err := uuid.NewV7()
		if err != nil {
			return nil, nil, fmt.Errorf("make an id: %w", err)
		}
		subject, text, err := c.text.Render(messagetext.Fields{
			Name: r.Name, City: r.City, SiteURL: r.SiteURL, UnsubscribeURL: s.unsubscribeURL(id, c.channel, r.Address),
		})
		if err != nil {
			skipped.add(r.ID, pgstore.SkipUnrenderable)
			continue
		}
		made.public, made.business, made.address = append(made.public, id.String()), append(made.business, r.ID), append(made.address, r.Address)
		made.subject, made.body = append(made.subject, subject), append(made.body, text)
	}
	return made, skipped, nil
}

// insert stores messages with the jobs that send them. A recipient that has the campaign's message already gets no
// second one.
func (d *drafts) insert(ctx context.Context, tx pgx.Tx, c *campaign) error {
	if len(d.public) == 0 {
		return nil
	}
	rows, err := tx.Query(ctx, `
		INSERT INTO messages (public_id, campaign_id, business_id, channel, address, subject, body)
		SELECT u.public_id::uuid, $1, u.business_id, $2, u.address, u.subject, u.body
		FROM unnest($3::text[], $4::bigint[], $5::text[], $6::text[], $7::text[]) AS u (public_id, business_id, address, subject, body)
		ON CONFLICT (campaign_id, business_id) DO NOTHING
		RETURNING id`, c.id, c.channel, d.public, d.business, d.address, d.subject, d.body)
	if err != nil {
		return fmt.Errorf("insert messages: %w", err)
	}
	if d.ids, err = pgx.CollectRows(rows, pgx.RowTo[int64]); err != nil {
		return fmt.Errorf("insert messages: %w", err)
	}
	return enqueueSends(ctx, tx, c.channel, d.ids)
}

func enqueueSends(ctx context.Context, tx pgx.Tx, channel string, ids []int64) error {
	if len(ids) == 0 {
		return nil
	}
	params := make([]river.InsertManyParams, len(ids))
	for i, id := range ids {
		params[i] = river.InsertManyParams{
			Args: jobs.SendArgs{MessageID: id, Channel: channel}, InsertOpts: &river.InsertOpts{Priority: jobs.PriorityCampaign},
		}
	}
	if _, err := river.ClientFromContext[pgx.Tx](ctx).InsertManyFastTx(ctx, tx, params); err != nil {
		return fmt.Errorf("enqueue sends: %w", err)
	}
	return nil
}

// sendQueue is where a channel's sends wait.
func sendQueue(channel string) string { return jobs.SendArgs{Channel: channel}.InsertOpts().Queue }
