package pgstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"onward/lifecycle"
)

// BulkKind is what a bulk action does to each of its businesses.
type BulkKind string

// The kinds.
const (
	BulkOptOut   BulkKind = "opt_out"
	BulkTag      BulkKind = "tag"
	BulkUntag    BulkKind = "untag"
	BulkCampaign BulkKind = "start_campaign"
)

// Why a bulk action did nothing to one of its businesses.
const (
	BulkSkipErased  = "erased"
	BulkSkipAlready = "already" // opted out, or has the tag
	BulkSkipAbsent  = "absent"  // has no such tag
	BulkSkipFull    = "full"    // has MaxTags tags
)

// BulkSkips lists the reasons, for those who show zeroes.
func BulkSkips() []string {
	return []string{BulkSkipErased, BulkSkipAlready, BulkSkipAbsent, BulkSkipFull}
}

// MaxBulk is how many businesses one bulk action can have: to note them takes some seconds of one transaction.
const MaxBulk = 1_000_000

// ErrBulkTooMany says that more than [MaxBulk] matched.
var ErrBulkTooMany = fmt.Errorf("more than %d businesses match", MaxBulk)

// NewBulk is a bulk action as somebody asks for it.
type NewBulk struct {
	Kind      BulkKind
	Tag       string // of tag and untag, normal already
	Campaign  int64  // of start_campaign
	Selection Audience
	Reason    string
	Actor     string
	ActionID  int64 // operator_actions.id
	UndoOf    int64 // the bulk action that this one takes back; 0: none
}

// Bulk is a bulk action as stored.
type Bulk struct {
	ID         int64
	PublicID   uuid.UUID
	Kind       BulkKind
	Tag        string
	CampaignID int64
	Campaign   *uuid.UUID
	Selection  []byte // an Audience
	Reason     string
	Actor      string
	ActionID   int64
	UndoOf     *uuid.UUID
	UndoneBy   *uuid.UUID
	State      string
	Total      int64
	Done       int64
	Skipped    map[string]int64
	LastTarget int64
	CreatedAt  time.Time
	FinishedAt *time.Time
}

// States of a bulk action.
const (
	BulkRunning   = "running"
	BulkDone      = "done"
	BulkCancelled = "cancelled"
)

// CreateBulk stores a bulk action with its businesses as they match now, or, of an undo, those to whom the other did
// something. Campaigns have an audience of their own instead (see [FreezeNow]), and are done with that.
func CreateBulk(ctx context.Context, tx pgx.Tx, in NewBulk) (uuid.UUID, int64, error) {
	public, err := uuid.NewV7()
	if err != nil {
		return public, 0, fmt.Errorf("make an id: %w", err)
	}
	selection, err := json.Marshal(in.Selection)
	if err != nil {
		return public, 0, fmt.Errorf("encode the selection: %w", err)
	}
	state := BulkRunning
	if in.Kind == BulkCampaign {
		state = BulkDone
	}
	var id int64
	err = tx.QueryRow(ctx, `
		INSERT INTO bulk_actions (public_id, action, tag, campaign_id, selection, reason, actor, action_id, undo_of, state, total, finished_at)
		VALUES ($1, $2, $3, $4, $5::text::jsonb, $6, $7, $8, $9, $10, 0, CASE WHEN $10 = 'done' THEN now() END)
		RETURNING id`, public, string(in.Kind), orNil(in.Tag), orNil(in.Campaign), string(selection), in.Reason, in.Actor, in.ActionID,
		orNil(in.UndoOf), state).Scan(&id)
	if err != nil {
		return public, 0, fmt.Errorf("store a bulk action: %w", err)
	}
	if in.Kind == BulkCampaign {
		return public, id, nil
	}
	args := []any{id}
	sql := `
		INSERT INTO bulk_targets (bulk_id, business_id)
		SELECT $1, t.business_id
		FROM bulk_targets t
		JOIN bulk_actions o ON o.id = t.bulk_id
		WHERE o.id = $2 AND t.business_id <= o.last_target AND t.skipped IS NULL`
	if in.UndoOf != 0 {
		args = append(args, in.UndoOf)
	} else {
		sql = `
		INSERT INTO bulk_targets (bulk_id, business_id)
		SELECT $1, b.id
		FROM businesses b
		WHERE b.erased_at IS NULL AND ` + in.Selection.Where("b", &args) + fmt.Sprintf(`
		LIMIT %d`, MaxBulk+1)
	}
	tag, err := tx.Exec(ctx, sql, args...)
	if err != nil {
		return public, 0, fmt.Errorf("note the businesses of a bulk action: %w", err)
	}
	if tag.RowsAffected() > MaxBulk {
		return public, 0, ErrBulkTooMany
	}
	if _, err := tx.Exec(ctx, `UPDATE bulk_actions SET total = $2 WHERE id = $1`, id, tag.RowsAffected()); err != nil {
		return public, 0, fmt.Errorf("store a bulk action: %w", err)
	}
	return public, id, nil
}

