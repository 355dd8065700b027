package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"onward/jobs"
	"onward/jobs/provider"
	"onward/lifecycle"
	"onward/lifecycle/pgstore"
)

func (a *applier) workEmailEvent(ctx context.Context, job *river.Job[jobs.EmailEventArgs]) error {
	return a.apply(ctx, job.JobRow, job.Args.ReceiptArgs, a.emailEvent)
}

type resendEvent struct {
	Type      string `json:"type"`
	CreatedAt string `json:"created_at"`
	Data      struct {
		EmailID   string          `json:"email_id"`
		MessageID string          `json:"message_id"`
		To        stringOrStrings `json:"to"`
		Headers   []struct {
			Name  string `json:"name"`
			Value string `json:"value"`
		} `json:"headers"`
		Bounce struct {
			Type    string `json:"type"`
			SubType string `json:"subType"`
		} `json:"bounce"`
	} `json:"data"`
}

// stringOrStrings is a field that comes as one address or as a list.
type stringOrStrings []string

// UnmarshalJSON accepts both forms.
func (s *stringOrStrings) UnmarshalJSON(b []byte) error {
	var one string
	if err := json.Unmarshal(b, &one); err == nil {
		*s = []string{one}
		return nil
	}
	var many []string
	if err := json.Unmarshal(b, &many); err != nil {
		return fmt.Errorf("neither a string nor a list of them: %w", err)
	}
	*s = many
	return nil
}

// ours reads the header that we set: the message's public id and the attempt; Nil where it is missing.
func (e resendEvent) ours() (id uuid.UUID, attempt int) {
	for _, h := range e.Data.Headers {
		if !strings.EqualFold(h.Name, provider.MessageHeader) {
			continue
		}
		if named, attempt, ok := provider.ParseMessageHeader(h.Value); ok {
			if id, err := uuid.Parse(named); err == nil {
				return id, attempt
			}
		}
	}
	return uuid.Nil, 0
}

func (e resendEvent) to() string {
	if len(e.Data.To) == 0 {
		return ""
	}
	to := e.Data.To[0]
	if i := strings.LastIndexByte(to, '<'); i >= 0 {
		to = strings.TrimSuffix(to[i+1:], ">")
	}
	return strings.ToLower(strings.TrimSpace(to))
}

func (a *applier) emailEvent(ctx context.Context, tx pgx.Tx, r receipt) (result, error) {
	var e resendEvent
	if err := json.Unmarshal(r.Body, &e); err != nil {
		return failed("the body is not an email event"), nil
	}
	id, missing, err := findEmail(ctx, tx, e)
	if err != nil {
		return result{}, err
	}
	report := pgstore.Report{MessageID: id, At: r.ReceivedAt}
	switch r.Kind {
	case "email.sent":
		report.State = lifecycle.MessageSent
	case "email.delivered":
		report.State = lifecycle.MessageDelivered
	case "email.bounced", "email.failed":
		if id != 0 && soft(e.Data.Bounce.Type) {
			if res, again, err := a.softBounce(ctx, tx, r, e, id); again || err != nil {
				return res, err
			}
		}
		report.State, report.ErrorCode = lifecycle.MessageFailed, "bounced"
	case "email.opened", "email.clicked":
		if id == 0 {
			return unmatched(missing), nil
		}
		event, what := lifecycle.EmailOpened, "opened"
		if r.Kind == "email.clicked" {
			event, what = lifecycle.LinkClicked, "clicked"
		}
		return a.engagement(ctx, tx, r, id, event, what)
	default:
		return ignored("the event says nothing about a message of ours"), nil
	}
	if id == 0 {
		return unmatched(missing), nil
	}
	return a.messageReport(ctx, tx, r, report)
}

// soft reports whether a bounce is a passing one.
func soft(bounce string) bool {
	switch strings.ToLower(bounce) {
	case "transient", "soft", "temporary", "undetermined":
		return true
	}
	return false
}

// A mail that bounced softly is sent again after these delays; the bounce after the last counts as a hard one.
func softRetries() []time.Duration { return []time.Duration{time.Hour, 6 * time.Hour, 24 * time.Hour} }

