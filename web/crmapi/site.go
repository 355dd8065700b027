package crmapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"onward/lifecycle/pgstore"
	"onward/web/apitoken"
)

// Site is a website that was made for a business.
type Site struct {
	ID                 uuid.UUID `json:"id" format:"uuid"`
	BusinessID         uuid.UUID `json:"business_id" format:"uuid"`
	URL                *string   `json:"url"`
	Status             string    `json:"status" enum:"draft,generated,deployed,owned"`
	SubscriptionID     *string   `json:"subscription_id" doc:"The payment provider's id of the subscription that pays for it"`
	SubscriptionStatus string    `json:"subscription_status" enum:"none,active,past_due,paused,cancelled"`
	PriceInCents       *int64    `json:"price_in_cents"`
	Currency           *string   `json:"currency"`
	CreatedAt          time.Time `json:"created_at"`
	UpdatedAt          time.Time `json:"updated_at"`
}

// sitesWhere reads sites by a condition on s (the site) and b (its business).
func sitesWhere(ctx context.Context, q pgstore.Querier, condition string, args ...any) ([]Site, error) {
	rows, err := q.Query(ctx, `
		SELECT s.public_id, b.public_id, s.url, s.status, s.subscription_id, s.subscription_status, s.price_in_cents, s.currency,
			s.created_at, s.updated_at
		FROM sites s
		JOIN businesses b ON b.id = s.business_id
		WHERE `+condition+`
		ORDER BY s.id`, args...)
	if err != nil {
		return nil, fmt.Errorf("read sites: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Site, error) {
		var s Site
		err := row.Scan(&s.ID, &s.BusinessID, &s.URL, &s.Status, &s.SubscriptionID, &s.SubscriptionStatus, &s.PriceInCents, &s.Currency,
			&s.CreatedAt, &s.UpdatedAt)
		s.CreatedAt, s.UpdatedAt = s.CreatedAt.UTC(), s.UpdatedAt.UTC()
		return s, err
	})
	if err != nil {
		return nil, fmt.Errorf("read sites: %w", err)
	}
	return list, nil
}

func sitesOf(ctx context.Context, q pgstore.Querier, businessID int64) ([]Site, error) {
	return sitesWhere(ctx, q, `s.business_id = $1`, businessID)
}

func site(ctx context.Context, q pgstore.Querier, id uuid.UUID) (Site, error) {
	list, err := sitesWhere(ctx, q, `s.public_id = $1`, id)
	if err != nil {
		return Site{}, err
	}
	if len(list) == 0 {
		return Site{}, notFound(targetSite)
	}
	return list[0], nil
}

// siteOf finds the inner id of a business's site.
func siteOf(ctx context.Context, tx pgx.Tx, businessID int64, public uuid.UUID) (int64, error) {
	var id int64
	err := tx.QueryRow(ctx, `
		SELECT id
		FROM sites
		WHERE public_id = $1 AND business_id = $2`, public, businessID).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, invalid("body.site_id", "is no site of this business")
	}
	if err != nil {
		return 0, fmt.Errorf("find site: %w", err)
	}
	return id, nil
}

const tagSites = "Sites"

func (a *API) registerSites(h huma.API) {
	register(a, h, apitoken.Operator, operation{
		method: http.MethodPost, path: "/crm/sites", id: "createSite", tag: tagSites, status: http.StatusCreated,
		summary:     "Create a site of a business",
		description: "Webhooks that came for its subscription before are applied now.",
	}, a.createSite)
	register(a, h, apitoken.Viewer, operation{
		method: http.MethodGet, path: "/crm/sites/{id}", id: "getSite", tag: tagSites, summary: "One site",
	}, a.getSite)
	register(a, h, apitoken.Operator, operation{
		method: http.MethodPatch, path: "/crm/sites/{id}", id: "updateSite", tag: tagSites, summary: "Change a site",
		description: "Members that are absent stay, null clears. Its statuses follow from events and webhooks.",
	}, a.updateSite)
}

type createSiteInput struct {
	Body struct {
		BusinessID     uuid.UUID `json:"business_id" format:"uuid"`
		URL            *string   `json:"url,omitempty" nullable:"true" maxLength:"2000"`
		SubscriptionID *string   `json:"subscription_id,omitempty" nullable:"true" maxLength:"255"`
	}
}

