package pgstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"onward/lifecycle"
)

// Report is what is now known of a message. It names it by id, or else by the provider's, or else by our public one: a
// callback can come before the provider's id is stored, and is then the evidence that the provider took the message.
type Report struct {
	MessageID   int64
	PublicID    uuid.UUID
	State       lifecycle.MessageState
	ProviderSID string // "" keeps what is there, and finds nothing
	ErrorCode   string // counts only with failed and undelivered
	Reason      string
	Segments    int
	Price       string
	PriceUnit   string
	At          time.Time // when the provider said so: becomes sent_at or delivered_at
}

// Raised is what a report did to a message.
type Raised struct {
	MessageID    int64 // 0: there is no message of the report's ids
	From, To     lifecycle.MessageState
	Up           bool // the report raised the state: only then may it touch the business
	CampaignID   int64
	BusinessID   int64
	Channel      string
	Address      string
	DispatchedAt *time.Time
}

// ErrNoMessage says that a report's MessageID is no message's.
var ErrNoMessage = errors.New("no such message")

// Raise is [RaiseAll] for one report.
func Raise(ctx context.Context, tx pgx.Tx, r Report) (Raised, error) {
	list, err := RaiseAll(ctx, tx, []Report{r})
	if err != nil {
		return Raised{MessageID: r.MessageID}, err
	}
	return list[0], nil
}

// RaiseAll takes reports into the message lattice: one conditional UPDATE, in which the higher state wins. It frees the
// entries in dispatches of the messages that rose. A SID is kept in any case: a report that comes late still tells
// which message it was. The caller counts the moves with [CountRaised], last in its transaction.
//
// The result is in the order of the argument. Reports that name one message alike are taken one after the other, as they
// stand; those that name it differently in any order.
func RaiseAll(ctx context.Context, tx pgx.Tx, reports []Report) ([]Raised, error) {
	out := make([]Raised, len(reports))
	left := make([]int, len(reports))
	for i := range left {
		left[i] = i
	}
	for len(left) > 0 {
		round, next := nextRound(reports, left)
		missed, err := raiseRound(ctx, tx, reports, round, out)
		if err != nil {
			return nil, err
		}
		if len(missed) > 0 {
			if reports, missed, err = findMissed(ctx, tx, reports, missed); err != nil {
				return nil, err
			}
			next = append(missed, next...)
		}
		left = next
	}
	return out, closeDispatches(ctx, tx, out)
}

// nextRound takes reports that name different messages. An UPDATE touches a row once: a second report on a message waits for
// the next round.
func nextRound(reports []Report, left []int) (round, next []int) {
	seen := make(map[messageName]struct{}, len(left))
	for _, i := range left {
		name := reports[i].name()
		if _, again := seen[name]; again {
			next = append(next, i)
			continue
		}
		seen[name] = struct{}{}
		round = append(round, i)
	}
	return round, next
}

// messageName is how a report names its message.
type messageName struct {
	id     int64
	sid    string
	public uuid.UUID
}

func (r *Report) name() messageName {
	switch {
	case r.MessageID != 0:
		return messageName{id: r.MessageID}
	case r.ProviderSID != "":
		return messageName{sid: r.ProviderSID}
	}
	return messageName{public: r.PublicID}
}

// messageOf is the id of the message that a report r names.
const messageOf = `COALESCE(NULLIF(r.id, 0),
	(SELECT id FROM messages WHERE provider_sid = r.sid),
	(SELECT id FROM messages WHERE public_id = r.public_id::uuid))`

// findMissed tells what a round left untouched: reports without a message, and those on one that another report of the
// round named in another way. These are returned, to be taken by id.
func findMissed(ctx context.Context, tx pgx.Tx, reports []Report, missed []int) ([]Report, []int, error) {
	ids, sids, publics := make([]int64, len(missed)), make([]*string, len(missed)), make([]*string, len(missed))
	for k, i := range missed {
		r := reports[i]
		ids[k], sids[k], publics[k] = r.MessageID, orNil(r.ProviderSID), uuidText(r.PublicID)
	}
	rows, err := tx.Query(ctx, `
		SELECT COALESCE((SELECT id FROM messages WHERE id = `+messageOf+`), 0)
		FROM unnest($1::bigint[], $2::text[], $3::text[]) WITH ORDINALITY AS r (id, sid, public_id, n)
		ORDER BY r.n`, ids, sids, publics)
	if err != nil {
		return nil, nil, fmt.Errorf("find messages: %w", err)
	}
	if ids, err = pgx.CollectRows(rows, pgx.RowTo[int64]); err != nil {
		return nil, nil, fmt.Errorf("find messages: %w", err)
	}
	reports = slices.Clone(reports)
	var again []int
	for k, i := range missed {
		switch {
		case ids[k] != 0:
			reports[i].MessageID = ids[k]
			again = append(again, i)
		case reports[i].MessageID != 0:
			return nil, nil, fmt.Errorf("report on message %d: %w", reports[i].MessageID, ErrNoMessage)
		}
	}
	return reports, again, nil
}

