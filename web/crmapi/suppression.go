package crmapi

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/jackc/pgx/v5"

	"onward/jobs"
	"onward/lifecycle/pgstore"
	"onward/web/apitoken"
)

// Suppression is an address that must not, or once must not, be written to.
type Suppression struct {
	Channel  string     `json:"channel" enum:"sms,email"`
	Address  string     `json:"address" doc:"hmac:… once the contact was erased"`
	Reason   string     `json:"reason" doc:"stop, unsubscribe, complaint, provider, operator, import, or what an imported file said"`
	Source   string     `json:"source"`
	Since    time.Time  `json:"since"`
	LiftedAt *time.Time `json:"lifted_at"`
	LiftedBy *string    `json:"lifted_by"`
}

type suppressionRow struct {
	id int64
	Suppression
}

func scanSuppression(row pgx.CollectableRow) (suppressionRow, error) {
	var s suppressionRow
	err := row.Scan(&s.id, &s.Channel, &s.Address, &s.Reason, &s.Source, &s.Since, &s.LiftedAt, &s.LiftedBy)
	s.Since, s.LiftedAt = s.Since.UTC(), utc(s.LiftedAt)
	return s, err
}

const suppressionColumns = `id, channel, address, reason, source, since, lifted_at, lifted_by`

// suppressionsOf reads what stands against addresses.
func suppressionsOf(ctx context.Context, q pgstore.Querier, addresses []pgstore.Address) ([]Suppression, error) {
	channels, values := make([]string, len(addresses)), make([]string, len(addresses))
	for i, a := range addresses {
		channels[i], values[i] = a.Channel, a.Address
	}
	rows, err := q.Query(ctx, `
		SELECT `+suppressionColumns+`
		FROM suppressions
		WHERE lifted_at IS NULL AND (channel, address) IN (
			SELECT a.channel, unnest(ARRAY[a.address, onward_address_hash(a.channel, a.address)])
			FROM unnest($1::text[], $2::text[]) AS a (channel, address)
		)
		ORDER BY id`, channels, values)
	if err != nil {
		return nil, fmt.Errorf("read suppressions: %w", err)
	}
	list := []Suppression{}
	found, err := pgx.CollectRows(rows, scanSuppression)
	for _, s := range found {
		list = append(list, s.Suppression)
	}
	if err != nil {
		return nil, fmt.Errorf("read suppressions: %w", err)
	}
	return list, nil
}

const tagSuppressions = "Suppressions"

func (a *API) registerSuppressions(h huma.API) {
	register(a, h, apitoken.Viewer, operation{
		method: http.MethodGet, path: "/suppressions", id: "listSuppressions", tag: tagSuppressions,
		summary: "List addresses that must not be written to, newest first",
	}, a.listSuppressions)
	a.registerSuppressionExport(h)
	a.registerSuppressionImport(h)
	register(a, h, apitoken.Operator, operation{
		method: http.MethodPost, path: "/suppressions", id: "addSuppression", tag: tagSuppressions, status: http.StatusCreated, also: http.StatusOK,
		summary:     "Suppress an address",
		description: "From the answer on, no send to it starts. 200 when it is suppressed already.",
	}, a.addSuppression)
	register(a, h, apitoken.Operator, operation{
		method: http.MethodDelete, path: "/suppressions", id: "liftSuppression", tag: tagSuppressions,
		summary:     "Lift a suppression",
		description: "The address goes in the body, so that it ends in no log. 404 when it is not suppressed.", fails: http.StatusNotFound,
	}, a.liftSuppression)
}

type listSuppressionsInput struct {
	Paging
	Channel string `query:"channel" enum:"sms,email"`
	Address string `query:"address" maxLength:"254"`
	State   string `query:"state" enum:"active,lifted,all" default:"active"`
}

