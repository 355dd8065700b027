package crmapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"onward/web/apitoken"
)

// APIToken is a token without its secret.
type APIToken struct {
	ID         uuid.UUID  `json:"id" format:"uuid"`
	Name       string     `json:"name"`
	Role       string     `json:"role" enum:"viewer,operator,admin"`
	CreatedAt  time.Time  `json:"created_at"`
	LastUsedAt *time.Time `json:"last_used_at" doc:"To the minute"`
	RevokedAt  *time.Time `json:"revoked_at"`
}

// NewAPIToken is a token on the one occasion when its secret is shown.
type NewAPIToken struct {
	APIToken
	Token string `json:"token" doc:"The secret: nobody can see it again"`
}

func viewToken(t apitoken.Token) APIToken {
	return APIToken{
		ID: t.PublicID, Name: t.Name, Role: string(t.Role), CreatedAt: t.CreatedAt, LastUsedAt: utc(t.LastUsedAt), RevokedAt: utc(t.RevokedAt),
	}
}

const (
	tagTokens   = "Tokens"
	targetToken = "token"
)

func (a *API) registerTokens(h huma.API) {
	register(a, h, apitoken.Admin, operation{
		method: http.MethodGet, path: "/tokens", id: "listTokens", tag: tagTokens, summary: "List tokens, newest first, revoked ones included",
	}, a.listTokens)
	register(a, h, apitoken.Admin, operation{
		method: http.MethodPost, path: "/tokens", id: "createToken", tag: tagTokens, status: http.StatusCreated, summary: "Make a token",
		description: "Its secret is in this answer and nowhere else; an Idempotency-Key, which would keep the answer, is refused.",
	}, a.createToken)
	register(a, h, apitoken.Admin, operation{
		method: http.MethodDelete, path: "/tokens/{id}", id: "revokeToken", tag: tagTokens, summary: "Revoke a token",
		description: "Felt everywhere within " + apitoken.CacheFor.String() + ". 404 when it is revoked already.",
	}, a.revokeToken)
}

type listTokensInput struct{ Paging }

type tokenPosition struct {
	ID int64 `json:"i"`
}

func (a *API) listTokens(ctx context.Context, in *listTokensInput) (*pageOutput[APIToken], error) {
	const list = "tokens"
	behind, err := position[tokenPosition](in.Paging, list)
	if err != nil {
		return nil, err
	}
	all, err := apitoken.List(ctx, a.opts.Pool) // as many as somebody made by hand
	if err != nil {
		return nil, err
	}
	rows := make([]apitoken.Token, 0, in.Limit+1)
	for _, t := range all {
		if (behind == nil || t.ID < behind.ID) && len(rows) <= in.Limit {
			rows = append(rows, t)
		}
	}
	return page(in.Paging, list, rows, viewToken, func(t apitoken.Token) any { return tokenPosition{t.ID} })
}

type createTokenInput struct {
	Key  string `header:"Idempotency-Key" hidden:"true"`
	Body struct {
		Name string `json:"name" minLength:"1" maxLength:"100" doc:"Who has it: shown in the operators' log"`
		Role string `json:"role" enum:"viewer,operator,admin"`
	}
}

func (a *API) createToken(ctx context.Context, in *createTokenInput) (*answer[NewAPIToken], error) {
	if in.Key != "" {
		return nil, invalid("header."+idempotencyHeader, "would keep the secret: send none")
	}
	return act(ctx, a, func(ctx context.Context, u *unit) (*answer[NewAPIToken], error) {
		t, secret, err := apitoken.Create(ctx, u, in.Body.Name, apitoken.Role(in.Body.Role))
		if errors.Is(err, apitoken.ErrName) {
			return nil, invalid("body.name", err.Error())
		}
		if err != nil {
			return nil, err
		}
		details := map[string]any{"name": t.Name, "role": t.Role}
		_, err = u.record(ctx, "token.create", targetToken, t.PublicID.String(), "", details)
		return &answer[NewAPIToken]{Status: http.StatusCreated, Body: NewAPIToken{APIToken: viewToken(t), Token: secret}}, err
	})
}

type revokeTokenInput struct {
	PathID
	Reason string `query:"reason" maxLength:"2000" doc:"Why: kept in the operators' log"`
}

func (a *API) revokeToken(ctx context.Context, in *revokeTokenInput) (*answer[APIToken], error) {
	return act(ctx, a, func(ctx context.Context, u *unit) (*answer[APIToken], error) {
		list, err := apitoken.Revoke(ctx, u, in.ID.String())
		if errors.Is(err, apitoken.ErrUnknown) {
			return nil, notFound("token, or it is revoked already")
		}
		if err != nil {
			return nil, err
		}
		details := map[string]any{"name": list[0].Name, "role": list[0].Role}
		_, err = u.record(ctx, "token.revoke", targetToken, in.ID.String(), in.Reason, details)
		return &answer[APIToken]{Status: http.StatusOK, Body: viewToken(list[0])}, err
	})
}