// FreezeNow makes a campaign's audience those who match now, in this transaction, instead of by its fan-out's job.
func FreezeNow(ctx context.Context, tx pgx.Tx, campaignID int64, a Audience) error {
	args := []any{campaignID}
	where := a.Where("b", &args)
	tag, err := tx.Exec(ctx, fmt.Sprintf(`
		INSERT INTO campaign_recipients (campaign_id, business_id)
		SELECT $1, b.id
		FROM businesses b
		WHERE b.erased_at IS NULL AND %s
		LIMIT %d`, where, MaxBulk+1), args...)
	if err != nil {
		return fmt.Errorf("freeze the audience of campaign %d: %w", campaignID, err)
	}
	if tag.RowsAffected() > MaxBulk {
		return ErrBulkTooMany
	}
	_, err = tx.Exec(ctx, `
		UPDATE campaigns
		SET audience_cursor = COALESCE(fanout_last, 0), recipients = $2, frozen_at = now()
		WHERE id = $1`, campaignID, tag.RowsAffected())
	if err != nil {
		return fmt.Errorf("freeze the audience of campaign %d: %w", campaignID, err)
	}
	return nil
}

// CountSelection counts whom a bulk action would be about, and reads some of them.
func CountSelection(ctx context.Context, q Querier, a Audience, sample int) (int64, []Business, error) {
	var args []any
	where := a.Where("businesses", &args)
	var n int64
	if err := q.QueryRow(ctx, `SELECT count(*) FROM businesses WHERE erased_at IS NULL AND `+where, args...).Scan(&n); err != nil {
		return 0, nil, fmt.Errorf("count a selection: %w", err)
	}
	rows, err := q.Query(ctx, fmt.Sprintf(`
		SELECT %s
		FROM businesses
		WHERE erased_at IS NULL AND %s
		ORDER BY id
		LIMIT %d`, businessColumns, where, sample), args...)
	if err != nil {
		return 0, nil, fmt.Errorf("sample a selection: %w", err)
	}
	list, err := pgx.CollectRows(rows, scanBusiness)
	if err != nil {
		return 0, nil, fmt.Errorf("sample a selection: %w", err)
	}
	return n, list, nil
}

const bulkQuery = `
	SELECT k.id, k.public_id, k.action, COALESCE(k.tag, ''), COALESCE(k.campaign_id, 0), c.public_id, k.selection, k.reason, k.actor, k.action_id,
		o.public_id, u.public_id, k.state, k.total, k.done, k.skipped, k.last_target, k.created_at, k.finished_at
	FROM bulk_actions k
	LEFT JOIN campaigns c ON c.id = k.campaign_id
	LEFT JOIN bulk_actions o ON o.id = k.undo_of
	LEFT JOIN bulk_actions u ON u.undo_of = k.id
	WHERE `

func scanBulk(row pgx.CollectableRow) (Bulk, error) {
	var b Bulk
	var skipped []byte
	err := row.Scan(&b.ID, &b.PublicID, &b.Kind, &b.Tag, &b.CampaignID, &b.Campaign, &b.Selection, &b.Reason, &b.Actor, &b.ActionID,
		&b.UndoOf, &b.UndoneBy, &b.State, &b.Total, &b.Done, &skipped, &b.LastTarget, &b.CreatedAt, &b.FinishedAt)
	if err != nil {
		return b, err
	}
	if err := json.Unmarshal(skipped, &b.Skipped); err != nil {
		return b, fmt.Errorf("read what was skipped: %w", err)
	}
	return b, nil
}

// ErrNoBulk says that there is no such bulk action.
var ErrNoBulk = errors.New("no such bulk action")

// BulkByPublicID reads a bulk action; with lock, nobody else changes it before the transaction's end.
func BulkByPublicID(ctx context.Context, q Querier, id uuid.UUID, lock bool) (Bulk, error) {
	sql := bulkQuery + `k.public_id = $1`
	if lock {
		sql += `
	FOR NO KEY UPDATE OF k`
	}
	rows, err := q.Query(ctx, sql, id)
	if err != nil {
		return Bulk{}, fmt.Errorf("read a bulk action: %w", err)
	}
	b, err := pgx.CollectExactlyOneRow(rows, scanBulk)
	if errors.Is(err, pgx.ErrNoRows) {
		return b, ErrNoBulk
	}
	if err != nil {
		return b, fmt.Errorf("read a bulk action: %w", err)
	}
	return b, nil
}

