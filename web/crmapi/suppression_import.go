package crmapi

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"onward/jobs"
	"onward/lifecycle/pgstore"
	"onward/web/apitoken"
)

func (a *API) registerSuppressionImport(h huma.API) {
	register(a, h, apitoken.Operator, operation{
		method: http.MethodPost, path: "/suppressions/import", id: "importSuppressions", tag: tagSuppressions,
		summary: "Suppress many addresses",
		description: "At most 1000 in one request. What cannot be an address is refused with its place in the list, and the others are taken: from the " +
			"answer on, no send to them starts. With dry_run nothing is changed.",
	}, a.importSuppressions)
}

type importSuppressionsInput struct {
	Body struct {
		Rows []struct {
			Channel string `json:"channel,omitempty" enum:"sms,email" doc:"Without it, an address with an @ is email and any other sms"`
			Address string `json:"address" maxLength:"1000"`
			Reason  string `json:"reason,omitempty" doc:"Why this one; import where nothing is said"`
		} `json:"rows" minItems:"1" maxItems:"1000"`
		Country string `json:"country,omitempty" pattern:"^[A-Z]{2}$" doc:"By which phones without + are read"`
		Source  string `json:"source,omitempty" maxLength:"255" doc:"Where the list is from, such as the name of a file"`
		Reason  string `json:"reason,omitempty" maxLength:"2000" doc:"Why, in your words: it goes to the operators' log. Needed unless dry_run"`
		DryRun  bool   `json:"dry_run,omitempty"`
	}
}

// SuppressionImport says what came of a list.
type SuppressionImport struct {
	DryRun  bool         `json:"dry_run"`
	Added   int          `json:"added" doc:"With dry_run: that would be"`
	Already int          `json:"already" doc:"Suppressed before, or twice in the list"`
	Refused []RefusedRow `json:"refused" nullable:"false"`
}

// RefusedRow is a row of a list that was not taken.
type RefusedRow struct {
	Row    int    `json:"row" doc:"Its place in the list, from 0"`
	Reason string `json:"reason"`
}

// maxImportedReason bounds the reason of a row, in bytes.
const maxImportedReason = 800

func (a *API) importSuppressions(ctx context.Context, in *importSuppressionsInput) (*answer[SuppressionImport], error) {
	b := in.Body
	if strings.TrimSpace(b.Reason) == "" && !b.DryRun {
		return nil, invalid("body.reason", "is needed: it goes to the operators' log")
	}
	out := SuppressionImport{DryRun: b.DryRun, Refused: []RefusedRow{}}
	var list []pgstore.Suppression
	for i, r := range b.Rows {
		channel, reason := r.Channel, strings.TrimSpace(r.Reason)
		if channel == "" {
			channel = jobs.ChannelSMS
			if strings.Contains(r.Address, "@") {
				channel = jobs.ChannelEmail
			}
		}
		if reason == "" {
			reason = "import"
		}
		address, err := pgstore.NormalizeAddress(channel, r.Address, b.Country)
		switch {
		case err != nil:
			out.Refused = append(out.Refused, RefusedRow{i, "address: " + err.Error()})
		case len(reason) > maxImportedReason || strings.ContainsRune(reason, 0):
			out.Refused = append(out.Refused, RefusedRow{i, fmt.Sprintf("reason: is longer than %d bytes, or has a zero byte", maxImportedReason)})
		default:
			list = append(list, pgstore.Suppression{Address: address, Reason: reason, Source: pgstore.SourceImport, SourceID: b.Source})
		}
	}
	done, err := act(ctx, a, func(ctx context.Context, u *unit) (*answer[SuppressionImport], error) {
		added, err := pgstore.ImportSuppressions(ctx, u, list, b.DryRun)
		if err != nil {
			return nil, err
		}
		out.Added = 0
		for _, is := range added {
			if is {
				out.Added++
			}
		}
		out.Already = len(list) - out.Added
		if out.Added > 0 && !b.DryRun {
			details := map[string]any{"added": out.Added, "already": out.Already, "refused": len(out.Refused)}
			if _, err := u.record(ctx, "suppressions.import", "file", b.Source, b.Reason, details); err != nil {
				return nil, err
			}
		}
		return &answer[SuppressionImport]{Status: http.StatusOK, Body: out}, nil
	})
	if err != nil || b.DryRun {
		return done, err
	}
	// Also of those that were suppressed before: by this request, perhaps, whose answer was lost.
	addresses := make([]pgstore.Address, len(list))
	for i, s := range list {
		addresses[i] = s.Address
	}
	return done, a.settle(ctx, addresses)
}