// softBounce queues a mail again that a full mailbox or a passing fault turned away: its outcome is known, so this is
// no blind repeat. It reports false when there were enough attempts. A report on an attempt that is over is ignored.
//
// It leaves no fact whose key would keep it single, so the receipt's own mark does: a replay sends nothing.
func (a *applier) softBounce(ctx context.Context, tx pgx.Tx, r receipt, e resendEvent, id int64) (res result, again bool, err error) {
	var attempt int
	var state lifecycle.MessageState
	var campaign *int64
	var before bool
	err = tx.QueryRow(ctx, `
		SELECT attempt, state, campaign_id,
			EXISTS (SELECT 1 FROM receipt_outcomes o WHERE o.receipt_id = $2 AND o.outcome = 'applied')
		FROM messages
		WHERE id = $1
		FOR NO KEY UPDATE`, id, r.ID).Scan(&attempt, &state, &campaign, &before)
	if err != nil {
		return result{}, false, fmt.Errorf("read message %d: %w", id, err)
	}
	_, reported := e.ours()
	switch {
	case before:
		return ignored("soft bounce that was taken before"), true, nil
	case reported != 0 && reported != attempt:
		return ignored("soft bounce of an earlier attempt"), true, nil
	case state.Rank() == lifecycle.MessageDispatching.Rank():
		// The send's own answer is being recorded, and would overtake a message that is queued again now.
		wait := unmatched("settled:" + strconv.FormatInt(id, 10))
		wait.detail = "the bounce came before the send was settled"
		return wait, true, nil
	case state.Final() || state == lifecycle.MessageQueued:
		return ignored("soft bounce of a message that is settled or queued"), true, nil
	case attempt > len(softRetries()):
		return result{}, false, nil
	}
	_, err = tx.Exec(ctx, `
		WITH open AS (
			DELETE FROM dispatches
			WHERE message_id = $1
		)
		UPDATE messages
		SET state = 'queued', reason = 'soft_bounce', updated_at = now()
		WHERE id = $1`, id)
	if err != nil {
		return result{}, false, fmt.Errorf("queue message %d again: %w", id, err)
	}
	_, err = enqueue(ctx, tx, jobs.SendArgs{MessageID: id, Channel: jobs.ChannelEmail},
		&river.InsertOpts{ScheduledAt: a.Clock().Add(softRetries()[attempt-1])})
	if err != nil {
		return result{}, false, fmt.Errorf("queue message %d again: %w", id, err)
	}
	if campaign != nil {
		err = pgstore.Count(ctx, tx, *campaign, id, string(state), string(lifecycle.MessageQueued))
	}
	return result{outcome: outcomeApplied, detail: "soft bounce: sent again later"}, true, err
}

// findEmail finds the message by the header that we set, our Message-ID or the provider's id, else the last
// message to that address.
func findEmail(ctx context.Context, tx pgx.Tx, e resendEvent) (id int64, missing string, err error) {
	public, _ := e.ours()
	err = tx.QueryRow(ctx, `
		SELECT id
		FROM messages
		WHERE channel = 'email' AND (public_id = $1 OR provider_sid IN ($2, $3))
		ORDER BY id DESC
		LIMIT 1`, public, cleanKey(e.Data.MessageID), cleanKey(e.Data.EmailID)).Scan(&id)
	if err == nil || !errors.Is(err, pgx.ErrNoRows) {
		return id, "", err
	}
	to := cleanKey(e.to())
	err = tx.QueryRow(ctx, `
		SELECT id
		FROM messages
		WHERE channel = 'email' AND address = $1 AND dispatched_at IS NOT NULL
		ORDER BY id DESC
		LIMIT 1`, to).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, "email:" + to, nil
	}
	return id, "", err
}

// engagement records that a person opened a message or clicked in it: the first time of each counts.
func (a *applier) engagement(ctx context.Context, tx pgx.Tx, r receipt, messageID int64, event lifecycle.Event, what string) (result, error) {
	var business int64
	var sentAt *time.Time
	err := tx.QueryRow(ctx, `SELECT business_id, sent_at FROM messages WHERE id = $1`, messageID).Scan(&business, &sentAt)
	if err != nil {
		return result{}, fmt.Errorf("read message %d: %w", messageID, err)
	}
	// Mail scanners open and click within a second of delivery; people do not.
	if sentAt != nil && r.ReceivedAt.Sub(*sentAt) < machineWithin {
		return ignored("machine: within 2 s of the send"), nil
	}
	applied, err := pgstore.Apply(ctx, tx, []pgstore.Fact{{
		BusinessID: business, Event: event, OccurredAt: r.ReceivedAt, Key: messageKey(messageID, what),
		Source: pgstore.SourceWebhook, ReceiptID: r.ID, MessageID: messageID, JobID: r.JobID,
	}})
	if err != nil {
		return result{}, err
	}
	return of(applied), nil
}

// machineWithin is how soon after a send an open or click is taken for a mail scanner's.
const machineWithin = 2 * time.Second