// raiseRound takes reports on different messages. It returns those that touched none.
func raiseRound(ctx context.Context, tx pgx.Tx, reports []Report, round []int, out []Raised) (missed []int, err error) {
	batch := &pgx.Batch{}
	touched := queueRound(batch, reports, round, out, nil)
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return nil, err
	}
	for k, i := range round {
		if !touched[k] {
			missed = append(missed, i)
		}
	}
	return missed, markPriced(ctx, tx, priced(reports, out, round))
}

// priced lists the businesses of a campaign's messages whose price a report names.
func priced(reports []Report, raised []Raised, round []int) (businesses []int64) {
	for _, i := range round {
		if raised[i].CampaignID != 0 && reports[i].Price != "" {
			businesses = append(businesses, raised[i].BusinessID)
		}
	}
	return businesses
}

// Messages are locked one by one in the order of their ids, as in every transaction.
const raiseMessages = `
		WITH report AS MATERIALIZED (
			SELECT o.id, o.business_id, o.state AS was, r.state, r.sid, r.error_code, r.reason, r.segments, r.price, r.unit, r.at, r.n,
				onward_message_rank(r.state) > onward_message_rank(o.state) AS up
			FROM (
				SELECT r.*, ` + messageOf + ` AS message
				FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::int[], $8::text[], $9::text[], $10::timestamptz[])
					WITH ORDINALITY AS r (id, sid, public_id, state, error_code, reason, segments, price, unit, at, n)
				ORDER BY message
			) r
			CROSS JOIN LATERAL (SELECT id, business_id, state FROM messages WHERE id = r.message FOR NO KEY UPDATE) o
		), raised AS (
			UPDATE messages m
			SET state = CASE WHEN r.up THEN r.state ELSE m.state END,
				provider_sid = COALESCE(m.provider_sid, r.sid),
				error_code = CASE WHEN r.up THEN r.error_code ELSE m.error_code END,
				reason = CASE WHEN r.up THEN r.reason ELSE m.reason END,
				segments = COALESCE(r.segments, m.segments),
				price = COALESCE(r.price::numeric, m.price),
				price_unit = COALESCE(r.unit, m.price_unit),
				sent_at = CASE WHEN onward_message_rank(r.state) >= 2 AND r.state <> 'canceled' THEN COALESCE(m.sent_at, m.dispatched_at, r.at) ELSE m.sent_at END,
				delivered_at = CASE WHEN r.up AND r.state IN ('delivered', 'read') THEN COALESCE(m.delivered_at, r.at) ELSE m.delivered_at END,
				updated_at = now()
			FROM report r
			WHERE m.id = r.id
			RETURNING r.n, m.id, r.was, m.state, r.up, COALESCE(m.campaign_id, 0) AS campaign_id, m.business_id, m.channel, m.address, m.dispatched_at
		)`

const raisedColumns = `n, id, was, state, up, campaign_id, business_id, channel, address, dispatched_at`

// queueRound queues the raise of reports on different messages. What came of each is in out, and whether it touched a message
// in the result, when the batch has been read. With locked, the messages' businesses are locked in the same statement, after
// the messages.
func queueRound(batch *pgx.Batch, reports []Report, round []int, out []Raised, locked *Locked) (touched []bool) {
	n := len(round)
	var (
		ids                                         = make([]int64, n)
		state                                       = make([]string, n)
		sid, public, errorCode, reason, price, unit = make([]*string, n), make([]*string, n), make([]*string, n), make([]*string, n), make([]*string, n), make([]*string, n)
		segments                                    = make([]*int, n)
		at                                          = make([]time.Time, n)
	)
	for k, i := range round {
		r := reports[i]
		ids[k], state[k], sid[k], public[k], reason[k], at[k] = r.MessageID, string(r.State), orNil(r.ProviderSID), uuidText(r.PublicID), orNil(r.Reason), r.At
		segments[k], price[k], unit[k] = orNil(r.Segments), orNil(r.Price), orNil(r.PriceUnit)
		if r.State == lifecycle.MessageFailed || r.State == lifecycle.MessageUndelivered {
			errorCode[k] = orNil(r.ErrorCode)
		}
	}
	sql := raiseMessages + ` SELECT ` + raisedColumns + ` FROM raised`
	if locked != nil {
		sql = raiseMessages + lockTheirBusinesses
	}
	touched = make([]bool, n)
	batch.Queue(sql, ids, sid, public, state, errorCode, reason, segments, price, unit, at).Query(func(rows pgx.Rows) error {
		var nth int64
		var m Raised
		columns := []any{&nth, &m.MessageID, &m.From, &m.To, &m.Up, &m.CampaignID, &m.BusinessID, &m.Channel, &m.Address, &m.DispatchedAt}
		var b business
		if locked != nil {
			columns = append(columns, b.columns()...)
		}
		_, err := pgx.ForEachRow(rows, columns, func() error {
			if nth == 0 {
				found := b
				locked.businesses[b.id] = &found
				return nil
			}
			touched[nth-1], out[round[nth-1]] = true, m
			return nil
		})
		if err != nil {
			return fmt.Errorf("report on messages: %w", err)
		}
		return nil
	})
	return touched
}