func (a *API) listSuppressions(ctx context.Context, in *listSuppressionsInput) (*pageOutput[Suppression], error) {
	const list = "suppressions"
	behind, err := position[byID](in.Paging, list)
	if err != nil {
		return nil, err
	}
	address := ""
	if in.Address != "" {
		channel := in.Channel
		if channel == "" {
			return nil, invalid("query.channel", "is needed with an address")
		}
		if address, err = normalAddress(channel, in.Address, "query.address"); err != nil {
			return nil, err
		}
	}
	rows, err := a.opts.Pool.Query(ctx, `
		SELECT `+suppressionColumns+`
		FROM suppressions
		WHERE id < $1
			AND ($2 = '' OR channel = $2)
			AND ($3 = '' OR address IN ($3, onward_address_hash($2, $3)))
			AND ($4 = 'all' OR (lifted_at IS NULL) = ($4 = 'active'))
		ORDER BY id DESC
		LIMIT $5`, behind.above(), in.Channel, address, in.State, in.Limit+1)
	if err != nil {
		return nil, fmt.Errorf("list suppressions: %w", err)
	}
	found, err := pgx.CollectRows(rows, scanSuppression)
	if err != nil {
		return nil, fmt.Errorf("list suppressions: %w", err)
	}
	return page(in.Paging, list, found,
		func(s suppressionRow) Suppression { return s.Suppression },
		func(s suppressionRow) any { return byID{s.id} })
}

// normalAddress brings an address to the form in which it is stored.
func normalAddress(channel, raw, at string) (string, error) {
	normalize := pgstore.NormalizeEmail
	if channel == jobs.ChannelSMS {
		normalize = func(s string) (string, error) { return pgstore.NormalizePhone(s, "") }
	}
	address, err := normalize(raw)
	if err != nil {
		return "", invalid(at, err.Error())
	}
	return address, nil
}

type addSuppressionInput struct {
	Body struct {
		Channel string  `json:"channel" enum:"sms,email"`
		Address string  `json:"address" maxLength:"254" doc:"A phone needs its + and country code"`
		Reason  *string `json:"reason,omitempty" nullable:"true" maxLength:"2000" doc:"Why, in your words: it goes to the operators' log"`
	}
}

func (a *API) addSuppression(ctx context.Context, in *addSuppressionInput) (*answer[Suppression], error) {
	address, err := normalAddress(in.Body.Channel, in.Body.Address, "body.address")
	if err != nil {
		return nil, err
	}
	to := pgstore.Address{Channel: in.Body.Channel, Address: address}
	out, err := act(ctx, a, func(ctx context.Context, u *unit) (*answer[Suppression], error) {
		action, err := u.record(ctx, "suppression.add", targetSuppression, to.Channel+":"+to.Address, orZero(in.Body.Reason), nil)
		if err != nil {
			return nil, err
		}
		added, err := pgstore.Suppress(ctx, u, []pgstore.Suppression{{
			Address: to, Reason: "operator", Source: pgstore.SourceOperator, SourceID: fmt.Sprint(action),
		}})
		if err != nil {
			return nil, err
		}
		list, err := suppressionsOf(ctx, u, []pgstore.Address{to})
		if err != nil {
			return nil, err
		}
		if len(list) == 0 {
			return nil, fmt.Errorf("the suppression of a %s address is gone at once", to.Channel)
		}
		status := http.StatusOK
		if added > 0 {
			status = http.StatusCreated
		}
		return &answer[Suppression]{Status: status, Body: list[0]}, nil
	})
	if err != nil {
		return nil, err
	}
	return out, a.settle(ctx, []pgstore.Address{to})
}

type liftSuppressionInput struct {
	Body struct {
		Channel string `json:"channel" enum:"sms,email"`
		Address string `json:"address" maxLength:"254"`
		Reason  string `json:"reason" minLength:"1" maxLength:"2000" doc:"Why it may be written to again"`
	}
}

// Lifted says what a lift did.
type Lifted struct {
	Lifted bool `json:"lifted"`
}

func (a *API) liftSuppression(ctx context.Context, in *liftSuppressionInput) (*answer[Lifted], error) {
	address, err := normalAddress(in.Body.Channel, in.Body.Address, "body.address")
	if err != nil {
		return nil, err
	}
	to := pgstore.Address{Channel: in.Body.Channel, Address: address}
	return act(ctx, a, func(ctx context.Context, u *unit) (*answer[Lifted], error) {
		lifted, err := pgstore.Lift(ctx, u, to, u.actor.Name)
		if err != nil {
			return nil, err
		}
		if !lifted {
			return nil, notFound(targetSuppression)
		}
		_, err = u.record(ctx, "suppression.lift", targetSuppression, to.Channel+":"+to.Address, in.Body.Reason, nil)
		return &answer[Lifted]{Status: http.StatusOK, Body: Lifted{Lifted: true}}, err
	})
}
