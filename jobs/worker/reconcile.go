package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"onward/jobs"
	"onward/jobs/provider"
	"onward/lifecycle"
	"onward/lifecycle/pgstore"
)

// lookBack is how far before the dispatch the look-up at the provider begins: clocks differ, and Twilio's date
// filter is on the sent date.
const lookBack = 10 * time.Minute

// workReconcile looks for evidence of a send whose outcome is unknown: a message of the same text to the same
// address at the provider. Evidence by callback needs no job: it raises the message by itself. Without evidence
// after the last look, the message is held for an operator, or sent again where that is the set policy.
func (s *sender) workReconcile(ctx context.Context, job *river.Job[jobs.ReconcileArgs]) error {
	u, err := s.unknown(ctx, job.Args)
	if err != nil {
		return err
	}
	if u.d.id == 0 {
		return nil // settled by other evidence
	}
	found, err := s.lookUp(ctx, u)
	if err != nil {
		s.Logger.WarnContext(ctx, "look for an unknown send at the provider", "message_id", u.d.id, "error", err)
	}
	if found.SID != "" {
		return s.settle(ctx, u.d, job.ID, found, nil)
	}
	u.checks++
	if u.checks < len(s.ReconcileAfter) || err != nil {
		if _, err := s.Pool.Exec(ctx, `
			UPDATE dispatches
			SET checks = checks + 1, last_check_at = now()
			WHERE message_id = $1 AND attempt = $2`, u.d.id, u.d.attempt); err != nil {
			return fmt.Errorf("note a look for message %d: %w", u.d.id, err)
		}
		return river.JobSnooze(s.ReconcileAfter[min(u.checks, len(s.ReconcileAfter)-1)])
	}
	return s.withoutEvidence(ctx, u.d)
}

type unknownSend struct {
	d      dispatch
	body   string
	checks int
}

func (s *sender) unknown(ctx context.Context, args jobs.ReconcileArgs) (unknownSend, error) {
	var u unknownSend
	var campaign *int64
	var public uuid.UUID
	err := s.Pool.QueryRow(ctx, `
		SELECT m.id, m.public_id, m.campaign_id, m.business_id, m.channel, m.address, m.attempt, m.body, d.dispatched_at, d.checks
		FROM messages m
		JOIN dispatches d ON d.message_id = m.id
		WHERE m.id = $1 AND m.attempt = $2 AND m.state = 'unknown'`, args.MessageID, args.Attempt).
		Scan(&u.d.id, &public, &campaign, &u.d.businessID, &u.d.channel, &u.d.address, &u.d.attempt, &u.body, &u.d.at, &u.checks)
	if errors.Is(err, pgx.ErrNoRows) {
		return unknownSend{}, nil
	}
	if err != nil {
		return unknownSend{}, fmt.Errorf("read unknown message %d: %w", args.MessageID, err)
	}
	if campaign != nil {
		u.d.campaignID = *campaign
	}
	u.d.message.ID = public.String()
	return u, nil
}

// lookUp returns the message at the provider that is ours, if there is one: same recipient, same text, made no
// earlier than the call, and not known as another message of ours.
func (s *sender) lookUp(ctx context.Context, u unknownSend) (provider.Accepted, error) {
	if u.d.channel != jobs.ChannelSMS || s.SMSLookup == nil {
		return provider.Accepted{}, nil // mail has no look-up: a delivery event is the evidence
	}
	list, err := s.SMSLookup.Find(ctx, u.d.address, "", u.d.at.Add(-lookBack))
	if err != nil && len(list) == 0 {
		return provider.Accepted{}, err
	}
	var sids []string
	for _, m := range list {
		if m.Body == u.body && !m.DateCreated.Before(u.d.at.Add(-clockSkew)) {
			sids = append(sids, m.SID)
		}
	}
	if len(sids) == 0 {
		return provider.Accepted{}, err
	}
	rows, qerr := s.Pool.Query(ctx, `SELECT provider_sid FROM messages WHERE provider_sid = ANY($1)`, sids)
	if qerr != nil {
		return provider.Accepted{}, fmt.Errorf("tell our messages apart: %w", qerr)
	}
	known, qerr := pgx.CollectRows(rows, pgx.RowTo[string])
	if qerr != nil {
		return provider.Accepted{}, fmt.Errorf("tell our messages apart: %w", qerr)
	}
	for _, m := range slices.Backward(list) { // oldest first: the one that our call made
		if slices.Contains(sids, m.SID) && !slices.Contains(known, m.SID) {
			return provider.Accepted{SID: m.SID, Status: m.Status, Segments: m.Segments, Price: m.Price, PriceUnit: m.PriceUnit}, nil
		}
	}
	return provider.Accepted{}, err
}

// withoutEvidence ends the search as the operator's policy says.
func (s *sender) withoutEvidence(ctx context.Context, d dispatch) error {
	return pgx.BeginFunc(ctx, s.Pool, func(tx pgx.Tx) error {
		next := lifecycle.MessageHeld
		if s.UnknownSends == UnknownResend {
			next = lifecycle.MessageQueued
		}
		tag, err := tx.Exec(ctx, `
			UPDATE messages
			SET state = $3, reason = 'no_evidence', updated_at = now()
			WHERE id = $1 AND attempt = $2 AND state = 'unknown'`, d.id, d.attempt, string(next))
		if err != nil {
			return fmt.Errorf("end the search for message %d: %w", d.id, err)
		}
		if tag.RowsAffected() == 0 {
			return nil
		}
		if next == lifecycle.MessageHeld {
			_, err = tx.Exec(ctx, `UPDATE dispatches SET state = 'held' WHERE message_id = $1`, d.id)
		} else {
			_, err = tx.Exec(ctx, `DELETE FROM dispatches WHERE message_id = $1`, d.id)
		}
		if err != nil {
			return fmt.Errorf("end the search for message %d: %w", d.id, err)
		}
		if next == lifecycle.MessageQueued {
			client := river.ClientFromContext[pgx.Tx](ctx)
			if _, err := client.InsertTx(ctx, tx, jobs.SendArgs{MessageID: d.id, Channel: d.channel}, nil); err != nil {
				return fmt.Errorf("send message %d again: %w", d.id, err)
			}
		}
		return pgstore.Count(ctx, tx, d.campaignID, d.id, string(lifecycle.MessageUnknown), string(next))
	})
}
