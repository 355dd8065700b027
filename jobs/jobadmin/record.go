package jobadmin

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Operator says who acts, and why.
type Operator struct {
	Actor   string
	TokenID int64 // 0: by command
	Reason  string
}

// Target is what operator_actions.target_type holds of acts on jobs.
const Target = "jobs"

// actionKey is where a job's metadata names the last act on it.
const actionKey = "onward_action"

// Begin enters an act into the operators' log and returns its id.
func Begin(ctx context.Context, q Querier, v Verb, o Operator, f Filter, matched int) (int64, error) {
	details, err := json.Marshal(map[string]any{"filter": f, "matched": matched})
	if err != nil {
		return 0, fmt.Errorf("record the act: %w", err)
	}
	var token *int64
	if o.TokenID != 0 {
		token = &o.TokenID
	}
	var id int64
	err = q.QueryRow(ctx, `
		INSERT INTO operator_actions (actor, token_id, action, target_type, target_id, reason, details)
		VALUES ($1, $2, $3, $4, $5, $6, $7::text::jsonb)
		RETURNING id`, o.Actor, token, "jobs."+string(v), Target, describe(f), o.Reason, string(details)).Scan(&id)
	if err != nil {
		return 0, fmt.Errorf("record the act: %w", err)
	}
	return id, nil
}

// describe is the filter in a word or two, for the log.
func describe(f Filter) string {
	var parts []string
	part := func(name string, values ...string) {
		if joined := strings.Join(values, ","); joined != "" {
			parts = append(parts, name+"="+joined)
		}
	}
	if n := len(f.IDs); n > 0 && n <= 10 {
		part("id", strings.Trim(strings.ReplaceAll(fmt.Sprint(f.IDs), " ", ","), "[]"))
	} else if n > 10 {
		part("id", fmt.Sprintf("(%d ids)", n))
	}
	part("kind", f.Kinds...)
	part("queue", f.Queues...)
	part("state", f.States...)
	part("fingerprint", f.Fingerprint)
	if f.Error != "" {
		part("error", "(text)") // the text itself is in the details
	}
	if !f.Since.IsZero() {
		part("since", f.Since.UTC().Format(time.RFC3339))
	}
	return strings.Join(parts, " ")
}

// Note writes into the operators' log what an act came to, so far.
func Note(ctx context.Context, q Querier, action int64, r Result) error {
	_, err := q.Exec(ctx, `
		UPDATE operator_actions
		SET details = details || jsonb_build_object('done', $2::bigint, 'refused', $3::bigint)
		WHERE id = $1`, action, r.Done, r.Refused)
	if err != nil {
		return fmt.Errorf("record what the act came to: %w", err)
	}
	return nil
}