// ListBulk lists bulk actions below an inner id, newest first.
func ListBulk(ctx context.Context, q Querier, above int64, limit int) ([]Bulk, error) {
	rows, err := q.Query(ctx, bulkQuery+`k.id < $1
	ORDER BY k.id DESC
	LIMIT $2`, above, limit)
	if err != nil {
		return nil, fmt.Errorf("list bulk actions: %w", err)
	}
	list, err := pgx.CollectRows(rows, scanBulk)
	if err != nil {
		return nil, fmt.Errorf("list bulk actions: %w", err)
	}
	return list, nil
}

// CancelBulk ends a running bulk action: what is done stays.
func CancelBulk(ctx context.Context, tx pgx.Tx, id int64) error {
	_, err := tx.Exec(ctx, `
		UPDATE bulk_actions
		SET state = 'cancelled', finished_at = now()
		WHERE id = $1 AND state = 'running'`, id)
	if err != nil {
		return fmt.Errorf("cancel a bulk action: %w", err)
	}
	return nil
}

// BulkChunk does the next part of a running bulk action: limit businesses at most, with the place that it has got to, in
// the caller's transaction. What is cut off before the commit did not happen; what is committed is not done again. It
// reports whether there is more to do.
func BulkChunk(ctx context.Context, tx pgx.Tx, id, jobID int64, now time.Time, limit int) (more bool, applied []Applied, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("do a part of bulk action %d: %w", id, err)
		}
	}()
	rows, err := tx.Query(ctx, bulkQuery+`k.id = $1 AND k.state = 'running'
	FOR NO KEY UPDATE OF k`, id)
	if err != nil {
		return false, nil, err
	}
	b, err := pgx.CollectExactlyOneRow(rows, scanBulk)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil, nil // cancelled or done
	}
	if err != nil {
		return false, nil, err
	}
	c := bulkChunk{tx: tx, bulk: b, jobID: jobID, now: now, skipped: map[int64]string{}}
	if err := c.read(ctx, limit); err != nil {
		return false, nil, err
	}
	if len(c.targets) > 0 {
		if b.Kind == BulkOptOut {
			applied, err = c.optOut(ctx)
		} else {
			err = c.tag(ctx)
		}
		if err != nil {
			return false, nil, err
		}
	}
	more = len(c.targets) == limit
	return more, applied, c.note(ctx, more)
}

// bulkChunk is one part of a bulk action.
type bulkChunk struct {
	tx      pgx.Tx
	bulk    Bulk
	jobID   int64
	now     time.Time
	targets []int64
	skipped map[int64]string
}

// read takes the next businesses and locks them, in the order in which everybody does.
func (c *bulkChunk) read(ctx context.Context, limit int) error {
	rows, err := c.tx.Query(ctx, `
		SELECT t.business_id
		FROM bulk_targets t
		WHERE t.bulk_id = $1 AND t.business_id > $2
		ORDER BY t.business_id
		LIMIT $3`, c.bulk.ID, c.bulk.LastTarget, limit)
	if err != nil {
		return err
	}
	if c.targets, err = pgx.CollectRows(rows, pgx.RowTo[int64]); err != nil {
		return err
	}
	rows, err = c.tx.Query(ctx, `
		SELECT id, erased_at IS NOT NULL
		FROM businesses
		WHERE id = ANY($1)
		ORDER BY id
		FOR NO KEY UPDATE`, c.targets)
	if err != nil {
		return err
	}
	var id int64
	var erased bool
	_, err = pgx.ForEachRow(rows, []any{&id, &erased}, func() error {
		if erased {
			c.skipped[id] = BulkSkipErased
		}
		return nil
	})
	return err
}

// left are those that nothing speaks against so far.
func (c *bulkChunk) left() []int64 {
	list := make([]int64, 0, len(c.targets))
	for _, id := range c.targets {
		if c.skipped[id] == "" {
			list = append(list, id)
		}
	}
	return list
}

