package crmapi

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"onward/lifecycle/pgstore"
	"onward/web/apitoken"
)

func (a *API) registerErasure(h huma.API) {
	register(a, h, apitoken.Admin, operation{
		method: http.MethodDelete, path: "/crm/businesses/{id}", id: "eraseBusiness", tag: tagBusinesses, status: http.StatusNoContent,
		summary: "Erase a contact's personal data",
		description: "Name, addresses, texts, raw requests and notes are gone for good. Facts, statuses and payments stay without them, " +
			"and suppressions as keyed hashes that still block. The reason, in the query or the body, goes to the operators' log: name " +
			"nobody in it. A contact that was erased before answers 204 again. 409: a message to it is being sent, or a receipt from it " +
			"is not applied yet; try again in a few seconds.",
	}, a.eraseBusiness)
}

type eraseBusinessInput struct {
	PathID
	Reason string `query:"reason" maxLength:"2000" doc:"Why; or in the body"`
	Body   *struct {
		Reason string `json:"reason" maxLength:"2000"`
	}
}

// erasePatience is how long a request waits for what is under way; erasePause the time between two looks.
const (
	erasePatience = 8 * time.Second
	erasePause    = 200 * time.Millisecond
)

func (a *API) eraseBusiness(ctx context.Context, in *eraseBusinessInput) (*struct{}, error) {
	reason := in.Reason
	if in.Body != nil && reason == "" {
		reason = in.Body.Reason
	}
	if reason = strings.TrimSpace(reason); reason == "" {
		return nil, invalid("query.reason", "is needed, here or in the body: it goes to the operators' log")
	}
	erase := func(ctx context.Context, u *unit) (*answer[struct{}], error) {
		b, err := business(ctx, u, in.ID)
		if err != nil {
			return nil, err
		}
		done, err := pgstore.Erase(ctx, u, b.ID)
		if err != nil || done.Already {
			return &answer[struct{}]{}, err
		}
		_, err = u.record(ctx, "business.erase", targetBusiness, in.ID.String(), reason, map[string]any{
			"messages": done.Messages, "replies": done.Replies, "receipts": done.Receipts, "suppressions": done.Suppressions,
		})
		return &answer[struct{}]{}, err
	}
	until := time.NewTimer(erasePatience)
	defer until.Stop()
	pause := time.NewTicker(erasePause)
	defer pause.Stop()
	for {
		_, err := act(ctx, a, erase)
		if err == nil {
			return &struct{}{}, nil
		}
		if !errors.Is(err, pgstore.ErrUnderWay) {
			return nil, err
		}
		select {
		case <-pause.C:
		case <-until.C:
			return nil, huma.Error409Conflict("a message to it is being sent, or a receipt that concerns it is not applied yet: try again in a few seconds, with workers running")
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}