func (a *API) createSite(ctx context.Context, in *createSiteInput) (*answer[Site], error) {
	address, subscription := strings.TrimSpace(orZero(in.Body.URL)), strings.TrimSpace(orZero(in.Body.SubscriptionID))
	if err := checkURL(address); err != nil {
		return nil, err
	}
	public, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("make an id: %w", err)
	}
	return act(ctx, a, func(ctx context.Context, u *unit) (*answer[Site], error) {
		b, err := pgstore.BusinessByPublicID(ctx, u, in.Body.BusinessID)
		if errors.Is(err, pgstore.ErrNoBusiness) {
			return nil, invalid("body.business_id", "is no business")
		}
		if err != nil {
			return nil, err
		}
		keys := append(subscriptionKeys(subscription), "site:"+public.String())
		if err := pgstore.LockMatchKeys(ctx, u, keys); err != nil {
			return nil, err
		}
		if err := u.living(ctx, b.ID); err != nil {
			return nil, err
		}
		_, err = u.Exec(ctx, `
			INSERT INTO sites (public_id, business_id, url, subscription_id)
			VALUES ($1, $2, $3, $4)`, public, b.ID, orNull(address), orNull(subscription))
		if err != nil {
			return nil, subscriptionTaken(err)
		}
		return u.changedSite(ctx, "site.create", http.StatusCreated, public, keys)
	})
}

// living refuses what was erased, and holds an erasure off until the act is over.
func (u *unit) living(ctx context.Context, businessID int64) error {
	var erased bool
	err := u.QueryRow(ctx, `
		SELECT erased_at IS NOT NULL
		FROM businesses
		WHERE id = $1
		FOR KEY SHARE`, businessID).Scan(&erased)
	if err != nil {
		return fmt.Errorf("lock business: %w", err)
	}
	if erased {
		return wasErased()
	}
	return nil
}

// changedSite ends an act on a site: it wakes what waited for the site, records the act and answers.
func (u *unit) changedSite(ctx context.Context, action string, status int, id uuid.UUID, keys []string) (*answer[Site], error) {
	if err := u.requeue(ctx, keys); err != nil {
		return nil, err
	}
	if _, err := u.record(ctx, action, targetSite, id.String(), "", nil); err != nil {
		return nil, err
	}
	s, err := site(ctx, u, id)
	return &answer[Site]{Status: status, Location: Prefix + "/crm/sites/" + id.String(), Body: s}, err
}

func subscriptionKeys(id string) []string {
	if id == "" {
		return nil
	}
	return []string{"subscription:" + id}
}

// subscriptionTaken names the one conflict that writing a site can have.
func subscriptionTaken(err error) error {
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok && pgErr.ConstraintName == "sites_subscription_id_key" {
		return huma.Error409Conflict("body.subscription_id: another site has it",
			&huma.ErrorDetail{Location: "body.subscription_id", Message: "another site has it"})
	}
	return fmt.Errorf("write site: %w", err)
}

func checkURL(s string) error {
	if s == "" {
		return nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.ContainsAny(s, " \t\r\n\x00") {
		return invalid("body.url", "is not a web address: write it as https://example.com")
	}
	return nil
}

func (a *API) getSite(ctx context.Context, in *PathID) (*struct{ Body Site }, error) {
	s, err := site(ctx, a.opts.Pool, in.ID)
	return &struct{ Body Site }{s}, err
}

type updateSiteInput struct {
	PathID
	Body struct {
		URL            change `json:"url,omitempty" maxLength:"2000"`
		SubscriptionID change `json:"subscription_id,omitempty" maxLength:"255"`
	}
}

func (a *API) updateSite(ctx context.Context, in *updateSiteInput) (*answer[Site], error) {
	address, subscription := strings.TrimSpace(orZero(in.Body.URL.value)), strings.TrimSpace(orZero(in.Body.SubscriptionID.value))
	if err := checkURL(address); err != nil {
		return nil, err
	}
	return act(ctx, a, func(ctx context.Context, u *unit) (*answer[Site], error) {
		keys := subscriptionKeys(subscription)
		if err := pgstore.LockMatchKeys(ctx, u, keys); err != nil {
			return nil, err
		}
		var business int64
		err := u.QueryRow(ctx, `
			SELECT business_id
			FROM sites
			WHERE public_id = $1`, in.ID).Scan(&business)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil, notFound(targetSite)
		}
		if err != nil {
			return nil, fmt.Errorf("find site: %w", err)
		}
		if err := u.living(ctx, business); err != nil {
			return nil, err
		}
		tag, err := u.Exec(ctx, `
			UPDATE sites
			SET url = CASE WHEN $2 THEN $3 ELSE url END,
				subscription_id = CASE WHEN $4 THEN $5 ELSE subscription_id END,
				updated_at = now()
			WHERE public_id = $1 AND ($2 AND url IS DISTINCT FROM $3 OR $4 AND subscription_id IS DISTINCT FROM $5)`, in.ID, in.Body.URL.value != nil, orNull(address), in.Body.SubscriptionID.value != nil, orNull(subscription))
		if err != nil {
			return nil, subscriptionTaken(err)
		}
		if tag.RowsAffected() == 0 {
			s, err := site(ctx, u, in.ID)
			return &answer[Site]{Status: http.StatusOK, Body: s}, err
		}
		return u.changedSite(ctx, "site.update", http.StatusOK, in.ID, keys)
	})
}