const deleteDispatches = `DELETE FROM dispatches WHERE message_id = ANY($1)`

// closeDispatches removes the dispatches of messages whose outcome is known now.
func closeDispatches(ctx context.Context, tx pgx.Tx, list []Raised) error {
	ids := settled(list)
	if len(ids) == 0 {
		return nil
	}
	if _, err := tx.Exec(ctx, deleteDispatches, ids); err != nil {
		return fmt.Errorf("close dispatches: %w", err)
	}
	return nil
}

// settled lists the messages whose outcome was open until a report told.
func settled(list []Raised) (ids []int64) {
	for _, r := range list {
		if r.Up && r.From != lifecycle.MessageQueued && r.From.Rank() <= lifecycle.MessageDispatching.Rank() {
			ids = append(ids, r.MessageID)
		}
	}
	return ids
}

// Count is [CountRaised] for one message.
func (r Raised) Count(ctx context.Context, tx pgx.Tx) error { return CountRaised(ctx, tx, []Raised{r}) }

// CountRaised moves the campaigns' counters as the messages moved. It is called last in a transaction: its row locks
// are held shortest.
func CountRaised(ctx context.Context, tx pgx.Tx, list []Raised) error {
	batch := &pgx.Batch{}
	CountRaisedQueued(batch, list)
	return sendCounts(ctx, tx, batch)
}

// CountRaisedQueued is [CountRaised], queued on a batch: last.
func CountRaisedQueued(batch *pgx.Batch, list []Raised) {
	c := counting{}
	for _, r := range list {
		if r.Up {
			c.move(r.CampaignID, r.MessageID, string(r.From), string(r.To))
		}
	}
	c.queue(batch)
}

func sendCounts(ctx context.Context, tx pgx.Tx, batch *pgx.Batch) error {
	if batch.Len() == 0 {
		return nil
	}
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("count messages of campaigns: %w", err)
	}
	return nil
}

// counterShards spreads a campaign's counters over rows, so that workers do not queue on one. 16 is four
// times the committers of four worker processes.
const counterShards = 16

// bulkShard is the shard of those who count many messages at once. With the workers' shards they would hold some while
// they wait for others, and the workers behind them: the sum is the same, whichever row has it.
const bulkShard = counterShards

// Count moves one message of a campaign from one counter to another; "" stands for nowhere.
func Count(ctx context.Context, tx pgx.Tx, campaignID, messageID int64, from, to string) error {
	c := counting{}
	c.move(campaignID, messageID, from, to)
	return c.write(ctx, tx)
}

// CountMany adds new queued messages to a campaign's counters, and businesses that were skipped by reason
// (skipped_REASON).
func CountMany(ctx context.Context, tx pgx.Tx, campaignID int64, queued []int64, skipped map[string]int64) error {
	c := counting{}
	c[counter{campaignID, bulkShard, string(lifecycle.MessageQueued)}] += int64(len(queued))
	for reason, n := range skipped {
		c[counter{campaignID, bulkShard, reason}] += n
	}
	return c.write(ctx, tx)
}

// counter is one row of campaign_counters.
type counter struct {
	campaign, shard int64
	state           string
}

// counting adds up what a transaction does to counters.
type counting map[counter]int64

func (c counting) move(campaignID, messageID int64, from, to string) {
	if campaignID == 0 || from == to {
		return
	}
	shard := messageID % counterShards
	if from != "" {
		c[counter{campaignID, shard, from}]--
	}
	if to != "" {
		c[counter{campaignID, shard, to}]++
	}
}

func (c counting) write(ctx context.Context, tx pgx.Tx) error {
	batch := &pgx.Batch{}
	c.queue(batch)
	return sendCounts(ctx, tx, batch)
}

func (c counting) queue(batch *pgx.Batch) {
	var campaign, shard, n []int64
	var state []string
	for k, v := range c {
		if v != 0 {
			campaign, shard, state, n = append(campaign, k.campaign), append(shard, k.shard), append(state, k.state), append(n, v)
		}
	}
	if len(n) == 0 {
		return
	}
	batch.Queue(`
		INSERT INTO campaign_counters AS c (campaign_id, shard, state, n)
		SELECT *
		FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[]) AS u (campaign_id, shard, state, n)
		ORDER BY u.campaign_id, u.shard, u.state
		ON CONFLICT (campaign_id, shard, state) DO UPDATE SET n = c.n + EXCLUDED.n`, campaign, shard, state, n)
}
