package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"onward/jobs"
	"onward/lifecycle"
	"onward/lifecycle/pgstore"
)

func (a *applier) workUnsubscribe(ctx context.Context, job *river.Job[jobs.UnsubscribeArgs]) error {
	return a.apply(ctx, job.JobRow, job.Args.ReceiptArgs, a.unsubscribe)
}

// unsubscribe applies an opt-out by mail: our own page or one-click (its body names message, channel and
// address), or a complaint that the mail provider passes on.
func (a *applier) unsubscribe(ctx context.Context, tx pgx.Tx, r receipt) (result, error) {
	var to pgstore.Address
	var messageID int64
	reason := "unsubscribe"
	if r.Provider == jobs.ProviderResend {
		reason = "complaint"
		var e resendEvent
		if err := json.Unmarshal(r.Body, &e); err != nil {
			return failed("the body is not an email event"), nil
		}
		to = pgstore.Address{Channel: jobs.ChannelEmail, Address: cleanKey(e.to())}
		id, _, err := findEmail(ctx, tx, e)
		if err != nil {
			return result{}, err
		}
		messageID = id
	} else {
		var body struct {
			MessageID uuid.UUID `json:"message_id"`
			Channel   string    `json:"channel"`
			Address   string    `json:"address"`
		}
		if err := json.Unmarshal(r.Body, &body); err != nil {
			return failed("the body is not an unsubscribe request"), nil
		}
		to = pgstore.Address{Channel: body.Channel, Address: cleanKey(body.Address)}
		err := tx.QueryRow(ctx, `SELECT id FROM messages WHERE public_id = $1`, body.MessageID).Scan(&messageID)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return result{}, fmt.Errorf("find message: %w", err)
		}
	}
	to = to.Normal()
	if to.Address == "" {
		return failed("the request names no address"), nil
	}
	who, err := contactsOf(ctx, tx, to)
	if err != nil {
		return result{}, err
	}
	var facts []pgstore.Fact
	for _, id := range who.all {
		facts = append(facts, pgstore.Fact{
			BusinessID: id, Event: lifecycle.OptedOut, OccurredAt: r.ReceivedAt,
			Key:    "out:" + r.ID.String() + ":" + strconv.FormatInt(id, 10),
			Source: pgstore.SourceWebhook, ReceiptID: r.ID, MessageID: messageID, JobID: r.JobID,
		})
	}
	applied, err := pgstore.Apply(ctx, tx, facts)
	if err != nil {
		return result{}, err
	}
	_, err = pgstore.Suppress(ctx, tx, []pgstore.Suppression{{
		Address: to, Reason: reason, Source: pgstore.SourceWebhook, SourceID: r.ID.String(),
	}})
	if err != nil {
		return result{}, err
	}
	if len(who.all) == 0 {
		return unmatched(to.Channel + ":" + to.Address), nil
	}
	return of(applied), nil
}