// optOut records a fact for each, under a key that makes it one however often it is tried, and suppresses its addresses;
// the latter also where the contact had opted out before: it may have got another address since.
func (c *bulkChunk) optOut(ctx context.Context) ([]Applied, error) {
	rows, err := c.tx.Query(ctx, `
		SELECT id, opted_out, COALESCE(phone, ''), COALESCE(email, '')
		FROM businesses
		WHERE id = ANY($1)
		ORDER BY id`, c.left())
	if err != nil {
		return nil, err
	}
	var facts []Fact
	var suppressions []Suppression
	var b Business
	var already bool
	_, err = pgx.ForEachRow(rows, []any{&b.ID, &already, &b.Phone, &b.Email}, func() error {
		for _, a := range b.Addresses() {
			suppressions = append(suppressions, Suppression{
				Address: a, Reason: "operator", Source: SourceOperator, SourceID: strconv.FormatInt(c.bulk.ActionID, 10),
			})
		}
		if already {
			c.skipped[b.ID] = BulkSkipAlready
			return nil
		}
		facts = append(facts, Fact{
			BusinessID: b.ID, Event: lifecycle.OptedOut, OccurredAt: c.now, Key: fmt.Sprintf("bulk:%s:%d", c.bulk.PublicID, b.ID),
			Source: SourceOperator, ActionID: c.bulk.ActionID, JobID: c.jobID, Note: c.bulk.Reason,
		})
		return nil
	})
	if err != nil {
		return nil, err
	}
	applied, err := Apply(ctx, c.tx, facts)
	if err != nil {
		return nil, err
	}
	_, err = Suppress(ctx, c.tx, suppressions)
	return applied, err
}

// tag gives the tag to each, or takes it away.
func (c *bulkChunk) tag(ctx context.Context) error {
	skip, sql := BulkSkipAlready, `
		INSERT INTO business_tags (business_id, tag)
		SELECT u.id, $2
		FROM unnest($1::bigint[]) AS u (id)
		ON CONFLICT DO NOTHING
		RETURNING business_id`
	if c.bulk.Kind == BulkUntag {
		skip, sql = BulkSkipAbsent, `
		DELETE FROM business_tags
		WHERE business_id = ANY($1) AND tag = $2
		RETURNING business_id`
	} else if err := c.skipFull(ctx); err != nil {
		return err
	}
	left := c.left()
	rows, err := c.tx.Query(ctx, sql, left, c.bulk.Tag)
	if err != nil {
		return err
	}
	changed, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return err
	}
	did := make(map[int64]bool, len(changed))
	for _, id := range changed {
		did[id] = true
	}
	for _, id := range left {
		if !did[id] {
			c.skipped[id] = skip
		}
	}
	_, err = c.tx.Exec(ctx, `UPDATE businesses SET updated_at = now() WHERE id = ANY($1)`, changed)
	return err
}

// skipFull leaves out who has as many tags as there may be.
func (c *bulkChunk) skipFull(ctx context.Context) error {
	rows, err := c.tx.Query(ctx, `
		SELECT business_id
		FROM business_tags
		WHERE business_id = ANY($1)
		GROUP BY business_id
		HAVING count(*) >= $2 AND NOT bool_or(tag = $3)`, c.left(), MaxTags, c.bulk.Tag)
	if err != nil {
		return err
	}
	full, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	for _, id := range full {
		c.skipped[id] = BulkSkipFull
	}
	return err
}

// note writes down how far the action has got, and why some were skipped.
func (c *bulkChunk) note(ctx context.Context, more bool) error {
	ids, why := make([]int64, 0, len(c.skipped)), make([]string, 0, len(c.skipped))
	total := c.bulk.Skipped
	for id, reason := range c.skipped {
		ids, why = append(ids, id), append(why, reason)
		total[reason]++
	}
	if len(ids) > 0 {
		_, err := c.tx.Exec(ctx, `
			UPDATE bulk_targets t
			SET skipped = u.why
			FROM unnest($2::bigint[], $3::text[]) AS u (id, why)
			WHERE t.bulk_id = $1 AND t.business_id = u.id`, c.bulk.ID, ids, why)
		if err != nil {
			return err
		}
	}
	skipped, err := json.Marshal(total)
	if err != nil {
		return err
	}
	last := c.bulk.LastTarget
	if n := len(c.targets); n > 0 {
		last = c.targets[n-1]
	}
	_, err = c.tx.Exec(ctx, `
		UPDATE bulk_actions
		SET done = done + $2, skipped = $3::text::jsonb, last_target = $4,
			state = CASE WHEN $5 THEN state ELSE 'done' END, finished_at = CASE WHEN $5 THEN NULL ELSE now() END
		WHERE id = $1`, c.bulk.ID, len(c.targets)-len(c.skipped), string(skipped), last, more)
	return err
}
